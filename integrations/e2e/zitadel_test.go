package e2e

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	"example.com/tokenstore/internal/backendtest"
	"example.com/tokenstore/oauth"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"
)

// zitadelHost is the framework's own example storage, with the refresh tokens replaced, and access tokens that are good for
// as long as their refresh token is.
type zitadelHost struct {
	zitadelExample
	*zitadel.Storage
	manager *tokenstore.Manager

	mu     sync.Mutex
	access map[string]tokenstore.RefreshToken // by the id of the access token
}

type zitadelExample struct{ *storage.Storage }

func (h *zitadelHost) CreateAccessTokenWith(ctx context.Context, request op.TokenRequest, refresh tokenstore.RefreshToken) (string, time.Time, error) {
	id, expiration, err := h.CreateAccessToken(ctx, request)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.access[id] = refresh
	return id, expiration, err
}

func (h *zitadelHost) RevokeAccessToken(context.Context, string, string, string) *oidc.Error {
	return nil
}

func (h *zitadelHost) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, tokenID, subject, origin string) error {
	h.mu.Lock()
	refresh, ok := h.access[tokenID]
	h.mu.Unlock()
	if ok {
		if _, err := h.manager.Get(ctx, refresh.ID, tokenstore.Fenced); err != nil {
			return err
		}
	}
	return h.zitadelExample.SetUserinfoFromToken(ctx, info, tokenID, subject, origin)
}

// SetUserinfoFromRequest puts the session into ID tokens, so that their end of session is that of the session.
func (h *zitadelHost) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	switch r := request.(type) {
	case *storage.AuthRequest:
		info.AppendClaims("sid", r.GetID())
	case *zitadel.RefreshTokenRequest:
		info.AppendClaims("sid", r.RefreshToken().SessionID.String())
	}
	return h.zitadelExample.SetUserinfoFromRequest(ctx, info, request, scopes)
}

// ValidateTokenExchangeRequest refuses the outdated refresh token, whose subject is empty.
func (h *zitadelHost) ValidateTokenExchangeRequest(ctx context.Context, request op.TokenExchangeRequest) error {
	if request.GetExchangeSubject() == "" {
		return oidc.ErrInvalidGrant()
	}
	return h.zitadelExample.ValidateTokenExchangeRequest(ctx, request)
}

func newZitadel(t *testing.T, manager *tokenstore.Manager, issuer string) http.Handler {
	web := func(id string) *storage.Client { return storage.WebClient(id, id+"-secret", redirectURI) }
	example := storage.NewStorageWithClients(users{}, map[string]*storage.Client{"web": web("web"), "other": web("other")})
	h := &zitadelHost{zitadelExample: zitadelExample{example}, manager: manager, access: map[string]tokenstore.RefreshToken{}}
	h.Storage = zitadel.New(manager, h, &zitadel.Options{
		Issue: func(_ context.Context, request op.TokenRequest, issue *tokenstore.IssueRequest) error {
			id := "exchanged"
			if r, ok := request.(op.AuthRequest); ok {
				id = r.GetID()
			}
			session, err := tokenstore.NewSessionID(id)
			issue.SessionID = session
			return err
		},
	})
	provider, err := op.NewProvider(&op.Config{GrantTypeRefreshToken: true, CodeMethodS256: true}, h,
		op.StaticIssuer(issuer), op.WithAllowInsecure(), op.WithHttpInterceptors(zitadel.Interceptor))
	if err != nil {
		t.Fatal(err)
	}
	introspection, err := oauth.NewIntrospection(manager, zitadel.Clients(provider), nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.Handle("POST /introspect/refresh-token", introspection)
	mux.HandleFunc("/login/username", func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("authRequestID")
		request, err := example.AuthRequestByID(r.Context(), id)
		if err == nil {
			err = example.CheckUsernamePassword(request.(*storage.AuthRequest).LoginHint, "password", id)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(op.ContextWithIssuer(r.Context(), issuer), id), http.StatusFound)
	})
	return mux
}

// users are ann and bob, who may exchange tokens.
type users struct{}

func (users) GetUserByID(id string) *storage.User {
	if id != "ann" && id != "bob" {
		return nil
	}
	return &storage.User{ID: id, Username: id, Password: "password", IsAdmin: true}
}
func (u users) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }
func (users) ExampleClientID() string                       { return "service" }

