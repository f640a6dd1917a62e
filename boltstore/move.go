package boltstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var _ store.Mover = (*tenant)(nil)

// Guards reads one page of guards, oldest first: one that is joined with a later one moves on, and is never missed.
func (t *tenant) Guards(ctx context.Context, q store.GuardQuery) (page store.GuardPage, err error) {
	if err := q.Validate(); err != nil {
		return store.GuardPage{}, err
	}
	err = t.view(ctx, func(r *records) error {
		page = store.GuardPage{ErasureKey: r.meta.erasureKey}
		last := ""
		r.after(bucketAges, nil, []byte(q.After), func(k, _ []byte) bool {
			if len(page.Guards) == q.Limit {
				page.Next = last
				return false
			}
			page.Guards, last = append(page.Guards, r.guard(k)), string(k)
			return true
		})
		return nil
	})
	return page, err
}

// Remember takes over what another store remembers.
func (t *tenant) Remember(ctx context.Context, m store.Memory) error {
	if err := m.Validate(); err != nil {
		return err
	}
	m.Guards = slices.Clone(m.Guards) // they are read by whoever leads the commit
	return t.update(ctx, func(r *records) error {
		none := domain.ErasureKey{}
		origin, complete := r.origin()
		switch {
		case complete && origin == m.Origin:
			return nil
		case origin != m.Origin && (!origin.IsZero() || r.meta.sequence > 0),
			m.ErasureKey != none && r.meta.erasureKey != none && r.meta.erasureKey != m.ErasureKey:
			return store.ErrOccupied
		}
		if m.ErasureKey != none {
			r.meta.erasureKey = m.ErasureKey
		}
		if m.Sequence > r.meta.sequence {
			r.meta.sequence = m.Sequence
			r.meta.erased = false
		}
		r.meta.horizon = r.meta.horizon.Join(m.Horizon)
		if r.meta.events == 0 && m.LastEvent > r.meta.lastEvent {
			r.meta.lastEvent, r.meta.floor = m.LastEvent, m.LastEvent
		}
		for _, guard := range m.Guards {
			r.remember(guard)
		}
		r.save()
		from := m.Origin[:]
		if m.Complete {
			from = append(from, originComplete)
		}
		check(r.root.Put(keyOrigin, from))
		return nil
	})
}

// originComplete stands behind an origin of which nothing is yet to come.
const originComplete = 1

// origin is what the tenant's memory was taken over from, or zero, and whether nothing of that is yet to come.
func (r *records) origin() (id ulid.ULID, complete bool) {
	if r.root != nil {
		complete = copy(id[:], r.root.Get(keyOrigin)) < len(r.root.Get(keyOrigin))
	}
	return id, complete
}
