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

// restorer is the tenant's store as one that can be restored.
func (w *tenant) restorer(t testing.TB) store.Restorer {
	t.Helper()
	r, ok := store.As[store.Restorer](w.Store)
	if !ok {
		t.Skip("the backend's stores can't be restored")
	}
	return r
}

// restoration is one that lets be what was revoked since the backup, at a time long after base.
func (w *tenant) restoration() store.Restoration {
	return store.Restoration{ID: w.id(), Time: after(5 * time.Hour), Method: store.RestoreOverride, Reason: "test", Actor: "storetest"}
}

func (w *tenant) restore(t testing.TB, r store.Restoration) store.Restored {
	t.Helper()
	now, err := w.restorer(t).Restore(w.ctx, r)
	if err != nil {
		t.Fatalf("Restore must begin an epoch: got %v", err)
	}
	return now
}

func (w *tenant) restorations(t testing.TB) []store.Restored {
	t.Helper()
	all, err := w.restorer(t).Restorations(w.ctx)
	if err != nil {
		t.Fatalf("Restorations must list what is there: got %v", err)
	}
	return all
}

// reopen opens the database again, where that can be.
func (w *tenant) reopen(t testing.TB, e *env) {
	if e.config.Reopen != nil {
		e.backend = e.config.Reopen(t, e.backend)
		w.Store = e.named(t, w.name).Store
	}
}

// checkEpoch restores a tenant that has lived, and presents what its lost life may have given out.
func checkEpoch(t testing.TB, e *env) {
	w, other := e.tenant(t), e.tenant(t)
	w.restorer(t)
	bystander := other.add(t, "user", "client", "")
	dead, live := w.add(t, "dead", "client", ""), w.add(t, "live", "client", "session")
	r := w.revocation(domain.Target{UserID: "dead"})
	r.Emit = store.KindRevoked
	w.record(t, r)
	before, beside := w.state(t), other.state(t)

	restored := w.restore(t, w.restoration())
	w.reopen(t, e)
	other.Store = e.named(t, other.name).Store
	epoch := restored.Epoch
	switch {
	case restored.Sequence != before.Sequence, restored.LastEvent != before.LastEvent:
		t.Fatalf("the record must have the numbers of the backup: got %+v of %+v", restored, before)
	case epoch < before.Sequence+1<<40, epoch < before.LastEvent+1<<40, epoch > store.MaxSequence:
		t.Fatalf("the epoch must begin far above all that a lost life can have given out: got %d of %+v", epoch, before)
	}
	want := before
	want.Sequence, want.LastEvent, want.Horizon.Sequence, want.Events = epoch, epoch, epoch, 0
	if _, is := store.As[store.Outbox](w.Store); !is {
		want.LastEvent = before.LastEvent
	}
	if got := w.state(t); got != want {
		t.Fatalf("sequence, horizon and the latest event must be the epoch's, and all else as it was: got %+v, want %+v", got, want)
	}
	if got := other.state(t); got != beside {
		t.Fatalf("another tenant must be as it was: got %+v, want %+v", got, beside)
	}
	if w.live(t, dead.ID) || !w.live(t, live.ID) || !other.live(t, bystander.ID) {
		t.Fatalf("what was revoked must be, and nothing else")
	}
	w.presentLost(t, restored)

	w.presentLostCursors(t, restored)

	status := w.revoke(t, domain.Target{UserID: "live"})
	if status.Tombstone.Watermark <= epoch || w.live(t, live.ID) {
		t.Fatalf("a revocation of the new epoch must reach the tokens of the old one: watermark %d, epoch %d", status.Tombstone.Watermark, epoch)
	}
	if again := w.restore(t, w.restoration()); again.Epoch < w.state(t).Sequence || again.Epoch < epoch+1<<40 {
		t.Fatalf("each epoch must begin above the one before: got %d after %d", again.Epoch, epoch)
	}

	empty := e.tenant(t)
	if first := empty.restore(t, empty.restoration()); first.Sequence != 0 || first.LastEvent != 0 || empty.state(t).Sequence != first.Epoch {
		t.Fatalf("a tenant that the backup does not have must begin an epoch too: got %+v", first)
	}
	names, err := e.backend.Tenants(w.ctx, "", 100)
	if err != nil || !slices.Contains(names, empty.name) {
		t.Fatalf("a tenant that was restored must be named: got %q, error %v", names, err)
	}
}

