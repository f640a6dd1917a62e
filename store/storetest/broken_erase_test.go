package storetest

import (
	"context"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Stores that are wrong in erasing.

// erasesNothing says that it erases, and only revokes.
func erasesNothing(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, revoke: func(ctx context.Context, r store.Revocation) (store.Status, error) {
		erases := r.Erase && r.Validate() == nil
		if erases {
			r.Erase = false
		}
		status, err := s.Revoke(ctx, r)
		status.Tombstone.Erases = status.Tombstone.Erases || erases
		return status, err
	}}
}

// erasesGuards forgets all guards when an erasure has come to its end, though with a horizon.
func erasesGuards(_ store.Backend, _ string, s store.Store) store.Store {
	return &verbs{Store: s, apply: func(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
		statuses, err := s.Apply(ctx, ids, b)
		for _, status := range statuses {
			if status.Retired && status.Tombstone.Erases {
				if _, err := s.Trim(ctx, store.Trim{Guards: ages, Limit: store.MaxBatch}); err != nil {
					return nil, err
				}
			}
		}
		return statuses, err
	}}
}
