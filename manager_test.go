package tokenstore_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/backendtest"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// spy is a backend that counts what is written, and may say of a commit that its outcome is unknown.
type spy struct {
	store.Backend

	mu      sync.Mutex
	writes  int // Inserts, and Updates and Revokes that wrote
	unknown int // of so many more commits the outcome is not told
	lists   int // pages that were listed
}

func (s *spy) Tenant(name string) (store.Store, error) {
	st, err := s.Backend.Tenant(name)
	if err != nil {
		return nil, err
	}
	return &spyStore{st, s}, nil
}

// wrote counts a write, and tells its outcome or not.
func (s *spy) wrote() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.unknown > 0 {
		s.unknown--
		return store.ErrUnknownOutcome
	}
	return nil
}

func (s *spy) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *spy) leaveUnknown(commits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = commits
}

type spyStore struct {
	store.Store
	spy *spy
}

func (s *spyStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return s.Store.(store.Outbox).Feed(ctx, after, limit)
}

func (s *spyStore) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	return s.Store.(store.Mover).Guards(ctx, q)
}

func (s *spyStore) Remember(ctx context.Context, m store.Memory) error {
	if err := s.Store.(store.Mover).Remember(ctx, m); err != nil {
		return err
	}
	return s.spy.wrote()
}

func (s *spyStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	s.spy.mu.Lock()
	s.spy.lists++
	s.spy.mu.Unlock()
	return s.Store.List(ctx, q)
}

func (s *spyStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	results, err := s.Store.Insert(ctx, rows)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(results, func(in store.Inserted) bool { return in.Err == nil || errors.Is(in.Err, store.ErrExists) }) {
		return results, nil
	}
	if err := s.spy.wrote(); err != nil {
		return nil, err
	}
	return results, nil
}

func (s *spyStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	var last store.Decision
	err := s.Store.Update(ctx, id, func(v store.View) store.Decision {
		last = decide(v)
		return last
	})
	if (last.Next != nil || last.Revoke != nil) && errors.Is(err, last.Err) { // else the store refused it
		if unknown := s.spy.wrote(); unknown != nil {
			return unknown
		}
	}
	return err
}

func (s *spyStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	status, err := s.Store.Revoke(ctx, r)
	if err != nil || status.Retired {
		return status, err
	}
	if err := s.spy.wrote(); err != nil {
		return store.Status{}, err
	}
	return status, nil
}

// rig is a manager, on a memory backend if nothing else is said, with a clock that the test moves.
type rig struct {
	*testing.T
	*tokenstore.Manager
	spy *spy

	mu  sync.Mutex
	now time.Time
}

var backends = backendtest.All()

// onBackends runs a test on every backend.
func onBackends(t *testing.T, opts tokenstore.Options, test func(t *testing.T, r *rig)) {
	for name, open := range backends {
		t.Run(name, func(t *testing.T) { test(t, newRigOn(t, open(t), opts)) })
	}
}

func newRig(t *testing.T, opts tokenstore.Options) *rig {
	t.Helper()
	return newRigOn(t, memstore.New(), opts)
}

