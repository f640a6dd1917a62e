package pgstore_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, configure(t, nil).Config)
}

func TestConformancePortable(t *testing.T) {
	t.Parallel()
	storetest.Run(t, configure(t, &pgstore.Options{Serializable: true}).Config)
}

func TestConformancePooled(t *testing.T) {
	t.Parallel()
	d := configure(t, &pgstore.Options{Pooled: true})
	d.address = pgtest.Shared(t).Bouncer(t).DSN(d.database) + "&pool_max_conns=16"
	storetest.Run(t, d.Config)
}

var tokens = flag.Int("tokens", 10_000, "how many tokens a store holds while it is measured")

// BenchmarkStore measures every verb, and the size of the whole database.
func BenchmarkStore(b *testing.B) {
	d := configure(b, nil)
	d.Bytes = func(t testing.TB, _ store.Backend) int64 {
		size, err := strconv.ParseInt(pgtest.Shared(t).Ask(t, d.database, "select pg_database_size(current_database())::text"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	d.Tokens = *tokens
	storetest.Bench(b, d.Config)
}

// databases gives every test a schema of its own, in one database.
type databases struct {
	storetest.Config
	database string
	address  string
	options  pgstore.Options
	made     atomic.Int64
	opened   sync.Map // the options of each backend
}

func configure(t testing.TB, opts *pgstore.Options) *databases {
	server := pgtest.Shared(t)
	d := &databases{database: server.Database(t)}
	d.address = server.DSN(d.database) + "&pool_max_conns=16"
	if opts != nil {
		d.options = *opts
	}
	d.New = func(t testing.TB) store.Backend {
		t.Helper()
		return d.open(t, d.fresh(t))
	}
	d.Reopen = func(t testing.TB, b store.Backend) store.Backend {
		t.Helper()
		o, _ := d.opened.Load(b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return d.open(t, o.(pgstore.Options))
	}
	return d
}

// fresh makes a schema, and returns the options for it.
func (d *databases) fresh(t testing.TB) pgstore.Options {
	t.Helper()
	o := d.options
	o.Schema = fmt.Sprint("s", d.made.Add(1))
	if err := pgstore.Migrate(context.Background(), d.address, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func (d *databases) open(t testing.TB, o pgstore.Options) store.Backend {
	t.Helper()
	b, err := pgstore.Open(context.Background(), d.address, &o)
	if err != nil {
		t.Fatal(err)
	}
	d.opened.Store(b, o)
	return b
}
