package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// mover is the tenant's store as one that can move.
func (w *tenant) mover(t testing.TB) store.Mover {
	t.Helper()
	m, ok := store.As[store.Mover](w.Store)
	if !ok {
		t.Skip("the backend's stores can't move")
	}
	return m
}

// guards walks all pages of guards, by the keys of their targets.
func (w *tenant) guards(t testing.TB, limit int) map[string]domain.Guard {
	t.Helper()
	found := map[string]domain.Guard{}
	q := store.GuardQuery{Limit: limit}
	for range sweepLimit {
		page, err := w.mover(t).Guards(w.ctx, q)
		switch {
		case err != nil:
			t.Fatalf("Guards must list what is there: got %v", err)
		case len(page.Guards) > limit, len(page.Guards) == 0 && page.Next != "":
			t.Fatalf("a page of guards must have at most %d, and none only if it is the last: got %d", limit, len(page.Guards))
		}
		for _, g := range page.Guards {
			found[g.Target.Key()] = g
		}
		if q.After = page.Next; q.After == "" {
			return found
		}
	}
	t.Fatalf("a list of guards must come to its end: %d pages were not enough", sweepLimit)
	return nil
}

// remembered makes a tenant that remembers some revocations, several of them asked for at the same instant.
func remembered(t testing.TB, e *env) (*tenant, map[string]domain.Guard) {
	t.Helper()
	w := e.tenant(t)
	want := map[string]domain.Guard{}
	for i := range 25 {
		user := fmt.Sprint("user-", i%20) // some twice, which are joined
		w.add(t, user, "client", "")
		r := w.revocation(domain.Target{UserID: user}, domain.Target{SessionID: fmt.Sprint("session-", i)})
		r.Time = after(time.Duration(i/3) * time.Minute)
		status := w.record(t, r)
		w.sweep(t, r.ID)
		for _, g := range status.Tombstone.Guards() {
			if there, ok := want[g.Target.Key()]; ok {
				g = there.Join(g)
			}
			want[g.Target.Key()] = g
		}
	}
	return w, want
}

