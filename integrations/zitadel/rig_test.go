package zitadel_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	"example.com/tokenstore/internal/backendtest"
	"example.com/tokenstore/store"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// rig is a storage as op sees it, its manager, and a clock that the test moves.
type rig struct {
	*testing.T
	*zitadel.Storage
	manager *tokenstore.Manager
	backend store.Backend
	access  *accessTokens

	ahead atomic.Int64
}

func onBackends(t *testing.T, opts zitadel.Options, test func(r *rig)) {
	for name, open := range backendtest.All() {
		t.Run(name, func(t *testing.T) { test(newRig(t, open(t), opts)) })
	}
}

func newRig(t *testing.T, backend store.Backend, opts zitadel.Options) *rig {
	t.Helper()
	r := &rig{T: t, backend: backend, access: &accessTokens{}}
	manager, err := tokenstore.New(backend, &tokenstore.Options{
		Now:    func() time.Time { return start.Add(time.Duration(r.ahead.Load())) },
		Legacy: tokenstore.LegacyRule{AllowNoSession: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.manager = manager
	r.Storage = zitadel.New(manager, r.access, &opts)
	return r
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func (r *rig) wait(d time.Duration) { r.ahead.Add(int64(d)) }

// signIn issues a refresh token to a user of a client.
func (r *rig) signIn(request op.TokenRequest) string {
	r.Helper()
	_, secret, _, err := r.CreateAccessAndRefreshTokens(r.Context(), request, "")
	if err != nil {
		r.Fatal(err)
	}
	return secret
}

// refresh does what op does with a refresh token that a client presents.
func (r *rig) refresh(secret, clientID string, scopes ...string) (string, error) {
	ctx := r.Context()
	request, err := op.RefreshTokenRequestByRefreshToken(ctx, whole{Storage: r.Storage}, secret)
	if err != nil {
		return "", err
	}
	if request.GetClientID() != clientID {
		return "", oidc.ErrInvalidGrant()
	}
	if err := op.ValidateRefreshTokenScopes(scopes, request); err != nil {
		return "", err
	}
	_, next, _, err := r.CreateAccessAndRefreshTokens(ctx, request.(op.TokenRequest), secret)
	return next, err
}

func (r *rig) wantRefresh(secret string) string {
	r.Helper()
	next, err := r.refresh(secret, "web")
	if err != nil {
		r.Fatal(err)
	}
	return next
}

// wantGone checks that a secret is refused as any other would be.
func (r *rig) wantGone(secret string) {
	r.Helper()
	_, err := r.refresh(secret, "web")
	wantError(r.T, err, oidc.InvalidGrant)
}

// tokens are the live tokens of the tenant.
func (r *rig) tokens() []tokenstore.RefreshToken {
	r.Helper()
	page, err := r.manager.List(r.Context(), tokenstore.ListRequest{Limit: 100, Consistency: tokenstore.Fenced})
	if err != nil {
		r.Fatal(err)
	}
	return page.Tokens
}

// wantUnchanged runs a call, and checks that it changed nothing.
func (r *rig) wantUnchanged(call func()) {
	r.Helper()
	before, state := r.tokens(), r.state()
	call()
	if !slices.EqualFunc(r.tokens(), before, sameRecord) || r.state() != state {
		r.Errorf("something has changed: %+v, before %+v", r.state(), state)
	}
}

func (r *rig) state() tokenstore.State {
	r.Helper()
	state, err := r.manager.State(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return state
}

func sameRecord(a, b tokenstore.RefreshToken) bool {
	return a.ID == b.ID && a.Generation == b.Generation && a.SecretDigest == b.SecretDigest && a.LastExchangedAt.Equal(b.LastExchangedAt)
}

// wantError checks that an error is answered with a code, and that the answer tells nothing of the cause.
func wantError(t *testing.T, err error, code any) {
	t.Helper()
	told, ok := errors.AsType[*oidc.Error](err)
	if !ok || any(told.ErrorType) != code || told.ErrorType != oidc.ServerError && told.Description != "" {
		t.Errorf("error %v, want %v without a description", err, code)
	}
}

// accessTokens are the host's. They can be made to fail.
type accessTokens struct {
	mu      sync.Mutex
	err     error
	made    []tokenstore.RefreshToken
	scopes  [][]string
	revoked []string
}

func (a *accessTokens) CreateAccessTokenWith(_ context.Context, request op.TokenRequest, refresh tokenstore.RefreshToken) (string, time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return "", time.Time{}, a.err
	}
	a.made = append(a.made, refresh)
	a.scopes = append(a.scopes, request.GetScopes())
	return strconv.Itoa(len(a.made)), start, nil
}

func (a *accessTokens) RevokeAccessToken(_ context.Context, tokenOrTokenID, userID, clientID string) *oidc.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, tokenOrTokenID+" "+userID+" "+clientID)
	return nil
}

// login is what a host knows of a user who has signed in.
type login struct {
	user, client string
	audience     []string
	scopes       []string
	at           time.Time
	session      string
}

func (l *login) GetSubject() string     { return l.user }
func (l *login) GetClientID() string    { return l.client }
func (l *login) GetAudience() []string  { return l.audience }
func (l *login) GetScopes() []string    { return l.scopes }
func (l *login) GetAuthTime() time.Time { return l.at }

// ann has signed in to the client "web".
func ann() *login {
	return &login{user: "ann", client: "web", scopes: []string{"openid", "email", "offline_access"}, at: start}
}

// withSession is the Issue of a host whose logins know their session.
func withSession(_ context.Context, request op.TokenRequest, issue *tokenstore.IssueRequest) error {
	session, err := tokenstore.NewSessionID(request.(*login).session)
	issue.SessionID = session
	return err
}

// rest is an op.Storage of which nothing is there, and whole one of which only the refresh tokens are.
type rest struct{ op.Storage }

type whole struct {
	rest
	*zitadel.Storage
}
