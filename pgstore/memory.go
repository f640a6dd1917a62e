package pgstore

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// guardAge is when the revocation of a guard was asked for, and the digest of its target: the order in which guards are forgotten.
type guardAge struct {
	instant
	digest []byte
}

// digestBytes is the digest, which is not null before there is one.
func (a guardAge) digestBytes() []byte { return append([]byte{}, a.digest...) }

// agedGuard is a guard, and its place.
type agedGuard struct {
	domain.Guard
	age guardAge
}

// guardStep reads guards after a place, oldest first.
func (t *tx) guardStep(after guardAge, limit int, into *[]agedGuard) step {
	return step{t.q.guards, []any{t.tenant, after.at, after.ns, after.digestBytes(), limit}, func(row pgx.Rows) error {
		var g agedGuard
		var target targetRow
		var through instant
		fields := append([]any{(*number)(&g.Watermark), &g.age.at, &g.age.ns, &through.at, &through.ns, &g.age.digest}, target.fields()...)
		if err := row.Scan(fields...); err != nil {
			return err
		}
		g.Time, g.Through, g.Target = g.age.time(), through.time(), target.target()
		*into = append(*into, g)
		return nil
	}}
}

// remember keeps guards, joined with what is remembered of their targets. They are written in the order of their digests, so that
// transactions which keep the same ones do not wait for each other in a circle.
func (t *tx) remember(ctx context.Context, guards ...domain.Guard) error {
	if len(guards) == 0 {
		return nil
	}
	slices.SortFunc(guards, func(a, b domain.Guard) int { return bytes.Compare(digestOf(&a.Target), digestOf(&b.Target)) })
	fresh := int64(0)
	for i := range guards {
		g := &guards[i]
		at, through := instantOf(g.Time), instantOf(g.Through)
		t.do(step{
			t.q.remember, append([]any{
				t.tenant, digestOf(&g.Target), number(g.Watermark), at.at, at.ns, through.at, through.ns,
			}, targetArgs(&g.Target)...),
			func(row pgx.Rows) error {
				var joined int
				err := row.Scan(&joined)
				if joined == 0 {
					fresh++
				}
				return err
			},
		})
	}
	if err := t.fetch(ctx); err != nil {
		return err
	}
	t.add(tally{guards: fresh})
	return nil
}

// drop forgets guards.
func (t *tx) drop(guards ...guardAge) {
	digests := make([][]byte, len(guards))
	for i := range guards {
		digests[i] = guards[i].digest
	}
	t.do(step{sql: t.q.dropGuards, args: []any{t.tenant, digests}})
	t.add(tally{guards: -int64(len(guards))})
}

// forget removes retired tombstones. What they superseded may be forgotten then.
func (t *tx) forget(forgotten ...*revocation) {
	gone, next := make([]ulid.ULID, len(forgotten)), []ulid.ULID(nil)
	for i, r := range forgotten {
		gone[i] = r.id()
		if !r.supersedes.IsZero() {
			next = append(next, r.supersedes)
		}
	}
	t.do(step{sql: t.q.forget, args: []any{t.tenant, ids(gone)}})
	if len(next) > 0 {
		t.do(step{sql: t.q.mayTrim, args: []any{t.tenant, ids(next)}})
	}
	t.add(tally{history: -int64(len(forgotten))})
}

