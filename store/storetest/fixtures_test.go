package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// wrapping makes a store out of a tenant's store in memory. It is asked once for each tenant.
type wrapping func(b store.Backend, name string, s store.Store) store.Store

// plain is the configuration of memory behind a wrapping, or of memory as it is.
func plain(wrap wrapping) Config {
	return Config{
		New: func(testing.TB) store.Backend {
			return &door{inner: &layer{Backend: memstore.New(), wrap: wrap, tenants: map[string]store.Store{}}}
		},
		Reopen: func(t testing.TB, b store.Backend) store.Backend {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return &door{inner: b.(*door).inner}
		},
	}
}

// layer is a backend whose stores are wrapped.
type layer struct {
	store.Backend
	wrap    wrapping
	mu      sync.Mutex
	tenants map[string]store.Store
}

func (l *layer) Tenant(name string) (store.Store, error) {
	s, err := l.Backend.Tenant(name)
	if err != nil || l.wrap == nil {
		return s, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenants[name] == nil {
		l.tenants[name] = l.wrap(l.Backend, name, s)
	}
	return l.tenants[name], nil
}

// door closes without closing what is behind it, which another door can open again. So memory outlives a backend.
type door struct {
	inner  store.Backend
	mu     sync.RWMutex
	closed bool
}

// through runs a call unless the door is closed. Close waits for it.
func through[T any](d *door, call func() (T, error)) (T, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		var none T
		return none, store.ErrClosed
	}
	return call()
}

func (d *door) Tenant(name string) (store.Store, error) {
	return through(d, func() (store.Store, error) {
		s, err := d.inner.Tenant(name)
		if err != nil {
			return nil, err
		}
		return doored{s, d}, nil
	})
}

func (d *door) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return through(d, func() ([]string, error) { return d.inner.Pending(ctx, after, limit) })
}

func (d *door) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return through(d, func() ([]string, error) { return d.inner.Tenants(ctx, after, limit) })
}

func (d *door) Create(ctx context.Context, name string) error {
	_, err := through(d, func() (struct{}, error) { return struct{}{}, d.inner.Create(ctx, name) })
	return err
}

func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

type doored struct {
	store store.Store
	door  *door
}

func (s doored) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return through(s.door, func() ([]store.Inserted, error) { return s.store.Insert(ctx, rows) })
}

func (s doored) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	return through(s.door, func() (store.View, error) { return s.store.Get(ctx, id) })
}

func (s doored) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	return through(s.door, func() (ulid.ULID, error) { return s.store.Find(ctx, foreign) })
}

func (s doored) List(ctx context.Context, q store.Query) (store.Page, error) {
	return through(s.door, func() (store.Page, error) { return s.store.List(ctx, q) })
}

func (s doored) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	_, err := through(s.door, func() (struct{}, error) { return struct{}{}, s.store.Update(ctx, id, decide) })
	return err
}

func (s doored) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	return through(s.door, func() (store.Status, error) { return s.store.Revoke(ctx, r) })
}

func (s doored) Apply(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
	return through(s.door, func() ([]store.Status, error) { return s.store.Apply(ctx, ids, b) })
}

func (s doored) Expire(ctx context.Context, b store.Bounds) (store.Expired, error) {
	return through(s.door, func() (store.Expired, error) { return s.store.Expire(ctx, b) })
}

func (s doored) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	return through(s.door, func() (store.Status, error) { return s.store.Revocation(ctx, id) })
}

func (s doored) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	return through(s.door, func() (store.RevocationPage, error) { return s.store.Revocations(ctx, q) })
}

func (s doored) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	return through(s.door, func() (store.Trimmed, error) { return s.store.Trim(ctx, t) })
}

func (s doored) State(ctx context.Context) (store.State, error) {
	return through(s.door, func() (store.State, error) { return s.store.State(ctx) })
}

func (s doored) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return through(s.door, func() (store.FeedPage, error) { return feedOf(ctx, s.store, after, limit) })
}

// feedOf reads the feed of a store that is an outbox.
func feedOf(ctx context.Context, s store.Store, after uint64, limit int) (store.FeedPage, error) {
	return s.(store.Outbox).Feed(ctx, after, limit)
}

// odd does all that the contract allows and nobody expects: it wraps every error, cuts pages short, runs decide more
// than once and believes the last run, and sweeps one row at a time.
type odd struct{ inner store.Store }

func oddly(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("odd: %w", err)
}

func (s odd) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	results, err := s.inner.Insert(ctx, rows)
	for i := range results {
		results[i].Err = oddly(results[i].Err)
	}
	return results, oddly(err)
}

func (s odd) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	view, err := s.inner.Get(ctx, id)
	return view, oddly(err)
}

func (s odd) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	id, err := s.inner.Find(ctx, foreign)
	return id, oddly(err)
}

func (s odd) List(ctx context.Context, q store.Query) (store.Page, error) {
	if q.Validate() == nil {
		q.Limit = min(q.Limit, 2)
	}
	page, err := s.inner.List(ctx, q)
	return page, oddly(err)
}

func (s odd) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return oddly(s.inner.Update(ctx, id, func(view store.View) store.Decision {
		decide(view)
		return decide(view)
	}))
}

func (s odd) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	status, err := s.inner.Revoke(ctx, r)
	return status, oddly(err)
}

func (s odd) Apply(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
	b.Visit, b.Remove = min(b.Visit, 1), min(b.Remove, 1)
	statuses, err := s.inner.Apply(ctx, ids, b)
	return statuses, oddly(err)
}

func (s odd) Expire(ctx context.Context, b store.Bounds) (store.Expired, error) {
	b.Visit, b.Remove = min(b.Visit, 1), min(b.Remove, 1)
	done, err := s.inner.Expire(ctx, b)
	return done, oddly(err)
}

func (s odd) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	status, err := s.inner.Revocation(ctx, id)
	return status, oddly(err)
}

func (s odd) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	if q.Validate() == nil {
		q.Limit = min(q.Limit, 2)
	}
	page, err := s.inner.Revocations(ctx, q)
	return page, oddly(err)
}

func (s odd) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	t.Limit = min(t.Limit, 1)
	trimmed, err := s.inner.Trim(ctx, t)
	return trimmed, oddly(err)
}

func (s odd) State(ctx context.Context) (store.State, error) {
	state, err := s.inner.State(ctx)
	return state, oddly(err)
}

func (s odd) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	if limit <= store.MaxPage {
		limit = min(limit, 2)
	}
	page, err := feedOf(ctx, s.inner, after, limit)
	return page, oddly(err)
}