func onZitadel(t *testing.T, test func(s *server)) {
	for on, open := range backendtest.All() {
		t.Run(on, func(t *testing.T) { test(start(t, frameworks["zitadel"], open(t))) })
	}
}

// TestEndSession: the relying party ends the session of an ID token, and no other.
func TestEndSession(t *testing.T) {
	onZitadel(t, func(s *server) {
		a := s.appOn(newRelying, "web")
		ann, other := a.signIn("ann"), a.signIn("ann")
		hint, _ := ann.Extra("id_token").(string)
		if _, err := rp.EndSession(s.Context(), a.library.(*relying).party, hint, "", "", "", nil); err != nil {
			s.Logf("after the end of the session: %v", err) // where it redirects to need not exist
		}
		a.wantError(ann.RefreshToken, "invalid_grant")
		a.mustRefresh(other.RefreshToken)
	})
}

// TestEndSessionOfNobody: who asks for the end of a session without saying whose it is signs nobody out.
func TestEndSessionOfNobody(t *testing.T) {
	onZitadel(t, func(s *server) {
		a := s.app("web")
		secret := a.signIn("ann").RefreshToken
		for _, query := range []string{"", "?client_id=web", "?client_id=web&logout_hint=ann"} {
			answer, err := (&http.Client{Transport: a.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			}}).Get(s.url + "/end_session" + query)
			if err != nil {
				s.Fatal(err)
			}
			_ = answer.Body.Close()
		}
		a.mustRefresh(secret)
	})
}

// TestNarrowerScope: the access token has fewer scopes, the next refresh all of them again.
func TestNarrowerScope(t *testing.T) {
	onZitadel(t, func(s *server) {
		a := s.app("web")
		status, body := a.post(s.paths.token, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {a.signIn("ann").RefreshToken}, "scope": {"openid"},
		})
		if status != http.StatusOK || !strings.Contains(body, `"scope":"openid"`) {
			s.Fatalf("%d %s", status, body)
		}
		if scope, _ := a.mustRefresh(refreshToken(a, body)).Extra("scope").(string); scope != "openid email offline_access" {
			s.Errorf("scope %q", scope)
		}
	})
}

// TestTokenExchange: a current refresh token is taken for its user, an outdated or a revoked one for nobody.
func TestTokenExchange(t *testing.T) {
	onZitadel(t, func(s *server) {
		a := s.app("web")
		exchange := func(secret string) (int, string) {
			return a.post(s.paths.token, url.Values{
				"grant_type":    {string(oidc.GrantTypeTokenExchange)},
				"subject_token": {secret}, "subject_token_type": {string(oidc.RefreshTokenType)},
				"requested_token_type": {string(oidc.RefreshTokenType)}, "scope": {"openid"},
			})
		}
		first := a.signIn("ann").RefreshToken
		secret := a.mustRefresh(first).RefreshToken
		if status, body := exchange(secret); status != http.StatusOK || !strings.Contains(body, "refresh_token") {
			s.Errorf("a current one: %d %s", status, body)
		}
		if status, body := exchange(first); status != http.StatusBadRequest || !strings.Contains(body, "invalid_grant") {
			s.Errorf("an outdated one: %d %s", status, body)
		}
		a.mustRefresh(secret)
		if err := s.revokeAll(); err != nil {
			s.Fatal(err)
		}
		if status, body := exchange(secret); status != http.StatusBadRequest {
			s.Errorf("a revoked one: %d %s", status, body)
		}
	})
}

// TestStoreFails: clients are told to come again, and keep their tokens.
func TestStoreFails(t *testing.T) {
	onZitadel(t, func(s *server) {
		a := s.app("web")
		secret := a.signIn("ann").RefreshToken
		if err := s.backend.Close(); err != nil {
			s.Fatal(err)
		}
		_, err := a.refresh(secret)
		told, ok := errors.AsType[*oauth2.RetrieveError](err)
		if !ok || told.Response.StatusCode != http.StatusServiceUnavailable || told.ErrorCode != "temporarily_unavailable" || told.Response.Header.Get("Retry-After") == "" {
			s.Errorf("refresh: %v", err)
		}
		if status, body := a.post(s.paths.revoke, url.Values{"token": {secret}}); status != http.StatusServiceUnavailable {
			s.Errorf("revocation: %d %s", status, body)
		}
	})
}
