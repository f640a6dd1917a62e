package pgstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// chunk is how many tokens a sweep reads at once.
const chunk = 2000

// Apply sweeps a slice. Tombstones that another process sweeps at the moment are passed over, as if they were not pending. An
// erasure goes on alone, because it rewrites what others read.
func (s *tenant) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) (statuses []store.Status, err error) {
	if s.backend.closed.Load() {
		return nil, store.ErrClosed
	}
	if err := store.CheckApply(ids, bounds); err != nil {
		return nil, err
	}
	err = s.write(ctx, lockShared, func(t *tx) error {
		sl := &slice{tx: t, ctx: ctx, left: bounds, told: map[ulid.ULID]uint64{}, loaded: map[ulid.ULID]*revocation{}}
		statuses = nil
		if err := sl.claim(ids); err != nil {
			return err
		}
		if err := sl.apply(ids); err != nil {
			return err
		}
		if len(sl.touched) == 0 {
			return nil
		}
		if err := sl.tell(); err != nil {
			return err
		}
		for _, r := range sl.touched {
			if !sl.gone[r.id()] {
				t.keep(r)
			}
			statuses = append(statuses, r.status)
		}
		return t.commit(ctx)
	})
	if err != nil {
		return nil, err
	}
	return statuses, nil
}

// slice is one Apply under way.
type slice struct {
	*tx
	ctx     context.Context
	left    store.Bounds
	head    *head // for an erasure
	loaded  map[ulid.ULID]*revocation
	touched []*revocation        // each once, in order
	told    map[ulid.ULID]uint64 // how many tokens each had swept when that was last told
	gone    map[ulid.ULID]bool   // tombstones that an erasure has removed

	walkers  []*revocation
	position ulid.ULID // of the walk
	walking  bool      // this slice has the walk
}

// claim locks the given tombstones, and those that are swept by the walk if any of the given is and nobody else walks.
func (s *slice) claim(given []ulid.ULID) error {
	var claimed []*revocation
	erases := false
	err := s.fetch(s.ctx,
		step{s.q.claim, []any{s.tenant, ids(given)}, scanRevocations(&claimed)},
		step{s.q.anyErases, []any{s.tenant, ids(given)}, func(pgx.Rows) error { erases = true; return nil }},
	)
	if err != nil {
		return err
	}
	if erases && s.lock != lockExclusive {
		return errExclusive
	}
	if erases {
		if s.head, err = s.tx.head(s.ctx, 0); err != nil {
			return err
		}
	}
	for _, r := range claimed {
		s.loaded[r.id()] = r
	}
	if !slices.ContainsFunc(claimed, func(r *revocation) bool { return r.walks }) {
		return nil
	}
	s.do(step{sql: s.q.addWalk, args: []any{s.tenant}})
	err = s.fetch(s.ctx, step{s.q.takeWalk, []any{s.tenant}, func(row pgx.Rows) error {
		s.walking = true
		return row.Scan((*identity)(&s.position))
	}})
	if err != nil {
		return err
	}
	if !s.walking {
		for id, r := range s.loaded {
			if r.walks {
				delete(s.loaded, id)
			}
		}
		return nil
	}
	var walkers []*revocation
	if err := s.fetch(s.ctx, step{s.q.walkers, []any{s.tenant}, scanRevocations(&walkers)}); err != nil {
		return err
	}
	for _, r := range walkers {
		if r.status.Tombstone.Erases && s.lock != lockExclusive {
			return errExclusive
		}
		if s.loaded[r.id()] == nil {
			s.loaded[r.id()] = r
		}
		s.walkers = append(s.walkers, s.loaded[r.id()])
	}
	return nil
}

