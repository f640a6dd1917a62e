package cluster_test

import (
	"testing"

	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

var config = storetest.Config{
	New:    func(t testing.TB) store.Backend { return openSpread(t, prefix()) },
	Reopen: reopen,
	Size:   size,
}

// Every call of the suite goes to another process than the one before.
func TestConformance(t *testing.T) { storetest.Run(t, config) }
