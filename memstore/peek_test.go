package memstore

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testToken(n uint16, user string) domain.RefreshToken {
	return domain.RefreshToken{ID: testID(n), UserID: user, ClientID: "client", CreatedAt: epoch}
}

func insert(t *testing.T, tn *tenant, row store.Insertion) {
	t.Helper()
	results, err := tn.Insert(context.Background(), []store.Insertion{row})
	if err = errors.Join(err, results[0].Err); err != nil {
		t.Fatal(err)
	}
}

// advance makes a new generation of a token.
func advance(t *testing.T, tn *tenant, id ulid.ULID) {
	t.Helper()
	err := tn.Update(context.Background(), id, func(view store.View) store.Decision {
		view.Token.Generation++
		return store.Decision{Next: &view.Token}
	})
	if err != nil {
		t.Error(err)
	}
}

func revoke(t *testing.T, tn *tenant, tombstone uint16, token ulid.ULID) {
	t.Helper()
	_, err := tn.Revoke(context.Background(), store.Revocation{ID: testID(tombstone), Targets: []domain.Target{{TokenID: token}}, Time: epoch})
	if err != nil {
		t.Error(err)
	}
}

// TestPeekIsUndone has a token changed and revoked between the look at whether anything is pending and the look at the token: what was
// read then doesn't count.
func TestPeekIsUndone(t *testing.T) {
	tn := newTenant()
	insert(t, tn, store.Insertion{Token: testToken(1, "user")})
	asked := 0
	ctx := asking{context.Background(), func() {
		if asked++; asked == 1 {
			advance(t, tn, testID(1))
			revoke(t, tn, 2, testID(1))
		}
	}}
	view, err := tn.Get(ctx, testID(1))
	if err != nil {
		t.Fatal(err)
	}
	if view.Token.Generation != 1 || !view.Revoked() {
		t.Errorf("generation %d, revoked: %t", view.Token.Generation, view.Revoked())
	}
}

// asking is a context that tells when it is asked whether it has ended.
type asking struct {
	context.Context
	asked func()
}

func (a asking) Err() error {
	a.asked()
	return a.Context.Err()
}

// TestPeekWhileCalm: a token is read without the lock exactly while nobody writes and nothing is pending.
func TestPeekWhileCalm(t *testing.T) {
	tn := newTenant()
	insert(t, tn, store.Insertion{Token: testToken(1, "user")})
	calm := func() bool {
		_, calm := tn.peek(context.Background(), testID(1), &domain.RefreshToken{})
		return calm
	}
	if !calm() {
		t.Error("not after an insertion")
	}
	tn.lock()
	if calm() {
		t.Error("while somebody writes")
	}
	tn.unlock()
	if !calm() {
		t.Error("not after a write")
	}
	revoke(t, tn, 2, testID(1))
	if calm() {
		t.Error("while a tombstone is pending")
	}
	if _, err := tn.Apply(context.Background(), []ulid.ULID{testID(2)}, store.Bounds{Visit: 9, Remove: 9, Now: epoch}); err != nil {
		t.Fatal(err)
	}
	if !calm() {
		t.Error("not after the sweep")
	}
	tn.close()
	if calm() {
		t.Error("after the close")
	}
}

// TestGetWithAnEndedContext: neither a calm tenant nor a closed one answers it otherwise than the verbs under the lock do.
func TestGetWithAnEndedContext(t *testing.T) {
	tn := newTenant()
	insert(t, tn, store.Insertion{Token: testToken(1, "user")})
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := tn.Get(ended, testID(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("open: got %v, want %v", err, context.Canceled)
	}
	tn.close()
	if _, err := tn.Get(ended, testID(1)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, store.ErrClosed)
	}
}

// TestPeekBesideWriters reads tokens while others are added, evicted and exchanged: each is always found, as it is or was within the call,
// and after it has been revoked nobody sees it otherwise.
func TestPeekBesideWriters(t *testing.T) {
	const kept, rounds = 50, 20
	tn := newTenant()
	for i := range uint16(kept) {
		insert(t, tn, store.Insertion{Token: testToken(i, "kept")})
	}
	var generation [kept]atomic.Uint32
	var revoked, ended atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; !ended.Load(); i++ {
				runtime.Gosched() // or a writer waits for one that holds the lock and doesn't run
				n := i % kept
				least, covered := generation[n].Load(), revoked.Load()
				view, err := tn.Get(context.Background(), testID(uint16(n)))
				switch {
				case err != nil:
					t.Error(err)
					return
				case view.Token.ID != testID(uint16(n)) || view.Token.Generation < least || covered && !view.Revoked():
					t.Errorf("token %d: generation %d, at least %d; revoked: %t, before: %t", n, view.Token.Generation, least, view.Revoked(), covered)
					return
				}
			}
		})
	}
	for i := range uint16(rounds * kept) {
		insert(t, tn, store.Insertion{Token: testToken(1000+i, "churn"), Cap: store.Cap{Max: 20}})
		advance(t, tn, testID(i%kept))
		generation[i%kept].Add(1)
	}
	_, err := tn.Revoke(context.Background(), store.Revocation{ID: testID(999), Targets: []domain.Target{{UserID: "kept"}}, Time: epoch})
	if err != nil {
		t.Error(err)
	}
	revoked.Store(true)
	for range 1000 {
		runtime.Gosched()
	}
	ended.Store(true)
	wg.Wait()
}
