package tokenstore

import (
	"context"
	"errors"
	"io"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// credential takes apart what a client presents. A secret of our own names its token; any other text is looked up by its
// digest, as a secret that an imported token had elsewhere.
func (m *Manager) credential(ctx context.Context, s Secret) (domain.Credential, error) {
	credential, err := domain.ParseSecret(s)
	if err == nil {
		return credential, nil
	}
	text := s.Reveal()
	if text == "" || len(text) > domain.MaxSecretText || domain.LooksLikeOurs(s) {
		return domain.Credential{}, err
	}
	digest, ok := m.opts.ForeignDigest(text)
	if !ok || digest == (Digest{}) {
		return domain.Credential{}, domain.ErrMalformed
	}
	id, err := m.store.Find(ctx, digest)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return domain.Credential{}, domain.ErrUnknownToken
	case err != nil:
		return domain.Credential{}, err
	}
	return domain.ForeignCredential(id, s, digest), nil
}

// draw draws what an exchange needs of randomness. It is drawn once, not in decide, which may run again: by its salt an
// exchange knows its own commit.
func (m *Manager) draw(rule *domain.Exchange) error {
	if _, err := io.ReadFull(m.opts.Rand, rule.Salt[:]); err != nil || !rule.Credential.Foreign() {
		return err
	}
	drawn, err := domain.NewCredential(rule.Credential.ID, m.opts.Rand)
	drawn.Generation = 1
	rule.Drawn = drawn
	return err
}
