package tokenstoretest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// faultyBackend is a memstore whose tenants have a fault.
type faultyBackend struct {
	*memstore.Backend
	wrap    func(*faultyStore) store.Store
	tenants map[string]store.Store
}

func newFaulty(wrap func(*faultyStore) store.Store) *faultyBackend {
	return &faultyBackend{Backend: memstore.New(), wrap: wrap, tenants: map[string]store.Store{}}
}

func (b *faultyBackend) Tenant(name string) (store.Store, error) {
	if s := b.tenants[name]; s != nil {
		return s, nil
	}
	inner, err := b.Backend.Tenant(name)
	if err != nil {
		return nil, err
	}
	b.tenants[name] = b.wrap(&faultyStore{Store: inner, backend: b, lost: map[ulid.ULID][]domain.RefreshToken{}})
	return b.tenants[name], nil
}

// faultyStore is what the faults below have in common.
type faultyStore struct {
	store.Store
	backend *faultyBackend
	lost    map[ulid.ULID][]domain.RefreshToken // by tombstone, the rows that its sweep misses
	mu      sync.Mutex                          // of a sweep that has more to do than that of the store that is wrapped
}

func (s *faultyStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return s.Store.(store.Outbox).Feed(ctx, after, limit)
}

func (s *faultyStore) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	return s.Store.(store.Mover).Guards(ctx, q)
}

func (s *faultyStore) Remember(ctx context.Context, m store.Memory) error {
	return s.Store.(store.Mover).Remember(ctx, m)
}

// pending returns what is pending, as the store that is wrapped says.
func (s *faultyStore) pending(ctx context.Context) []domain.Tombstone {
	page, err := s.Store.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
	if err != nil {
		return nil
	}
	var all []domain.Tombstone
	for _, status := range page.Revocations {
		all = append(all, status.Tombstone)
	}
	return all
}

// tokens returns all tokens, covered or not.
func (s *faultyStore) tokens(ctx context.Context) []domain.RefreshToken {
	var all []domain.RefreshToken
	q := store.Query{Limit: store.MaxPage}
	for {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return all
		}
		all = append(all, page.Tokens...)
		if page.Next.IsZero() {
			return all
		}
		q.After = page.Next
	}
}

// restore puts rows back as they were, as far as can be seen: their sequence is new, so that no tombstone covers them.
func (s *faultyStore) restore(ctx context.Context, rows []domain.RefreshToken) {
	for _, row := range rows {
		_, _ = s.Store.Insert(ctx, []store.Insertion{{Token: row}})
	}
}

// noFence shows covered tokens as live.
type noFence struct{ *faultyStore }

func (s noFence) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	v, err := s.Store.Get(ctx, id)
	v.RevokedBy = ulid.ULID{}
	return v, err
}

func (s noFence) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.Store.Update(ctx, id, func(v store.View) store.Decision {
		v.RevokedBy = ulid.ULID{}
		return decide(v)
	})
}

// unfencedUpdate fences reads only: an update of the metadata, or an exchange, gets through.
type unfencedUpdate struct{ *faultyStore }

func (s unfencedUpdate) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	var verdict error
	err := s.Store.Update(ctx, id, func(v store.View) store.Decision {
		v.RevokedBy = ulid.ULID{}
		d := decide(v)
		verdict = d.Err
		return d
	})
	if errors.Is(err, store.ErrCovered) {
		return verdict
	}
	return err
}

// earlyRetire retires a tombstone before the last page of its sweep: when it has more than one row to remove, the one
// that is removed together with the retirement stays instead.
type earlyRetire struct{ *faultyStore }

func (s earlyRetire) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.tokens(ctx)
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	for _, status := range statuses {
		if !status.Retired || status.Swept < 2 {
			continue
		}
		if removed := s.removed(ctx, before, status.Tombstone); len(removed) > 0 {
			s.restore(ctx, removed[len(removed)-1:])
		}
	}
	return statuses, err
}

// removed returns which of the rows are gone because of the tombstone.
func (s *faultyStore) removed(ctx context.Context, before []domain.RefreshToken, t domain.Tombstone) []domain.RefreshToken {
	var removed []domain.RefreshToken
	after := s.tokens(ctx)
	for _, row := range before {
		gone := !slices.ContainsFunc(after, func(other domain.RefreshToken) bool { return other.ID == row.ID })
		if gone && t.Covers(&row) {
			removed = append(removed, row)
		}
	}
	return removed
}

// skippedRow misses the row after each full page: the cursor is set one too far.
type skippedRow struct{ *faultyStore }

func (s skippedRow) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.tokens(ctx)
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	for _, status := range statuses {
		id := status.Tombstone.ID
		if full := len(s.removed(ctx, before, status.Tombstone)) == bounds.Remove; full {
			for _, row := range s.tokens(ctx) {
				if status.Tombstone.Covers(&row) {
					s.lost[id] = append(s.lost[id], row)
					break
				}
			}
		}
		if status.Retired {
			s.restore(ctx, s.lost[id])
			delete(s.lost, id)
		}
	}
	return statuses, err
}

// forgottenGuards forgets at retirement what it should remember, and does not say so.
type forgottenGuards struct{ *faultyStore }

func (s forgottenGuards) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	_, _ = s.Store.Trim(ctx, store.Trim{Guards: start.AddDate(100, 0, 0), Limit: 1000})
	return statuses, err
}

func (s forgottenGuards) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return insertBeyond(ctx, s.Store, rows)
}

func (s forgottenGuards) State(ctx context.Context) (store.State, error) {
	state, err := s.Store.State(ctx)
	state.Horizon = domain.Horizon{}
	return state, err
}

