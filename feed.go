package tokenstore

import (
	"context"
	"iter"

	"example.com/tokenstore/store"
)

// FeedRequest asks for a page of events.
type FeedRequest struct {
	After uint64 // After is the cursor: the number of the last event that has been dealt with, 0 for none.
	Limit int    // Limit is 1..100. Defaults to 50.
}

// Feed returns the tenant's events after a cursor, in the order of their commits. The outbox that they stand in is written in
// the same commits, so no change that was acknowledged is missing and none is invented (docs/feed.md). Keep the number of
// the last event once it has been dealt with: a reader that goes on from there after a crash sees every event at least once.
//
// Which kinds there are is the option Outbox, and how long they stay the engine's OutboxFor. A [CursorGoneError] says that
// events after the cursor have been dropped, and from where on all is there; a [FieldError] of "after" that no such cursor was
// ever given out, as after the database has been rolled back. To begin with what comes, take State's LastEvent. A backend
// without an outbox is an error that matches [errors.ErrUnsupported].
func (m *Manager) Feed(ctx context.Context, r FeedRequest) (FeedPage, error) {
	if r.Limit == 0 {
		r.Limit = 50
	}
	return m.engine.Feed(ctx, m.opts.Tenant, r.After, r.Limit)
}

// Events walks the tenant's events after a cursor, page by page, up to the last that there is when it begins. It ends after the
// first error: those of [Manager.Feed].
func (m *Manager) Events(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		page, err := m.Feed(ctx, FeedRequest{After: after, Limit: store.MaxPage})
		for last := page.Last; ; page, err = m.Feed(ctx, FeedRequest{After: page.Next, Limit: store.MaxPage}) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, event := range page.Events {
				if event.Number > last || !yield(event, nil) {
					return
				}
			}
			if len(page.Events) == 0 || page.Next >= last {
				return
			}
		}
	}
}

// Follow walks the tenant's events after a cursor, and waits for more whenever it has caught up: at once for what this
// manager, or one that shares its engine, writes; for up to the engine's PollEvery for what another process does. It ends after
// the first error: those of [Manager.Feed], and that of ctx. However slow a follower is, it holds up nobody.
func (m *Manager) Follow(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return m.engine.Follow(ctx, m.opts.Tenant, after)
}

// emitted wakes those who follow the feed, if any of the kinds is written to it.
func (m *Manager) emitted(kinds Kinds) {
	if m.opts.Outbox&kinds != 0 {
		m.engine.Emitted(m.opts.Tenant)
	}
}