// presentLost asks for admission at points of the lost time, of before, and of now.
func (w *tenant) presentLost(t testing.TB, restored store.Restored) {
	t.Helper()
	for _, lost := range []uint64{1, restored.Sequence, restored.Sequence + 1, restored.Sequence + 1<<20, restored.Epoch - 1} {
		err := w.admit(t, w.token("new", "client", ""), domain.AsOfSequence(lost))
		wantErr(t, "what stems exactly from before the epoch must be refused", err, domain.ErrBeyondMemory)
	}
	now := w.token("new", "client", "")
	if err := w.admit(t, now, domain.AsOfSequence(restored.Epoch)); err != nil {
		t.Fatalf("what stems from the epoch must be admitted: got %v", err)
	}
	if err := w.admit(t, w.token("new", "client", ""), domain.AsOf{}); err != nil {
		t.Fatalf("what stems from now must be admitted: got %v", err)
	}
	if view, ok := w.get(t, now.ID); !ok || view.Token.Sequence <= restored.Epoch {
		t.Fatalf("the sequence must go on above the epoch's beginning: got %d, want above %d", view.Token.Sequence, restored.Epoch)
	}
}

// presentLostCursors reads on from where readers of the lost time, and of before, have stood.
func (w *tenant) presentLostCursors(t testing.TB, restored store.Restored) {
	t.Helper()
	outbox, ok := store.As[store.Outbox](w.Store)
	if !ok {
		return
	}
	for _, cursor := range []uint64{0, restored.LastEvent, restored.LastEvent + 1, restored.LastEvent + 1<<20, restored.Epoch - 1} {
		_, err := outbox.Feed(w.ctx, cursor, 1)
		if gone, ok := errors.AsType[*store.CursorGoneError](err); !ok || gone.Cursor != cursor || gone.Resume != restored.Epoch {
			t.Fatalf("a cursor of before the epoch must be gone, and lead to its beginning: got %v for %d of %+v", err, cursor, restored)
		}
	}
	r := w.revocation(domain.Target{UserID: "somebody"})
	r.Emit = store.KindRevoked
	w.record(t, r)
	if events := w.events(t, restored.Epoch, 1); len(events) != 1 || events[0].Revocation != r.ID || events[0].Number <= restored.Epoch {
		t.Fatalf("from the epoch's beginning on the feed must have all that comes: got %+v", events)
	}
}

