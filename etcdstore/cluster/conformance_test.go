package cluster_test

import (
	"testing"

	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

var config = storetest.Config{
	New:    func(t testing.TB) store.Backend { return open(t, shared.client, prefix()) },
	Reopen: reopen,
	Size:   size,
}

func TestConformance(t *testing.T) { storetest.Run(t, config) }
