package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func checkRevoke(t testing.TB, e *env) {
	w := e.tenant(t)
	late := w.token("user", "client", "session")
	late.CreatedAt = after(10 * time.Hour) // by a clock that is ahead of the revoker's
	w.insert(t, late, w.token("user", "client", "session"), w.token("user-2", "client", ""))
	r := w.revocation(domain.Target{UserID: "user"}, domain.Target{ClientID: "nobody"})
	before := w.state(t)
	status := w.record(t, r)
	got := status.Tombstone
	if got.ID != r.ID || !slices.Equal(got.Targets, r.Targets) || !got.Time.Equal(r.Time) || got.Reason != r.Reason || got.Actor != r.Actor {
		t.Errorf("a tombstone must keep what it was given: got %+v", got)
	}
	if status.Retired || status.Examined != 0 || status.Swept != 0 || !status.SupersededBy.IsZero() {
		t.Errorf("a new revocation must be pending: got %+v", status)
	}
	if got.Watermark <= before.Sequence || got.Watermark != w.state(t).Sequence {
		t.Errorf("the watermark must be the revocation's own number: got %d after %d, with %d the latest",
			got.Watermark, before.Sequence, w.state(t).Sequence)
	}
	if got.Through.Before(late.CreatedAt) {
		t.Errorf("Through must not be before the creation of a stored token: got %v, stored %v", got.Through, late.CreatedAt)
	}
	if kept := w.status(t, r.ID); !sameStatus(kept, status) {
		t.Errorf("Revocation must return what was recorded: got %+v, want %+v", kept, status)
	}
	if after := w.state(t); after.Pending != before.Pending+1 || after.Tokens != before.Tokens {
		t.Errorf("a revocation must be one record, whatever it reaches: state %+v became %+v", before, after)
	}
	_, err := w.Revocation(w.ctx, w.id())
	wantErr(t, "a revocation that is not there must be ErrNotFound", err, store.ErrNotFound)

	empty := e.tenant(t)
	targets := make([]domain.Target, domain.MaxTargets)
	for i := range targets {
		targets[i].UserID = fmt.Sprint("user-", i)
	}
	many := empty.revoke(t, targets...)
	if state := empty.state(t); many.Retired || state.Pending != 1 {
		t.Errorf("a revocation that reaches no token yet must be recorded: state %+v", state)
	}
	if many.Tombstone.Through.Before(many.Tombstone.Time) {
		t.Errorf("Through must not be before Time: got %v, %v", many.Tombstone.Through, many.Tombstone.Time)
	}
	pagesOfRevocations(t, e)
}

// sameStatus compares times as instants.
func sameStatus(a, b store.Status) bool {
	x, y := a.Tombstone, b.Tombstone
	return x.ID == y.ID && x.SameTargets(y.Targets) && x.Watermark == y.Watermark && x.Time.Equal(y.Time) &&
		x.Through.Equal(y.Through) && x.Reason == y.Reason && x.Actor == y.Actor && a.Retired == b.Retired &&
		a.RetiredAt.Equal(b.RetiredAt) && a.Examined == b.Examined && a.Swept == b.Swept && a.SupersededBy == b.SupersededBy
}