// checkRestored repeats restorations, in parts, and looks at their records.
func checkRestored(t testing.TB, e *env) {
	w := e.tenant(t)
	w.restorer(t)
	if got := w.restorations(t); len(got) != 0 {
		t.Fatalf("a tenant that was never restored must have no record of it: got %+v", got)
	}
	for what, spoil := range map[string]func(*store.Restoration){
		"a restoration without an id":            func(r *store.Restoration) { r.ID = ulid.ULID{} },
		"a restoration by no method":             func(r *store.Restoration) { r.Method = "" },
		"a restoration with a long reason":       func(r *store.Restoration) { r.Reason = string(make([]rune, domain.MaxReason+1)) },
		"a restoration with a long actor":        func(r *store.Restoration) { r.Actor = string(make([]rune, domain.MaxActor+1)) },
		"a restoration with an empty target":     func(r *store.Restoration) { r.Guards = []domain.Guard{{}} },
		"a restoration with a number of its own": func(r *store.Restoration) { r.Guards[0].Watermark = 1 },
		"a restoration with too many guards":     func(r *store.Restoration) { r.Guards = make([]domain.Guard, store.MaxBatch+1) },
	} {
		bad := w.restoration()
		bad.Guards = []domain.Guard{{Target: domain.Target{UserID: "user"}}}
		spoil(&bad)
		_, err := w.restorer(t).Restore(w.ctx, bad)
		wantField(t, what, err)
	}
	if got := w.state(t); got != (store.State{}) {
		t.Fatalf("what breaks a limit must write nothing: got %+v", got)
	}

	w.add(t, "user", "client", "")
	r := w.restoration()
	first := w.restore(t, r)
	want := store.Restored{
		ID: r.ID, Time: r.Time, Method: r.Method, Reason: r.Reason, Actor: r.Actor, Sequence: first.Sequence, LastEvent: first.LastEvent, Epoch: first.Epoch,
	}
	if first != want {
		t.Fatalf("the record must say what was asked for: got %+v, want %+v", first, want)
	}
	var gone []domain.RefreshToken
	for i := range 3 {
		gone = append(gone, w.token("gone", "client", ""))
		r.Guards = []domain.Guard{{Target: domain.Target{TokenID: gone[i].ID}, Time: after(time.Hour), Through: after(time.Hour)}}
		r.Time = r.Time.Add(time.Hour)
		if got := w.restore(t, r); got != want {
			t.Fatalf("a restoration that is repeated must be the one that is recorded: got %+v, want %+v", got, want)
		}
		clear(r.Guards) // the caller's memory
		w.reopen(t, e)
	}
	state := w.state(t)
	if state.Sequence != first.Epoch || state.Guards != len(gone) {
		t.Fatalf("a restoration that is repeated must begin nothing, and add its guards: got %+v", state)
	}
	for _, token := range gone {
		wantErr(t, "what a restoration remembers must be refused", w.admit(t, token, domain.AsOf{}), domain.ErrRevoked)
	}
	r.Guards, r.Complete, want.Complete = nil, true, true
	if got := w.restore(t, r); got != want {
		t.Fatalf("that nothing is yet to come must be recorded: got %+v, want %+v", got, want)
	}
	w.reopen(t, e)
	r.Guards = []domain.Guard{{Target: domain.Target{UserID: "late"}}}
	r.Complete = false
	if got := w.restore(t, r); got != want || w.state(t) != state {
		t.Fatalf("a restoration that is complete must change nothing: got %+v, want %+v", got, want)
	}
	r.Method = store.RestoreCutoff
	_, err := w.restorer(t).Restore(w.ctx, r)
	wantErr(t, "an id must be that of one restoration", err, store.ErrConflict)
	if got := w.restorations(t); len(got) != 1 || got[0] != want || w.state(t) != state {
		t.Fatalf("there must be one record: got %+v, want %+v", got, want)
	}
	w.forgetRestorations(t, first)
	w.eraseRestorations(t, e)
}

// forgetRestorations restores until the first is forgotten.
func (w *tenant) forgetRestorations(t testing.TB, first store.Restored) {
	t.Helper()
	var all []store.Restored
	for i := range store.MaxRestorations {
		r := w.restoration()
		r.Actor, r.Complete = fmt.Sprint("actor-", i%2), true
		all = append(all, w.restore(t, r))
	}
	got := w.restorations(t)
	if !slices.Equal(got, all) || slices.ContainsFunc(got, func(r store.Restored) bool { return r.ID == first.ID }) {
		t.Fatalf("the latest %d records must be there, oldest first: got %d", store.MaxRestorations, len(got))
	}
}

// eraseRestorations erases one of those who have restored, and then the tenant.
func (w *tenant) eraseRestorations(t testing.TB, e *env) {
	t.Helper()
	erasure := w.erasure(domain.Target{UserID: "actor-1"})
	w.record(t, erasure)
	later := w.restoration()
	later.Actor = "actor-1"
	w.restore(t, later)
	w.finish(t, e, 1000, erasure.ID)
	names := map[string]int{}
	for _, r := range w.restorations(t) {
		names[r.Actor]++
	}
	pseudonym := erasure.Key.Pseudonym("actor-1")
	if names[pseudonym] != store.MaxRestorations/2 || names["actor-1"] != 1 || names["actor-0"] != store.MaxRestorations/2-1 {
		t.Fatalf("a record from before an erasure must not name the user, and no other may change: got %v", names)
	}
	erasure = w.erasure(domain.Target{Everything: true})
	w.record(t, erasure)
	w.finish(t, e, 1000, erasure.ID)
	if got := w.restorations(t); len(got) != 0 {
		t.Fatalf("the erasure of a tenant must leave no records of restorations: got %d", len(got))
	}
}
