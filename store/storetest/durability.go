package storetest

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func checkClosed(t testing.TB, e *env) {
	w := e.tenant(t)
	token := w.add(t, "user", "client", "")
	r := w.revoke(t, domain.Target{UserID: "other"})

	// Close waits for what is in flight.
	inside, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var over atomic.Bool
	updated := make(chan error, 1)
	go func() {
		err := w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
			once.Do(func() {
				close(inside)
				<-release
			})
			return write("in flight")(view)
		})
		over.Store(true)
		updated <- err
	}()
	select {
	case <-inside:
	case err := <-updated:
		t.Fatalf("Update must call decide: got %v", err)
	}
	type answer struct {
		err  error
		over bool
	}
	closed := make(chan answer, 1)
	go func() {
		err := e.backend.Close()
		closed <- answer{err, over.Load()}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	early := false
	select {
	case got := <-closed:
		early = true
		closed <- got
	case <-timer.C:
	}
	close(release)
	err := <-updated
	got := <-closed
	if early {
		t.Errorf("Close must wait for what is in flight: it returned while decide was running")
	}
	if err != nil && !errors.Is(err, store.ErrClosed) {
		t.Errorf("what is in flight at Close must succeed or be ErrClosed: got %v", err)
	}
	if err := errors.Join(got.err, e.backend.Close()); err != nil {
		t.Errorf("Close must succeed, and may be called again: got %v", err)
	}

	verb := func(name string, err error) {
		t.Helper()
		wantErr(t, name+" after Close must be ErrClosed", err, store.ErrClosed)
	}
	_, err = w.Insert(w.ctx, rows(w.token("user", "client", "")))
	verb("Insert", err)
	_, err = w.Get(w.ctx, token.ID)
	verb("Get", err)
	_, err = w.Find(w.ctx, domain.Digest{1})
	verb("Find", err)
	_, err = w.List(w.ctx, store.Query{Limit: 1})
	verb("List", err)
	verb("Update", w.Update(w.ctx, token.ID, write("late")))
	_, err = w.Revoke(w.ctx, w.revocation(domain.Target{UserID: "user"}))
	verb("Revoke", err)
	_, err = w.Apply(w.ctx, []ulid.ULID{r.Tombstone.ID}, store.Bounds{Visit: 1, Remove: 1})
	verb("Apply", err)
	_, err = w.Expire(w.ctx, store.Bounds{Visit: 1, Remove: 1})
	verb("Expire", err)
	_, err = w.Revocation(w.ctx, r.Tombstone.ID)
	verb("Revocation", err)
	_, err = w.Revocations(w.ctx, store.RevocationQuery{Limit: 1})
	verb("Revocations", err)
	_, err = w.Trim(w.ctx, store.Trim{Limit: 1})
	verb("Trim", err)
	_, err = w.State(w.ctx)
	verb("State", err)
	if outbox, ok := store.As[store.Outbox](w.Store); ok {
		_, err = outbox.Feed(w.ctx, 0, 1)
		verb("Feed", err)
	}
	if mover, ok := store.As[store.Mover](w.Store); ok {
		_, err = mover.Guards(w.ctx, store.GuardQuery{Limit: 1})
		verb("Guards", err)
		verb("Remember", mover.Remember(w.ctx, store.Memory{Origin: w.id()}))
	}
	if restorer, ok := store.As[store.Restorer](w.Store); ok {
		_, err = restorer.Restore(w.ctx, w.restoration())
		verb("Restore", err)
		_, err = restorer.Restorations(w.ctx)
		verb("Restorations", err)
	}
	_, err = e.backend.Pending(w.ctx, "", 1)
	verb("Pending", err)
	_, err = e.backend.Tenants(w.ctx, "", 1)
	verb("Tenants", err)
	verb("Create", e.backend.Create(w.ctx, "another"))
	_, err = e.backend.Tenant("another")
	verb("Tenant", err)
}

