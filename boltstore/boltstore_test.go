package boltstore_test

import (
	"path/filepath"
	"sync"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

func TestConformance(t *testing.T) { storetest.Run(t, config()) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, config()) }

// config opens a new file for every rule, and the same one again where a rule asks for it.
func config() storetest.Config {
	var paths sync.Map
	open := func(t testing.TB, path string) store.Backend {
		t.Helper()
		b, err := boltstore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths.Store(b, path)
		return b
	}
	return storetest.Config{
		New: func(t testing.TB) store.Backend { return open(t, filepath.Join(t.TempDir(), "tokens.db")) },
		Reopen: func(t testing.TB, b store.Backend) store.Backend {
			path, _ := paths.Load(b)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, path.(string))
		},
	}
}
