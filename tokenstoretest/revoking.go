package tokenstoretest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// revoke asks for a new revocation of one to three targets.
func (m *machine) revoke(t *rapid.T) {
	w := m.tenant(t)
	m.revokeTargets(t, w, ulid.ULID{}, m.drawTargets(t, w))
}

// revokeAgain repeats a revocation under its id, with the same targets or with others.
func (m *machine) revokeAgain(t *rapid.T) {
	w := m.tenant(t)
	var known []*acknowledged
	for _, r := range w.model.revocations {
		if r.receipt != nil && !r.erases {
			known = append(known, r)
		}
	}
	if len(known) == 0 {
		t.Skip("no revocation yet")
	}
	r := w.model.findRevocation(rapid.SampledFrom(known).Draw(t, "revocation").id)
	targets := r.targets
	if chance(t, "others", 3) {
		targets = m.drawTargets(t, w)
	}
	status, err := w.Revocation(m.ctx, r.id)
	if errors.Is(err, tokenstore.ErrNotFound) {
		if !w.model.trimmed {
			fail(t, "S5 durable: an acknowledged revocation must be there", "%s", r.id)
		}
		m.revokeTargets(t, w, r.id, targets) // forgotten, so it is a new one
		return
	}
	if err != nil {
		fail(t, "Revocation must succeed", "%v", err)
	}
	receipt, err := w.Revoke(m.ctx, tokenstore.RevokeRequest{ID: r.id, Targets: targets})
	if !sameTargets(targets, r.targets) {
		if !errors.Is(err, tokenstore.ErrConflict) {
			fail(t, "an id must not name two revocations", "got %v", err)
		}
		return
	}
	if err != nil || receipt.Status.Tombstone.Watermark != status.Tombstone.Watermark {
		fail(t, "a repeated revocation must return the first", "%v: got %+v, want %+v", err, receipt.Status, status)
	}
}

// revokeTargets asks for a revocation under an id that names none, or a new one.
func (m *machine) revokeTargets(t *rapid.T, w *tenant, id ulid.ULID, targets []tokenstore.Target) {
	onlyIDs, absent, none := true, true, true // absent: no such id; none: nor does any of the targets match
	for _, target := range targets {
		onlyIDs = onlyIDs && !target.TokenID.IsZero()
		_, err := w.store.Get(m.ctx, target.TokenID)
		if !target.TokenID.IsZero() && err == nil {
			absent = false
			none = none && !names(target, w.model.find(target.TokenID))
		}
	}
	at := m.clock.now()
	receipt, err := w.Revoke(m.ctx, tokenstore.RevokeRequest{ID: id, Targets: targets, Reason: "test"})
	t.Logf("%s: revoke %+v: %v", w.name, targets, err)
	if errors.Is(err, tokenstore.ErrBusy) {
		if state, err := w.State(m.ctx); err != nil || state.Pending < store.MaxUnanchored {
			fail(t, "a revocation must not be refused before many are pending", "%d pending, %v", state.Pending, err)
		}
		return
	}
	if err != nil {
		fail(t, "a revocation that is within the limits must succeed", "%v", err)
	}
	if onlyIDs && none {
		_, err := w.Revocation(m.ctx, receipt.ID())
		if absent && !errors.Is(err, tokenstore.ErrNotFound) || !absent && err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
			fail(t, "revoking ids that are not there must write nothing", "got %v", err)
		}
		if err != nil {
			if !receipt.Status.Retired {
				fail(t, "revoking ids that are not there must be done at once", "got %+v", receipt.Status)
			}
			return
		}
	}
	m.takeReceipt(t, w, receipt, targets, at)
}

// takeReceipt takes in a revocation that was acknowledged.
func (m *machine) takeReceipt(t *rapid.T, w *tenant, receipt tokenstore.Receipt, targets []tokenstore.Target, at time.Time) {
	tombstone := receipt.Status.Tombstone
	latest := at // of what is stored
	for _, l := range w.model.lives {
		if !l.gone && l.created.After(latest) {
			if _, err := w.store.Get(m.ctx, l.id); err == nil {
				latest = l.created
			}
		}
	}
	if tombstone.Through.Before(latest) || tombstone.Through.After(at) && tombstone.Through.After(w.model.latest) {
		fail(t, "S4 no resurrection: a revocation must reach to the latest creation time stored", "got %v, want %v..%v", tombstone.Through, latest, w.model.latest)
	}
	if !tombstone.Time.Equal(at) || !sameTargets(tombstone.Targets, targets) {
		fail(t, "a receipt must show what was asked for", "got %+v, want %+v at %v", tombstone, targets, at)
	}
	m.expectEvent(w, tokenstore.KindRevoked, receipt.ID())
	m.acknowledge(t, w, &acknowledged{
		id: receipt.ID(), targets: slices.Clone(targets), at: at, through: tombstone.Through, receipt: &receipt,
	})
}

