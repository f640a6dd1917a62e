package storetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Stores whose outbox is wrong.

// eventsAfterCommit shows the events of an insertion a little after its tokens.
func eventsAfterCommit(_ store.Backend, _ string, s store.Store) store.Store {
	var hidden atomic.Int64
	return &verbs{
		Store: s,
		insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
			emits := slices.ContainsFunc(rows, func(row store.Insertion) bool { return row.Emit != 0 })
			if emits {
				hidden.Add(1)
				defer hidden.Add(-1)
			}
			results, err := s.Insert(ctx, rows)
			if emits {
				for range 10_000 { // long enough for a reader to come by
					runtime.Gosched()
				}
			}
			return results, err
		},
		feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
			page, err := feedOf(ctx, s, after, limit)
			if err == nil && hidden.Load() > 0 {
				page = store.FeedPage{Next: after, Last: after}
			}
			return page, err
		},
	}
}

func losesEventOfRefusal(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		return s.Update(ctx, id, func(view store.View) store.Decision {
			d := decide(view)
			if d.Err != nil && d.Revoke != nil && d.Revoke.Validate() == nil {
				silent := *d.Revoke
				silent.Emit = 0
				d.Revoke = &silent
			}
			return d
		})
	}}
}

// inventsEvents writes its event of an update whether the update is made or not.
func inventsEvents(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, update: func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
		var last store.Decision
		err := s.Update(ctx, id, func(view store.View) store.Decision {
			last = decide(view)
			return last
		})
		if errors.Is(err, store.ErrImmutable) && last.Emit != 0 {
			_ = s.Update(ctx, id, func(store.View) store.Decision { return store.Decision{Emit: last.Emit, Time: last.Time} })
		}
		return err
	}}
}

func repeatsEvent(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
		page, err := feedOf(ctx, s, after, limit)
		if err == nil && after > 45 {
			return feedOf(ctx, s, after-1, limit)
		}
		return page, err
	}}
}

func skipsEvent(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
		page, err := feedOf(ctx, s, after, limit)
		if err == nil && after > 45 && len(page.Events) > 1 {
			page.Events = page.Events[1:]
		}
		return page, err
	}}
}

// sharesEvents hands out the same memory again and again.
func sharesEvents(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	known := map[uint64]store.Event{}
	return &verbs{Store: s, feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
		page, err := feedOf(ctx, s, after, limit)
		mu.Lock()
		defer mu.Unlock()
		for i, e := range page.Events {
			shared := known[e.Number]
			if shared.Kind != e.Kind || len(shared.Tokens) != len(e.Tokens) || len(e.Targets) < 2 || len(e.Tokens) != 1 || namesIn(e, "ann") || namesIn(shared, "ann") {
				known[e.Number] = e
				continue
			}
			page.Events[i] = shared
		}
		return page, err
	}}
}

func emitsAll(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
		if b.Emit != 0 {
			b.Emit = store.AllKinds
		}
		return s.Apply(ctx, ids, b)
	}}
}

func resumesSilently(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
		page, err := feedOf(ctx, s, after, limit)
		if gone := (*store.CursorGoneError)(nil); errors.As(err, &gone) {
			return feedOf(ctx, s, gone.Resume, limit)
		}
		return page, err
	}}
}

// reusesNumbers begins again with the first number after a trim that left nothing.
func reusesNumbers(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	var emptied uint64
	return &verbs{
		Store: s,
		trim: func(ctx context.Context, t store.Trim) (store.Trimmed, error) {
			done, err := s.Trim(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			if state, stateErr := s.State(ctx); done.Events > 0 && stateErr == nil && state.Events == 0 {
				emptied = state.LastEvent
			}
			return done, err
		},
		feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
			page, err := feedOf(ctx, s, after, limit)
			mu.Lock()
			defer mu.Unlock()
			for i := range page.Events {
				page.Events[i].Number -= emptied
			}
			if len(page.Events) > 0 {
				page.Next -= emptied
				page.Last -= emptied
			}
			return page, err
		},
	}
}

// dropsYoung drops an event that is not old, if others are that came after it.
func dropsYoung(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, trim: func(ctx context.Context, t store.Trim) (store.Trimmed, error) {
		if !t.Events.IsZero() {
			t.Events = t.Events.Add(30 * time.Minute)
		}
		return s.Trim(ctx, t)
	}}
}

// leavesNames shows what was in the feed before the erasure.
func leavesNames(_ store.Backend, _ string, s store.Store) store.Store {
	var mu sync.Mutex
	known := map[uint64]store.Event{}
	return &verbs{Store: s, feed: func(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
		page, err := feedOf(ctx, s, after, limit)
		mu.Lock()
		defer mu.Unlock()
		for i, e := range page.Events {
			if was, ok := known[e.Number]; ok {
				page.Events[i] = was.Clone()
			} else {
				known[e.Number] = e.Clone()
			}
		}
		return page, err
	}}
}
