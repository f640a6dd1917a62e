package cluster_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// spread is several processes that share the database, each by way of another member: every call goes to the next of them,
// which knows nothing of what the others have done but by the cluster.
type spread struct {
	prefix   string
	backends []*etcdstore.Backend
	calls    atomic.Uint64
}

// openSpread opens the part of the cluster below a prefix.
func openSpread(t testing.TB, prefix string) store.Backend {
	t.Helper()
	s := &spread{prefix: prefix}
	for _, client := range shared.members {
		b, err := etcdstore.New(client, &etcdstore.Options{Prefix: prefix, RequestTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		s.backends = append(s.backends, b)
	}
	return s
}

func (s *spread) next() *etcdstore.Backend { return s.backends[s.calls.Add(1)%uint64(len(s.backends))] }

func (s *spread) Tenant(name string) (store.Store, error) {
	t := &spreadStore{spread: s}
	for _, b := range s.backends {
		st, err := b.Tenant(name)
		if err != nil {
			return nil, err
		}
		t.stores = append(t.stores, st)
	}
	return t, nil
}

func (s *spread) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return s.next().Pending(ctx, after, limit)
}

func (s *spread) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return s.next().Tenants(ctx, after, limit)
}

func (s *spread) Create(ctx context.Context, name string) error { return s.next().Create(ctx, name) }

func (s *spread) Close() (err error) {
	for _, b := range s.backends {
		err = errors.Join(err, b.Close())
	}
	return err
}

type spreadStore struct {
	spread *spread
	stores []store.Store
}

func (t *spreadStore) next() store.Store {
	return t.stores[t.spread.calls.Add(1)%uint64(len(t.stores))]
}

func (t *spreadStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return t.next().Insert(ctx, rows)
}

func (t *spreadStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	return t.next().Get(ctx, id)
}

func (t *spreadStore) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	return t.next().Find(ctx, foreign)
}

func (t *spreadStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	return t.next().List(ctx, q)
}

func (t *spreadStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return t.next().Update(ctx, id, decide)
}

func (t *spreadStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	return t.next().Revoke(ctx, r)
}

func (t *spreadStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	return t.next().Apply(ctx, ids, bounds)
}

func (t *spreadStore) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	return t.next().Expire(ctx, bounds)
}

func (t *spreadStore) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	return t.next().Revocation(ctx, id)
}

func (t *spreadStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	return t.next().Revocations(ctx, q)
}

func (t *spreadStore) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	return t.next().Trim(ctx, trim)
}

func (t *spreadStore) State(ctx context.Context) (store.State, error) { return t.next().State(ctx) }

func (t *spreadStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return t.next().(store.Outbox).Feed(ctx, after, limit)
}

func (t *spreadStore) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	return t.next().(store.Mover).Guards(ctx, q)
}

func (t *spreadStore) Remember(ctx context.Context, m store.Memory) error {
	return t.next().(store.Mover).Remember(ctx, m)
}

func (t *spreadStore) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	return t.next().(store.Restorer).Restore(ctx, r)
}

func (t *spreadStore) Restorations(ctx context.Context) ([]store.Restored, error) {
	return t.next().(store.Restorer).Restorations(ctx)
}
