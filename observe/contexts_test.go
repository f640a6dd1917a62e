package observe_test

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// contexts notes what mark the contexts of its calls bear, and does nothing else.
type contexts struct {
	store.Backend
	marks []any
}

func (c *contexts) note(ctx context.Context) error {
	c.marks = append(c.marks, ctx.Value(markKey{}))
	return nil
}

func (c *contexts) Tenant(string) (store.Store, error) { return contextsOf{c}, nil }

func (c *contexts) Pending(ctx context.Context, _ string, _ int) ([]string, error) {
	return nil, c.note(ctx)
}

func (c *contexts) Tenants(ctx context.Context, _ string, _ int) ([]string, error) {
	return nil, c.note(ctx)
}

func (c *contexts) Create(ctx context.Context, _ string) error { return c.note(ctx) }

type contextsOf struct{ c *contexts }

func (s contextsOf) Insert(ctx context.Context, _ []store.Insertion) ([]store.Inserted, error) {
	return nil, s.c.note(ctx)
}

func (s contextsOf) Get(ctx context.Context, _ ulid.ULID) (store.View, error) {
	return store.View{}, s.c.note(ctx)
}

func (s contextsOf) Find(ctx context.Context, _ domain.Digest) (ulid.ULID, error) {
	return ulid.ULID{}, s.c.note(ctx)
}

func (s contextsOf) List(ctx context.Context, _ store.Query) (store.Page, error) {
	return store.Page{}, s.c.note(ctx)
}

func (s contextsOf) Update(ctx context.Context, _ ulid.ULID, _ func(store.View) store.Decision) error {
	return s.c.note(ctx)
}

func (s contextsOf) Revoke(ctx context.Context, _ store.Revocation) (store.Status, error) {
	return store.Status{}, s.c.note(ctx)
}

func (s contextsOf) Apply(ctx context.Context, _ []ulid.ULID, _ store.Bounds) ([]store.Status, error) {
	return nil, s.c.note(ctx)
}

func (s contextsOf) Expire(ctx context.Context, _ store.Bounds) (store.Expired, error) {
	return store.Expired{}, s.c.note(ctx)
}

func (s contextsOf) Revocation(ctx context.Context, _ ulid.ULID) (store.Status, error) {
	return store.Status{}, s.c.note(ctx)
}

func (s contextsOf) Revocations(ctx context.Context, _ store.RevocationQuery) (store.RevocationPage, error) {
	return store.RevocationPage{}, s.c.note(ctx)
}

func (s contextsOf) Trim(ctx context.Context, _ store.Trim) (store.Trimmed, error) {
	return store.Trimmed{}, s.c.note(ctx)
}

func (s contextsOf) State(ctx context.Context) (store.State, error) {
	return store.State{}, s.c.note(ctx)
}
