package pgstore_test

import (
	"path/filepath"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/tokenstoretest"
)

func TestPromises(t *testing.T)         { promises(t, nil) }
func TestPromisesPortable(t *testing.T) { promises(t, &pgstore.Options{Serializable: true}) }

// promises checks the whole manager on this backend, and compares it with the one that keeps everything in memory and, in every other
// case, with the one that keeps a file.
func promises(t *testing.T, opts *pgstore.Options) {
	t.Parallel()
	c := configure(t, opts)
	tokenstoretest.Run(t, tokenstoretest.Config{
		New: c.New, Reopen: c.Reopen, NoBubble: true,
		Others: []tokenstoretest.Config{{New: func(t testing.TB) store.Backend {
			b, err := boltstore.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}}},
	})
}
