package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Apply sweeps a slice. What to remove is looked up on a snapshot, beside the writers; the commit then checks that nobody
// else has got on with the same sweep meanwhile, and removes, notes the progress and retires in one.
func (t *tenant) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	if err := store.CheckApply(ids, bounds); err != nil {
		return nil, err
	}
	var s slice
	commit, err := t.peek(ctx, func(r *records) error {
		s = slice{records: r, left: bounds}
		s.plan(ids)
		return nil
	})
	if err != nil || len(s.steps) == 0 {
		return nil, t.backend.certain(ctx, commit, err)
	}
	var statuses []store.Status
	err = t.update(ctx, func(r *records) error {
		statuses = s.commit(r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return statuses, nil
}

// slice is one Apply under way.
type slice struct {
	records    *records // of the snapshot
	left       store.Bounds
	steps      []*step
	walked     bool      // the steps of walkers go on with the walk
	walk, from ulid.ULID // where the walk stands then, and stood before
}

// step is what a slice does for one revocation.
type step struct {
	before []byte // the stored progress that it goes on from
	after  revocation
	remove map[ulid.ULID]*seen
	done   bool
}

// seen is a token as the snapshot has it.
type seen struct {
	record
	stored []byte
}

func (s *slice) exhausted() bool { return s.left.Visit < 1 || s.left.Remove < 1 }

func (s *slice) plan(ids []ulid.ULID) {
	for _, id := range ids {
		if s.planned(id) {
			continue
		}
		p, ok := s.records.live(id)
		switch {
		case !ok:
		case s.exhausted():
			return
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
	return slices.ContainsFunc(s.steps, func(x *step) bool { return x.after.id() == id && (x.done || !x.after.walks) })
}

func (s *slice) add(p revocation) *step {
	id := p.id()
	x := &step{before: bytes.Clone(s.records.get(bucketLive, id[:])), after: p, remove: map[ulid.ULID]*seen{}}
	s.steps = append(s.steps, x)
	return x
}

// planIndex goes on target by target, along the index of each target's anchor.
func (s *slice) planIndex(x *step) {
	p := &x.after
	targets := p.status.Tombstone.Targets
	for ; int(p.target) < len(targets); p.target, p.after = p.target+1, (ulid.ULID{}) {
		ended := s.rows(&targets[p.target], p.after, func(id ulid.ULID) bool {
			if s.exhausted() {
				return false
			}
			s.left.Visit--
			p.after = id
			p.status.Examined++
			stored := s.records.stored(id)
			if stored == nil {
				return true
			}
			if there := recordOf(id, stored); p.status.Tombstone.Covers(&there.token) && x.remove[id] == nil {
				s.left.Remove--
				x.remove[id] = &seen{there, bytes.Clone(stored)}
			}
			return true
		})
		if !ended {
			return
		}
	}
	x.done = true
}

// rows walks the ids that a target's index holds after the given one, and reports whether it came to the end.
func (s *slice) rows(target *domain.Target, after ulid.ULID, f func(ulid.ULID) bool) bool {
	switch anchor := target.Anchor(); anchor.Kind {
	case domain.AnchorSession:
		return s.records.indexed(underSession(anchor.Value), after, f)
	case domain.AnchorUser:
		return s.records.indexed(underUser(anchor.Value), after, f)
	}
	return !after.IsZero() || f(target.TokenID)
}

// planWalk goes on with the one walk over all tokens, which serves every tombstone that has no index, until the given one
// is done or the slice is exhausted. A tombstone joins where the walk stands, and is done when it comes there again.
func (s *slice) planWalk(id ulid.ULID) {
	if !s.walked {
		s.walked = true
		s.walk, s.from = s.records.meta.walk, s.records.meta.walk
		s.records.after(bucketWalkers, nil, nil, func(k, _ []byte) bool {
			if p, ok := s.records.live(idAtEnd(k)); ok {
				x := s.add(p)
				if !x.after.joined {
					x.after.joined, x.after.from = true, s.walk
				}
			}
			return true
		})
	}
	if !slices.ContainsFunc(s.steps, func(x *step) bool { return x.after.id() == id }) { // it would never come round
		check(fmt.Errorf("%w: revocation %s is not among the walkers", ErrCorrupt, id))
	}
	for !s.planned(id) && !s.exhausted() {
		s.lap()
		for _, x := range s.steps {
			p := &x.after
			if p.walks && (p.ends > 1 || p.ends == 1 && s.walk.Compare(p.from) >= 0) {
				x.done = true
			}
		}
	}
}

// lap walks on to the end of the slice or of the tokens, whichever comes first.
func (s *slice) lap() {
	ended := s.records.walk(s.walk, func(there *record, stored []byte) bool {
		if s.exhausted() {
			return false
		}
		s.left.Visit--
		s.walk = there.token.ID
		var by *step
		for _, x := range s.steps {
			if x.done { // as is all that does not walk
				continue
			}
			x.after.status.Examined++
			if by == nil && x.after.status.Tombstone.Covers(&there.token) {
				by = x
			}
		}
		if by != nil {
			s.left.Remove--
			by.remove[s.walk] = &seen{*there, bytes.Clone(stored)} // it may be there already, for a walk may come by twice
		}
		return true
	})
	if !ended {
		return
	}
	s.walk = ulid.ULID{}
	for _, x := range s.steps {
		if x.after.walks {
			x.after.ends++
		}
	}
}

// commit carries the plan out, as far as nobody else has got on with it meanwhile. It may run several times.
func (s *slice) commit(r *records) []store.Status {
	walk := !s.walked || r.meta.walk == s.from && s.unchanged(r)
	var statuses []store.Status
	var erasing []int // which of statuses are those of erasures; they come last, for they change what other sweeps go on from
	moved := false
	for _, x := range s.steps {
		p := x.after
		id := p.id()
		if p.walks && !walk || !bytes.Equal(r.get(bucketLive, id[:]), x.before) {
			if status, ok := r.status(id); ok {
				statuses = append(statuses, status)
			}
			continue
		}
		before := p.status.Swept
		if covered := x.covered(r); len(covered) > 0 {
			r.remove(covered)
			p.status.Swept += uint64(len(covered))
		}
		retires := x.done && !p.status.Tombstone.Erases
		if count := p.status.Swept - before; count > 0 || retires {
			r.emit(s.left.Emit, store.SweptEvent(&p.status, count, retires, s.left.Now))
		}
		switch {
		case retires:
			r.retire(&p, s.left)
		case p.stage > 0 || x.done:
			r.beginErasure(&p)
			erasing = append(erasing, len(statuses))
		default:
			r.putLive(&p)
		}
		statuses = append(statuses, p.status)
		moved = true
	}
	visit := s.left.Visit
	for _, i := range erasing {
		r.endErasure(&statuses[i], &visit, s.left)
	}
	if walk && s.walked {
		r.meta.walk = s.walk
	}
	if moved {
		r.save()
	}
	return statuses
}

// covered returns what is to be removed and is still there, in the order of ids.
func (x *step) covered(r *records) []record {
	covered := make([]record, 0, len(x.remove))
	for _, id := range slices.SortedFunc(maps.Keys(x.remove), ulid.ULID.Compare) {
		there := x.remove[id]
		switch stored := r.stored(id); {
		case stored == nil:
		case bytes.Equal(stored, there.stored):
			covered = append(covered, there.record)
		default:
			if now := recordOf(id, stored); x.after.status.Tombstone.Covers(&now.token) {
				covered = append(covered, now)
			}
		}
	}
	return covered
}

// unchanged reports whether no walker has moved since the plan was made. Those that came since join the next slice.
func (s *slice) unchanged(r *records) bool {
	for _, x := range s.steps {
		if id := x.after.id(); x.after.walks && !bytes.Equal(r.get(bucketLive, id[:]), x.before) {
			return false
		}
	}
	return true
}