// Trim forgets, oldest first, alone in the tenant: what admission reads of guards and horizon belongs together.
func (s *tenant) Trim(ctx context.Context, trim store.Trim) (done store.Trimmed, err error) {
	if s.backend.closed.Load() {
		return store.Trimmed{}, store.ErrClosed
	}
	if err := trim.Validate(); err != nil {
		return store.Trimmed{}, err
	}
	old, err := s.old(ctx, trim)
	if err != nil || !old {
		return store.Trimmed{}, err
	}
	err = s.write(ctx, lockExclusive, func(t *tx) error {
		done = store.Trimmed{}
		var guards []agedGuard
		var events []store.Event
		t.lockFeed()
		h, err := t.head(ctx, 0,
			t.guardStep(guardAge{}, trim.Limit, &guards),
			step{t.q.feed, []any{t.tenant, number(0), trim.Limit}, scanEvents(&events)},
		)
		if err != nil {
			return err
		}
		for done.Guards < len(guards) && guards[done.Guards].Time.Before(trim.Guards) {
			h.horizon = h.horizon.Forget(guards[done.Guards].Guard)
			t.drop(guards[done.Guards].age)
			done.Guards++
		}
		for done.Events < len(events) && events[done.Events].Time.Before(trim.Events) {
			t.dropEvent(h, events[done.Events].Number)
			done.Events++
		}
		if done.Guards+done.Events > 0 {
			t.save(h)
		}
		if done.History, err = t.trimHistory(ctx, trim); err != nil || done == (store.Trimmed{}) {
			return err
		}
		return t.commit(ctx)
	})
	if err != nil {
		return store.Trimmed{}, err
	}
	return done, nil
}

// old reports whether there is anything to trim, which takes no lock.
func (s *tenant) old(ctx context.Context, trim store.Trim) (old bool, err error) {
	err = s.snapshot(ctx, func(t *tx) error {
		var guards []agedGuard
		var events []store.Event
		var history []*revocation
		err := t.finish(ctx,
			t.guardStep(guardAge{}, 1, &guards),
			step{t.q.feed, []any{t.tenant, number(0), 1}, scanEvents(&events)},
			t.historyStep(1, &history),
		)
		old = len(guards) > 0 && guards[0].Time.Before(trim.Guards) || len(events) > 0 && events[0].Time.Before(trim.Events) ||
			len(history) > 0 && history[0].status.RetiredAt.Before(trim.History)
		return err
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		err = &failure{cause: err} // of a call that writes
	}
	return old, err
}

// historyStep reads retired tombstones that may be forgotten, oldest first.
func (t *tx) historyStep(limit int, into *[]*revocation) step {
	return step{t.q.history, []any{t.tenant, limit}, func(row pgx.Rows) error {
		r := &revocation{}
		var at instant
		err := row.Scan((*identity)(&r.status.Tombstone.ID), (*identity)(&r.supersedes), &at.at, &at.ns)
		r.status.RetiredAt = at.time()
		*into = append(*into, r)
		return err
	}}
}

// trimHistory forgets retired tombstones, and then what they superseded.
func (t *tx) trimHistory(ctx context.Context, trim store.Trim) (done int, err error) {
	for done < trim.Limit {
		var oldest []*revocation
		if err := t.fetch(ctx, t.historyStep(trim.Limit-done, &oldest)); err != nil {
			return done, err
		}
		n := 0
		for n < len(oldest) && oldest[n].status.RetiredAt.Before(trim.History) {
			n++
		}
		if n == 0 {
			break
		}
		t.forget(oldest[:n]...)
		done += n
	}
	return done, nil
}

// dropEvent drops the oldest event.
func (t *tx) dropEvent(h *head, n uint64) {
	t.lockFeed()
	t.do(step{sql: t.q.dropEvents, args: []any{t.tenant, []number{number(n)}}})
	h.floor = number(n)
	t.add(tally{events: -1})
}

// eraseTenant ends the erasure of the tenant: a horizon takes the place of all that it remembered.
func (t *tx) eraseTenant(h *head, by *domain.Tombstone) {
	for _, guard := range by.Guards() {
		h.horizon = h.horizon.Forget(guard)
	}
	h.created = false
	if by.Watermark == uint64(h.sequence) { // nothing has been written since
		h.erasedThrough, h.erasureKey = &h.sequence, domain.ErasureKey{}
		t.do(
			step{sql: t.q.forgetLatest, args: []any{t.tenant}},
			step{sql: t.q.saveWalk, args: []any{t.tenant, [16]byte{}}},
		)
	}
	t.save(h)
}
