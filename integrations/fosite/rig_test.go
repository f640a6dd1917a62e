package fosite_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	adapter "example.com/tokenstore/integrations/fosite"
	"example.com/tokenstore/internal/backendtest"
	"example.com/tokenstore/store"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
)

// memory is fosite's own store, of which a host with an adapter uses all but the refresh tokens.
type memory struct{ *storage.MemoryStore }

// common is fosite's own strategy, likewise.
type common struct{ *compose.CommonStrategy }

type hostStorage struct {
	memory
	*adapter.Store
}

type hostStrategy struct {
	common
	*adapter.Store
}

// tokens is what fosite's handlers for refresh and revocation work on.
type tokens interface {
	oauth2.CoreStorage
	oauth2.TokenRevocationStorage
}

// server are the real handlers of fosite on a storage and a strategy.
type server struct {
	*testing.T
	memory   *storage.MemoryStore // the clients and the access tokens
	tokens   *gated
	strategy oauth2.CoreStrategy
	refresh  oauth2.RefreshTokenGrantHandler
	revoke   oauth2.TokenRevocationHandler
}

func newServer(t *testing.T, memory *storage.MemoryStore, tokens tokens, strategy oauth2.CoreStrategy, config *fosite.Config) *server {
	gated := &gated{tokens: tokens}
	return &server{
		T: t, memory: memory, tokens: gated, strategy: strategy,
		refresh: oauth2.RefreshTokenGrantHandler{
			AccessTokenStrategy: strategy, RefreshTokenStrategy: strategy, TokenRevocationStorage: gated, Config: config,
		},
		revoke: oauth2.TokenRevocationHandler{
			TokenRevocationStorage: gated, RefreshTokenStrategy: strategy, AccessTokenStrategy: strategy,
		},
	}
}

// gated calls a function before a call of the storage, once: what else happens at that moment.
type gated struct {
	tokens
	before map[string]func()
}

func (g *gated) pass(call string) {
	if f := g.before[call]; f != nil {
		delete(g.before, call)
		f()
	}
}

func (g *gated) RotateRefreshToken(ctx context.Context, id, signature string) error {
	g.pass("RotateRefreshToken")
	return g.tokens.RotateRefreshToken(ctx, id, signature)
}

func (g *gated) CreateAccessTokenSession(ctx context.Context, signature string, r fosite.Requester) error {
	g.pass("CreateAccessTokenSession")
	return g.tokens.CreateAccessTokenSession(ctx, signature, r)
}

func (g *gated) CreateRefreshTokenSession(ctx context.Context, signature, access string, r fosite.Requester) error {
	g.pass("CreateRefreshTokenSession")
	return g.tokens.CreateRefreshTokenSession(ctx, signature, access, r)
}

// client is one of "web" and "app".
func (s *server) client(id string) fosite.Client { return s.memory.Clients[id] }

func newMemory() *storage.MemoryStore {
	m := storage.NewMemoryStore()
	for _, id := range []string{"web", "app"} {
		m.Clients[id] = &fosite.DefaultClient{
			ID: id, GrantTypes: fosite.Arguments{"authorization_code", "refresh_token"},
			Scopes: fosite.Arguments{"openid", "email", "offline"}, Audience: fosite.Arguments{"https://api.test"},
		}
	}
	return m
}

func newConfig() *fosite.Config {
	return &fosite.Config{GlobalSecret: []byte("a secret of thirty-two bytes....")}
}

// issue issues the tokens of a grant to "web", as fosite's handler of codes does.
func (s *server) issue(id, user string) (string, error) {
	s.Helper()
	session := openid.NewDefaultSession()
	session.Subject, session.Claims.Subject, session.Claims.AuthTime = user, user, start
	request := fosite.NewAccessRequest(session)
	request.ID, request.Client, request.GrantTypes = id, s.client("web"), fosite.Arguments{"authorization_code"}
	request.GrantedScope = fosite.Arguments{"openid", "email", "offline"}
	token, signature, err := s.strategy.GenerateRefreshToken(s.Context(), request)
	if err != nil {
		return "", err
	}
	return token, s.tokens.CreateRefreshTokenSession(s.Context(), signature, "", request.Sanitize(nil))
}

func (s *server) mustIssue(id, user string) string {
	s.Helper()
	token, err := s.issue(id, user)
	if err != nil {
		s.Fatal(err)
	}
	return token
}

// attempt is a refresh that fosite has validated but not answered.
type attempt struct {
	ctx     context.Context
	request *fosite.AccessRequest
}

func (s *server) validate(secret, clientID string) (attempt, error) {
	request := fosite.NewAccessRequest(openid.NewDefaultSession())
	request.Client, request.GrantTypes = s.client(clientID), fosite.Arguments{"refresh_token"}
	request.Form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {secret}}
	ctx := context.WithValue(s.Context(), fosite.AccessRequestContextKey, request)
	return attempt{ctx, request}, s.refresh.HandleTokenEndpointRequest(ctx, request)
}

func (s *server) answer(a attempt) (string, error) {
	response := fosite.NewAccessResponse()
	if err := s.refresh.PopulateTokenEndpointResponse(a.ctx, a.request, response); err != nil {
		return "", err
	}
	token, _ := response.GetExtra("refresh_token").(string)
	if token == "" {
		s.Error("an answer without a refresh token")
	}
	return token, nil
}

func (s *server) try(secret, clientID string) (string, error) {
	a, err := s.validate(secret, clientID)
	if err != nil {
		return "", err
	}
	return s.answer(a)
}

func (s *server) mustTry(secret string) string {
	s.Helper()
	next, err := s.try(secret, "web")
	if err != nil {
		s.Fatal(err)
	}
	return next
}

// revokeToken is RFC 7009.
func (s *server) revokeToken(secret, clientID string) error {
	return s.revoke.RevokeToken(s.Context(), secret, fosite.RefreshToken, s.client(clientID))
}

// rig is a server whose refresh tokens are in a tokenstore, its manager, and a clock that the test moves.
type rig struct {
	*server
	store   *adapter.Store
	manager *tokenstore.Manager
	backend store.Backend
	ahead   atomic.Int64
}

func onBackends(t *testing.T, opts adapter.Options, test func(r *rig)) {
	for name, open := range backendtest.All() {
		t.Run(name, func(t *testing.T) { test(newRig(t, open(t), opts, tokenstore.Options{})) })
	}
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newRig(t *testing.T, backend store.Backend, opts adapter.Options, options tokenstore.Options) *rig {
	t.Helper()
	r := &rig{backend: backend}
	options.Now = func() time.Time { return start.Add(time.Duration(r.ahead.Load())) }
	manager, err := tokenstore.New(backend, &options)
	if err != nil {
		t.Fatal(err)
	}
	r.manager = manager
	rest, config := newMemory(), newConfig()
	if r.store, err = adapter.New(manager, rest, &opts); err != nil {
		t.Fatal(err)
	}
	strategy := hostStrategy{common{&compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(config)}}, r.store}
	r.server = newServer(t, rest, hostStorage{memory{rest}, r.store}, strategy, config)
	return r
}

func (r *rig) wait(d time.Duration) { r.ahead.Add(int64(d)) }

func (r *rig) live() []tokenstore.RefreshToken {
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
	before, state := r.live(), r.state()
	call()
	same := func(a, b tokenstore.RefreshToken) bool { return a.ID == b.ID && a.SecretDigest == b.SecretDigest }
	if !slices.EqualFunc(r.live(), before, same) || r.state() != state {
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

func (r *rig) revokeUser(user string) {
	r.Helper()
	_, err := r.manager.Revoke(r.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}})
	if err != nil {
		r.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
