package storetest

import (
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// erasure is the erasure of a target.
func (w *tenant) erasure(target domain.Target) store.Revocation {
	r := w.revocation(target)
	r.Erase, r.Key = true, domain.ErasureKey{1, 2, 3}
	return r
}

// finish applies in slices of a size, each within its bounds, until a revocation is done, and reopens the database where that
// can be.
func (w *tenant) finish(t testing.TB, e *env, size int, id ulid.ULID) {
	t.Helper()
	for i := range sweepLimit {
		bounds := store.Bounds{Visit: size + i%3, Remove: size + i%2, Now: after(2 * time.Hour)}
		before := w.state(t)
		w.apply(t, bounds, id)
		status, after := w.status(t, id), w.state(t)
		if status.Retired { // it has become a part of the history itself
			after.History--
		}
		if before.Tokens-after.Tokens > bounds.Remove || before.History-after.History > bounds.Visit || before.Guards-after.Guards > bounds.Visit {
			t.Fatalf("an erasure must keep within the bounds %+v: %+v became %+v", bounds, before, after)
		}
		if status.Retired {
			return
		}
		if i%5 == 0 && e.config.Reopen != nil {
			e.backend = e.config.Reopen(t, e.backend)
			w.Store = e.named(t, w.name).Store
		}
	}
	t.Fatalf("an erasure must come to its end: %d calls of Apply were not enough", sweepLimit)
}

// everyRevocation lists what is pending and what is retired.
func (w *tenant) everyRevocation(t rapid.TB) []store.Status {
	t.Helper()
	var all []store.Status
	for _, retired := range []bool{false, true} {
		q := store.RevocationQuery{Retired: retired, Limit: store.MaxPage}
		for range sweepLimit {
			page, err := w.Revocations(w.ctx, q)
			if err != nil {
				fail(t, "Revocations must list what is there", "got %v", err)
			}
			all = append(all, page.Revocations...)
			if q.After = page.Next; q.After.IsZero() {
				break
			}
		}
	}
	return all
}

func namesUser(s store.Status, user string) bool {
	return s.Tombstone.Actor == user || slices.ContainsFunc(s.Tombstone.Targets, func(t domain.Target) bool { return t.UserID == user })
}

// past is what a tenant remembers before an erasure.
type past struct {
	retired []store.Revocation
	pending []store.Revocation
}

// live through what names ann, bob, or both, retired and pending.
func (w *tenant) liveThrough(t testing.TB, e *env) past {
	t.Helper()
	ann, bob := domain.Target{UserID: "ann"}, domain.Target{UserID: "bob"}
	var p past
	add := func(list *[]store.Revocation, targets ...domain.Target) {
		*list = append(*list, w.revocation(targets...))
	}
	add(&p.retired, domain.Target{UserID: "ann", ClientID: "retired"})
	add(&p.retired, domain.Target{UserID: "ann", SessionID: "retired"})
	add(&p.retired, domain.Target{UserID: "bob", ClientID: "retired"}, domain.Target{UserID: "ann", Audience: "retired"})
	add(&p.retired, domain.Target{SessionID: "retired"})
	add(&p.pending, domain.Target{UserID: "ann", ClientID: "pending"})
	add(&p.pending, ann, bob)
	add(&p.pending, domain.Target{UserID: "bob", ClientID: "pending"})
	add(&p.pending, domain.Target{ClientID: "walked"}) // these two are found by a walk over all tokens
	add(&p.pending, domain.Target{Audience: "walked"})
	p.retired[3].Actor, p.pending[2].Actor = "ann", "ann" // ann's own doing, to herself and to another
	for _, r := range p.retired {
		w.add(t, "ann", "retired", "retired")
		w.record(t, r)
		w.sweep(t, r.ID)
	}
	for _, r := range p.pending {
		w.record(t, r)
	}
	return p
}

// checkEraseUser lives through every kind of revocation that names a user, erases her, and looks for her name.
func checkEraseUser(t testing.TB, e *env) {
	w := e.tenant(t)
	before := w.add(t, "carl", "client", "")
	p := w.liveThrough(t, e)
	bobs := w.add(t, "carl", "client", "")
	anns := w.insert(t, w.token("ann", "client", ""), w.token("ann", "client", "session"), w.token("ann", "other", "session"))
	others := w.state(t).Guards
	r := w.erasure(domain.Target{UserID: "ann"})
	if got := w.record(t, r); got.Retired || !got.Tombstone.Erases {
		t.Errorf("an erasure must be recorded as one: got %+v", got)
	}
	for _, token := range anns {
		if w.live(t, token.ID) {
			t.Errorf("an erasure must revoke, from the moment on that it is recorded")
		}
	}
	since := w.revocation(domain.Target{UserID: "ann", ClientID: "since"})
	since.Actor = "ann"
	w.record(t, since)
	back := w.add(t, "ann", "client", "")
	w.finish(t, e, 1, r.ID)

	for _, token := range anns {
		if w.has(t, token.ID) {
			t.Errorf("an erasure must have removed the user's tokens when it is retired")
		}
	}
	if !w.live(t, back.ID) || !w.live(t, bobs.ID) || !w.live(t, before.ID) {
		t.Errorf("an erasure must touch no one else's tokens, and none that was inserted since")
	}
	for _, status := range w.everyRevocation(t) {
		mine := status.Tombstone.ID == since.ID
		if namesUser(status, "ann") != mine {
			t.Errorf("an erasure must take the user's name out of what is older, and of nothing else: %+v", status.Tombstone)
		}
		touched := !slices.ContainsFunc(status.Tombstone.Targets, func(t domain.Target) bool { return t.UserID == "bob" }) && status.Tombstone.Targets[0].UserID != ""
		if touched && !mine && status.Tombstone.Reason != "" {
			t.Errorf("an erasure must take the reason of what named the user: %+v", status.Tombstone)
		}
	}
	if got := w.status(t, p.retired[2].ID).Tombstone; got.Targets[0].UserID != "bob" || got.Watermark == 0 {
		t.Errorf("an erasure must leave the other targets of a revocation: %+v", got)
	}
	if got := w.status(t, p.pending[2].ID).Tombstone; got.Targets[0].UserID != "bob" || got.Reason != "test" {
		t.Errorf("an erasure must leave a revocation that the user only asked for, but for her name: %+v", got)
	}
	if got := w.state(t); got.Guards != others+1 || got.History != len(p.retired)+1 || got.Pending != len(p.pending)+1 {
		t.Errorf("an erasure must forget nothing but names: %+v, with %d guards before", got, others)
	}
	w.eraseRemembers(t, e, p, r, before.Sequence)
}

// eraseRemembers sees to it that what names the user by pseudonym refuses what it refused, and is found by its id.
func (w *tenant) eraseRemembers(t testing.TB, e *env, p past, r store.Revocation, sequence uint64) {
	t.Helper()
	old := domain.AsOfSequence(sequence)
	for _, c := range []struct {
		user, client, session string
		asOf                  domain.AsOf
		refused               bool
	}{
		{"ann", "client", "", old, true},
		{"ann", "client", "", domain.AsOfTime(base, 0), true},
		{"ann", "client", "", domain.AsOf{}, false},
		{"ann", "retired", "fresh", domain.AsOf{}, false},
		{"ann", "retired", "retired", domain.AsOf{}, true}, // the session is dead for good
		{"bob", "client", "", old, true},
		{"bob", "retired", "", old, true},
		{"carl", "client", "", old, false},
	} {
		err := w.admit(t, w.token(c.user, c.client, c.session), c.asOf)
		if c.refused {
			wantErr(t, "an erasure must let nothing in that was barred before", err, domain.ErrRevoked)
		} else if err != nil {
			t.Errorf("an erasure must bar nothing that was let in before: user %q, client %q: %v", c.user, c.client, err)
		}
	}
	for _, known := range append(append(slices.Clone(p.retired), p.pending...), r) {
		got, err := w.Revoke(w.ctx, known)
		if err != nil || got.Tombstone.ID != known.ID || got.Tombstone.Watermark != w.status(t, known.ID).Tombstone.Watermark {
			t.Errorf("a revocation must be known by its id after its user was erased: %+v, %v", got, err)
		}
		known.Targets = []domain.Target{{UserID: "dora"}}
		_, err = w.Revoke(w.ctx, known)
		wantErr(t, "an id must not name two revocations after an erasure", err, store.ErrConflict)
	}
	r.Erase = false
	_, err := w.Revoke(w.ctx, r)
	wantErr(t, "the id of an erasure must not name what does not erase", err, store.ErrConflict)

	// Another user, under another key: what the tenant remembers is under its own.
	another := w.erasure(domain.Target{UserID: "erik"})
	another.Key = domain.ErasureKey{9}
	w.record(t, another)
	w.finish(t, e, 1000, another.ID)
	for _, user := range []string{"ann", "erik"} {
		wantErr(t, "an erasure must keep the tenant's key", w.admit(t, w.token(user, "client", ""), old), domain.ErrRevoked)
	}

	// The same user again, and nothing else: who can be named can be erased twice.
	again := w.erasure(domain.Target{UserID: "ann"})
	again.Key = domain.ErasureKey{9} // the tenant has its own
	again.Reason = "once more"
	w.record(t, again)
	last := w.erasure(domain.Target{UserID: "ann"})
	w.record(t, last)
	if got := w.status(t, again.ID); got.SupersededBy != last.ID {
		t.Errorf("an erasure must take over from an earlier one: %+v", got)
	}
	w.finish(t, e, 1000, last.ID)
	for _, status := range w.everyRevocation(t) {
		if namesUser(status, "ann") || status.Tombstone.ID == again.ID && status.Tombstone.Reason != "" {
			t.Errorf("a second erasure must take out what has come since the first: %+v", status.Tombstone)
		}
	}
	wantErr(t, "a second erasure must leave the first's memory", w.admit(t, w.token("ann", "client", ""), old), domain.ErrRevoked)
}

// checkEraseTenant erases a tenant while it is in use.
func checkEraseTenant(t testing.TB, e *env) {
	w, bystander := e.tenant(t), e.tenant(t)
	other := bystander.add(t, "ann", "client", "")
	kept := w.add(t, "ann", "client", "")
	w.liveThrough(t, e)
	first := w.erasure(domain.Target{UserID: "ann"})
	w.record(t, first)
	r := w.erasure(domain.Target{Everything: true})
	r.Time = after(90 * time.Minute)
	w.record(t, r)
	if w.live(t, kept.ID) {
		t.Errorf("the erasure of a tenant must revoke everything, from the moment on that it is recorded")
	}
	sequence := w.state(t).Sequence
	w.finish(t, e, 1, r.ID)
	state := w.state(t)
	horizon := state.Horizon
	if state.Tokens+state.Sessionless+state.Pending+state.Guards > 0 || state.History != 1 || state.Sequence != sequence {
		t.Errorf("an erased tenant must hold nothing but its sequence, its horizon and its erasure: %+v", state)
	}
	if horizon.Sequence < sequence || horizon.Time.Before(r.Time) {
		t.Errorf("the horizon of an erased tenant must reach to its erasure: %+v", horizon)
	}
	if got := w.status(t, r.ID); !got.Retired || got.Tombstone.Reason != "" || got.Tombstone.Actor != "" {
		t.Errorf("the erasure of a tenant must stay in the history, without reason and actor: %+v", got)
	}
	names := func() []string {
		names, err := e.backend.Tenants(e.ctx, "", 10)
		if err != nil {
			t.Fatalf("Tenants must succeed: got %v", err)
		}
		return names
	}
	fresh := w.add(t, "carl", "client", "")
	if got, err := w.Revoke(w.ctx, r); err != nil || !got.Retired || !w.live(t, fresh.ID) {
		t.Errorf("the repeated erasure of a tenant must be the first: %+v, %v", got, err)
	}
	w.sweep(t, w.revoke(t, domain.Target{UserID: "carl"}).Tombstone.ID)
	r = w.erasure(domain.Target{Everything: true})
	w.record(t, r)
	w.finish(t, e, 1000, r.ID)
	if !slices.Contains(names(), w.name) {
		t.Errorf("Tenants must name a tenant that was erased as long as there is something of it to trim")
	}
	w.forget(t, ages, ages)
	if state := w.state(t); state.History != 0 {
		t.Errorf("the erasure of a tenant must be forgotten like any other: %+v", state)
	}
	if slices.Contains(names(), w.name) || !slices.Contains(names(), bystander.name) {
		t.Errorf("Tenants must not name a tenant that was erased: got %q", names())
	}
	bystander.Store = e.named(t, bystander.name).Store
	if !bystander.live(t, other.ID) {
		t.Errorf("the erasure of a tenant must not touch another")
	}
	old := w.admit(t, w.token("bob", "client", ""), domain.AsOfSequence(kept.Sequence))
	wantErr(t, "what stems from before a tenant's erasure must be beyond memory", old, domain.ErrBeyondMemory)
	old = w.admit(t, w.token("bob", "client", ""), domain.AsOfTime(r.Time, 0))
	wantErr(t, "what stems from before a tenant's erasure must be beyond memory", old, domain.ErrBeyondMemory)

	// In use again, and erased while it is: what comes since the erasure was recorded stays.
	w.add(t, "ann", "client", "")
	if !slices.Contains(names(), w.name) {
		t.Errorf("Tenants must name a tenant that was written to after its erasure")
	}
	for range 8 { // to be erased in the midst of the walk that serves them all
		w.revoke(t, domain.Target{Audience: w.id().String()})
	}
	r = w.erasure(domain.Target{Everything: true})
	w.record(t, r)
	since := w.add(t, "ann", "client", "session")
	later := w.revoke(t, domain.Target{UserID: "bob"})
	w.finish(t, e, 1000, r.ID)
	if state := w.state(t); !w.live(t, since.ID) || state.Tokens != 1 || state.Pending != 1 || state.History != 1 || state.Guards != 0 || w.status(t, later.Tombstone.ID).Retired {
		t.Errorf("the erasure of a tenant must leave what has come since: %+v", state)
	}
	if !slices.Contains(names(), w.name) {
		t.Errorf("Tenants must name a tenant that was written to after its erasure")
	}
}