// checkDurable opens the backend again after every step of a revocation's life.
func checkDurable(t testing.TB, e *env) {
	if e.config.Reopen == nil {
		t.Skip("the backend keeps nothing: Config.Reopen is nil")
	}
	names := map[string]*tenant{}
	reopen := func() {
		e.backend = e.config.Reopen(t, e.backend)
		for name, w := range names {
			w.Store = e.named(t, name).Store
		}
	}
	w, other := e.tenant(t), e.tenant(t)
	names[w.name], names[other.name] = w, other

	tokens := w.insert(t, w.full(), w.longest(), w.token("user", "client", "session"), w.token("user", "client", "session-2"))
	bystander := other.add(t, "user", "client", "session")
	if err := w.Update(w.ctx, tokens[0].ID, write("kept")); err != nil {
		t.Fatalf("Update must succeed: got %v", err)
	}
	tokens[0].Metadata = note("kept")
	// across opens the backend again and expects to find what was there before.
	across := func(when string) {
		t.Helper()
		state := w.state(t)
		there := map[ulid.ULID]bool{}
		for _, token := range tokens {
			there[token.ID] = w.has(t, token.ID)
		}
		reopen()
		got := w.state(t)
		if !got.OldestPending.Equal(state.OldestPending) || !got.Horizon.Time.Equal(state.Horizon.Time) {
			t.Fatalf("what was acknowledged must survive (%s): state %+v became %+v", when, state, got)
		}
		got.OldestPending, got.Horizon.Time = state.OldestPending, state.Horizon.Time
		if got != state {
			t.Fatalf("what was acknowledged must survive (%s): state %+v became %+v", when, state, got)
		}
		for _, token := range tokens {
			if there[token.ID] {
				w.wantRecord(t, "what was acknowledged must survive ("+when+")", token)
			} else if w.has(t, token.ID) {
				t.Fatalf("what was swept must stay away (%s)", when)
			}
		}
		other.wantRecord(t, "what was acknowledged must survive ("+when+")", bystander)
	}
	across("after Insert and Update")

	r := w.revoke(t, domain.Target{UserID: "user"})
	wide := w.revoke(t, domain.Target{Audience: "none"})
	across("after Revoke")
	if w.live(t, tokens[2].ID) || w.live(t, tokens[3].ID) || !w.live(t, tokens[0].ID) {
		t.Fatalf("what was revoked must stay so")
	}
	if got := w.status(t, r.Tombstone.ID); !sameStatus(got, r) {
		t.Fatalf("a revocation must survive as it was: %+v became %+v", r, got)
	}
	pending, err := e.backend.Pending(e.ctx, "", 10)
	if err != nil || !slices.Contains(pending, w.name) {
		t.Fatalf("pending work must be found again: got %q, error %v", pending, err)
	}

	for _, id := range []ulid.ULID{r.Tombstone.ID, wide.Tombstone.ID} { // a restart after every row
		for calls := 0; !w.status(t, id).Retired; calls++ {
			if calls > 100 {
				t.Fatalf("a sweep must get on from restart to restart")
			}
			w.apply(t, store.Bounds{Visit: 1, Remove: 1, Now: after(time.Hour)}, id)
			status := w.status(t, id)
			reopen()
			if got := w.status(t, id); !sameStatus(got, status) {
				t.Fatalf("progress must survive: %+v became %+v", status, got)
			}
		}
	}
	// What barred a candidate before does so again.
	candidate, asOf := w.token("user", "client", ""), domain.AsOfSequence(tokens[3].Sequence)
	barred := errors.Is(w.admit(t, candidate, asOf), domain.ErrRevoked)
	across("after a sweep")
	if barred {
		wantErr(t, "guards must survive", w.admit(t, candidate, asOf), domain.ErrRevoked)
	}
	w.forget(t, ages, ages)
	across("after Trim")
	latest := w.state(t).Sequence
	if next := w.add(t, "user", "client", ""); next.Sequence <= latest {
		t.Fatalf("sequences must rise across restarts: got %d after %d", next.Sequence, latest)
	}
}
