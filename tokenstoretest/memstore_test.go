package tokenstoretest_test

import (
	"testing"

	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/tokenstoretest"
)

func TestMemstore(t *testing.T) {
	tokenstoretest.Run(t, tokenstoretest.Config{New: func(testing.TB) store.Backend { return memstore.New() }})
}
