package storetest

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// What is wrapped can be restored as what is behind it can.

func (s doored) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	return through(s.door, func() (store.Restored, error) { return s.store.(store.Restorer).Restore(ctx, r) })
}

func (s doored) Restorations(ctx context.Context) ([]store.Restored, error) {
	return through(s.door, func() ([]store.Restored, error) { return s.store.(store.Restorer).Restorations(ctx) })
}

func (s odd) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	now, err := s.inner.(store.Restorer).Restore(ctx, r)
	return now, oddly(err)
}

func (s odd) Restorations(ctx context.Context) ([]store.Restored, error) {
	all, err := s.inner.(store.Restorer).Restorations(ctx)
	return all, oddly(err)
}

func (v *verbs) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	return v.Store.(store.Restorer).Restore(ctx, r)
}

func (v *verbs) Restorations(ctx context.Context) ([]store.Restored, error) {
	return v.Store.(store.Restorer).Restorations(ctx)
}

// Stores that are wrong in being restored.

type restores struct {
	verbs
	restore func(ctx context.Context, r store.Restoration) (store.Restored, error)
}

func (s *restores) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	if s.restore != nil {
		return s.restore(ctx, r)
	}
	return s.verbs.Restore(ctx, r)
}

// restoresAs alters what a restoration is told.
func restoresAs(change func(*store.Restoration)) wrapping {
	return func(_ store.Backend, _ string, s store.Store) store.Store {
		return &restores{verbs: verbs{Store: s}, restore: func(ctx context.Context, r store.Restoration) (store.Restored, error) {
			if r.Validate() == nil {
				change(&r)
			}
			return s.(store.Restorer).Restore(ctx, r)
		}}
	}
}

// takesLostTime takes what stems from the end of the lost time for current.
func takesLostTime(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		all, err := s.(store.Restorer).Restorations(ctx)
		if err != nil {
			return nil, err
		}
		rows = slices.Clone(rows)
		for i := range rows {
			if n := len(all); n > 0 && rows[i].AsOf == domain.AsOfSequence(all[n-1].Epoch-1) {
				rows[i].AsOf = domain.AsOf{}
			}
		}
		return s.Insert(ctx, rows)
	}}
}

// keepsFloor goes on with a cursor of the lost time.
func keepsFloor(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
		all, err := s.(store.Restorer).Restorations(ctx)
		if n := len(all); err == nil && n > 0 {
			after = max(after, all[n-1].Epoch)
		}
		return s.(store.Outbox).Feed(ctx, after, limit)
	}}
}
