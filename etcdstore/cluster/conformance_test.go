package cluster_test

import (
	"flag"
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

var tokens = flag.Int("tokens", 10_000, "how many tokens a store holds while it is measured")

// BenchmarkStore measures every verb, and the size of a member's whole database, through three processes in turn.
func BenchmarkStore(b *testing.B) {
	c := config
	c.Bytes = func(t testing.TB, _ store.Backend) int64 {
		status, err := shared.client.Status(t.Context(), shared.client.Endpoints()[0])
		if err != nil {
			t.Fatal(err)
		}
		return status.DbSizeInUse
	}
	c.Tokens = *tokens
	storetest.Bench(b, c)
}
