package cluster_test

import (
	"path/filepath"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/tokenstoretest"
)

// TestPromises checks a whole manager on the cluster, against its model, against real time, and against what the same actions
// give in memory and on a file. It is without the engine's virtual time, which the network does not obey.
func TestPromises(t *testing.T) {
	tokenstoretest.Run(t, tokenstoretest.Config{
		New: config.New, Reopen: reopen, NoBubble: true,
		Others: []tokenstoretest.Config{{New: file}},
	})
}

// file is a backend on a file.
func file(t testing.TB) store.Backend {
	b, err := boltstore.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
