package memstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// pendingTombstone is a tombstone under sweep.
type pendingTombstone struct {
	status     store.Status
	walks      bool      // some target has no index: it is swept by the walk over all tokens
	supersedes ulid.ULID // the tombstone that it superseded, or zero

	// Where the sweep by index stands: at the target-th target, after this id.
	target int
	after  ulid.ULID

	// Where the walk stood when this tombstone joined it. One lap later it is done.
	joined bool
	from   ulid.ULID
	ends   int // how often the walk has come to the end of the tokens since then

	scrub scrub // where the erasure stands, once the sweep is over
}

// Revoke records a revocation.
func (t *tenant) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return store.Status{}, err
	}
	return t.revoke(r, nil)
}

// revoke records a revocation, which may be caused by the presentation of a token.
func (t *tenant) revoke(r store.Revocation, presented *domain.RefreshToken) (store.Status, error) {
	if err := r.Validate(); err != nil {
		return store.Status{}, err
	}
	if status, ok := t.status(r.ID); ok {
		if status.Tombstone.Erases != r.Erase || !t.erasureKey.SameTargets(status.Tombstone.Targets, r.Targets) {
			return store.Status{}, store.ErrConflict
		}
		return status, nil
	}
	status := store.Status{Tombstone: domain.Tombstone{
		ID: r.ID, Targets: slices.Clone(r.Targets), Time: r.Time, Through: r.Time, Reason: r.Reason, Actor: r.Actor, Erases: r.Erase,
	}}
	if r.NamesNothing(t.token) {
		status.Tombstone.Watermark = t.sequence
		status.Retired, status.RetiredAt = true, r.Time
		return status, nil
	}
	if t.latest.After(r.Time) {
		status.Tombstone.Through = t.latest
	}
	p := &pendingTombstone{status: status, walks: status.Tombstone.Walks()}
	earlier := t.sameTargets(r.Targets, r.Erase)
	if earlier == nil && !status.Tombstone.Anchored() && t.fence.unanchored() >= store.MaxUnanchored {
		return store.Status{}, store.ErrBusy
	}
	p.status.Tombstone.Watermark = t.next()
	if r.Erase && t.erasureKey == (domain.ErasureKey{}) {
		t.erasureKey = r.Key
	}
	if earlier != nil {
		earlier.status.SupersededBy = r.ID
		p.supersedes = earlier.status.Tombstone.ID
		t.retire(earlier, store.Bounds{Now: r.Time})
	}
	t.pending[r.ID] = p
	t.order[false].add(r.ID)
	if p.walks {
		t.walkers.add(r.ID)
	}
	t.fence.putUp(p)
	if r.Emit != 0 {
		t.emit(r.Emit, r.Event(&p.status.Tombstone, t.token, presented))
	}
	status, _ = t.status(r.ID)
	return status, nil
}

func (t *tenant) token(id ulid.ULID) (domain.RefreshToken, bool) {
	if r := t.tokens.get(id); r != nil {
		return r.token(), true
	}
	return domain.RefreshToken{}, false
}

// sameTargets returns the pending tombstone with the same targets that erases, or does not, as well, if there is one.
func (t *tenant) sameTargets(targets []domain.Target, erases bool) *pendingTombstone {
	for _, p := range t.fence.beside(&targets[0]) {
		if p.status.Tombstone.Erases == erases && p.status.Tombstone.SameTargets(targets) {
			return p
		}
	}
	return nil
}

// Apply sweeps a slice.
func (t *tenant) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	if err := store.CheckApply(ids, bounds); err != nil {
		return nil, err
	}
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	s := slice{tenant: t, left: bounds, told: map[ulid.ULID]uint64{}}
	defer s.tell()
	for _, id := range ids {
		p := t.pending[id]
		switch {
		case p == nil:
		case s.exhausted():
			return s.statuses(), nil
		case p.scrub.stage > 0:
			s.erase(p)
		case p.walks:
			s.walk(p)
		default:
			s.byIndex(p)
		}
	}
	return s.statuses(), nil
}

// slice is one Apply under way.
type slice struct {
	tenant  *tenant
	left    store.Bounds
	touched []*pendingTombstone  // each once, in order
	told    map[ulid.ULID]uint64 // how many tokens each had swept when that was last told
}

