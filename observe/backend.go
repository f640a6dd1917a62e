package observe

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Begin is called as an operation begins. The operation gets the context that it returns; the function that it returns is called
// once, when the operation has ended, also by a panic. Both are called by whoever calls the backend, from several goroutines at once,
// and hold up that call.
type Begin func(ctx context.Context, op Operation) (context.Context, func(Outcome))

// Backend returns the backend with all its operations shown to begin. What it can do beside them is found through it by
// [store.As], and is not shown. An Insert of one token has that token's outcome, one of several that of the call.
func Backend(b store.Backend, begin Begin) store.Backend { return &backend{b, begin} }

// during shows a call.
func (begin Begin) during(ctx context.Context, op Operation, call func(context.Context) error) error {
	ctx, end := begin(ctx, op)
	outcome := Failed
	defer func() { end(outcome) }()
	err := call(ctx)
	outcome = Of(err)
	return err
}

// with shows a call that returns something.
func with[T any](ctx context.Context, begin Begin, op Operation, call func(context.Context) (T, error)) (out T, err error) {
	err = begin.during(ctx, op, func(ctx context.Context) (err error) {
		out, err = call(ctx)
		return err
	})
	return out, err
}

type backend struct {
	inner store.Backend
	begin Begin
}

func (b *backend) Unwrap() store.Backend { return b.inner }

func (b *backend) Tenant(name string) (store.Store, error) {
	inner, err := b.inner.Tenant(name)
	if err != nil {
		return nil, err
	}
	return &tenant{inner, b.begin}, nil
}

func (b *backend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return with(ctx, b.begin, ListPending, func(ctx context.Context) ([]string, error) { return b.inner.Pending(ctx, after, limit) })
}

func (b *backend) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return with(ctx, b.begin, ListTenants, func(ctx context.Context) ([]string, error) { return b.inner.Tenants(ctx, after, limit) })
}

func (b *backend) Create(ctx context.Context, name string) error {
	return b.begin.during(ctx, CreateTenant, func(ctx context.Context) error { return b.inner.Create(ctx, name) })
}

func (b *backend) Close() error { return b.inner.Close() }

type tenant struct {
	inner store.Store
	begin Begin
}

func (t *tenant) Unwrap() store.Store { return t.inner }

func (t *tenant) Insert(ctx context.Context, rows []store.Insertion) (out []store.Inserted, err error) {
	_ = t.begin.during(ctx, Insert, func(ctx context.Context) error {
		out, err = t.inner.Insert(ctx, rows)
		if err == nil && len(out) == 1 {
			return out[0].Err
		}
		return err
	})
	return out, err
}

func (t *tenant) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	return with(ctx, t.begin, Get, func(ctx context.Context) (store.View, error) { return t.inner.Get(ctx, id) })
}

func (t *tenant) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	return with(ctx, t.begin, Find, func(ctx context.Context) (ulid.ULID, error) { return t.inner.Find(ctx, foreign) })
}

func (t *tenant) List(ctx context.Context, q store.Query) (store.Page, error) {
	return with(ctx, t.begin, List, func(ctx context.Context) (store.Page, error) { return t.inner.List(ctx, q) })
}

func (t *tenant) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return t.begin.during(ctx, Update, func(ctx context.Context) error { return t.inner.Update(ctx, id, decide) })
}

func (t *tenant) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	return with(ctx, t.begin, Revoke, func(ctx context.Context) (store.Status, error) { return t.inner.Revoke(ctx, r) })
}

func (t *tenant) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	return with(ctx, t.begin, Sweep, func(ctx context.Context) ([]store.Status, error) { return t.inner.Apply(ctx, ids, bounds) })
}

func (t *tenant) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	return with(ctx, t.begin, Expire, func(ctx context.Context) (store.Expired, error) { return t.inner.Expire(ctx, bounds) })
}

func (t *tenant) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	return with(ctx, t.begin, GetRevocation, func(ctx context.Context) (store.Status, error) { return t.inner.Revocation(ctx, id) })
}

func (t *tenant) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	return with(ctx, t.begin, ListRevocations, func(ctx context.Context) (store.RevocationPage, error) { return t.inner.Revocations(ctx, q) })
}

func (t *tenant) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	return with(ctx, t.begin, Trim, func(ctx context.Context) (store.Trimmed, error) { return t.inner.Trim(ctx, trim) })
}

func (t *tenant) State(ctx context.Context) (store.State, error) {
	return with(ctx, t.begin, State, func(ctx context.Context) (store.State, error) { return t.inner.State(ctx) })
}
