package memstore_test

import (
	"flag"
	"runtime"
	"testing"

	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

var tokens = flag.Int("tokens", 10_000, "how many tokens a store holds while it is measured")

func Benchmark(b *testing.B) {
	c := config
	c.Tokens = *tokens
	c.Bytes = func(testing.TB, store.Backend) int64 {
		runtime.GC()
		runtime.GC() // what the first has found to be garbage is gone after the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	storetest.Bench(b, c)
}
