package memstore

import (
	"context"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// pendingTombstone is a tombstone under sweep.
type pendingTombstone struct {
	status store.Status
	walks  bool // some target has no index: it is swept by the walk over all tokens

	// Where the sweep by index stands: at the target-th target, after this id.
	target int
	after  ulid.ULID

	// Where the walk stood when this tombstone joined it. One lap later it is done.
	joined bool
	from   ulid.ULID
	ends   int // how often the walk has come to the end of the tokens since then
}

// Revoke records a revocation.
func (t *tenant) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return store.Status{}, err
	}
	return t.revoke(r)
}

func (t *tenant) revoke(r store.Revocation) (store.Status, error) {
	if err := r.Validate(); err != nil {
		return store.Status{}, err
	}
	if status, ok := t.status(r.ID); ok {
		if !status.Tombstone.SameTargets(r.Targets) {
			return store.Status{}, store.ErrConflict
		}
		return status, nil
	}
	status := store.Status{Tombstone: domain.Tombstone{
		ID: r.ID, Targets: slices.Clone(r.Targets), Time: r.Time, Through: r.Time, Reason: r.Reason, Actor: r.Actor,
	}}
	if t.namesNothing(r.Targets) {
		status.Tombstone.Watermark = t.sequence
		status.Retired, status.RetiredAt = true, r.Time
		return status, nil
	}
	if t.latest.After(r.Time) {
		status.Tombstone.Through = t.latest
	}
	p := &pendingTombstone{status: status, walks: !swept(status.Tombstone.Anchors())}
	anchors := status.Tombstone.Anchors()
	earlier := t.sameTargets(anchors[0], r.Targets)
	if earlier == nil && !status.Tombstone.Anchored() && len(t.fence[domain.Anchor{Kind: domain.AnchorNone}]) >= store.MaxUnanchored {
		return store.Status{}, store.ErrBusy
	}
	t.sequence++
	p.status.Tombstone.Watermark = t.sequence
	if earlier != nil {
		earlier.status.SupersededBy = r.ID
		t.retire(earlier, r.Time)
	}
	t.pending[r.ID] = p
	t.order[false].add(r.ID)
	if p.walks {
		t.walkers.add(r.ID)
	}
	for _, anchor := range anchors {
		t.fence[anchor] = append(t.fence[anchor], p)
	}
	status, _ = t.status(r.ID)
	return status, nil
}

// namesNothing reports whether all targets name ids, and none of them a token that is there.
func (t *tenant) namesNothing(targets []domain.Target) bool {
	for i := range targets {
		if targets[i].TokenID.IsZero() {
			return false
		}
		if r := t.tokens[targets[i].TokenID]; r != nil && targets[i].Matches(&r.token) {
			return false
		}
	}
	return true
}

// sameTargets returns the pending tombstone with the same targets, if there is one.
func (t *tenant) sameTargets(anchor domain.Anchor, targets []domain.Target) *pendingTombstone {
	for _, p := range t.fence[anchor] {
		if p.status.Tombstone.SameTargets(targets) {
			return p
		}
	}
	return nil
}

// swept reports whether there is an index for every anchor.
func swept(anchors []domain.Anchor) bool {
	return !slices.ContainsFunc(anchors, func(a domain.Anchor) bool {
		return a.Kind == domain.AnchorClient || a.Kind == domain.AnchorNone
	})
}

