package provider

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is the op.Storage: each part of it does one thing.
type storage struct {
	*zitadel.Storage // refresh tokens
	*accessTokens
	*requests
	clients
	accounts *accounts
	keys     *Keys
}

var (
	_ op.Storage                        = (*storage)(nil)
	_ op.CanSetUserinfoFromRequest      = (*storage)(nil)
	_ op.CanTerminateSessionFromRequest = (*storage)(nil)
)

// refreshTokens has a refresh token belong to the session of the browser in which the person signed in, and remember where
// that was and where it is used.
func refreshTokens(tokens *tokenstore.Manager, access *accessTokens) *zitadel.Storage {
	return zitadel.New(tokens, access, &zitadel.Options{
		Issue: func(_ context.Context, request op.TokenRequest, issue *tokenstore.IssueRequest) error {
			r, ok := request.(*authRequest)
			if !ok {
				return oidc.ErrUnsupportedGrantType()
			}
			id, err := tokenstore.NewSessionID(r.session.id)
			issue.SessionID, issue.Device = id, r.session.device
			// Exact, whatever clocks say: what was revoked since the password was checked is not issued anew.
			issue.AsOf = tokenstore.AsOfSequence(r.session.sequence)
			return err
		},
		Exchange: func(ctx context.Context, exchange *tokenstore.ExchangeRequest) error {
			exchange.Device, _ = ctx.Value(callerKey{}).(tokenstore.Device)
			return nil
		},
		AMR: func(context.Context, tokenstore.RefreshToken) ([]string, error) { return []string{"pwd"}, nil },
	})
}

// CreateAuthRequest takes PKCE by S256 only, and from a public client nothing less.
func (s *storage) CreateAuthRequest(ctx context.Context, asked *oidc.AuthRequest, user string) (op.AuthRequest, error) {
	client, ok := s.clients[asked.ClientID]
	none := asked.CodeChallenge == "" && asked.CodeChallengeMethod == ""
	if !ok || !client.confidential && none || !none && asked.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE by S256 is required.")
	}
	return s.requests.CreateAuthRequest(ctx, asked, user)
}

// CreateAccessAndRefreshTokens has the browser asked for the password, the next time, where its session has been revoked: by a
// replay, or by an operator. Nothing would ever be issued in it.
func (s *storage) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	id, refresh, until, err := s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
	if r, ok := request.(*authRequest); ok && errors.Is(err, tokenstore.ErrRevoked) {
		s.sessions.distrust(r.session.id)
	}
	return id, refresh, until, err
}

// TerminateSessionFromRequest signs out of a session: its refresh tokens, and the browser.
func (s *storage) TerminateSessionFromRequest(ctx context.Context, r *op.EndSessionRequest) (string, error) {
	to, err := s.Storage.TerminateSessionFromRequest(ctx, r)
	if err == nil && r.IDTokenHintClaims != nil {
		s.sessions.end(r.UserID, r.IDTokenHintClaims.SessionID)
	}
	return to, err
}

// SetUserinfoFromRequest says in ID tokens which session they are of.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	switch r := request.(type) {
	case *authRequest:
		info.AppendClaims("sid", r.session.id)
	case *zitadel.RefreshTokenRequest:
		if id, ok := r.RefreshToken().SessionID.Get(); ok {
			info.AppendClaims("sid", id)
		}
	}
	s.describe(info, request.GetSubject(), scopes)
	return nil
}

// SetUserinfoFromToken answers /userinfo.
func (s *storage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, _, _ string) error {
	token, err := s.active(ctx, id)
	if err != nil {
		return err
	}
	s.describe(info, token.user, token.scopes)
	return nil
}

func (s *storage) describe(info *oidc.UserInfo, user string, scopes []string) {
	info.Subject = user
	if account, ok := s.accounts.byID[user]; ok && slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name, info.PreferredUsername = account.Name, account.Username
	}
}

var errNotYours = errors.New("the access token is another client's")

// SetIntrospectionFromToken answers /oauth/introspect, to the client that the access token was made for.
func (s *storage) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, id, _, clientID string) error {
	token, err := s.active(ctx, id)
	if err != nil {
		return err
	}
	if token.client != clientID {
		return errNotYours
	}
	answer.Subject, answer.ClientID, answer.Scope = token.user, token.client, token.scopes
	answer.TokenType = oidc.BearerToken
	answer.IssuedAt = oidc.FromTime(token.began)
	answer.Expiration = oidc.FromTime(token.began.Add(accessLife))
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return signingKey{s.keys}, nil }
func (s *storage) KeySet(context.Context) ([]op.Key, error)          { return []op.Key{publicKey{s.keys}}, nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *storage) Health(ctx context.Context) error {
	_, err := s.tokens.State(ctx)
	return err
}

// What follows is for grants and claims that this provider does not have.

func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errors.New("clients have no keys")
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, oidc.ErrUnsupportedGrantType()
}
