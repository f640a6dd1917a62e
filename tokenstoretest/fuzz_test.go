package tokenstoretest

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"pgregory.net/rapid"
)

// FuzzMachine has the fuzzer draw the operations of a case without an engine, and without races: what it covers is then the same
// every time. `go test -fuzz FuzzMachine` runs until it is stopped.
func FuzzMachine(f *testing.F) {
	// A case is some thousands of bytes long. The fuzzer has to have some to begin with.
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 0))
		var input []byte
		for range 2000 {
			input = binary.LittleEndian.AppendUint64(input, random.Uint64())
		}
		f.Add(input)
	}
	c := Config{New: func(testing.TB) store.Backend { return memstore.New() }, still: true}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { runMachine(t, nil, c) }))
}
