package storetest

import (
	"context"
	"errors"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// What is wrapped can move as what is behind it does.

func (s doored) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	return through(s.door, func() (store.GuardPage, error) { return s.store.(store.Mover).Guards(ctx, q) })
}

func (s doored) Remember(ctx context.Context, m store.Memory) error {
	_, err := through(s.door, func() (struct{}, error) { return struct{}{}, s.store.(store.Mover).Remember(ctx, m) })
	return err
}

func (s odd) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	q.Limit = min(q.Limit, 2)
	page, err := s.inner.(store.Mover).Guards(ctx, q)
	return page, oddly(err)
}

func (s odd) Remember(ctx context.Context, m store.Memory) error {
	return oddly(s.inner.(store.Mover).Remember(ctx, m))
}

func (v *verbs) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	return v.Store.(store.Mover).Guards(ctx, q)
}

func (v *verbs) Remember(ctx context.Context, m store.Memory) error {
	return v.Store.(store.Mover).Remember(ctx, m)
}

// Stores that are wrong in moving.

type moves struct {
	verbs
	guards   func(ctx context.Context, q store.GuardQuery) (store.GuardPage, error)
	remember func(ctx context.Context, m store.Memory) error
}

func (m *moves) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	if m.guards != nil {
		return m.guards(ctx, q)
	}
	return m.verbs.Guards(ctx, q)
}

func (m *moves) Remember(ctx context.Context, memory store.Memory) error {
	if m.remember != nil {
		return m.remember(ctx, memory)
	}
	return m.verbs.Remember(ctx, memory)
}

func skipsGuard(_ store.Backend, _ string, s store.Store) store.Store {
	return &moves{verbs: verbs{Store: s}, guards: func(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
		page, err := s.(store.Mover).Guards(ctx, q)
		if q.After != "" && page.Next != "" && len(page.Guards) > 1 {
			page.Guards = page.Guards[1:]
		}
		return page, err
	}}
}

// changes alters what is taken over.
func changes(change func(*store.Memory)) wrapping {
	return func(_ store.Backend, _ string, s store.Store) store.Store {
		return &moves{verbs: verbs{Store: s}, remember: func(ctx context.Context, m store.Memory) error {
			if m.Validate() == nil {
				change(&m)
			}
			return s.(store.Mover).Remember(ctx, m)
		}}
	}
}

func keepsSequence(b store.Backend, name string, s store.Store) store.Store {
	return changes(func(m *store.Memory) {
		m.Sequence = m.Horizon.Sequence
		for _, g := range m.Guards {
			m.Sequence = max(m.Sequence, g.Watermark)
		}
		m.Guards = nil
	})(b, name, s)
}

func takesNoGuards(b store.Backend, name string, s store.Store) store.Store {
	return changes(func(m *store.Memory) { m.Guards = nil })(b, name, s)
}

func mixesTenants(_ store.Backend, _ string, s store.Store) store.Store {
	return &moves{verbs: verbs{Store: s}, remember: func(ctx context.Context, m store.Memory) error {
		if err := s.(store.Mover).Remember(ctx, m); !errors.Is(err, store.ErrOccupied) {
			return err
		}
		return nil
	}}
}

// forgetsFormer lets a token in without a look at the session that it had.
func forgetsFormer(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i].Former = domain.SessionID{}
		}
		return s.Insert(ctx, rows)
	}}
}
