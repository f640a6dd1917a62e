package memstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Find returns the id of the token that has the foreign digest.
func (t *tenant) Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return ulid.ULID{}, err
	}
	id, ok := t.byForeign[foreign]
	if !ok {
		return ulid.ULID{}, store.ErrNotFound
	}
	return id, nil
}

// putForeign has a token be found, if it has a foreign digest.
func (t *tenant) putForeign(token *domain.RefreshToken) {
	if token.ForeignDigest != (domain.Digest{}) {
		t.byForeign[token.ForeignDigest] = token.ID
	}
}