func newRigOn(t *testing.T, backend store.Backend, opts tokenstore.Options) *rig {
	t.Helper()
	r := &rig{T: t, spy: &spy{Backend: backend}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	opts.Now = r.clock
	m, err := tokenstore.New(r.spy, &opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Manager = m
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// request is a grant of a user.
func request(user string) tokenstore.IssueRequest {
	return tokenstore.IssueRequest{UserID: user, ClientID: "app", SessionID: tokenstore.MustSessionID("session-" + user)}
}

func (r *rig) issue(req tokenstore.IssueRequest) tokenstore.Issued {
	r.Helper()
	out, err := r.Issue(r.Context(), req)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

func (r *rig) try(s tokenstore.Secret) (tokenstore.Exchanged, error) {
	return r.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: s, ClientID: "app"})
}

func (r *rig) exchange(s tokenstore.Secret) tokenstore.Exchanged {
	r.Helper()
	out, err := r.try(s)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

func (r *rig) revoke(targets ...tokenstore.Target) tokenstore.Receipt {
	r.Helper()
	receipt, err := r.Revoke(r.Context(), tokenstore.RevokeRequest{Targets: targets})
	if err != nil {
		r.Fatal(err)
	}
	return receipt
}

// run runs the engine until the revocations are retired.
func (r *rig) run(receipts ...tokenstore.Receipt) []tokenstore.Status {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan error)
	go func() { ended <- r.Manager.Run(ctx) }()
	var statuses []tokenstore.Status
	for _, receipt := range receipts {
		status, err := r.Wait(ctx, receipt)
		if err != nil {
			r.Error(err)
		}
		statuses = append(statuses, status)
	}
	cancel()
	if err := <-ended; err != nil {
		r.Error(err)
	}
	return statuses
}

// slice sweeps a revocation on by so many tokens at most, without an engine, and returns how far it has come.
func (r *rig) slice(receipt tokenstore.Receipt, tokens int) tokenstore.Status {
	r.Helper()
	st, err := r.spy.Tenant(receipt.Tenant)
	if err != nil {
		r.Fatal(err)
	}
	bounds := store.Bounds{Visit: tokens, Remove: tokens, Now: r.clock()}
	if _, err := st.Apply(r.Context(), []ulid.ULID{receipt.ID()}, bounds); err != nil {
		r.Fatal(err)
	}
	status, err := r.Revocation(r.Context(), receipt.ID())
	if err != nil {
		r.Fatal(err)
	}
	return status
}

func (r *rig) state() tokenstore.State {
	r.Helper()
	s, err := r.State(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// wantRefusal checks that an error is the cause, and that a client can be told of it as of any other.
func wantRefusal(t *testing.T, err error, cause tokenstore.Refusal) {
	t.Helper()
	if !errors.Is(err, cause) || !errors.Is(err, tokenstore.ErrInvalidGrant) {
		t.Errorf("error %v, want %v and ErrInvalidGrant", err, cause)
	}
}

// wantField checks that an error names the field that broke a limit.
func wantField(t *testing.T, err error, field string) {
	t.Helper()
	broken, ok := errors.AsType[*tokenstore.FieldError](err)
	if !ok || broken.Field != field || !errors.Is(err, tokenstore.ErrInvalid) {
		t.Errorf("error %v, want a FieldError of %s", err, field)
	}
}

// wantNoWrite runs a call, and checks that it wrote nothing.
func (r *rig) wantNoWrite(call func()) {
	r.Helper()
	writes, state := r.spy.count(), r.state()
	call()
	if n := r.spy.count() - writes; n != 0 || r.state() != state {
		r.Errorf("%d writes, state %+v; want none, and %+v", n, r.state(), state)
	}
}

// policies are those of all clients, as the host has them at the moment.
type policies struct {
	mu     sync.Mutex
	policy tokenstore.ClientPolicy
}

func (p *policies) of(string) tokenstore.ClientPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.policy
}

func (p *policies) set(policy tokenstore.ClientPolicy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.policy = policy
}

// expire removes expired tokens, as the engine does.
func (r *rig) expire() (removed int) {
	r.Helper()
	st, err := r.spy.Tenant("default")
	if err != nil {
		r.Fatal(err)
	}
	for {
		done, err := st.Expire(r.Context(), store.Bounds{Visit: 10, Remove: 10, Now: r.clock()})
		if err != nil {
			r.Fatal(err)
		}
		removed += done.Removed
		if done.Next.IsZero() || done.Next.After(r.clock()) {
			return removed
		}
	}
}

// live are the tokens of a user that are not revoked, by ascending id.
func (r *rig) live(user string) []tokenstore.RefreshToken {
	r.Helper()
	var live []tokenstore.RefreshToken
	for token, err := range r.All(r.Context(), tokenstore.ListRequest{UserID: user, Limit: 100, Consistency: tokenstore.Fenced}) {
		if err != nil {
			r.Fatal(err)
		}
		live = append(live, token)
	}
	return live
}

// brokenRand fails when it is read.
type brokenRand struct{}

func (brokenRand) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
