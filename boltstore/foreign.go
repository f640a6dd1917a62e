package boltstore

import (
	"context"
	"fmt"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Find returns the id of the token that has the foreign digest.
func (t *tenant) Find(ctx context.Context, foreign domain.Digest) (id ulid.ULID, err error) {
	err = t.view(ctx, func(r *records) error {
		found := r.get(bucketForeign, foreign[:])
		if found == nil {
			return store.ErrNotFound
		}
		if len(found) != len(id) {
			return fmt.Errorf("%w: an entry of the index of foreign digests is no id", ErrCorrupt)
		}
		copy(id[:], found)
		return nil
	})
	return id, err
}

// putForeign has a token be found, if it has a foreign digest.
func (r *records) putForeign(token *domain.RefreshToken) {
	if token.ForeignDigest != (domain.Digest{}) {
		r.put(bucketForeign, token.ForeignDigest[:], token.ID[:])
	}
}

func (r *records) removeForeign(token *domain.RefreshToken) {
	if token.ForeignDigest != (domain.Digest{}) {
		r.delete(bucketForeign, token.ForeignDigest[:])
	}
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