// insertBeyond inserts as if there were no horizon.
func insertBeyond(ctx context.Context, inner store.Store, rows []store.Insertion) ([]store.Inserted, error) {
	var all []store.Inserted
	for _, row := range rows {
		inserted, err := inner.Insert(ctx, []store.Insertion{row})
		if err == nil && errors.Is(inserted[0].Err, domain.ErrBeyondMemory) {
			inserted, err = inner.Insert(ctx, []store.Insertion{{Token: row.Token}})
		}
		if err != nil {
			return nil, err
		}
		all = append(all, inserted...)
	}
	return all, nil
}

// noHorizon trims guards without raising the horizon.
type noHorizon struct{ *faultyStore }

func (s noHorizon) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return insertBeyond(ctx, s.Store, rows)
}

func (s noHorizon) State(ctx context.Context) (store.State, error) {
	state, err := s.Store.State(ctx)
	state.Horizon = domain.Horizon{}
	return state, err
}

// mostSpecific asks only the narrowest of the pending tombstones that name a token, instead of any.
type mostSpecific struct{ *faultyStore }

func (s mostSpecific) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	v, err := s.Store.Get(ctx, id)
	if err != nil || !v.Revoked() {
		return v, err
	}
	narrowest := -1
	for _, tombstone := range s.pending(ctx) {
		for _, target := range tombstone.Targets {
			if width := constraints(target); target.Matches(&v.Token) && width > narrowest {
				narrowest, v.RevokedBy = width, ulid.ULID{}
				if tombstone.Covers(&v.Token) {
					v.RevokedBy = tombstone.ID
				}
			}
		}
	}
	return v, nil
}

func constraints(t domain.Target) int {
	n := 0
	for _, set := range []bool{!t.TokenID.IsZero(), t.UserID != "", t.ClientID != "", t.SessionID != "", t.Audience != ""} {
		if set {
			n++
		}
	}
	return n
}

// noWatermark shows tokens as revoked that were issued after the revocation.
type noWatermark struct{ *faultyStore }

func (s noWatermark) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	v, err := s.Store.Get(ctx, id)
	for _, tombstone := range s.pending(ctx) {
		tombstone.Watermark = ^uint64(0)
		if err == nil && tombstone.Covers(&v.Token) {
			v.RevokedBy = tombstone.ID
		}
	}
	return v, err
}

// tenantLeak revokes in every tenant.
type tenantLeak struct{ *faultyStore }

func (s tenantLeak) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	for _, name := range tenantNames {
		if other, err := s.backend.Backend.Tenant(name); err == nil && other != s.Store {
			_, _ = other.Revoke(ctx, r)
		}
	}
	return s.Store.Revoke(ctx, r)
}

// lastWins has a revocation replace the pending one with the same anchor, whatever else they name.
type lastWins struct{ *faultyStore }

func (s lastWins) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	for _, tombstone := range s.pending(ctx) {
		if tombstone.ID != r.ID && tombstone.Targets[0].Anchor() == r.Targets[0].Anchor() && !tombstone.SameTargets(r.Targets) {
			s.lost[ulid.ULID{}] = append(s.lost[ulid.ULID{}], s.covered(ctx, tombstone)...)
		}
	}
	return s.Store.Revoke(ctx, r)
}

func (s *faultyStore) covered(ctx context.Context, t domain.Tombstone) []domain.RefreshToken {
	return slices.DeleteFunc(s.tokens(ctx), func(row domain.RefreshToken) bool { return !t.Covers(&row) })
}

func (s lastWins) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	if len(s.pending(ctx)) == 0 {
		s.restore(ctx, s.lost[ulid.ULID{}])
		delete(s.lost, ulid.ULID{})
	}
	return statuses, err
}

// staleUpdate decides an update on the record as it was before the last one, as a read from a replica would.
type staleUpdate struct {
	*faultyStore
	before map[ulid.ULID]domain.RefreshToken
}

func (s staleUpdate) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.Store.Update(ctx, id, func(v store.View) store.Decision {
		now := v.Token
		if old, ok := s.before[id]; ok {
			v.Token = old
		}
		d := decide(v)
		if d.Next != nil {
			s.before[id] = now
		}
		return d
	})
}

// noSweep reports every revocation as it is and never retires any.
type noSweep struct{ *faultyStore }

func (s noSweep) Apply(ctx context.Context, ids []ulid.ULID, _ store.Bounds) ([]store.Status, error) {
	var statuses []store.Status
	for _, id := range ids {
		if status, err := s.Revocation(ctx, id); err == nil && !status.Retired {
			statuses = append(statuses, status)
		}
	}
	return statuses, nil
}

// expiresTooMuch removes what would be expired soon.
type expiresTooMuch struct{ *faultyStore }

func (s expiresTooMuch) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	bounds.Now = bounds.Now.Add(time.Minute)
	return s.Store.Expire(ctx, bounds)
}

// noCap evicts nobody.
type noCap struct{ *faultyStore }

func (s noCap) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Cap = store.Cap{}
	}
	return s.Store.Insert(ctx, rows)
}

// forgetsForeign finds a token by its foreign secret only until that has been replaced.
type forgetsForeign struct{ *faultyStore }

func (s forgetsForeign) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	id, err := s.Store.Find(ctx, foreign)
	if v, got := s.Store.Get(ctx, id); err == nil && got == nil && v.Token.Generation > 0 {
		return ulid.ULID{}, store.ErrNotFound
	}
	return id, err
}
