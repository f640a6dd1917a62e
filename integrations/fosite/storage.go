package fosite

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
)

// ReasonGrant is the reason of a revocation that fosite asked for: by RFC 7009, or because a code was used twice.
const ReasonGrant = "the grant was revoked"

// GetRefreshTokenSession returns the request of the grant that a secret belongs to, with what the record tells of its
// session. All that can't be used is [fosite.ErrNotFound], which is invalid_grant to the client, whatever the cause; also
// another client's. An outdated secret is good for a revocation, as who gives it up wants none of its successors to go on,
// and for a refresh if it is a retry. One that is replayed has the token revoked here.
//
// Which of these it is, fosite does not tell a storage. A refresh is known by the request in the context, as NewAccessRequest
// leaves it there, and a revocation by its having no session. Anything else is told of active secrets only.
func (s *Store) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	secret := s.open(signature)
	known, err := s.manager.Recognise(ctx, secret)
	if err != nil {
		return nil, err
	}
	access := refreshing(ctx, secret)
	switch {
	case known.Cause == tokenstore.ErrKeyMissing && session == nil: // it is not known whether there is something to revoke
		return nil, known.Cause
	case known.Token.ID.IsZero(), access != nil && known.Token.ClientID != access.GetClient().GetID():
		return nil, fosite.ErrNotFound
	case known.Active:
	case known.Cause == tokenstore.ErrReused && access != nil:
		// Retry or replay: later a refusal could not be told as what it is.
		_, err := s.exchange(ctx, access, requestID(known.Token))
		if _, refused := errors.AsType[tokenstore.Refusal](err); refused {
			return nil, fosite.ErrNotFound
		}
		if err != nil {
			return nil, err
		}
	case known.Cause == tokenstore.ErrReused && session == nil:
	default:
		return nil, fosite.ErrNotFound
	}
	return s.requester(ctx, &known.Token, session)
}

// CreateRefreshTokenSession returns [fosite.ErrInactiveToken] unless the token of the signature is there, of this request, and
// has not been revoked since [Store.GenerateRefreshToken] made it. It creates nothing.
func (s *Store) CreateRefreshTokenSession(ctx context.Context, signature, _ string, request fosite.Requester) error {
	known, err := s.manager.Recognise(ctx, s.open(signature))
	if err != nil {
		return err
	}
	if !known.Active || requestID(known.Token) != request.GetID() {
		return fosite.ErrInactiveToken
	}
	return nil
}

// RotateRefreshToken returns [fosite.ErrInactiveToken] if the exchange of the secret, which has been made, was refused.
func (s *Store) RotateRefreshToken(ctx context.Context, id, signature string) error {
	known, err := s.manager.Recognise(ctx, s.open(signature))
	if err != nil {
		return err
	}
	used := known.Active || known.Cause == tokenstore.ErrReused // the same secret again for a token that does not rotate
	if !used || requestID(known.Token) != id {
		return fosite.ErrInactiveToken
	}
	return nil
}

// RevokeRefreshToken revokes the tokens of a grant, durably and at once. The grant issues none any more.
func (s *Store) RevokeRefreshToken(ctx context.Context, id string) error {
	targets := []tokenstore.Target{{SessionID: id}}
	if token, ok := domain.ParseID(id); ok {
		targets = append(targets, tokenstore.Target{TokenID: token})
	}
	_, err := s.manager.Revoke(ctx, tokenstore.RevokeRequest{Targets: targets, Reason: ReasonGrant})
	return err
}

// DeleteRefreshTokenSession revokes the token of a signature. An unknown one is no error.
func (s *Store) DeleteRefreshTokenSession(ctx context.Context, signature string) error {
	known, err := s.manager.Recognise(ctx, s.open(signature))
	if err == nil && known.Cause == tokenstore.ErrKeyMissing {
		err = known.Cause
	}
	if err != nil || known.Token.ID.IsZero() {
		return err
	}
	_, err = s.manager.Revoke(ctx, tokenstore.RevokeRequest{
		Targets: []tokenstore.Target{{TokenID: known.Token.ID}}, Reason: ReasonGrant,
	})
	return err
}

// requestID is the id by which fosite knows a token's grant: its session's, or, for one without a session, its own.
func requestID(token tokenstore.RefreshToken) string {
	if id, ok := token.SessionID.Get(); ok {
		return id
	}
	return token.ID.String()
}

func (s *Store) requester(ctx context.Context, token *tokenstore.RefreshToken, session fosite.Session) (fosite.Requester, error) {
	client, err := s.clients.GetClient(ctx, token.ClientID)
	if err != nil {
		return nil, err
	}
	if session != nil {
		if err := s.fill(ctx, token, session); err != nil {
			return nil, err
		}
	}
	audiences, scopes := slices.Clip(audiences(token)), slices.Clip(token.ResourceServers.Scopes()) // fosite appends
	return &fosite.Request{
		ID: requestID(*token), RequestedAt: token.CreatedAt, Client: client, Form: url.Values{}, Session: session,
		RequestedScope: scopes, GrantedScope: scopes, RequestedAudience: audiences, GrantedAudience: audiences,
	}, nil
}

// fill sets what the record knows of a session.
func (s *Store) fill(ctx context.Context, token *tokenstore.RefreshToken, session fosite.Session) error {
	if named, ok := session.(interface{ SetSubject(string) }); ok {
		named.SetSubject(token.UserID)
	}
	if id, ok := session.(openid.Session); ok {
		claims := id.IDTokenClaims()
		claims.Subject, claims.AuthTime = token.UserID, token.AuthenticatedAt
	}
	session.SetExpiresAt(fosite.RefreshToken, token.Deadline())
	if s.opts.Session != nil {
		return s.opts.Session(ctx, *token, session)
	}
	return nil
}
