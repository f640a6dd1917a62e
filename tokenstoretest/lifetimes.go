package tokenstoretest

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

var (
	policyOperation = operation{"policy", 2, (*machine).changePolicy}
	switchOperation = operation{"switch", 2, (*machine).switchRotation}
	expireOperation = operation{"expire", 2, (*machine).expire}
)

// host is what the manager asks of the host: the policies of clients, as they are now, and who was evicted.
type host struct {
	mu       sync.Mutex
	policies map[string]tokenstore.ClientPolicy
	evicted  []ulid.ULID
}

func (h *host) policy(client string) tokenstore.ClientPolicy {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.policies[client]
}

func (h *host) set(client string, p tokenstore.ClientPolicy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.policies[client] = p
}

func (h *host) evict(_ string, token tokenstore.RefreshToken) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evicted = append(h.evicted, token.ID)
}

// takeEvicted returns who has been evicted since the last time.
func (h *host) takeEvicted() []ulid.ULID {
	h.mu.Lock()
	defer h.mu.Unlock()
	evicted := h.evicted
	h.evicted = nil
	return evicted
}

// changePolicy gives a client another policy.
func (m *machine) changePolicy(t *rapid.T) {
	client := pick(t, "client", clients...)
	p := tokenstore.ClientPolicy{
		Rotation:     pick(t, "rotation", tokenstore.RotationAsIssued, tokenstore.RotationOn, tokenstore.RotationOff),
		Lifetime:     pick(t, "lifetime", 0, 0, tokenstore.Never, tokenstore.Lifetime(30*time.Minute)),
		IdleLifetime: pick(t, "idleLifetime", 0, 0, tokenstore.Never, tokenstore.Lifetime(5*time.Minute), tokenstore.Lifetime(time.Hour)),
		Cap:          pick(t, "cap", 0, 0, 1, 2, 3),
		CapRefuse:    chance(t, "capRefuse", 3),
	}
	m.host.set(client, p)
}

// switchRotation switches the rotation of a client on and off, and presents the current secret of one of its tokens each
// time, and perhaps the parent at last. There may be another token that has to go when the first begins to rotate.
func (m *machine) switchRotation(t *rapid.T) {
	w := m.tenant(t)
	l := w.drawSecret(t, 0)
	if rapid.Bool().Draw(t, "sibling") {
		sibling := drawGrant(t)
		sibling.user, sibling.client, sibling.audiences = l.user, l.client, slices.Clone(l.audiences)
		m.grant(t, w, sibling)
	}
	for range rapid.IntRange(1, 3).Draw(t, "times") {
		p := m.host.policy(l.client)
		p.Rotation = pick(t, "rotation", tokenstore.RotationOn, tokenstore.RotationOff)
		m.host.set(l.client, p)
		m.present(t, w, l, l.generation())
	}
	if l.generation() > 0 && rapid.Bool().Draw(t, "parent") {
		m.present(t, w, l, l.generation()-1)
	}
}

// surplus are the lives that have to go for one more of a user and client, by the policy as it is now, oldest first.
func (m *machine) surplus(w *tenant, candidate *life) []*life {
	limit := m.host.policy(candidate.client).Cap
	if limit == 0 {
		return nil
	}
	var live []*life
	for _, l := range w.model.lives {
		if l.user == candidate.user && l.client == candidate.client && !l.gone && !w.model.covered(l) && !l.expiredAt(candidate.created) {
			live = append(live, l)
		}
	}
	slices.SortFunc(live, func(a, b *life) int { return cmp.Or(a.created.Compare(b.created), a.id.Compare(b.id)) })
	return live[:max(0, len(live)+1-limit)]
}

// checkCap compares what an issue came to with what its client's cap demands, and takes in who was evicted. It reports
// whether the cap refused.
func (m *machine) checkCap(t *rapid.T, w *tenant, candidate *life, surplus []*life, err error) (refused bool) {
	evicted := m.host.takeEvicted()
	mayRefuse := len(surplus) > 0 && m.host.policy(candidate.client).CapRefuse
	switch {
	case errors.Is(err, tokenstore.ErrCap) && !mayRefuse:
		fail(t, "a cap must refuse only what is too many", "%d too many: %v", len(surplus), err)
	case err == nil && mayRefuse:
		fail(t, "a cap that refuses must refuse", "%d too many", len(surplus))
	case err != nil:
		if len(evicted) > 0 {
			fail(t, "an issue that failed must evict nobody", "%v after %v", evicted, err)
		}
		return errors.Is(err, tokenstore.ErrCap)
	}
	var want []ulid.ULID
	for _, l := range surplus {
		want = append(want, l.id)
	}
	if !slices.Equal(evicted, want) {
		fail(t, "a cap must evict the oldest, as many as are too many", "got %v, want %v", evicted, want)
	}
	state, stateErr := w.State(m.ctx)
	if stateErr != nil {
		fail(t, "State must succeed", "%v", stateErr)
	}
	for _, l := range surplus {
		through := candidate.created
		if l.created.After(through) {
			through = l.created
		}
		l.gone, l.evicted = true, true
		w.model.evictions = append(w.model.evictions, &acknowledged{
			event: m.next(), targets: []tokenstore.Target{{TokenID: l.id}}, at: candidate.created, through: through, watermark: state.Sequence,
		})
	}
	return false
}

