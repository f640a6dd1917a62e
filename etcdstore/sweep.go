package etcdstore

import (
	"context"
	"fmt"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Apply sweeps a slice. What it removes, its progress and what it retires are one commit, which fails if anybody else has got
// on with the same sweep meanwhile. That a tombstone has come to its end needs no more proof than the snapshot: whatever has
// a sequence up to its watermark was committed before it.
func (t *tenant) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) (statuses []store.Status, err error) {
	if err := store.CheckApply(ids, bounds); err != nil {
		return nil, err
	}
	_, err = t.update(ctx, func(x *txn) error {
		s := slice{txn: x, left: clamp(bounds)}
		s.plan(ids)
		statuses = s.carryOut()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return statuses, nil
}

// slice is one Apply under way.
type slice struct {
	*txn
	left   store.Bounds
	steps  []*step
	walked bool      // the steps of walkers go on with the walk
	lapAt  ulid.ULID // where the walk stands then
}

// step is what a slice does for one revocation.
type step struct {
	revocation
	remove []ulid.ULID
	done   bool
}

func (s *slice) exhausted() bool { return s.left.Visit < 1 || s.left.Remove < 1 }

func (s *slice) plan(ids []ulid.ULID) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = s.below(idKey(keyLive, id))
	}
	slices.Sort(keys)
	s.prefetch(slices.Compact(keys))
	for _, id := range ids {
		if s.planned(id) {
			continue
		}
		i := s.peek(s.below(idKey(keyLive, id)))
		if !i.there() {
			continue
		}
		if s.exhausted() {
			return
		}
		switch p := revocationOf(&i); {
		case p.stage > 0:
			s.add(p)
			return // what is left of the bounds is its own
		case p.walks:
			s.planWalk(id)
		default:
			s.planIndex(s.add(p))
		}
	}
}

func (s *slice) planned(id ulid.ULID) bool {
	return slices.ContainsFunc(s.steps, func(x *step) bool { return x.id() == id && (x.done || !x.walks) })
}

func (s *slice) add(p revocation) *step {
	x := &step{revocation: p}
	s.unchanged(s.below(idKey(keyLive, p.id())))
	s.steps = append(s.steps, x)
	return x
}

// planIndex goes on target by target, along the index of each target's anchor.
func (s *slice) planIndex(x *step) {
	targets := x.status.Tombstone.Targets
	for ; int(x.target) < len(targets); x.target, x.after = x.target+1, (ulid.ULID{}) {
		ids, ended := s.rows(&targets[x.target], x.after)
		s.prefetch(s.tokenKeys(ids...))
		for _, id := range ids {
			if s.exhausted() {
				return
			}
			s.left.Visit--
			x.after = id
			x.status.Examined++
			if token, ok := s.token(id); ok && x.status.Tombstone.Covers(&token) && !slices.Contains(x.remove, id) {
				s.left.Remove--
				x.remove = append(x.remove, id)
			}
		}
		if !ended {
			return
		}
	}
	x.done = true
}

// rows are the ids that a target's index holds after the given one, as many as may be looked at, and whether these are all.
func (s *slice) rows(target *domain.Target, after ulid.ULID) (ids []ulid.ULID, ended bool) {
	index := ""
	switch anchor := target.Anchor(); anchor.Kind {
	case domain.AnchorSession:
		index = textKey(keySessions, anchor.Value)
	case domain.AnchorUser:
		index = userKey(anchor.Value)
	default:
		if after.IsZero() {
			ids = append(ids, target.TokenID)
		}
		return ids, true
	}
	ended = s.indexed(index, after, func(id ulid.ULID) bool {
		if len(ids) == s.left.Visit {
			return false
		}
		ids = append(ids, id)
		return true
	})
	return ids, ended
}

// walkAt is how far the walk over all tokens has come. The commit fails if it moves on.
func (t *txn) walkAt() (at ulid.ULID) {
	copy(at[:], t.get(t.below(keyWalk)).value)
	return at
}

