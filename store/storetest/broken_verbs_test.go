package storetest

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// verbs is a store some of whose verbs are replaced.
type verbs struct {
	store.Store
	insert     func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error)
	get        func(ctx context.Context, id ulid.ULID) (store.View, error)
	find       func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error)
	list       func(ctx context.Context, q store.Query) (store.Page, error)
	update     func(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error
	revoke     func(ctx context.Context, r store.Revocation) (store.Status, error)
	apply      func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error)
	expire     func(ctx context.Context, b store.Bounds) (store.Expired, error)
	revocation func(ctx context.Context, id ulid.ULID) (store.Status, error)
	trim       func(ctx context.Context, t store.Trim) (store.Trimmed, error)
	state      func(ctx context.Context) (store.State, error)
	feed       func(ctx context.Context, after uint64, limit int) (store.FeedPage, error)
}

func (v *verbs) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if v.insert != nil {
		return v.insert(ctx, rows)
	}
	return v.Store.Insert(ctx, rows)
}

func (v *verbs) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	if v.get != nil {
		return v.get(ctx, id)
	}
	return v.Store.Get(ctx, id)
}

func (v *verbs) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	if v.find != nil {
		return v.find(ctx, foreign)
	}
	return v.Store.Find(ctx, foreign)
}

func (v *verbs) List(ctx context.Context, q store.Query) (store.Page, error) {
	if v.list != nil {
		return v.list(ctx, q)
	}
	return v.Store.List(ctx, q)
}

func (v *verbs) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	if v.update != nil {
		return v.update(ctx, id, decide)
	}
	return v.Store.Update(ctx, id, decide)
}

func (v *verbs) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	if v.revoke != nil {
		return v.revoke(ctx, r)
	}
	return v.Store.Revoke(ctx, r)
}

func (v *verbs) Apply(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
	if v.apply != nil {
		return v.apply(ctx, ids, b)
	}
	return v.Store.Apply(ctx, ids, b)
}

func (v *verbs) Expire(ctx context.Context, b store.Bounds) (store.Expired, error) {
	if v.expire != nil {
		return v.expire(ctx, b)
	}
	return v.Store.Expire(ctx, b)
}

func (v *verbs) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	if v.revocation != nil {
		return v.revocation(ctx, id)
	}
	return v.Store.Revocation(ctx, id)
}

func (v *verbs) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	if v.trim != nil {
		return v.trim(ctx, t)
	}
	return v.Store.Trim(ctx, t)
}

func (v *verbs) State(ctx context.Context) (store.State, error) {
	if v.state != nil {
		return v.state(ctx)
	}
	return v.Store.State(ctx)
}

func (v *verbs) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	if v.feed != nil {
		return v.feed(ctx, after, limit)
	}
	return feedOf(ctx, v.Store, after, limit)
}
