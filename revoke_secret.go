package tokenstore

import (
	"context"

	"example.com/tokenstore/domain"
)

// ReasonClient is the reason of a revocation that the token's own client asked for, by [Manager.RevokeSecret].
const ReasonClient = "revoked by its client"

// SecretRevocation is what came of [Manager.RevokeSecret].
type SecretRevocation struct {
	Receipt Receipt // Receipt is that of the revocation that was recorded now; its id is zero if none was.
	// Cause is why none was recorded, for the host alone: a client is told the same of each. [ErrRevoked] says that the
	// token was revoked before, [ErrMalformed] and [ErrUnknownToken] that there is no such token, [ErrWrongClient] that it is
	// another client's.
	Cause Refusal
}

// RevokeSecret revokes the token that a secret belongs to, for the client that authenticated (RFC 7009). It takes the token's
// current secret and every one before it, also the one that an imported token had elsewhere: an outdated one is genuine too,
// and who gives it up wants none of its successors to go on. Neither expiry nor the sender's key is asked about. A token that was issued to another client stays as it is.
//
// When it returns without error, nothing that the secret stands for can be exchanged by this client: the token has been
// revoked, durably as [Manager.Revoke] has it, or there was none. [ErrKeyMissing] says that this can't be told; any other
// error is a fault of the store. After each the token may still be good, and the call may be repeated.
func (m *Manager) RevokeSecret(ctx context.Context, clientID string, s Secret) (SecretRevocation, error) {
	token, cause, err := m.recognise(ctx, s)
	switch {
	case err != nil:
		return SecretRevocation{}, err
	case cause == domain.ErrMalformed, cause == domain.ErrUnknownToken:
		return SecretRevocation{Cause: cause}, nil
	case token.ClientID != clientID:
		return SecretRevocation{Cause: domain.ErrWrongClient}, nil
	case cause == domain.ErrKeyMissing:
		return SecretRevocation{}, cause
	case cause == domain.ErrRevoked:
		return SecretRevocation{Cause: cause}, nil
	}
	// The secret is genuine, whatever else the cause says: outdated, expired, or newer than a store that was rolled back.
	receipt, err := m.Revoke(ctx, RevokeRequest{
		Targets: []Target{{TokenID: token.ID}}, Reason: ReasonClient, Actor: clientID,
	})
	return SecretRevocation{Receipt: receipt}, err
}