// planWalk goes on with the one walk over all tokens, which serves every tombstone that has no index, until the given one
// is done or the slice is exhausted. A tombstone joins where the walk stands, and is done when it comes there again.
func (s *slice) planWalk(id ulid.ULID) {
	if !s.walked {
		s.walked = true
		s.lapAt = s.walkAt()
		var walkers []string
		s.scan(under(s.below(keyWalkers)), func(i item) bool {
			walkers = append(walkers, s.below(idKey(keyLive, idAtEnd(i.key))))
			return true
		})
		s.prefetch(walkers)
		for _, key := range walkers {
			if i := s.peek(key); i.there() {
				x := s.add(revocationOf(&i))
				if !x.joined {
					x.joined, x.from = true, s.lapAt
				}
			}
		}
	}
	if !slices.ContainsFunc(s.steps, func(x *step) bool { return x.id() == id }) {
		check(fmt.Errorf("%w: revocation %s is not among those that are swept by the walk", ErrCorrupt, id))
	}
	for !s.planned(id) && !s.exhausted() {
		s.lap()
		for _, x := range s.steps {
			if x.walks && (x.ends > 1 || x.ends == 1 && s.lapAt.Compare(x.from) >= 0) {
				x.done = true
			}
		}
	}
}

// lap walks on to the end of the slice or of the tokens, whichever comes first.
func (s *slice) lap() {
	ended := s.walk(s.lapAt, func(token *domain.RefreshToken) bool {
		if s.exhausted() {
			return false
		}
		s.left.Visit--
		s.lapAt = token.ID
		var by *step
		for _, x := range s.steps {
			if !x.walks || x.done {
				continue
			}
			x.status.Examined++
			if by == nil && x.status.Tombstone.Covers(token) {
				by = x
			}
		}
		if by != nil {
			s.left.Remove--
			by.remove = append(by.remove, token.ID)
		}
		return true
	})
	if !ended {
		return
	}
	s.lapAt = ulid.ULID{}
	for _, x := range s.steps {
		if x.walks {
			x.ends++
		}
	}
}

// carryOut writes what was planned.
func (s *slice) carryOut() []store.Status {
	var statuses []store.Status
	var erasing []int // which of statuses are those of erasures; they come last, for they change what other sweeps go on from
	retired := false
	for _, x := range s.steps {
		p := x.revocation
		before := p.status.Swept
		slices.SortFunc(x.remove, ulid.ULID.Compare)
		x.remove = slices.Compact(x.remove) // the walk may have come by twice
		s.prefetch(s.tokenKeys(x.remove...))
		for _, id := range x.remove {
			if r, ok := s.record(id); ok { // it may have been removed for another one
				s.remove(&r)
				p.status.Swept++
			}
		}
		retires := x.done && !p.status.Tombstone.Erases
		if count := p.status.Swept - before; count > 0 || retires {
			s.emit(s.left.Emit, store.SweptEvent(&p.status, count, retires, s.left.Now))
		}
		switch {
		case retires:
			s.retire(&p, s.left)
			retired = true
		case p.stage > 0 || x.done:
			s.beginErasure(&p)
			erasing = append(erasing, len(statuses))
		default:
			s.putLive(&p)
		}
		statuses = append(statuses, p.status)
	}
	visit := s.left.Visit
	for _, i := range erasing {
		s.endErasure(&statuses[i], &visit, s.left)
		retired = true
	}
	if s.walked {
		s.put(s.below(keyWalk), s.lapAt[:])
	}
	if retired {
		s.idle()
	}
	return statuses
}

// idle takes the tenant from among those that have something pending, if it has nothing. The commit fails if something comes.
func (t *txn) idle() {
	if !t.any(keyLive) {
		t.quiet(under(t.below(keyLive)))
		t.delete(t.backend.opts.Prefix + allPending + t.name)
	}
}
