package pgstore_test

import (
	"context"
	"errors"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// A process hears of what another one revokes, once that is committed.
func TestListen(t *testing.T) {
	server := pgtest.Shared(t)
	dsn := server.DSN(migrated(t, server, pgstore.Options{}))
	here, there := open(t, dsn, pgstore.Options{}), open(t, dsn, pgstore.Options{})
	st, err := there.Tenant("a tenant")
	if err != nil {
		t.Fatal(err)
	}
	mine, err := here.Tenant("a tenant")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type news struct {
		tenant    string
		id        ulid.ULID
		committed bool
	}
	heard := make(chan news)
	ended := make(chan error, 1)
	go func() {
		ended <- here.Listen(ctx, dsn, func(tenant string, id ulid.ULID) {
			_, err := mine.Revocation(ctx, id)
			select {
			case heard <- news{tenant, id, err == nil}:
			case <-ctx.Done(): // one was enough
			}
		})
	}()
	for n := byte(1); ; n++ { // until it listens
		id := ulid.ULID{15: n}
		_, err := st.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{{UserID: "user", ClientID: string('a' + rune(n))}}, Time: base})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if got.tenant != "a tenant" || got.id.Compare(id) > 0 || !got.committed {
				t.Errorf("a revocation must be heard of when it is there: got %+v, want %v", got, id)
			}
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Listen must end with its context: got %v", err)
			}
			return
		case err := <-ended:
			t.Fatalf("Listen must not end before its context: got %v", err)
		default:
		}
	}
}