// acknowledge makes a revocation the next event.
func (m *machine) acknowledge(t *rapid.T, w *tenant, r *acknowledged) {
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	r.watermark, r.event = state.Sequence, m.next()
	w.model.revocations = append(w.model.revocations, r)
}

func sameTargets(a, b []tokenstore.Target) bool {
	return slices.EqualFunc(a, b, func(a, b tokenstore.Target) bool { return a.Key() == b.Key() })
}

// drawTargets draws one to three.
func (m *machine) drawTargets(t *rapid.T, w *tenant) []tokenstore.Target {
	var targets []tokenstore.Target
	for range pick(t, "targets", 1, 1, 1, 2, 3) {
		targets = append(targets, m.drawTarget(t, w))
	}
	return targets
}

func (m *machine) drawTarget(t *rapid.T, w *tenant) tokenstore.Target {
	return drawTarget(t, w.LegacyTarget().LegacyBefore, func() ulid.ULID { return m.drawTokenID(t, w) }, func() time.Time { return m.drawTime(t, w) })
}

// drawTarget draws any conjunction, of an id and an instant that are drawn by the given functions. Narrow ones come more often,
// or nothing would live long.
func drawTarget(t *rapid.T, legacyBefore time.Time, id func() ulid.ULID, at func() time.Time) tokenstore.Target {
	var target tokenstore.Target
	switch pick(t, "target", "user", "user", "session", "session", "id", "id", "client", "userClient", "any", "any", "any", "everything") {
	case "everything":
		return tokenstore.Target{Everything: true}
	case "user":
		target.UserID = pick(t, "user", users...)
		return target
	case "session":
		target.SessionID = pick(t, "session", sessions[:4]...)
		target.Offline = pick(t, "offline", tokenstore.OfflineAny, tokenstore.OfflineNo)
		return target
	case "id":
		target.TokenID = id()
		return target
	case "client":
		target.ClientID = pick(t, "client", clients...)
		return target
	case "userClient":
		target.UserID, target.ClientID = pick(t, "user", users...), pick(t, "client", clients...)
		return target
	}
	if chance(t, "withID", 6) {
		target.TokenID = id()
	}
	if chance(t, "withUser", 3) {
		target.UserID = pick(t, "user", users...)
	}
	if chance(t, "withClient", 4) {
		target.ClientID = pick(t, "client", clients...)
	}
	if chance(t, "withSession", 4) {
		target.SessionID = pick(t, "session", sessions[:4]...)
	}
	if chance(t, "withAudience", 3) {
		target.Audience = pick(t, "audience", audiences...)
	}
	if chance(t, "withTime", 3) {
		target.IssuedBefore = at()
	}
	if chance(t, "legacy", 5) {
		target.LegacyBefore = legacyBefore
	}
	target.Offline = pick(t, "offline", tokenstore.OfflineAny, tokenstore.OfflineAny, tokenstore.OfflineNo, tokenstore.OfflineYes)
	if target == (tokenstore.Target{}) {
		target.Audience = audiences[0]
	}
	return target
}

// drawTokenID draws the id of a token that was let in, or one that may never have been.
func (m *machine) drawTokenID(t *rapid.T, w *tenant) ulid.ULID {
	if len(w.model.lives) == 0 || chance(t, "unknown", 6) {
		return pick(t, "id", fixedIDs...)
	}
	return w.drawLife(t).id
}

var (
	applyOperation = operation{"apply", 5, (*machine).apply}
	trimOperation  = operation{"trim", 2, (*machine).trim}
)

// apply sweeps one slice of any size, of any pending revocations in any order, as one of two planners does: each applies what
// it took for pending when it last looked, whatever the other has done since.
func (m *machine) apply(t *rapid.T) {
	w := m.tenant(t)
	plan := m.drawPlan(t, w)
	m.applySome(t, w, plan)
}

func (m *machine) drawPlan(t *rapid.T, w *tenant) []ulid.ULID {
	plan := &w.plans[rapid.IntRange(0, 1).Draw(t, "planner")]
	if len(*plan) == 0 || !m.config.draws("stale") || rapid.Bool().Draw(t, "look") {
		pending := w.pending(t, m)
		if len(pending) == 0 {
			t.Skip("nothing pending")
		}
		*plan = pending
	}
	return *plan
}

