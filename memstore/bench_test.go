package memstore_test

import (
	"testing"

	"example.com/tokenstore/store/storetest"
)

func Benchmark(b *testing.B) { storetest.Bench(b, config) }