// Apply sweeps a slice.
func (t *tenant) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	if n := len(ids); n < 1 || n > store.MaxSlice {
		return nil, &domain.FieldError{Field: "ids", Limit: "1..100 entries", Size: n}
	}
	if err := bounds.Validate(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	s := slice{tenant: t, left: bounds, known: map[ulid.ULID]bool{}}
	for _, id := range ids {
		p := t.pending[id]
		switch {
		case p == nil:
		case s.exhausted():
			return s.statuses(), nil
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
	touched []ulid.ULID // each once, in order
	known   map[ulid.ULID]bool
}

func (s *slice) exhausted() bool { return s.left.Visit < 1 || s.left.Remove < 1 }

func (s *slice) touch(p *pendingTombstone) {
	if id := p.status.Tombstone.ID; !s.known[id] {
		s.known[id] = true
		s.touched = append(s.touched, id)
	}
}

func (s *slice) statuses() []store.Status {
	statuses := make([]store.Status, len(s.touched))
	for i, id := range s.touched {
		statuses[i], _ = s.tenant.status(id)
	}
	return statuses
}

// byIndex sweeps target by target, along the index of each target's anchor.
func (s *slice) byIndex(p *pendingTombstone) {
	s.touch(p)
	targets := p.status.Tombstone.Targets
	for ; p.target < len(targets); p.target, p.after = p.target+1, (ulid.ULID{}) {
		var covered []*domain.RefreshToken
		ended := true
		for id := range s.rows(&targets[p.target], p.after) {
			if s.exhausted() {
				ended = false
				break
			}
			s.left.Visit--
			p.after = id
			p.status.Examined++
			if r := s.tenant.tokens[id]; r != nil && p.status.Tombstone.Covers(&r.token) {
				s.left.Remove--
				covered = append(covered, &r.token)
			}
		}
		for _, token := range covered {
			s.tenant.remove(token)
			p.status.Swept++
		}
		if !ended {
			return
		}
	}
	s.tenant.retire(p, s.left.Now)
}

// rows are the ids that a target's index holds after the given one.
func (s *slice) rows(target *domain.Target, after ulid.ULID) func(func(ulid.ULID) bool) {
	switch anchor := target.Anchor(); anchor.Kind {
	case domain.AnchorSession:
		return s.tenant.bySession[anchor.Value].after(after)
	case domain.AnchorUser:
		return s.tenant.byUser[anchor.Value].after(after)
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
	for !p.status.Retired && !s.exhausted() {
		s.lap(walkers)
		walkers = slices.DeleteFunc(walkers, func(w *pendingTombstone) bool {
			done := w.ends > 1 || w.ends == 1 && t.walk.Compare(w.from) >= 0
			if done {
				t.retire(w, s.left.Now)
			}
			return done
		})
	}
}

// lap walks on to the end of the slice or of the tokens, whichever comes first.
func (s *slice) lap(walkers []*pendingTombstone) {
	t := s.tenant
	var covered []*domain.RefreshToken
	ended := true
	for id := range t.byID.after(t.walk) {
		if s.exhausted() {
			ended = false
			break
		}
		s.left.Visit--
		t.walk = id
		token := &t.tokens[id].token
		by := (*pendingTombstone)(nil)
		for _, w := range walkers {
			w.status.Examined++
			if by == nil && w.status.Tombstone.Covers(token) {
				by = w
			}
		}
		if by != nil {
			by.status.Swept++
			s.left.Remove--
			covered = append(covered, token)
		}
	}
	for _, token := range covered {
		t.remove(token)
	}
	if ended {
		t.walk = ulid.ULID{}
		for _, w := range walkers {
			w.ends++
		}
	}
}

// retire ends a sweep: the tombstone becomes history, its guards are remembered.
func (t *tenant) retire(p *pendingTombstone, now time.Time) {
	id := p.status.Tombstone.ID
	p.status.Retired, p.status.RetiredAt = true, now
	for _, anchor := range p.status.Tombstone.Anchors() {
		rest := slices.DeleteFunc(t.fence[anchor], func(q *pendingTombstone) bool { return q == p })
		if len(rest) == 0 {
			delete(t.fence, anchor)
		} else {
			t.fence[anchor] = rest
		}
	}
	for _, guard := range p.status.Tombstone.Guards() {
		t.guard(guard)
	}
	delete(t.pending, id)
	t.order[false].remove(id)
	t.walkers.remove(id)
	t.retired[id] = &p.status
	t.order[true].add(id)
}

func (t *tenant) guard(g domain.Guard) {
	anchor, key := g.Target.Anchor(), g.Target.Key()
	row := t.guards[anchor]
	if row == nil {
		row = map[string]domain.Guard{}
		t.guards[anchor] = row
	}
	if there, ok := row[key]; ok {
		g = there.Join(g)
	} else {
		t.nGuards++
	}
	row[key] = g
}

// known reports whether a revocation can be looked up: one that it superseded leads there as long as it can.
func (t *tenant) known(id ulid.ULID) bool { return t.pending[id] != nil || t.retired[id] != nil }

// Trim forgets.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	if trim.Limit < 1 {
		return store.Trimmed{}, &domain.FieldError{Field: "limit", Limit: "at least 1", Size: trim.Limit}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return store.Trimmed{}, err
	}
	var done store.Trimmed
	for anchor, row := range t.guards {
		if done.Guards == trim.Limit {
			break
		}
		for key, guard := range row {
			if done.Guards < trim.Limit && guard.Time.Before(trim.Guards) {
				t.horizon = t.horizon.Forget(guard)
				delete(row, key)
				t.nGuards--
				done.Guards++
			}
		}
		if len(row) == 0 {
			delete(t.guards, anchor)
		}
	}
	var old []ulid.ULID
	for id := range t.order[true].after(ulid.ULID{}) {
		if done.History == trim.Limit {
			break
		}
		if r := t.retired[id]; r.RetiredAt.Before(trim.History) && !t.known(r.SupersededBy) {
			old = append(old, id)
			done.History++
		}
	}
	for _, id := range old {
		delete(t.retired, id)
		t.order[true].remove(id)
	}
	return done, nil
}