func (m *machine) drawSlice(t *rapid.T, plan []ulid.ULID) (ids []ulid.ULID, bounds store.Bounds) {
	ids = rapid.Permutation(plan).Draw(t, "pending")
	ids = ids[:rapid.IntRange(1, min(len(ids), store.MaxSlice)).Draw(t, "ids")]
	return ids, store.Bounds{
		Visit: pick(t, "visit", 1, 2, 3, 5, 100), Remove: pick(t, "remove", 1, 1, 2, 100), Now: m.clock.now(),
		Emit: m.outbox(),
	}
}

func (m *machine) applySome(t *rapid.T, w *tenant, plan []ulid.ULID) {
	ids, bounds := m.drawSlice(t, plan)
	before := m.tokens(t, w)
	_, err := failingStore{w.store, &m.faults}.Apply(m.ctx, ids, bounds)
	removed := before - m.tokens(t, w)
	switch {
	case errors.Is(err, store.ErrNotCommitted) && removed > 0:
		fail(t, "what was not committed must have no effect", "removed %d", removed)
	case err != nil && !errors.Is(err, store.ErrNotCommitted) && !errors.Is(err, store.ErrUnknownOutcome):
		fail(t, "a sweep must succeed", "Apply: %v", err)
	case removed > bounds.Remove || removed > bounds.Visit:
		fail(t, "a slice must keep within its bounds", "removed %d, %+v", removed, bounds)
	}
}

// applyBoth has both planners sweep at the same time.
func (m *machine) applyBoth(t *rapid.T) {
	w := m.tenant(t)
	type slice struct {
		ids    []ulid.ULID
		bounds store.Bounds
	}
	if len(w.pending(t, m)) == 0 {
		t.Skip("nothing pending")
	}
	var slices [2][]slice
	for i := range slices {
		plan := m.drawPlan(t, w)
		for range rapid.IntRange(1, 3).Draw(t, "slices") {
			ids, bounds := m.drawSlice(t, plan)
			slices[i] = append(slices[i], slice{ids, bounds})
		}
	}
	var group sync.WaitGroup
	var errs [2]error
	for i := range slices {
		group.Go(func() {
			for _, s := range slices[i] {
				_, err := w.store.Apply(m.ctx, s.ids, s.bounds)
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		fail(t, "a sweep must succeed", "Apply: %v", err)
	}
}

// trim forgets what is older than a cut, to the end: what a store forgets first is its own affair.
func (m *machine) trim(t *rapid.T) {
	w := m.tenant(t)
	soon := m.clock.now().Add(time.Second)
	cuts := []time.Time{soon, soon}
	for _, r := range w.model.revocations {
		cuts = append(cuts, r.at, r.at.Add(time.Millisecond))
	}
	cut := store.Trim{
		Guards: rapid.SampledFrom(cuts).Draw(t, "guards"), History: pick(t, "history", time.Time{}, time.Time{}, soon.Add(-time.Hour), soon),
		Events: pick(t, "events", time.Time{}, time.Time{}, soon.Add(-time.Hour), soon),
		Limit:  rapid.IntRange(1, 3).Draw(t, "limit"),
	}
	w.reader.dropped = w.reader.dropped || !cut.Events.IsZero()
	m.noteEvents(t, w)                                        // an operation that was broken off may have written some
	most := 1 + len(w.model.evictions) + int(w.reader.latest) // calls, with one for the end
	for _, r := range w.model.revocations {
		most += len(r.targets)
	}
	w.model.forget(cut.Guards)
	w.model.trimmed = w.model.trimmed || !cut.History.IsZero()
	for ; ; most-- {
		done, err := w.store.Trim(m.ctx, cut)
		if err != nil || most < 1 {
			fail(t, "a trim must succeed and come to an end", "Trim: %+v, %v", done, err)
		}
		if done == (store.Trimmed{}) {
			return
		}
	}
}

// pending returns the ids of what is pending, ascending.
func (w *tenant) pending(t *rapid.T, m *machine) []ulid.ULID {
	var ids []ulid.ULID
	for _, status := range w.revocations(t, m, false) {
		ids = append(ids, status.Tombstone.ID)
	}
	return ids
}

// revocations returns all that are pending, or all that are retired.
func (w *tenant) revocations(t *rapid.T, m *machine, retired bool) []store.Status {
	var all []store.Status
	q := store.RevocationQuery{Retired: retired, Limit: store.MaxPage}
	for {
		page, err := w.store.Revocations(m.ctx, q)
		if err != nil {
			fail(t, "Revocations must succeed", "%v", err)
		}
		all = append(all, page.Revocations...)
		if page.Next.IsZero() {
			return all
		}
		q.After = page.Next
	}
}

func (m *machine) tokens(t *rapid.T, w *tenant) int {
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	return state.Tokens
}
