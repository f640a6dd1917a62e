package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// checkFeed reads in pages of every size, from everywhere, while others write.
func checkFeed(t testing.TB, e *env) {
	w := e.tenant(t)
	noOutbox(t, w)
	if page := w.page(t, 0, 1); len(page.Events) > 0 || page.Last != 0 {
		t.Errorf("a new feed must be empty: got %+v", page)
	}
	const n = 30
	r := &reader{tenant: w}
	var seen []store.Event
	for i := range n {
		if _, err := w.Insert(w.ctx, emitting(w.token("user", "client", ""), w.token("user", "client", ""))); err != nil {
			t.Fatalf("Insert must succeed: got %v", err)
		}
		if i%3 == 0 {
			seen = append(seen, r.news(t)...)
		}
	}
	seen = append(seen, r.news(t)...)
	all := w.events(t, 0, store.MaxPage)
	if len(all) != 2*n || !slices.EqualFunc(all, seen, sameEvent) {
		t.Errorf("who reads as it goes must see what is there in the end: %d events, then %d", len(seen), len(all))
	}
	for i := 1; i < len(all); i++ {
		if all[i].Sequence <= all[i-1].Sequence {
			t.Errorf("events must be in the order of their commits")
		}
	}
	if g, ok := store.As[store.Gapless](w.Store); ok && g.Gapless() {
		for i := range all {
			if all[i].Number != uint64(i+1) {
				t.Fatalf("numbers that are said to have no gaps must have none: got %d as the event number %d", all[i].Number, i+1)
			}
		}
	}
	for limit := 1; limit <= 2*n+1; limit += 3 {
		for from := 0; from <= len(all); from += 7 {
			cursor := uint64(0)
			if from > 0 {
				cursor = all[from-1].Number
			}
			if got := w.events(t, cursor, limit); !slices.EqualFunc(got, all[from:], sameEvent) {
				t.Fatalf("a reader that resumes must see each event after its cursor exactly once: %d of %d", len(got), len(all)-from)
			}
		}
	}
	for _, c := range []struct {
		after uint64
		limit int
	}{{0, 0}, {0, -1}, {0, store.MaxPage + 1}, {r.cursor + 1, 1}} {
		_, err := w.feed(w.ctx, c.after, c.limit)
		wantErr(t, "a cursor that was never given out, or a limit out of range, must be refused", err, domain.ErrInvalid)
	}
	ended, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := w.feed(ended, 0, 1)
	wantErr(t, "Feed must end with its context", err, context.Canceled)
	feedApart(t, e)
}

func sameEvent(a, b store.Event) bool {
	return a.Number == b.Number && a.Kind == b.Kind && a.Time.Equal(b.Time) && a.Sequence == b.Sequence && a.Revocation == b.Revocation &&
		slices.Equal(a.Tokens, b.Tokens) && slices.Equal(a.Targets, b.Targets) && a.Reason == b.Reason && a.Actor == b.Actor &&
		a.Erases == b.Erases && a.Count == b.Count && a.Retired == b.Retired
}

// feedApart sees to it that tenants' events are apart, that none shares memory, and that all are there after a restart.
func feedApart(t testing.TB, e *env) {
	t.Helper()
	w, other := e.tenant(t), e.tenant(t)
	token := w.add(t, "user", "client", "session")
	rev := w.revocation(domain.Target{TokenID: token.ID}, domain.Target{UserID: "user"})
	rev.Emit = store.KindRevoked
	w.record(t, rev)
	if got := other.events(t, 0, 1); len(got) > 0 {
		t.Errorf("a feed must show one tenant's events only: got %+v", got)
	}
	want := w.events(t, 0, 1)[0].Clone()
	for i := range rev.Targets {
		rev.Targets[i] = domain.Target{UserID: "spoiled"}
	}
	for range 2 {
		got := w.events(t, 0, 1)[0]
		if !sameEvent(got, want) {
			t.Errorf("an event must not change through the caller's memory: got %+v", got)
		}
		got.Targets[0], got.Tokens[0] = domain.Target{UserID: "spoiled"}, store.EventToken{}
	}
	if e.config.Reopen == nil {
		return
	}
	e.backend = e.config.Reopen(t, e.backend)
	w.Store = e.named(t, w.name).Store
	if got := w.events(t, 0, 1); len(got) != 1 || !sameEvent(got[0], want) {
		t.Errorf("events must survive a restart: got %+v", got)
	}
	w.record(t, store.Revocation{ID: w.id(), Targets: []domain.Target{{UserID: "next"}}, Time: base, Emit: store.KindRevoked})
	if got := w.events(t, want.Number, 1); len(got) != 1 || got[0].Targets[0].UserID != "next" {
		t.Errorf("numbers must go on after a restart: got %+v", got)
	}
}

// checkKinds asks for one kind after the other, of a history that has them all.
func checkKinds(t testing.TB, e *env) {
	noOutbox(t, e.tenant(t))
	for i := -1; ; i++ {
		asked := store.Kinds(0)
		if i >= 0 {
			asked = 1 << i
		}
		if asked > store.AllKinds {
			break
		}
		w := e.tenant(t)
		happened := w.everyKind(t, asked)
		events := w.events(t, 0, store.MaxPage)
		if slices.ContainsFunc(events, func(e store.Event) bool { return e.Kind != asked }) {
			t.Errorf("no event must be written of a kind that was not asked for: got %+v, asked for %v", events, asked)
		}
		if happened&asked != 0 && len(events) == 0 {
			t.Errorf("an event must be written of a kind that was asked for: %v", asked)
		}
	}
}

