package revocation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// DefaultOutbox are the kinds of events that are written where nothing else is asked for.
const DefaultOutbox = store.KindRevoked | store.KindReused | store.KindErased

// NoOutbox, as the kinds of an option, has no events written at all.
const NoOutbox store.Kinds = 1 << 15

// kindsOf returns the kinds that an option stands for, or a FieldError for one that names none.
func kindsOf(option store.Kinds) (store.Kinds, error) {
	switch {
	case option == 0:
		return DefaultOutbox, nil
	case option == NoOutbox || store.AllKinds&option == option:
		return option, nil
	}
	return 0, &domain.FieldError{Field: "outbox", Limit: "kinds of events, or NoOutbox", Size: int(option)}
}

// bell tells those who follow a tenant's feed that there may be something new.
type bell struct {
	mu      sync.Mutex
	waiting map[string]chan struct{} // of tenants that somebody follows
}

// next returns a channel that is closed the next time the bell rings for the tenant.
func (b *bell) next(tenant string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[string]chan struct{}{}
	}
	if b.waiting[tenant] == nil {
		b.waiting[tenant] = make(chan struct{})
	}
	return b.waiting[tenant]
}

func (b *bell) ring(tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch := b.waiting[tenant]; ch != nil {
		close(ch)
		delete(b.waiting, tenant)
	}
}

// Emitted tells those who follow a tenant's feed that events may have been written to it by other means than the engine's.
// Without it they find out at the next poll.
func (e *Engine) Emitted(tenant string) { e.news.ring(tenant) }

// Feed returns a page of the tenant's events, as [store.Outbox] has it. A backend without an outbox is an error that matches
// [errors.ErrUnsupported].
func (e *Engine) Feed(ctx context.Context, tenant string, after uint64, limit int) (store.FeedPage, error) {
	st, err := e.backend.Tenant(tenant)
	if err != nil {
		return store.FeedPage{}, err
	}
	outbox, ok := store.As[store.Outbox](st)
	if !ok {
		return store.FeedPage{}, fmt.Errorf("tokenstore: the backend has no outbox: %w", errors.ErrUnsupported)
	}
	return outbox.Feed(ctx, after, limit)
}

// Follow walks the tenant's events after the cursor, and waits for more whenever it has caught up: at once for what is written
// by way of this engine, for up to PollEvery for what another process writes. It holds up nobody, starts nothing, and ends
// after the first error, which may be that of ctx.
func (e *Engine) Follow(ctx context.Context, tenant string, after uint64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for {
			news := e.news.next(tenant) // taken before the look, so that what is written after it is not missed
			page, err := e.Feed(ctx, tenant, after, store.MaxPage)
			if err != nil {
				yield(store.Event{}, err)
				return
			}
			for _, event := range page.Events {
				if !yield(event, nil) {
					return
				}
			}
			if after = page.Next; after < page.Last {
				continue
			}
			if err := e.awaitNews(ctx, news); err != nil {
				yield(store.Event{}, err)
				return
			}
		}
	}
}

func (e *Engine) awaitNews(ctx context.Context, news <-chan struct{}) error {
	poll := time.NewTimer(e.opts.PollEvery)
	defer poll.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-news:
	case <-poll.C:
	}
	return nil
}