func (s *slice) apply(ids []ulid.ULID) error {
	for _, id := range ids {
		r := s.loaded[id]
		var err error
		switch {
		case r == nil || r.status.Retired:
		case s.exhausted():
			return nil
		case r.scrub.stage > 0:
			err = s.erase(r)
		case r.walks:
			err = s.walk(r)
		default:
			err = s.byIndex(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *slice) exhausted() bool { return s.left.Visit < 1 || s.left.Remove < 1 }

func (s *slice) touch(r *revocation) {
	if !slices.Contains(s.touched, r) {
		s.touched = append(s.touched, r)
		s.told[r.id()] = r.status.Swept
	}
}

// tell writes events of what the slice has swept and not told yet.
func (s *slice) tell() error {
	for _, r := range s.touched {
		if err := s.tellOf(r, false); err != nil {
			return err
		}
	}
	return nil
}

// tellOf writes an event of what the slice has swept for a tombstone since it last told, and of its end.
func (s *slice) tellOf(r *revocation, retired bool) error {
	count := r.status.Swept - s.told[r.id()]
	s.told[r.id()] = r.status.Swept
	if count > 0 || retired {
		return s.emit(s.left.Emit, store.SweptEvent(&r.status, count, retired, s.left.Now))
	}
	return nil
}

// byIndex sweeps target by target, along the index of each target's anchor.
func (s *slice) byIndex(r *revocation) error {
	s.touch(r)
	targets := r.status.Tombstone.Targets
	for ; r.target < len(targets); r.target, r.after = r.target+1, (ulid.ULID{}) {
		for ended := false; !ended; {
			rows, last, err := s.read(&targets[r.target], r.after)
			if err != nil {
				return err
			}
			by := map[ulid.ULID]*revocation{}
			for i := range rows {
				if s.exhausted() {
					last = false
					break
				}
				s.left.Visit--
				r.after = rows[i].ID
				r.status.Examined++
				if r.status.Tombstone.Covers(&rows[i]) {
					s.left.Remove--
					by[rows[i].ID] = r
				}
			}
			if err := s.remove(by); err != nil {
				return err
			}
			if ended = last; !ended && s.exhausted() {
				return nil
			}
		}
	}
	return s.end(r)
}

// read reads tokens that a target's index holds after the given one, as many as may be looked at. last says that there are no more.
func (s *slice) read(target *domain.Target, after ulid.ULID) (rows []domain.RefreshToken, last bool, err error) {
	limit := 0
	if !s.exhausted() {
		limit = min(s.left.Visit, chunk)
	}
	args := []any{s.tenant, [16]byte(after), limit + 1}
	sql := s.q.sweepAll
	switch anchor := target.Anchor(); anchor.Kind {
	case domain.AnchorToken:
		sql, args = s.q.sweepToken, append(args, [16]byte(target.TokenID))
	case domain.AnchorSession:
		sql, args = s.q.sweepSession, append(args, anchor.Value)
	case domain.AnchorUser:
		sql, args = s.q.sweepUser, append(args, anchor.Value)
	}
	err = s.fetch(s.ctx, step{sql, args, func(row pgx.Rows) error {
		var token domain.RefreshToken
		if err := scanCover(row, &token); err != nil {
			return err
		}
		rows = append(rows, token)
		return nil
	}})
	if len(rows) > limit {
		return rows[:limit], false, err
	}
	return rows, true, err
}

// remove removes tokens, each for a tombstone that covers it. One that is gone already is counted for none.
func (s *slice) remove(by map[ulid.ULID]*revocation) error {
	if len(by) == 0 {
		return nil
	}
	covered := make([]ulid.ULID, 0, len(by))
	for id := range by {
		covered = append(covered, id)
	}
	slices.SortFunc(covered, ulid.ULID.Compare)
	return s.fetch(s.ctx, s.removeStep(covered, func(id ulid.ULID) { by[id].status.Swept++ }))
}

// removeStep removes tokens, and says which of them were there.
func (t *tx) removeStep(gone []ulid.ULID, removed func(ulid.ULID)) step {
	return step{t.q.remove, []any{t.tenant, ids(gone)}, func(row pgx.Rows) error {
		var id identity
		sessionless := false
		if err := row.Scan(&id, &sessionless); err != nil {
			return err
		}
		change := tally{tokens: -1}
		if sessionless {
			change.sessionless = -1
		}
		t.add(change)
		removed(ulid.ULID(id))
		return nil
	}}
}

// end is reached when nothing that the tombstone covers is left.
func (s *slice) end(r *revocation) error {
	if r.status.Tombstone.Erases {
		r.walks = false
		r.scrub.stage = scrubPending
		return s.erase(r)
	}
	if err := s.tellOf(r, true); err != nil {
		return err
	}
	return s.retire(s.ctx, s.head, r, s.left)
}

// walk goes on with the one walk over all tokens, which serves every tombstone that has no index, until the given one is
// done or the slice is exhausted. A tombstone joins where the walk stands, and is done when it comes there again.
func (s *slice) walk(r *revocation) error {
	walkers := slices.DeleteFunc(slices.Clone(s.walkers), func(w *revocation) bool { return w.status.Retired || !w.walks })
	for _, w := range walkers {
		s.touch(w)
		if !w.joined {
			w.joined, w.from = true, s.position
		}
	}
	for !r.status.Retired && r.walks && !s.exhausted() {
		if err := s.lap(walkers); err != nil {
			return err
		}
		left := walkers[:0]
		for _, w := range walkers {
			done := w.ends > 1 || w.ends == 1 && s.position.Compare(w.from) >= 0
			if !done {
				left = append(left, w)
			} else if !w.status.Retired {
				if err := s.end(w); err != nil {
					return err
				}
			}
		}
		walkers = slices.DeleteFunc(left, func(w *revocation) bool { return w.status.Retired }) // by an erasure of the tenant
	}
	s.do(step{sql: s.q.saveWalk, args: []any{s.tenant, [16]byte(s.position)}})
	return nil
}

// lap walks on to the end of the slice or of the tokens, whichever comes first.
func (s *slice) lap(walkers []*revocation) error {
	everything := domain.Target{Everything: true}
	ended := false
	for !ended && !s.exhausted() {
		rows, last, err := s.read(&everything, s.position)
		if err != nil {
			return err
		}
		by := map[ulid.ULID]*revocation{}
		for i := range rows {
			if s.exhausted() {
				last = false
				break
			}
			s.left.Visit--
			s.position = rows[i].ID
			for _, w := range walkers {
				w.status.Examined++
				if by[rows[i].ID] == nil && w.status.Tombstone.Covers(&rows[i]) {
					by[rows[i].ID] = w
					s.left.Remove--
				}
			}
		}
		if err := s.remove(by); err != nil {
			return err
		}
		ended = last
	}
	if ended {
		s.position = ulid.ULID{}
		for _, w := range walkers {
			w.ends++
		}
	}
	return nil
}
