package boltstore_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
	"go.etcd.io/bbolt"
)

// The index settles after a few entries, so that every rule meets one that has levels of runs, in the middle of their merges.
func TestConformance(t *testing.T) {
	c := config()
	c.settle = 8
	storetest.Run(t, c.Config)
}

var tokens = flag.Int("tokens", 10_000, "how many tokens a store holds while it is measured")

func BenchmarkStore(b *testing.B) {
	c := config()
	c.Tokens = *tokens
	storetest.Bench(b, c.Config)
}

// fileConfig opens a new file for every rule, and the same one again where a rule asks for it.
type fileConfig struct {
	storetest.Config
	paths  *sync.Map // the file of each backend
	settle uint64    // after how many entries their index settles, if not as ever
}

func config() *fileConfig {
	c := &fileConfig{paths: &sync.Map{}}
	c.New = func(t testing.TB) store.Backend { return c.open(t, filepath.Join(t.TempDir(), "tokens.db")) }
	c.Reopen = func(t testing.TB, b store.Backend) store.Backend {
		path, _ := c.paths.Load(b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return c.open(t, path.(string))
	}
	c.Size = func(t testing.TB, b store.Backend) (keys, bytes int) {
		path := temporary(t)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.(*boltstore.Backend).Snapshot(t.Context(), file), file.Close()); err != nil {
			t.Fatal(err)
		}
		return contents(t, path)
	}
	c.Bytes = used
	return c
}

// used is how many bytes of the backend's file are in use, or have been. The file itself grows in large steps.
func used(t testing.TB, b store.Backend) int64 {
	t.Helper()
	var copied counter
	if err := b.(*boltstore.Backend).Snapshot(t.Context(), &copied); err != nil {
		t.Fatal(err)
	}
	return int64(copied)
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (c *fileConfig) open(t testing.TB, path string) store.Backend {
	t.Helper()
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.settle > 0 {
		b.SettleEarly(c.settle)
	}
	c.paths.Store(b, path)
	t.Cleanup(func() { c.paths.Delete(b) })
	return b
}

// contents counts the keys of a file, and the bytes of all keys and values.
func contents(t testing.TB, path string) (keys, size int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var walk func(b *bbolt.Bucket) error
	walk = func(b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			keys, size = keys+1, size+len(k)+len(v)
			if v == nil && b.Bucket(k) != nil {
				return walk(b.Bucket(k))
			}
			return nil
		})
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return walk(b) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys, size
}
