package pgstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// A synchronous standby: the fence is not read from it, and a commit that no longer waits for its standby, because somebody has cancelled that, is not acknowledged: the server says that it
// has committed, and only warns.
func TestSynchronousStandby(t *testing.T) {
	primary := pgtest.Start(t)
	opts := pgstore.Options{}
	db := migrated(t, primary, opts)
	standby := primary.Standby(t, pgtest.Synchronous)
	b := open(t, primary.DSN(db), opts)
	st, err := b.Tenant("default")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{T: t, store: st}
	revocation := store.Revocation{ID: ulid.Make(), Targets: []domain.Target{{UserID: "ann"}}, Time: time.Now()}
	_, err = st.Revoke(t.Context(), revocation)
	c.must("a revocation that its standby has", err)

	if _, err := pgstore.Open(t.Context(), standby.DSN(db), &opts); err == nil || !strings.Contains(err.Error(), "read only") {
		t.Errorf("a standby must be refused, because it may not know of the latest revocation: got %v", err)
	}

	standby.Pause(t)
	defer standby.Resume(t)
	revocation.ID, revocation.Targets[0].UserID = ulid.Make(), "bob"
	revoked := make(chan error, 1)
	go func() {
		_, err := st.Revoke(context.Background(), revocation)
		revoked <- err
	}()
	primary.Cancel(t, "SyncRep")
	c.wantUnknown("a revocation", <-revoked)
	standby.Resume(t)
	_, err = st.Revoke(t.Context(), revocation)
	c.must("a revocation that is repeated", err)
}