func (s *slice) exhausted() bool { return s.left.Visit < 1 || s.left.Remove < 1 }

func (s *slice) touch(p *pendingTombstone) {
	if !slices.Contains(s.touched, p) {
		s.touched = append(s.touched, p)
		s.told[p.status.Tombstone.ID] = p.status.Swept
	}
}

func (s *slice) statuses() []store.Status {
	statuses := make([]store.Status, len(s.touched))
	for i, p := range s.touched {
		statuses[i] = copied(p.status)
	}
	return statuses
}

// byIndex sweeps target by target, along the index of each target's anchor.
func (s *slice) byIndex(p *pendingTombstone) {
	s.touch(p)
	targets := p.status.Tombstone.Targets
	for ; p.target < len(targets); p.target, p.after = p.target+1, (ulid.ULID{}) {
		var covered []domain.RefreshToken
		ended := true
		for id := range s.rows(&targets[p.target], p.after) {
			if s.exhausted() {
				ended = false
				break
			}
			s.left.Visit--
			p.after = id
			p.status.Examined++
			if token, ok := s.tenant.token(id); ok && p.status.Tombstone.Covers(&token) {
				s.left.Remove--
				covered = append(covered, token)
			}
		}
		for i := range covered {
			s.tenant.remove(&covered[i])
			p.status.Swept++
		}
		if !ended {
			return
		}
	}
	s.end(p)
}

// end is reached when nothing that the tombstone covers is left.
func (s *slice) end(p *pendingTombstone) {
	if p.status.Tombstone.Erases {
		p.walks = false
		s.tenant.walkers.remove(p.status.Tombstone.ID)
		p.scrub.stage = scrubPending
		s.erase(p)
		return
	}
	s.tellOf(p, true)
	s.tenant.retire(p, s.left)
}

// rows are the ids that a target's index holds after the given one.
func (s *slice) rows(target *domain.Target, after ulid.ULID) func(func(ulid.ULID) bool) {
	switch anchor := target.Anchor(); anchor.Kind {
	case domain.AnchorSession:
		return s.tenant.bySession.after(anchor.Value, after)
	case domain.AnchorUser:
		return s.tenant.byUser.after(anchor.Value, after)
	default:
		return func(yield func(ulid.ULID) bool) {
			if after.IsZero() {
				yield(target.TokenID)
			}
		}
	}
}

// walk goes on with the one walk over all tokens, which serves every tombstone that has no index, until the given one is
// done or the slice is exhausted. A tombstone joins where the walk stands, and is done when it comes there again.
func (s *slice) walk(p *pendingTombstone) {
	t := s.tenant
	var walkers []*pendingTombstone
	for id := range t.walkers.after(ulid.ULID{}) {
		w := t.pending[id]
		walkers = append(walkers, w)
		s.touch(w)
		if !w.joined {
			w.joined, w.from = true, t.walk
		}
	}
	for !p.status.Retired && p.walks && !s.exhausted() {
		s.lap(walkers)
		walkers = slices.DeleteFunc(walkers, func(w *pendingTombstone) bool {
			if w.status.Retired { // by an erasure of the tenant
				return true
			}
			done := w.ends > 1 || w.ends == 1 && t.walk.Compare(w.from) >= 0
			if done {
				s.end(w)
			}
			return done
		})
	}
}

// lap walks on to the end of the slice or of the tokens, whichever comes first.
func (s *slice) lap(walkers []*pendingTombstone) {
	t := s.tenant
	var covered []domain.RefreshToken
	ended := true
	for id := range t.byID.after(t.walk) {
		if s.exhausted() {
			ended = false
			break
		}
		s.left.Visit--
		t.walk = id
		token := t.tokens.get(id).token()
		by := (*pendingTombstone)(nil)
		for _, w := range walkers {
			w.status.Examined++
			if by == nil && w.status.Tombstone.Covers(&token) {
				by = w
			}
		}
		if by != nil {
			by.status.Swept++
			s.left.Remove--
			covered = append(covered, token)
		}
	}
	for i := range covered {
		t.remove(&covered[i])
	}
	if ended {
		t.walk = ulid.ULID{}
		for _, w := range walkers {
			w.ends++
		}
	}
}