func wantGuards(t testing.TB, got, want map[string]domain.Guard) {
	t.Helper()
	for key, g := range want {
		h, ok := got[key]
		if !ok || h.Target.Key() != key || h.Watermark != g.Watermark || !h.Time.Equal(g.Time) || !h.Through.Equal(g.Through) {
			t.Fatalf("every guard must be there as it was: got %+v, want %+v", h, g)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("there must be no other guards: got %d, want %d", len(got), len(want))
	}
}

// checkHandOver lists the guards in pages of any size, while later revocations are joined to them.
func checkHandOver(t testing.TB, e *env) {
	w, want := remembered(t, e)
	for _, limit := range []int{1, 2, 7, store.MaxPage} {
		wantGuards(t, w.guards(t, limit), want)
	}
	q := store.GuardQuery{Limit: 3}
	seen := map[string]bool{}
	for i := range sweepLimit {
		page, err := w.mover(t).Guards(w.ctx, q)
		if err != nil {
			t.Fatalf("Guards must list what is there: got %v", err)
		}
		for _, g := range page.Guards {
			seen[g.Target.Key()] = true
		}
		if q.After = page.Next; q.After == "" {
			break
		}
		if i < 10 { // the guard of one more user gets younger
			user := fmt.Sprint("user-", 19-i)
			w.add(t, user, "client", "")
			w.sweep(t, w.revoke(t, domain.Target{UserID: user}).Tombstone.ID)
		}
	}
	for key := range want {
		if !seen[key] {
			t.Fatalf("a guard that is there throughout must be listed, though it is joined with another meanwhile")
		}
	}
	_, err := w.mover(t).Guards(w.ctx, store.GuardQuery{})
	wantField(t, "a page of no guards", err)
}

func wantField(t testing.TB, what string, err error) {
	t.Helper()
	wantErr(t, what+" must be a FieldError", err, domain.ErrInvalid)
}

// checkTakeOver moves what one tenant remembers to another, in parts and again, and asks for what it refuses.
func checkTakeOver(t testing.TB, e *env) {
	from, guards := remembered(t, e)
	sequence := from.state(t).Sequence
	list := make([]domain.Guard, 0, len(guards))
	for _, g := range guards {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b domain.Guard) int { return int(a.Watermark) - int(b.Watermark) })
	w := e.tenant(t)
	take := func(m store.Memory) error { return w.mover(t).Remember(w.ctx, m) }
	memory := store.Memory{Origin: from.id(), Sequence: sequence, Horizon: domain.Horizon{Sequence: 2, Time: after(-time.Hour)}, ErasureKey: domain.ErasureKey{7}, LastEvent: 9}
	for what, spoil := range map[string]func(*store.Memory){
		"a memory without origin":                   func(m *store.Memory) { m.Origin = ulid.ULID{} },
		"a memory of a guard beyond its sequence":   func(m *store.Memory) { m.Sequence = 1; m.Horizon = domain.Horizon{} },
		"a memory of a horizon beyond its sequence": func(m *store.Memory) { m.Horizon.Sequence = m.Sequence + 1 },
		"a memory whose sequence could begin again": func(m *store.Memory) { m.Sequence = store.MaxSequence + 1 },
		"a memory of an empty target":               func(m *store.Memory) { m.Guards = []domain.Guard{{Watermark: 1}} },
		"a memory of too many guards":               func(m *store.Memory) { m.Guards = make([]domain.Guard, store.MaxBatch+1) },
	} {
		bad := memory
		bad.Guards = slices.Clone(list)
		spoil(&bad)
		wantField(t, what, take(bad))
	}
	if got := w.state(t); got != (store.State{}) {
		t.Fatalf("what breaks a limit must write nothing: got %+v", got)
	}
	half := len(list) / 2
	for _, part := range [][]domain.Guard{nil, list[:half], list[half:], list[:half], list} {
		memory.Guards = slices.Clone(part)
		if err := take(memory); err != nil {
			t.Fatalf("Remember must take over a part, again too: got %v", err)
		}
		clear(memory.Guards) // the caller's memory
		if e.config.Reopen != nil {
			e.backend = e.config.Reopen(t, e.backend)
			w.Store, from.Store = e.named(t, w.name).Store, e.named(t, from.name).Store
		}
	}
	wantGuards(t, w.guards(t, 5), guards)
	if got := w.state(t); got.Sequence != sequence || got.Horizon.Sequence != 2 || !got.Horizon.Time.Equal(after(-time.Hour)) || got.Guards != len(guards) {
		t.Fatalf("sequence, horizon and guards must be those that were taken over: got %+v", got)
	}
	page, err := w.mover(t).Guards(w.ctx, store.GuardQuery{Limit: 1})
	if err != nil || page.ErasureKey != memory.ErasureKey {
		t.Fatalf("the erasure key must be taken over: %v", err)
	}
	for _, g := range list {
		token := w.token(g.Target.UserID, "client", g.Target.SessionID)
		if token.UserID == "" {
			token.UserID = "anybody"
		}
		wantErr(t, "what was refused must be refused", w.admit(t, token, domain.AsOfSequence(g.Watermark-1)), domain.ErrRevoked)
		if g.Target.SessionID == "" {
			if err := w.admit(t, token, domain.AsOfSequence(g.Watermark)); err != nil {
				t.Fatalf("what was not refused must not be: got %v", err)
			}
		}
	}
	wantErr(t, "what was forgotten must be known to be", w.admit(t, w.token("new", "client", ""), domain.AsOfSequence(1)), domain.ErrBeyondMemory)
	if err := w.admit(t, w.token("new", "client", ""), domain.AsOfSequence(1).Cleared(2)); err != nil {
		t.Fatalf("what is known to be free of all that was forgotten must be admitted: got %v", err)
	}
	if got := w.add(t, "new", "client", "").Sequence; got <= sequence {
		t.Fatalf("the sequence must go on above the one that was taken over: got %d, want above %d", got, sequence)
	}
	lives := w.state(t)
	if outbox, ok := store.As[store.Outbox](w.Store); ok {
		_, err := outbox.Feed(w.ctx, 8, 1)
		if gone, ok := errors.AsType[*store.CursorGoneError](err); !ok || gone.Resume != 9 || lives.LastEvent != 9 {
			t.Fatalf("the feed must go on above the number that was taken over: got %v, and the latest is %d", err, lives.LastEvent)
		}
	}
	if err := take(store.Memory{Origin: memory.Origin, Sequence: 3}); err != nil || w.state(t) != lives {
		t.Fatalf("less than what is there must change nothing: %v", err)
	}

	other := memory
	other.Origin, other.Guards = from.id(), list
	rekeyed := memory
	rekeyed.ErasureKey, rekeyed.Guards = domain.ErasureKey{8}, list
	wantErr(t, "a memory of another origin must be refused", take(other), store.ErrOccupied)
	wantErr(t, "a memory with another erasure key must be refused", take(rekeyed), store.ErrOccupied)
	wantErr(t, "a tenant that has lived must not take over anything", from.mover(t).Remember(w.ctx, other), store.ErrOccupied)
	if w.state(t) != lives {
		t.Fatalf("what was refused must write nothing")
	}
	if err := take(store.Memory{Origin: memory.Origin, Sequence: 3, Complete: true}); err != nil || w.state(t) != lives {
		t.Fatalf("that nothing is yet to come must change nothing else: %v", err)
	}
	if e.config.Reopen != nil {
		e.backend = e.config.Reopen(t, e.backend)
		w.Store, from.Store = e.named(t, w.name).Store, e.named(t, from.name).Store
	}
	more := memory
	more.Guards = []domain.Guard{{Target: domain.Target{UserID: "forgotten"}, Watermark: 1}}
	if err := take(more); err != nil || w.state(t) != lives {
		t.Fatalf("what has been taken over to the end must not return: %v", err)
	}
}
