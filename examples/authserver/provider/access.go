package provider

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	accessLife = 5 * time.Minute
	maxAccess  = 1_000_000
)

// accessToken is good for as long as the refresh token that it came with, or else the session, is.
type accessToken struct {
	user, client, session string
	scopes                []string
	refresh               ulid.ULID
	began                 time.Time
}

// accessTokens are in memory: they live for minutes, and after a restart the applications refresh.
type accessTokens struct {
	live     *expiring[accessToken] // by id; the text of the token is op's, which encrypts the id
	tokens   *tokenstore.Manager
	sessions *sessions
	now      func() time.Time
}

// CreateAccessToken is for a grant without a refresh token.
func (a *accessTokens) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	r, ok := request.(*authRequest)
	if !ok {
		return "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	return a.create(accessToken{user: r.GetSubject(), client: r.ClientID, scopes: r.Scopes, session: r.session.id})
}

// CreateAccessTokenWith is for a grant with a refresh token.
func (a *accessTokens) CreateAccessTokenWith(_ context.Context, request op.TokenRequest, refresh tokenstore.RefreshToken) (string, time.Time, error) {
	return a.create(accessToken{user: refresh.UserID, client: refresh.ClientID, scopes: request.GetScopes(), refresh: refresh.ID})
}

func (a *accessTokens) create(token accessToken) (string, time.Time, error) {
	id := rand.Text()
	token.began = a.now()
	if !a.live.put(id, token, accessLife) {
		return "", time.Time{}, oidc.ErrServerError().WithDescription("Try again later.")
	}
	return id, token.began.Add(accessLife), nil
}

// RevokeAccessToken ends a client's own access token. The text of one is decrypted by op before.
func (a *accessTokens) RevokeAccessToken(_ context.Context, id, userID, clientID string) *oidc.Error {
	if token, ok := a.live.get(id); ok && token.user == userID && token.client == clientID {
		a.live.take(id)
	}
	return nil
}

var errNotActive = errors.New("the access token is not active")

// active asks the tokenstore, so that an access token is cut off at once with its refresh token.
func (a *accessTokens) active(ctx context.Context, id string) (accessToken, error) {
	token, ok := a.live.get(id)
	if !ok {
		return accessToken{}, errNotActive
	}
	if token.refresh.IsZero() {
		if !a.sessions.alive(token.user, token.session) {
			return accessToken{}, errNotActive
		}
		return token, nil
	}
	_, err := a.tokens.Get(ctx, token.refresh, tokenstore.Fenced)
	return token, err
}
