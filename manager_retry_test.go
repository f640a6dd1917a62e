package tokenstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// between runs something after the first Insert, whose outcome is then not known.
type between struct {
	store.Backend
	once sync.Once
	run  func(store.Store)
}

func (b *between) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return &betweenStore{st, b}, err
}

type betweenStore struct {
	store.Store
	b *between
}

func (s *betweenStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	results, err := s.Store.Insert(ctx, rows)
	s.b.once.Do(func() {
		s.b.run(s.Store)
		results, err = nil, store.ErrUnknownOutcome
	})
	return results, err
}

// An issue that was committed, revoked and swept before its answer came is not made again by its own repetition.
func TestS4IssueIsNotRepeatedPastARevocation(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	b := &between{Backend: memstore.New(), run: func(s store.Store) {
		status, err := s.Revoke(t.Context(), store.Revocation{ID: ulid.ULID{15: 1}, Targets: []domain.Target{{UserID: "ann"}}, Time: now})
		if err == nil {
			_, err = s.Apply(t.Context(), []ulid.ULID{status.Tombstone.ID}, store.Bounds{Visit: 10, Remove: 10, Now: now})
		}
		if err != nil {
			t.Error(err)
		}
	}}
	m, err := tokenstore.New(b, &tokenstore.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Issue(t.Context(), request("ann"))
	wantRefusal(t, err, tokenstore.ErrRevoked)
	if state, err := m.State(t.Context()); err != nil || state.Tokens != 0 {
		t.Errorf("%d tokens are there, error %v", state.Tokens, err)
	}
}

// The engine hears of a replay's revocation at once, and so does the host, with the tombstone as it was recorded.
func TestReplayWakesTheEngine(t *testing.T) {
	t.Parallel()
	heard := make(chan domain.Tombstone, 1)
	r := newRig(t, tokenstore.Options{Leeway: -1, Engine: revocation.Options{
		PollEvery: time.Hour,
		Events:    revocation.Events{Revoked: func(_ string, tombstone domain.Tombstone) { heard <- tombstone }},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Manager.Run(ctx) }()
	first := r.issue(request("ann")).Secret
	r.exchange(first)
	if _, err := r.try(first); !errors.Is(err, tokenstore.ErrReused) {
		t.Fatal(err)
	}
	tombstone := <-heard
	if tombstone.Reason != tokenstore.ReasonReuse || tombstone.Watermark == 0 || len(tombstone.Targets) != 1 {
		t.Errorf("the host must hear of what was recorded: got %+v", tombstone)
	}
	if _, err := r.Wait(ctx, tokenstore.Receipt{Tenant: "default", Status: store.Status{Tombstone: tombstone}}); err != nil {
		t.Error(err)
	}
	cancel()
	<-ended
}