// pagesOfRevocations walks the pending and the retired revocations.
func pagesOfRevocations(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	w.add(t, "user", "client", "")
	want := map[bool][]ulid.ULID{}
	for i := range 20 {
		id := w.revoke(t, domain.Target{UserID: fmt.Sprint("user-", i)}).Tombstone.ID
		want[i%2 == 0] = append(want[i%2 == 0], id)
	}
	w.sweep(t, want[true]...)
	for retired, ids := range want {
		slices.SortFunc(ids, ulid.ULID.Compare)
		var got []ulid.ULID
		q := store.RevocationQuery{Retired: retired, Limit: 3}
		for {
			page, err := w.Revocations(w.ctx, q)
			if err != nil || len(page.Revocations) > q.Limit || len(page.Revocations) == 0 && !page.Next.IsZero() {
				t.Fatalf("Revocations must return pages: got %d rows, error %v", len(page.Revocations), err)
			}
			for _, status := range page.Revocations {
				got = append(got, status.Tombstone.ID)
			}
			if q.After = page.Next; q.After.IsZero() || len(got) > len(ids) {
				break
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("Revocations must return each once, by ascending id (retired %v): got %d of %d", retired, len(got), len(ids))
		}
	}
}

func checkRepeat(t testing.TB, e *env) {
	w := e.tenant(t)
	w.add(t, "user", "client", "")
	r := w.revocation(domain.Target{UserID: "user"})
	first := w.record(t, r)
	late := w.add(t, "user", "client", "")
	other := r
	other.Targets = []domain.Target{{UserID: "user-2"}}
	repeat := func(when string) {
		t.Helper()
		before, want := w.state(t), w.status(t, r.ID)
		again := r
		again.Time, again.Reason = r.Time.Add(time.Hour), "again"
		if got, err := w.Revoke(w.ctx, again); err != nil || !sameStatus(got, want) {
			t.Errorf("repeating a revocation must return the first (%s): got %+v, error %v", when, got, err)
		}
		_, err := w.Revoke(w.ctx, other)
		wantErr(t, "the id of a revocation with other targets must be ErrConflict ("+when+")", err, store.ErrConflict)
		if after := w.state(t); after != before {
			t.Errorf("repeating a revocation must write nothing (%s): state %+v became %+v", when, before, after)
		}
	}
	repeat("pending")
	if !w.live(t, late.ID) {
		t.Errorf("repeating a revocation must not reach what was inserted since")
	}
	w.sweep(t, first.Tombstone.ID)
	repeat("retired")
}

func checkNothingToDo(t testing.TB, e *env) {
	w := e.tenant(t)
	there, unknown := w.add(t, "user", "client", ""), w.token("user", "client", "")
	r := w.revocation(domain.Target{TokenID: unknown.ID}, domain.Target{TokenID: w.id()})
	before := w.state(t)
	status := w.record(t, r)
	if !status.Retired || status.Tombstone.ID != r.ID || status.Swept != 0 {
		t.Errorf("a revocation of ids that are not there must succeed as retired: got %+v", status)
	}
	if after := w.state(t); after != before {
		t.Errorf("a revocation of ids that are not there must write nothing: state %+v became %+v", before, after)
	}
	_, err := w.Revocation(w.ctx, r.ID)
	wantErr(t, "a revocation of ids that are not there must write nothing", err, store.ErrNotFound)
	if err := w.admit(t, unknown, domain.AsOf{}); err != nil {
		t.Errorf("a revocation of ids that are not there must bar nothing: got %v", err)
	}
	before = w.state(t)
	r.Targets = []domain.Target{{TokenID: there.ID, ClientID: "other"}}
	if status, after := w.record(t, r), w.state(t); !status.Retired || after != before {
		t.Errorf("a revocation of an id that it does not match must write nothing: got %+v, state %+v became %+v", status, before, after)
	}
	r.Targets = []domain.Target{{TokenID: w.id()}, {TokenID: there.ID}}
	if status := w.record(t, r); status.Retired {
		t.Errorf("a revocation one of whose ids is there must be recorded")
	}
	if w.live(t, there.ID) {
		t.Errorf("a revocation one of whose ids is there must cover it")
	}
}

func checkSupersede(t testing.TB, e *env) {
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	targets := []domain.Target{{UserID: "user"}, {SessionID: "session", Offline: domain.OfflineNo}}
	first := w.revoke(t, targets...)
	bystander := w.revoke(t, targets[0])
	since := w.add(t, "user", "client", "")
	second := w.revoke(t, targets...)
	got := w.status(t, first.Tombstone.ID)
	if !got.Retired || got.SupersededBy != second.Tombstone.ID {
		t.Errorf("a later revocation of the same targets must retire the earlier: got %+v", got)
	}
	if got.RetiredAt.IsZero() {
		t.Errorf("what is superseded must say since when")
	}
	if got := w.status(t, bystander.Tombstone.ID); got.Retired || !got.SupersededBy.IsZero() {
		t.Errorf("a revocation of other targets must not be superseded: got %+v", got)
	}
	if got := w.status(t, second.Tombstone.ID); got.Retired || !got.SupersededBy.IsZero() {
		t.Errorf("the later revocation must go on with the sweep: got %+v", got)
	}
	if state := w.state(t); state.Pending != 2 || state.History != 1 {
		t.Errorf("superseding must leave one pending revocation of the targets: state %+v", state)
	}
	for _, id := range []ulid.ULID{token.ID, since.ID} {
		if w.live(t, id) {
			t.Errorf("the later revocation must cover what the earlier did, and what was inserted in between")
		}
	}
	w.sweep(t, second.Tombstone.ID)
	if w.has(t, token.ID) || w.has(t, since.ID) {
		t.Errorf("the later revocation must sweep what the earlier had left")
	}
	erasure := w.record(t, w.erasure(domain.Target{UserID: "another"}))
	plain := w.revoke(t, erasure.Tombstone.Targets...)
	again := w.record(t, w.erasure(domain.Target{UserID: "another"}))
	for what, c := range map[string]struct{ id, by ulid.ULID }{
		"a revocation that erases": {erasure.Tombstone.ID, again.Tombstone.ID}, "one that does not": {plain.Tombstone.ID, ulid.ULID{}},
	} {
		if got := w.status(t, c.id); got.SupersededBy != c.by || got.Retired != !c.by.IsZero() {
			t.Errorf("%s must be superseded by its like alone: got %+v, want by %v", what, got, c.by)
		}
	}
}

func checkUnanchored(t testing.TB, e *env) {
	w := e.tenant(t)
	w.add(t, "user", "client", "")
	var pending []store.Revocation
	for i := range store.MaxUnanchored {
		r := w.revocation(domain.Target{Audience: fmt.Sprint("audience-", i)})
		if i == 0 { // one target without an anchor among others is enough
			r.Targets = append([]domain.Target{{UserID: "other"}}, r.Targets...)
		}
		w.record(t, r)
		pending = append(pending, r)
	}
	before := w.state(t)
	one := w.revocation(domain.Target{Audience: "one more"})
	_, err := w.Revoke(w.ctx, one)
	wantErr(t, "one more pending revocation without an anchor must be ErrBusy", err, store.ErrBusy)
	if after := w.state(t); after != before {
		t.Errorf("what is ErrBusy must write nothing: state %+v became %+v", before, after)
	}
	w.revoke(t, domain.Target{ClientID: "other"}) // has an anchor
	w.record(t, pending[3])                       // is there already
	again := w.revoke(t, pending[5].Targets...)   // supersedes one, so they do not become more
	_, err = w.Revoke(w.ctx, one)
	wantErr(t, "superseding must not make room for one more", err, store.ErrBusy)
	w.sweep(t, again.Tombstone.ID)
	w.record(t, one)
}
