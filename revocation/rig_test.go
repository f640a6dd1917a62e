package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var errFault = errors.New("injected fault")

// faulty is a backend whose calls fail as the test says.
type faulty struct {
	store.Backend

	mu    sync.Mutex
	fail  func(c call) error
	calls map[string]int
}

type call struct {
	verb   string
	n      int // n counts the calls of that verb from 1
	tenant string
	ids    []ulid.ULID
}

func (f *faulty) fault(verb, tenant string, ids ...ulid.ULID) error {
	f.mu.Lock()
	f.calls[verb]++
	fail, n := f.fail, f.calls[verb]
	f.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(call{verb, n, tenant, ids})
}

func (f *faulty) failWhen(fail func(c call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) count(verb string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[verb]
}

func (f *faulty) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	if err := f.fault("Pending", ""); err != nil {
		return nil, err
	}
	return f.Backend.Pending(ctx, after, limit)
}

func (f *faulty) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	if err := f.fault("Tenants", ""); err != nil {
		return nil, err
	}
	return f.Backend.Tenants(ctx, after, limit)
}

func (f *faulty) Tenant(name string) (store.Store, error) {
	st, err := f.Backend.Tenant(name)
	if err != nil {
		return nil, err
	}
	return faultyStore{st, f, name}, nil
}

type faultyStore struct {
	store.Store
	f    *faulty
	name string
}

func (s faultyStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	if err := s.f.fault("Revocations", s.name); err != nil {
		return store.RevocationPage{}, err
	}
	return s.Store.Revocations(ctx, q)
}

func (s faultyStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	if err := s.f.fault("Apply", s.name, ids...); err != nil {
		return nil, err
	}
	return s.Store.Apply(ctx, ids, bounds)
}

func (s faultyStore) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	if err := s.f.fault("Expire", s.name); err != nil {
		return store.Expired{}, err
	}
	return s.Store.Expire(ctx, bounds)
}

func (s faultyStore) Trim(ctx context.Context, t store.Trim) (store.Trimmed, error) {
	if err := s.f.fault("Trim", s.name); err != nil {
		return store.Trimmed{}, err
	}
	return s.Store.Trim(ctx, t)
}

// rig is an engine on a memory backend, with what it reported. It lives in a synctest bubble.
type rig struct {
	*testing.T
	faults *faulty
	engine *revocation.Engine
	nextID uint64

	mu     sync.Mutex
	events []string
	swept  []store.Status
	failed int
}

// inBubble runs a test on a rig, with time that passes only when everybody waits.
func inBubble(t *testing.T, opts revocation.Options, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, faults: &faulty{Backend: memstore.New(), calls: map[string]int{}}}
		r.engine = r.newEngine(opts)
		test(r)
		if err := r.faults.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) newEngine(opts revocation.Options) *revocation.Engine {
	opts.Events = revocation.Events{
		Revoked: func(tenant string, t domain.Tombstone) { r.event("revoked %s %s", tenant, short(t.ID)) },
		Swept: func(tenant string, s store.Status) {
			r.event("swept %s %s %d", tenant, short(s.Tombstone.ID), s.Swept)
			r.mu.Lock()
			r.swept = append(r.swept, s)
			r.mu.Unlock()
		},
		Retired: func(tenant string, s store.Status) {
			r.event("retired %s %s %d", tenant, short(s.Tombstone.ID), s.Swept)
		},
		Failed: func(string, []ulid.ULID, error) {
			r.mu.Lock()
			r.failed++
			r.mu.Unlock()
		},
	}
	e, err := revocation.New(r.faults, &opts)
	if err != nil {
		r.Fatal(err)
	}
	return e
}

func (r *rig) event(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

// short names a revocation by the number that the rig gave it.
func short(id ulid.ULID) string { return fmt.Sprintf("r%d", id.Entropy()[9]) }

// start runs an engine, and returns what ends it.
func (r *rig) start(e *revocation.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	return func() {
		r.Helper()
		cancel()
		if err := <-ended; err != nil {
			r.Errorf("Run = %v, want nil", err)
		}
	}
}

func (r *rig) id() ulid.ULID {
	r.nextID++
	id := ulid.ULID{15: byte(r.nextID), 14: byte(r.nextID >> 8), 13: byte(r.nextID >> 16)}
	_ = id.SetTime(uint64(time.Now().UnixMilli()))
	return id
}

func (r *rig) store(tenant string) store.Store {
	st, err := r.faults.Backend.Tenant(tenant)
	if err != nil {
		r.Fatal(err)
	}
	return st
}

// issue stores n tokens of a user.
func (r *rig) issue(tenant, user string, n int) {
	r.Helper()
	for n > 0 {
		rows := make([]store.Insertion, min(n, store.MaxBatch))
		for i := range rows {
			rows[i].Token = domain.RefreshToken{ID: r.id(), UserID: user, ClientID: "app", CreatedAt: time.Now()}
		}
		results, err := r.store(tenant).Insert(r.Context(), rows)
		if err != nil {
			r.Fatal(err)
		}
		for _, in := range results {
			if in.Err != nil {
				r.Fatal(in.Err)
			}
		}
		n -= len(rows)
	}
}

// number returns the n-th revocation id.
func number(n byte) ulid.ULID { return ulid.ULID{0: 1, 15: n} }

// revoke records the n-th revocation, of a user.
func (r *rig) revoke(e *revocation.Engine, tenant string, n byte, user string) revocation.Receipt {
	r.Helper()
	receipt, err := e.Revoke(r.Context(), tenant, store.Revocation{
		ID: number(n), Targets: []domain.Target{{UserID: user}}, Time: time.Now(),
	})
	if err != nil {
		r.Fatal(err)
	}
	return receipt
}

func (r *rig) state(tenant string) store.State {
	r.Helper()
	s, err := r.store(tenant).State(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// wantSwept checks that nothing is pending and that so many tokens are left.
func (r *rig) wantSwept(tenant string, tokens int) {
	r.Helper()
	if s := r.state(tenant); s.Pending != 0 || s.Tokens != tokens {
		r.Errorf("%s: %d pending and %d tokens, want 0 and %d", tenant, s.Pending, s.Tokens, tokens)
	}
}
