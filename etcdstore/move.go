package etcdstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

var _ store.Mover = (*tenant)(nil)

// Guards reads one page of guards, oldest first: one that is joined with a later one moves on, and is never missed.
func (t *tenant) Guards(ctx context.Context, q store.GuardQuery) (page store.GuardPage, err error) {
	if err := q.Validate(); err != nil {
		return store.GuardPage{}, err
	}
	err = t.view(ctx, func(x *txn) error {
		h := x.head()
		page = store.GuardPage{ErasureKey: h.erasureKey}
		ages := under(x.below(keyAges))
		s := ages
		if q.After != "" {
			s = s.after(ages.start + q.After)
		}
		var found []string
		more := !x.scan(s, func(i item) bool {
			if len(found) == q.Limit {
				return false
			}
			found = append(found, i.key[len(ages.start):])
			return true
		})
		var keys []string
		for _, age := range found {
			if len(age) < sizeOfInstant {
				return ErrCorrupt
			}
			keys = append(keys, x.below(keyGuards, age[sizeOfInstant:]))
		}
		x.prefetch(keys)
		for _, age := range found {
			page.Guards = append(page.Guards, x.agedGuard(ages.start+age))
		}
		if more {
			page.Next = found[len(found)-1]
		}
		return nil
	})
	return page, err
}

// Remember takes over what another store remembers.
func (t *tenant) Remember(ctx context.Context, m store.Memory) error {
	if err := m.Validate(); err != nil {
		return err
	}
	_, err := t.update(ctx, func(x *txn) error {
		x.prefetch([]string{x.below(keyHead), x.below(keyOrigin), x.below(keyTip), x.below(keyEvents), x.below(keyLastEvent), x.below(keyFloor)})
		none := domain.ErasureKey{}
		h := x.head()
		var from origin
		if i := x.get(x.below(keyOrigin)); i.there() {
			from = must(decode(i.value, originFields))
		}
		_, sequence := x.tip(&h)
		switch {
		case from.complete && from.id == m.Origin:
			return nil
		case from.id != m.Origin && (!from.id.IsZero() || sequence > 0),
			m.ErasureKey != none && h.erasureKey != none && h.erasureKey != m.ErasureKey:
			return store.ErrOccupied
		}
		x.get(x.below(keyTip)) // a tenant that begins to live meanwhile is occupied, and numbers may begin anew
		before := h
		if m.ErasureKey != none {
			h.erasureKey = m.ErasureKey
		}
		if m.Sequence > sequence {
			h.raised = m.Sequence
			if m.Sequence >= h.base+x.next() {
				h.base, h.since = m.Sequence, uint64(x.rev)
			}
			x.special = append(x.special, x.nameOp())
		}
		h.horizon = h.horizon.Join(m.Horizon)
		if h != before {
			x.putHead(&h)
		}
		x.raiseEvents(m.LastEvent)
		for _, guard := range m.Guards {
			x.remember(guard)
		}
		next := origin{m.Origin, m.Complete}
		x.put(x.below(keyOrigin), encode(&next, originFields))
		return nil
	})
	return err
}
