package memstore_test

import (
	"testing"

	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

var config = storetest.Config{New: func(testing.TB) store.Backend { return memstore.New() }}

func TestConformance(t *testing.T) { storetest.Run(t, config) }
