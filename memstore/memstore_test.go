package memstore_test

import (
	"testing"

	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

var config = storetest.Config{
	New: func(testing.TB) store.Backend { return memstore.New() },
	// A record takes as much memory as its texts.
	Size: func(_ testing.TB, b store.Backend) (keys, bytes int) { return b.(*memstore.Backend).Keys(), 0 },
}

func TestConformance(t *testing.T) { storetest.Run(t, config) }
