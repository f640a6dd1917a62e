package boltstore_test

import (
	"path/filepath"
	"sync"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

func TestConformance(t *testing.T) { storetest.Run(t, config().Config) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, config().Config) }

// fileConfig opens a new file for every rule, and the same one again where a rule asks for it.
type fileConfig struct {
	storetest.Config
	paths *sync.Map // the file of each backend
}

func config() fileConfig {
	c := fileConfig{paths: &sync.Map{}}
	c.New = func(t testing.TB) store.Backend { return c.open(t, filepath.Join(t.TempDir(), "tokens.db")) }
	c.Reopen = func(t testing.TB, b store.Backend) store.Backend {
		path, _ := c.paths.Load(b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return c.open(t, path.(string))
	}
	return c
}

func (c fileConfig) open(t testing.TB, path string) store.Backend {
	t.Helper()
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.paths.Store(b, path)
	return b
}