// expire removes one slice of what is expired; the checks after the step see that it was.
func (m *machine) expire(t *rapid.T) {
	w := m.tenant(t)
	m.expireSome(t, w, store.Bounds{Visit: pick(t, "visit", 1, 2, 100), Remove: pick(t, "remove", 1, 2, 100), Now: m.clock.now(), Emit: m.outbox()})
}

func (m *machine) expireSome(t *rapid.T, w *tenant, bounds store.Bounds) store.Expired {
	before := m.tokens(t, w)
	done, err := w.store.Expire(m.ctx, bounds)
	if err != nil {
		fail(t, "removing what is expired must succeed", "Expire: %v", err)
	}
	if removed := before - m.tokens(t, w); removed != done.Removed || removed > bounds.Remove || done.Examined > bounds.Visit {
		fail(t, "a slice must keep within its bounds", "removed %d, %+v, %+v", removed, done, bounds)
	}
	return done
}

// restExpired removes all that is expired, in slices of one.
func (m *machine) restExpired(t *rapid.T) {
	now := m.clock.now()
	for _, w := range m.tenants {
		for left := 2*len(w.model.lives) + 2; ; left-- {
			done := m.expireSome(t, w, store.Bounds{Visit: 1, Remove: 1, Now: now})
			if done.Next.IsZero() || done.Next.After(now) {
				break
			}
			if left == 0 {
				fail(t, "L1 converge: what is expired must be removed within bounds", "%s: %+v", w.name, done)
			}
		}
	}
	m.checkNoneExpired(t, now)
}

// checkNoneExpired sees to it that nothing is left that had been expired for a second at the given time.
func (m *machine) checkNoneExpired(t *rapid.T, at time.Time) {
	for _, w := range m.tenants {
		m.check(t, w)
		for _, l := range w.model.lives {
			if !l.gone && l.expiredAt(at.Add(-time.Second)) {
				fail(t, "L1 converge: no expired token must be left at rest", "%s: %s", w.name, l.id)
			}
		}
	}
}

// terms are what an exchange makes of a live token: whether it rotates, how long it may lie idle, when it ends.
type terms struct {
	rotating bool
	idle     time.Duration // 0 for any
	expires  time.Time
}

func (l *life) terms() terms { return terms{l.rotating, l.idle, l.expires} }

// change is what an exchange of the current secret does beside handing out one.
type change struct {
	terms    terms
	unnoted  bool
	siblings []tokenstore.Target
	device   tokenstore.Device // where it comes from
}

// change says it, by the policy as it is now, and with an end that is asked for.
func (m *machine) change(w *tenant, l *life, by time.Time) change {
	p := m.host.policy(l.client)
	c := change{terms: l.terms()}
	if p.Rotation != tokenstore.RotationAsIssued {
		c.terms.rotating = p.Rotation == tokenstore.RotationOn
	}
	if p.IdleLifetime != 0 {
		c.terms.idle = max(0, time.Duration(p.IdleLifetime))
	}
	if !by.IsZero() && (l.expires.IsZero() || by.Before(l.expires)) {
		c.terms.expires = by
	}
	c.unnoted = m.unnoted(l, c.terms)
	if c.terms.rotating && !l.rotating {
		c.siblings = m.siblings(w, l)
	}
	return c
}

// unnoted reports whether an exchange on the given terms is so soon after the last that is noted that it is not.
func (m *machine) unnoted(l *life, on terms) bool {
	every := m.options.LastUsedEvery
	if l.idle > 0 {
		every = min(every, l.idle/10)
	}
	since := m.clock.now().Sub(l.exchanged)
	return !on.rotating && !m.reseals(l) && on == l.terms() && !l.exchanged.IsZero() && since >= 0 && since < every
}

// siblings are the stored tokens that go when a token begins to rotate.
func (m *machine) siblings(w *tenant, l *life) []tokenstore.Target {
	var targets []tokenstore.Target
	for _, other := range w.model.lives {
		shared := slices.ContainsFunc(other.audiences, func(a string) bool { return slices.Contains(l.audiences, a) })
		if other == l || other.gone || other.rotating || !shared || other.user != l.user || other.client != l.client || w.model.covered(other) {
			continue
		}
		if _, err := w.store.Get(m.ctx, other.id); err == nil { // it may be expired, and removed
			targets = append(targets, tokenstore.Target{TokenID: other.id})
		}
	}
	slices.SortFunc(targets, func(a, b tokenstore.Target) int { return a.TokenID.Compare(b.TokenID) })
	return targets
}

// takeOwn takes in a revocation that an exchange recorded by itself, which must be there.
func (m *machine) takeOwn(t *rapid.T, w *tenant, targets []tokenstore.Target, reason string) {
	t.Logf("%s: an exchange revokes %+v: %s", w.name, targets, reason)
	for _, status := range slices.Concat(w.revocations(t, m, false), w.revocations(t, m, true)) {
		tombstone := status.Tombstone
		if w.model.findRevocation(tombstone.ID) != nil || tombstone.Reason != reason || !sameTargets(tombstone.Targets, targets) {
			continue
		}
		m.expectEvent(w, m.kindOf(reason), tombstone.ID)
		m.acknowledge(t, w, &acknowledged{id: tombstone.ID, targets: targets, at: tombstone.Time, through: tombstone.Through})
		return
	}
	fail(t, "an exchange that revokes must record it", "%s: %+v: %s", w.name, targets, reason)
}
