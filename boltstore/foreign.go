package boltstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Find returns the id of the token that has the foreign digest.
func (t *tenant) Find(ctx context.Context, foreign domain.Digest) (id ulid.ULID, err error) {
	err = t.view(ctx, func(r *records) error {
		var ok bool
		if id, ok = r.find(foreign); !ok {
			return store.ErrNotFound
		}
		return nil
	})
	return id, err
}

func (r *records) find(foreign domain.Digest) (found ulid.ULID, ok bool) {
	if foreign == (domain.Digest{}) {
		return found, false
	}
	r.indexed(underForeign(foreign), found, func(id ulid.ULID) bool {
		token, there := r.token(id)
		if ok = there && token.ForeignDigest == foreign; ok {
			found = id
		}
		return !ok
	})
	return found, ok
}
