package pgstore_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/store"
	"example.com/tokenstore/tokenstoretest"
	"github.com/oklog/ulid/v2"
)

// TestCutAtRandom has callers overlap on three backends of one database, which share nothing else, while a proxy cuts their
// connections anywhere. Every answer that they get has to fit into one order of the calls, and to keep the promises in real time.
func TestCutAtRandom(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := pgtest.Shared(t)
			db := s.Database(t)
			proxy := s.Proxy(t)
			defer func() { t.Attr("cuts", strconv.Itoa(proxy.Cuts())) }()
			c := &databases{address: s.DSN(db), options: mode.opts}
			made := 0
			tokenstoretest.Linearizable(t, tokenstoretest.Config{NoBubble: true, New: func(t testing.TB) store.Backend {
				proxy.CutAtRandom(0, nil) // until all are open
				opts := c.fresh(t)
				m := &many{Backend: open(t, s.DSN(db), opts)} // what is asked of it directly is not disturbed
				for range 3 {
					m.all = append(m.all, open(t, proxy.DSN(db)+"&pool_max_conns=8", opts))
				}
				made++
				proxy.CutAtRandom(100, rand.New(rand.NewPCG(uint64(made), 0)))
				return m
			}})
			if proxy.Cuts() == 0 {
				t.Error("connections must have been cut")
			}
		})
	}
}

// many is several backends of one database, each of which has every so-manieth call. A read that fails is made again.
type many struct {
	*pgstore.Backend
	all  []*pgstore.Backend
	next atomic.Int64
}

func (m *many) Close() error {
	err := m.Backend.Close()
	for _, b := range m.all {
		err = errors.Join(err, b.Close())
	}
	return err
}

func (m *many) Tenant(name string) (store.Store, error) {
	s := manyStore{many: m}
	for _, b := range m.all {
		st, err := b.Tenant(name)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, st)
	}
	return s, nil
}

type manyStore struct {
	many *many
	all  []store.Store
}

func (s manyStore) one() store.Store { return s.all[int(s.many.next.Add(1))%len(s.all)] }

// until makes a read until it has an answer.
func until[T any](ctx context.Context, read func() (T, error)) (T, error) {
	for {
		got, err := read()
		if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrClosed) || ctx.Err() != nil {
			return got, err
		}
	}
}

func (s manyStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	return until(ctx, func() (store.View, error) { return s.one().Get(ctx, id) })
}

func (s manyStore) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	return until(ctx, func() (ulid.ULID, error) { return s.one().Find(ctx, foreign) })
}

func (s manyStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	return until(ctx, func() (store.Page, error) { return s.one().List(ctx, q) })
}

func (s manyStore) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	return until(ctx, func() (store.Status, error) { return s.one().Revocation(ctx, id) })
}

func (s manyStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	return until(ctx, func() (store.RevocationPage, error) { return s.one().Revocations(ctx, q) })
}

func (s manyStore) State(ctx context.Context) (store.State, error) {
	return until(ctx, func() (store.State, error) { return s.one().State(ctx) })
}

func (s manyStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return s.one().Insert(ctx, rows)
}

func (s manyStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.one().Update(ctx, id, decide)
}

func (s manyStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	return s.one().Revoke(ctx, r)
}

func (s manyStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	return s.one().Apply(ctx, ids, bounds)
}

func (s manyStore) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	return s.one().Expire(ctx, bounds)
}

func (s manyStore) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	return s.one().Trim(ctx, trim)
}
