package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Stores that make a mistake with foreign digests.

// finding replaces Find.
func finding(s store.Store, find func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error)) *verbs {
	return &verbs{Store: s, find: find}
}

func findsNothing(_ store.Backend, _ string, s store.Store) store.Store {
	return finding(s, func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
		if _, err := s.Find(ctx, foreign); errors.Is(err, store.ErrClosed) {
			return ulid.ULID{}, err
		}
		return ulid.ULID{}, store.ErrNotFound
	})
}

// findsRemoved leaves a token's entry in the index when the token goes.
func findsRemoved(_ store.Backend, _ string, s store.Store) store.Store {
	var entries sync.Map
	v := finding(s, func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
		id, err := s.Find(ctx, foreign)
		if left, ok := entries.Load(foreign); ok && errors.Is(err, store.ErrNotFound) {
			return left.(ulid.ULID), nil
		}
		return id, err
	})
	v.insert = func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		results, err := s.Insert(ctx, rows)
		for i, in := range results {
			if token := &rows[i].Token; in.Err == nil && token.ForeignDigest != (domain.Digest{}) {
				entries.Store(token.ForeignDigest, token.ID)
			}
		}
		return results, err
	}
	return v
}

// findsUnrotated loses the entry when the token is updated.
func findsUnrotated(_ store.Backend, _ string, s store.Store) store.Store {
	return finding(s, func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
		id, err := s.Find(ctx, foreign)
		if view, got := s.Get(ctx, id); err == nil && got == nil && view.Token.Generation == 1 {
			return ulid.ULID{}, store.ErrNotFound
		}
		return id, err
	})
}

func findsUncovered(_ store.Backend, _ string, s store.Store) store.Store {
	return finding(s, func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
		id, err := s.Find(ctx, foreign)
		if view, got := s.Get(ctx, id); err == nil && got == nil && view.Revoked() {
			return ulid.ULID{}, store.ErrNotFound
		}
		return id, err
	})
}

// findsEverywhere has one index for all tenants.
func findsEverywhere() wrapping {
	var mu sync.Mutex
	var all []store.Store
	return func(_ store.Backend, _ string, s store.Store) store.Store {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return finding(s, func(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, other := range all {
				if id, err := other.Find(ctx, foreign); err == nil {
					return id, nil
				}
			}
			return s.Find(ctx, foreign)
		})
	}
}

// sharesDigest takes a token in whose digest another one has.
func sharesDigest(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, insert: func(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
		results, err := s.Insert(ctx, rows)
		for i := range results {
			if !errors.Is(results[i].Err, store.ErrDigestTaken) {
				continue
			}
			row := slices.Clone(rows[i : i+1])
			row[0].Token.ForeignDigest, row[0].Token.ForeignWeak = domain.Digest{}, false
			again, err := s.Insert(ctx, row)
			if err != nil {
				return nil, err
			}
			results[i] = again[0]
		}
		return results, err
	}}
}
