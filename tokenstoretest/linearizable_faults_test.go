package tokenstoretest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Faults that show only while calls overlap, or in the order in which they return.

// unfenced updates tokens though they are covered, but for those that its fence keeps out. What is written to a covered token
// stands beside the store, which would refuse it.
type unfenced struct {
	*faultyStore
	fenced func(store.View) bool

	mu      sync.Mutex
	written map[ulid.ULID]domain.RefreshToken
}

// noFenceAtAll finds out about a revocation only when the sweep comes to the token.
func noFenceAtAll(s *faultyStore) store.Store {
	return &unfenced{faultyStore: s, written: map[ulid.ULID]domain.RefreshToken{}, fenced: func(store.View) bool { return false }}
}

// staleFence knows what was pending some calls ago.
func staleFence(s *faultyStore) store.Store {
	var pending []domain.Tombstone
	calls := 0
	return &unfenced{faultyStore: s, written: map[ulid.ULID]domain.RefreshToken{}, fenced: func(v store.View) bool {
		if calls++; calls%8 == 1 {
			pending = s.pending(context.Background())
		}
		return domain.Covers(pending, &v.Token)
	}}
}

func (s *unfenced) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.Store.Get(ctx, id)
	return s.seen(v), err
}

func (s *unfenced) seen(v store.View) store.View {
	if v.Revoked() && !s.fenced(v) {
		v.RevokedBy = ulid.ULID{}
		if written, ok := s.written[v.Token.ID]; ok {
			v.Token = written
		}
	}
	return v
}

func (s *unfenced) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.Store.Get(ctx, id)
	if err != nil || !v.Revoked() {
		return s.Store.Update(ctx, id, decide)
	}
	d := decide(s.seen(v))
	if d.Next != nil {
		s.written[id] = *d.Next
	}
	return d.Err
}

// notAdvanced hands out the successor of a secret, and keeps the secret as it was.
type notAdvanced struct{ *faultyStore }

func (s notAdvanced) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.Store.Update(ctx, id, func(v store.View) store.Decision {
		d := decide(v)
		if d.Next != nil && d.Next.Generation > v.Token.Generation {
			d.Next, d.Emit = nil, 0
		}
		return d
	})
}

// early acknowledges a revocation before it is there: a few calls later it is.
type early struct {
	*faultyStore
	mu    sync.Mutex
	later []store.Revocation
	calls int
}

func (s *early) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.later = append(s.later, r)
	state, err := s.Store.State(ctx)
	return store.Status{Tombstone: domain.Tombstone{ID: r.ID, Targets: r.Targets, Time: r.Time, Watermark: state.Sequence}}, err
}

func (s *early) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	s.catchUp(ctx)
	return s.Store.Update(ctx, id, decide)
}

func (s *early) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	s.catchUp(ctx)
	return s.Store.Revocations(ctx, q)
}

func (s *early) catchUp(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.calls%4 != 0 {
		return
	}
	for _, r := range s.later {
		_, _ = s.Store.Revoke(context.WithoutCancel(ctx), r)
	}
	s.later = nil
}

// takenForDone can't tell the outcome of some revocations, which had none, and takes them for done when they are repeated.
type takenForDone struct {
	*faultyStore
	mu   sync.Mutex
	lost []ulid.ULID
	n    int
}

func (s *takenForDone) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.lost, r.ID) {
		return store.Status{Tombstone: domain.Tombstone{ID: r.ID, Targets: r.Targets}, Retired: true}, nil
	}
	if s.n++; s.n%4 == 0 {
		s.lost = append(s.lost, r.ID)
		return store.Status{}, store.ErrUnknownOutcome
	}
	return s.Store.Revoke(ctx, r)
}

// inPieces revokes one target after the other, under ids of their own, and lets others in between.
type inPieces struct{ *faultyStore }

func (s inPieces) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	status, err := s.Store.Revocation(ctx, r.ID)
	if !errors.Is(err, store.ErrNotFound) {
		return status, err
	}
	for i := range r.Targets {
		piece := r
		piece.ID[0] ^= byte(i + 1)
		piece.Targets = r.Targets[i : i+1]
		if _, err := s.Store.Revoke(ctx, piece); err != nil {
			return store.Status{}, err
		}
		for range 4 {
			_, _ = yielding(func() (store.State, error) { return s.Store.State(ctx) })
		}
	}
	return s.Store.Revoke(ctx, r)
}
