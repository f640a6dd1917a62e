package tokenstoretest

import (
	"context"
	"errors"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Faults of the outbox.

// eventLost loses the event of a revocation that comes with a refusal.
type eventLost struct{ *faultyStore }

func (s eventLost) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.Store.Update(ctx, id, func(v store.View) store.Decision {
		d := decide(v)
		if d.Err != nil && d.Revoke != nil {
			silent := *d.Revoke
			silent.Emit = 0
			d.Revoke = &silent
		}
		return d
	})
}

// eventInvented shows events of revocations that there never were.
type eventInvented struct{ *faultyStore }

func (s eventInvented) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	page, err := s.faultyStore.Feed(ctx, after, limit)
	for i, e := range page.Events {
		if e.Kind == store.KindRevoked && e.Number%3 == 0 {
			page.Events[i].Revocation[0]++
		}
	}
	return page, err
}

// droppedSilently does not say that events after a cursor are gone.
type droppedSilently struct{ *faultyStore }

func (s droppedSilently) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	page, err := s.faultyStore.Feed(ctx, after, limit)
	if gone := (*store.CursorGoneError)(nil); errors.As(err, &gone) {
		return s.faultyStore.Feed(ctx, gone.Resume, limit)
	}
	return page, err
}

// droppedUnasked drops events whenever it sweeps.
type droppedUnasked struct{ *faultyStore }

func (s droppedUnasked) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	_, _ = s.Store.Trim(ctx, store.Trim{Events: start.AddDate(100, 0, 0), Limit: 1000})
	return s.Store.Apply(ctx, ids, bounds)
}

// namesLeft shows events as they were when they were first asked for.
type namesLeft struct {
	*faultyStore
	known map[uint64]store.Event
}

func (s namesLeft) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	status, err := s.Store.Revoke(ctx, r)
	if state, stateErr := s.State(ctx); stateErr == nil && state.LastEvent > 0 {
		_, _ = s.Feed(ctx, state.LastEvent-1, 1)
	}
	return status, err
}

func (s namesLeft) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	page, err := s.faultyStore.Feed(ctx, after, limit)
	for i, e := range page.Events {
		if was, ok := s.known[e.Number]; ok {
			page.Events[i] = was
		} else {
			s.known[e.Number] = e
		}
	}
	return page, err
}