// everyKind has something happen of every kind, and emit what is asked for. It returns what has happened.
func (w *tenant) everyKind(t testing.TB, asked store.Kinds) (happened store.Kinds) {
	t.Helper()
	insert := func(change func(*store.Insertion)) domain.RefreshToken {
		t.Helper()
		row := store.Insertion{Token: w.token("user", "client", ""), Emit: asked}
		change(&row)
		results, err := w.Insert(w.ctx, []store.Insertion{row})
		if err != nil || results[0].Err != nil {
			t.Fatalf("Insert must succeed: got %v", err)
		}
		return stored(row.Token, results[0])
	}
	insert(func(*store.Insertion) {})
	token := insert(func(row *store.Insertion) { row.Cap.Max = 1 })
	insert(func(row *store.Insertion) { row.Token.ExpiresAt = after(time.Minute) })
	for _, kind := range []store.Kinds{store.KindExchanged, store.KindRetried} {
		err := w.Update(w.ctx, token.ID, func(view store.View) store.Decision {
			d := write(kind.String())(view)
			d.Emit = kind & asked
			return d
		})
		if err != nil {
			t.Fatalf("Update must succeed: got %v", err)
		}
	}
	happened = store.AllKinds
	done, err := w.Expire(w.ctx, store.Bounds{Visit: 10, Remove: 10, Now: after(time.Hour), Emit: asked})
	if err != nil {
		t.Fatalf("Expire must succeed: got %v", err)
	}
	if done.Removed == 0 {
		happened &^= store.KindExpired
	}
	reuse := w.revocation(domain.Target{TokenID: token.ID})
	reuse.Emit = store.KindReused & asked
	if err := w.Update(w.ctx, token.ID, func(store.View) store.Decision { return store.Decision{Revoke: &reuse} }); err != nil {
		t.Fatalf("Update must succeed: got %v", err)
	}
	rev := w.revocation(domain.Target{UserID: "user"})
	rev.Emit = store.KindRevoked & asked
	w.record(t, rev)
	erasure := w.erasure(domain.Target{UserID: "another"})
	w.record(t, erasure)
	bounds := amply
	bounds.Emit = asked
	for i := 0; i < sweepLimit && !w.status(t, erasure.ID).Retired; i++ {
		w.apply(t, bounds, reuse.ID, rev.ID, erasure.ID)
	}
	if namesUser(w.status(t, erasure.ID), "another") {
		happened &^= store.KindErased
	}
	return happened
}

// checkRetention trims a feed that is being read.
func checkRetention(t testing.TB, e *env) {
	w := e.tenant(t)
	noOutbox(t, w)
	at := func(minute int) time.Time { return after(time.Duration(minute) * time.Minute) }
	revoke := func(minute int) {
		t.Helper()
		r := w.revocation(domain.Target{UserID: "user", IssuedBefore: at(minute)})
		r.Emit, r.Time = store.KindRevoked, at(minute)
		w.record(t, r)
	}
	for _, minute := range []int{1, 2, 3, 9, 4, 5} { // a clock that stepped back
		revoke(minute)
	}
	all := w.events(t, 0, store.MaxPage)
	trim := func(before time.Time, limit int) (dropped int) {
		t.Helper()
		for range sweepLimit {
			done, err := w.Trim(w.ctx, store.Trim{Events: before, Limit: limit})
			if err != nil || done.Events > limit || done.Guards+done.History > 0 {
				t.Fatalf("Trim must drop what is old, within its limit: got %+v, error %v", done, err)
			}
			if dropped += done.Events; done.Events == 0 {
				return dropped
			}
		}
		t.Fatalf("Trim must come to its end")
		return 0
	}
	gone := func(what string, dropped int) {
		t.Helper()
		if got := w.state(t); got.Events != len(all)-dropped || got.LastEvent != all[len(all)-1].Number {
			t.Fatalf("%s: State must count the events that are left: got %+v", what, got)
		}
		for i := range dropped {
			cursor := uint64(0)
			if i > 0 {
				cursor = all[i-1].Number
			}
			_, err := w.feed(w.ctx, cursor, 2)
			wantErr(t, what+": a reader must be told that events after its cursor are gone", err, store.ErrCursorGone)
			cause := (*store.CursorGoneError)(nil)
			if !errors.As(err, &cause) || cause.Cursor != cursor || cause.Resume != all[dropped-1].Number {
				t.Fatalf("%s: a reader must be told from where all is there: got %+v", what, cause)
			}
		}
		resume := uint64(0)
		if dropped > 0 {
			resume = all[dropped-1].Number
		}
		if got := w.events(t, resume, 2); !slices.EqualFunc(got, all[dropped:], sameEvent) {
			t.Fatalf("%s: what is not old must stay: %d of %d", what, len(got), len(all)-dropped)
		}
	}
	trim(time.Time{}, 1)
	trim(at(1), 1)
	gone("nothing is old enough", 0)
	if done, err := w.Trim(w.ctx, store.Trim{Events: at(3), Limit: 1}); err != nil || done.Events != 1 {
		t.Fatalf("Trim must drop one of a limit of one: got %+v, error %v", done, err)
	}
	gone("one is dropped", 1)
	trim(at(3), 5)
	gone("two are dropped", 2)
	trim(at(6), 5)
	gone("one that is younger stands before older ones", 3)
	trim(at(10), 2)
	gone("all are dropped", 6)
	if e.config.Reopen != nil {
		e.backend = e.config.Reopen(t, e.backend)
		w.Store = e.named(t, w.name).Store
		gone("after a restart", 6)
	}
	revoke(11)
	if got := w.events(t, all[5].Number, 5); len(got) != 1 || got[0].Number <= all[5].Number || !got[0].Time.Equal(at(11)) {
		t.Errorf("no number must be given again after a trim: got %+v", got)
	}
}
