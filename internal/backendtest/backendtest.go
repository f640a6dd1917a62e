// Package backendtest opens the backends that need no server, for the tests of what stands on any of them.
package backendtest

import (
	"path/filepath"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// All are the backends by their names. Each call opens a fresh and empty one, which ends with the test.
func All() map[string]func(testing.TB) store.Backend {
	return map[string]func(testing.TB) store.Backend{
		"memstore": func(testing.TB) store.Backend { return memstore.New() },
		"boltstore": func(t testing.TB) store.Backend {
			t.Helper()
			b, err := boltstore.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			return b
		},
	}
}
