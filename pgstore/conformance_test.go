package pgstore_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"example.com/tokenstore/store/storetest"
)

func TestConformance(t *testing.T)         { storetest.Run(t, config(nil).Config) }
func TestConformancePortable(t *testing.T) { storetest.Run(t, config(&pgstore.Options{Serializable: true}).Config) }

var made atomic.Int64

type databases struct {
	storetest.Config
	opts    sync.Map
}

func address() string { return os.Getenv("PGSTORE_DSN") }

func config(base *pgstore.Options) *databases {
	d := &databases{}
	d.New = func(t testing.TB) store.Backend {
		var o pgstore.Options
		if base != nil {
			o = *base
		}
		o.Schema = fmt.Sprintf("s%x", sha256.Sum256(fmt.Append(nil, t.Name(), time.Now().UnixNano(), made.Add(1))))[:20]
		if err := pgstore.Migrate(context.Background(), address(), &o); err != nil {
			t.Fatal(err)
		}
		return d.open(t, o)
	}
	d.Reopen = func(t testing.TB, b store.Backend) store.Backend {
		o, _ := d.opts.Load(b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return d.open(t, o.(pgstore.Options))
	}
	return d
}

func (d *databases) open(t testing.TB, o pgstore.Options) store.Backend {
	t.Helper()
	b, err := pgstore.Open(context.Background(), address(), &o)
	if err != nil {
		t.Fatal(err)
	}
	d.opts.Store(b, o)
	return b
}
