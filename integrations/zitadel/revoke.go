package zitadel

import (
	"context"
	"errors"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// ReasonSignOut is the reason of a revocation that comes of the end of a session.
const ReasonSignOut = "signed out"

// GetRefreshTokenInfo returns the user and the id of the token that a secret belongs to, for the client that it was issued
// to, also of an outdated one: who gives it up wants none of its successors to go on. For anything else it returns
// [op.ErrInvalidRefreshToken].
func (s *Storage) GetRefreshTokenInfo(ctx context.Context, clientID, token string) (userID, tokenID string, err error) {
	m, err := s.opts.Tenant(ctx)
	if err != nil {
		return "", "", clientError(ctx, err)
	}
	known, err := m.Recognise(ctx, tokenstore.NewSecret(token))
	switch {
	case err != nil:
		return "", "", clientError(ctx, err)
	case known.Cause == tokenstore.ErrKeyMissing: // a fault of the host: it is not known whether there is something to revoke
		return "", "", fault(ctx, known.Cause)
	case known.Token.ID.IsZero(), known.Token.ClientID != clientID:
		return "", "", op.ErrInvalidRefreshToken
	}
	return known.Token.UserID, known.Token.ID.String(), nil
}

// RevokeToken revokes a refresh token of the client, durably and at once (RFC 7009): by its secret if there is no userID, else
// by the id that [Storage.GetRefreshTokenInfo] returned. What is no refresh token goes to the host. Another client's token
// stays as it is, and the answer is that for an unknown one.
func (s *Storage) RevokeToken(ctx context.Context, tokenOrTokenID, userID, clientID string) *oidc.Error {
	m, err := s.opts.Tenant(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	if userID != "" {
		return s.revokeByID(ctx, m, tokenOrTokenID, userID, clientID)
	}
	done, err := m.RevokeSecret(ctx, clientID, tokenstore.NewSecret(tokenOrTokenID))
	if err != nil {
		return fault(ctx, err)
	}
	switch done.Cause {
	case tokenstore.ErrMalformed, tokenstore.ErrUnknownToken:
		return s.access.RevokeAccessToken(ctx, tokenOrTokenID, userID, clientID)
	}
	return nil
}

// revokeByID never gets an id from outside: op has had it from GetRefreshTokenInfo, or out of an access token.
func (s *Storage) revokeByID(ctx context.Context, m *tokenstore.Manager, tokenID, userID, clientID string) *oidc.Error {
	id, ok := domain.ParseID(tokenID)
	if !ok {
		return s.access.RevokeAccessToken(ctx, tokenID, userID, clientID)
	}
	token, err := m.Get(ctx, id, tokenstore.Eventual)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return s.access.RevokeAccessToken(ctx, tokenID, userID, clientID)
	case err != nil:
		return fault(ctx, err)
	case token.UserID != userID, token.ClientID != clientID:
		return nil
	}
	return s.revoke(ctx, m, tokenstore.ReasonClient, clientID, tokenstore.Target{TokenID: id})
}

// TerminateSession revokes the tokens that a user has of a client. It does nothing where op knows no user, or no client:
// anybody may ask for the end of a session without a hint whose it is, and must not sign out others.
func (s *Storage) TerminateSession(ctx context.Context, userID, clientID string) error {
	if userID == "" || clientID == "" {
		return nil
	}
	return s.signOut(ctx, tokenstore.Target{UserID: userID, ClientID: clientID})
}

// TerminateSessionFromRequest is [Storage.TerminateSession], which op prefers it to, for hosts whose ID tokens have a sid: it
// revokes the tokens of the session, of all clients. A host's own replaces this one, not TerminateSession.
func (s *Storage) TerminateSessionFromRequest(ctx context.Context, r *op.EndSessionRequest) (redirectURI string, err error) {
	if r.UserID != "" && r.IDTokenHintClaims != nil && r.IDTokenHintClaims.SessionID != "" {
		return r.RedirectURI, s.signOut(ctx, tokenstore.Target{UserID: r.UserID, SessionID: r.IDTokenHintClaims.SessionID})
	}
	return r.RedirectURI, s.TerminateSession(ctx, r.UserID, r.ClientID)
}

func (s *Storage) signOut(ctx context.Context, target tokenstore.Target) error {
	m, err := s.opts.Tenant(ctx)
	if err != nil {
		return clientError(ctx, err)
	}
	if s.opts.KeepOffline {
		target.Offline = tokenstore.OfflineNo
	}
	if err := s.revoke(ctx, m, ReasonSignOut, target.UserID, target); err != nil {
		return err
	}
	return nil // not err, which is a nil of a type
}

func (s *Storage) revoke(ctx context.Context, m *tokenstore.Manager, reason, actor string, target tokenstore.Target) *oidc.Error {
	_, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}, Reason: reason, Actor: actor})
	if err != nil {
		return fault(ctx, err)
	}
	return nil
}
