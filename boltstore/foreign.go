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

// foreignFields are 0 for no foreign secret, else 1, or 2 for a weak one, and its digest.
func foreignFields(c *coder, t *domain.RefreshToken) {
	var kind uint64
	switch {
	case t.ForeignWeak:
		kind = 2
	case t.ForeignDigest != domain.Digest{}:
		kind = 1
	}
	c.uint(&kind)
	if kind > 2 {
		c.fail("has a foreign secret that is neither weak nor not")
	}
	t.ForeignWeak = kind == 2
	if kind > 0 {
		c.fixed(t.ForeignDigest[:])
	}
}
