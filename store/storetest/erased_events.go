package storetest

import (
	"errors"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// namesIn reports whether an event names a user.
func namesIn(e store.Event, user string) bool {
	return e.Actor == user || slices.ContainsFunc(e.Targets, func(t domain.Target) bool { return t.UserID == user }) ||
		slices.ContainsFunc(e.Tokens, func(t store.EventToken) bool { return t.UserID == user })
}

// checkErasedEvents erases a user, and then all, from a feed that has events of every kind.
func checkErasedEvents(t testing.TB, e *env) {
	w := e.tenant(t)
	noOutbox(t, w)
	var anns, bobs domain.RefreshToken
	for user, token := range map[string]*domain.RefreshToken{"ann": &anns, "bob": &bobs} {
		*token = w.token(user, "client", "session")
		results, err := w.Insert(w.ctx, emitting(*token))
		if err != nil {
			t.Fatalf("Insert must succeed: got %v", err)
		}
		token.Sequence = results[0].Sequence
	}
	record := func(actor string, targets ...domain.Target) ulid.ULID {
		t.Helper()
		r := w.revocation(targets...)
		r.Actor, r.Emit = actor, store.KindRevoked
		w.record(t, r)
		return r.ID
	}
	ann, bob := domain.Target{UserID: "ann"}, domain.Target{UserID: "bob"}
	record("", domain.Target{TokenID: anns.ID})
	both := record("", ann, bob)
	asked := record("ann", domain.Target{UserID: "bob", ClientID: "other"})
	shared := record("", domain.Target{TokenID: anns.ID}, domain.Target{TokenID: bobs.ID})
	record("ann", domain.Target{UserID: "ann", ClientID: "other"})
	before := w.events(t, 0, store.MaxPage)
	erasure := w.erasure(ann)
	erasure.Emit, erasure.Actor = store.KindRevoked, "ann"
	w.record(t, erasure)
	since := record("ann", domain.Target{UserID: "ann", ClientID: "since"})
	latest := w.state(t).LastEvent
	sinceAs := w.events(t, latest-1, 1)[0]
	w.finishEmitting(t, e, both, erasure.ID)

	after := w.events(t, 0, store.MaxPage)
	byNumber := map[uint64]store.Event{}
	for _, e := range after {
		byNumber[e.Number] = e
		if e.Revocation != since && namesIn(e, "ann") {
			t.Errorf("no event of what was recorded before an erasure must name the user: got %+v", e)
		}
		if e.Number == latest && !sameEvent(e, sinceAs) {
			t.Errorf("an erasure must leave the events of what has come since: got %+v", e)
		}
	}
	for _, was := range before {
		got, ok := byNumber[was.Number]
		alone := slices.ContainsFunc(was.Tokens, func(t store.EventToken) bool { return t.UserID == "ann" }) || len(was.Targets) == 1 && was.Targets[0].UserID == "ann"
		alone = alone && was.Revocation != shared
		switch {
		case !ok:
			t.Errorf("an erasure must leave every event's number: %d is gone", was.Number)
		case alone && (got.Kind != store.KindErased || len(got.Tokens)+len(got.Targets) > 0 || got.Reason != "" || got.Revocation != erasure.ID):
			t.Errorf("an event of the user alone must become one that says no more than that: got %+v", got)
		case !alone && got.Kind != was.Kind:
			t.Errorf("an event about others must stay what it is: %+v became %+v", was, got)
		case was.Revocation == both && (len(got.Targets) != 1 || got.Targets[0] != bob || got.Reason != ""):
			t.Errorf("an event about others must show them, and not why the user was revoked: got %+v", got)
		case was.Revocation == shared && !slices.Equal(got.Tokens, []store.EventToken{tokenOf(bobs)}):
			t.Errorf("an event about others must show their tokens: got %+v", got)
		case was.Revocation == asked && (len(got.Targets) != 1 || got.Targets[0] != was.Targets[0] || got.Reason != was.Reason):
			t.Errorf("an event that the user only asked for must show the rest: got %+v", got)
		case !alone && !namesIn(was, "ann") && !sameEvent(got, was):
			t.Errorf("an erasure must leave the events of others: %+v became %+v", was, got)
		}
	}
	if len(after) == 0 {
		return
	}
	last := after[len(after)-1]
	if last.Kind != store.KindErased || last.Revocation != erasure.ID || len(last.Targets) != 1 || !last.Erases || last.Reason != "" {
		t.Errorf("an erasure that is done must be the latest event: got %+v", last)
	}
	eraseAllEvents(t, e, w, after)
}

// finishEmitting finishes an erasure, which emits, with what else is swept with it.
func (w *tenant) finishEmitting(t testing.TB, e *env, ids ...ulid.ULID) {
	t.Helper()
	for i := range sweepLimit {
		bounds := amply
		bounds.Visit, bounds.Remove = 1+i%3, 1
		w.apply(t, bounds, ids...)
		status, err := w.Revocation(w.ctx, ids[len(ids)-1])
		if errors.Is(err, store.ErrNotFound) || err == nil && status.Retired {
			return
		}
		if i%4 == 0 && e.config.Reopen != nil {
			e.backend = e.config.Reopen(t, e.backend)
			w.Store = e.named(t, w.name).Store
		}
	}
	t.Fatalf("an erasure must come to its end: %d calls of Apply were not enough", sweepLimit)
}

// eraseAllEvents erases the tenant, with something in between that has to stay.
func eraseAllEvents(t testing.TB, e *env, w *tenant, before []store.Event) {
	t.Helper()
	erasure := w.erasure(domain.Target{Everything: true})
	erasure.Emit = store.KindRevoked
	w.record(t, erasure)
	results, err := w.Insert(w.ctx, emitting(w.token("ann", "client", "")))
	if err != nil || results[0].Err != nil {
		t.Fatalf("Insert must succeed: got %v", err)
	}
	w.finishEmitting(t, e, erasure.ID)
	for _, was := range before {
		_, err := w.feed(w.ctx, was.Number, 1)
		wantErr(t, "the erasure of a tenant must drop its events, and readers must be told", err, store.ErrCursorGone)
	}
	_, err = w.feed(w.ctx, 0, 1)
	cause := (*store.CursorGoneError)(nil)
	if !errors.As(err, &cause) {
		t.Fatalf("readers must be told from where all is there: got %v", err)
	}
	left := w.events(t, cause.Resume, store.MaxPage)
	if len(left) == 0 || left[0].Kind != store.KindIssued || left[0].Sequence != results[0].Sequence {
		t.Fatalf("the erasure of a tenant must leave the events of what has come since: got %+v", left)
	}
	for _, e := range left[1:] {
		if e.Kind != store.KindErased || len(e.Tokens)+len(e.Targets) > 0 {
			t.Errorf("the erasure of a tenant must leave nothing of what was before it: got %+v", e)
		}
	}
	// Once more, with all of the sweep in one slice: what that has to tell goes, too.
	w.insert(t, w.token("bob", "client", ""))
	bobs := w.revoke(t, domain.Target{UserID: "bob"}).Tombstone.ID
	again := w.erasure(domain.Target{Everything: true})
	again.Emit = store.KindRevoked
	w.record(t, again)
	w.apply(t, amply, bobs, again.ID)
	w.finishEmitting(t, e, again.ID)
	if got := w.state(t); got.Events != 0 || got.LastEvent < left[0].Number {
		t.Errorf("an erased tenant must have no events, and remember their numbers: got %+v", got)
	}
	if got := w.events(t, w.state(t).LastEvent, 1); len(got) > 0 {
		t.Errorf("an erased tenant must have no events: got %+v", got)
	}
}
