package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	adapter "example.com/tokenstore/integrations/fosite"
	"example.com/tokenstore/internal/backendtest"
	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
)

// fosite's own store and strategy, with the refresh tokens replaced.
type (
	fositeStorage struct {
		fositeMemory
		*adapter.Store
	}
	fositeStrategy struct {
		fositeCommon
		*adapter.Store
	}
	fositeMemory struct{ *storage.MemoryStore }
	fositeCommon struct{ *compose.CommonStrategy }
)

// signingKey is that of the ID tokens.
var signingKey = sync.OnceValue(func() *jose.JSONWebKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return &jose.JSONWebKey{Key: key, KeyID: "one", Algorithm: string(jose.RS256), Use: "sig"}
})

// newFosite is an OpenID provider: fosite with all of its own, but for the refresh tokens.
func newFosite(t *testing.T, manager *tokenstore.Manager, issuer string) http.Handler {
	config := &fosite.Config{
		GlobalSecret: []byte("a secret of thirty-two bytes...."), IDTokenIssuer: issuer, EnforcePKCE: true,
		ScopeStrategy: fosite.ExactScopeStrategy,
	}
	memory := storage.NewMemoryStore()
	for _, id := range []string{"web", "other"} {
		secret, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(t.Context(), []byte(id+"-secret"))
		if err != nil {
			t.Fatal(err)
		}
		memory.Clients[id] = &fosite.DefaultClient{
			ID: id, Secret: secret, RedirectURIs: []string{redirectURI}, ResponseTypes: fosite.Arguments{"code"},
			GrantTypes: fosite.Arguments{"authorization_code", "refresh_token"}, Scopes: scopes,
		}
	}
	tokens, err := adapter.New(manager, memory, &adapter.Options{
		Session: func(_ context.Context, token tokenstore.RefreshToken, session fosite.Session) error {
			session.(*openid.DefaultSession).IDTokenClaims().Add("sid", token.SessionID.String())
			return nil
		},
		Replayed: memory.RevokeAccessToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	key := func(context.Context) (any, error) { return signingKey(), nil }
	h := &fositeHost{manager: manager, OAuth2Provider: compose.Compose(config, fositeStorage{fositeMemory{memory}, tokens},
		fositeStrategy{fositeCommon{&compose.CommonStrategy{
			CoreStrategy: compose.NewOAuth2HMACStrategy(config), OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(key, config),
			Signer: &jwt.DefaultSigner{GetPrivateKey: key},
		}}, tokens},
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OpenIDConnectExplicitFactory, compose.OpenIDConnectRefreshFactory,
		compose.OAuth2TokenRevocationFactory, compose.OAuth2TokenIntrospectionFactory)}

	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", h.authorize)
	mux.HandleFunc("/token", h.token)
	mux.HandleFunc("/revoke", h.revoke)
	mux.HandleFunc("/introspect", h.introspect)
	mux.HandleFunc("/userinfo", h.userinfo)
	for path, document := range map[string]any{
		"/.well-known/openid-configuration": map[string]any{
			"issuer": issuer, "jwks_uri": issuer + "/keys", "authorization_endpoint": issuer + "/authorize",
			"token_endpoint": issuer + "/token", "revocation_endpoint": issuer + "/revoke",
			"introspection_endpoint": issuer + "/introspect", "userinfo_endpoint": issuer + "/userinfo",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
		},
		"/keys": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{signingKey().Public()}},
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, document) })
	}
	return mux
}

func writeJSON(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document)
}

// fositeHost are the endpoints, and what of them is a host's.
type fositeHost struct {
	fosite.OAuth2Provider
	manager *tokenstore.Manager
}

func (h *fositeHost) authorize(w http.ResponseWriter, r *http.Request) {
	request, err := h.NewAuthorizeRequest(r.Context(), r)
	if err != nil {
		h.WriteAuthorizeError(r.Context(), w, request, err)
		return
	}
	session := openid.NewDefaultSession()
	session.Subject = request.GetRequestForm().Get("login_hint")
	session.Claims.Subject, session.Claims.AuthTime = session.Subject, time.Now()
	session.Claims.Add("sid", request.GetID())
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	response, err := h.NewAuthorizeResponse(r.Context(), request, session)
	if err != nil {
		h.WriteAuthorizeError(r.Context(), w, request, err)
		return
	}
	h.WriteAuthorizeResponse(r.Context(), w, request, response)
}

func (h *fositeHost) token(w http.ResponseWriter, r *http.Request) {
	request, err := h.NewAccessRequest(r.Context(), r, openid.NewDefaultSession())
	if err != nil {
		h.WriteAccessError(r.Context(), w, request, err)
		return
	}
	response, err := h.NewAccessResponse(r.Context(), request)
	if err != nil {
		h.WriteAccessError(r.Context(), w, request, err)
		return
	}
	h.WriteAccessResponse(r.Context(), w, request, response)
}

func (h *fositeHost) revoke(w http.ResponseWriter, r *http.Request) {
	err := h.NewRevocationRequest(r.Context(), r)
	if errors.Is(err, fosite.ErrTemporarilyUnavailable) { // which the writer would answer by 200
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	h.WriteRevocationResponse(r.Context(), w, err)
}

func (h *fositeHost) introspect(w http.ResponseWriter, r *http.Request) {
	response, err := h.NewIntrospectionRequest(r.Context(), r, openid.NewDefaultSession())
	if err != nil {
		h.WriteIntrospectionError(r.Context(), w, err)
		return
	}
	h.WriteIntrospectionResponse(r.Context(), w, response)
}

// userinfo takes an access token for as long as the grant that it belongs to has a refresh token, as all here have.
func (h *fositeHost) userinfo(w http.ResponseWriter, r *http.Request) {
	_, request, err := h.IntrospectToken(r.Context(), fosite.AccessTokenFromRequest(r), fosite.AccessToken, openid.NewDefaultSession())
	if err != nil {
		http.Error(w, "no access token", http.StatusUnauthorized)
		return
	}
	grant, err := h.manager.List(r.Context(), tokenstore.ListRequest{SessionID: request.GetID(), Limit: 1, Consistency: tokenstore.Fenced})
	if err != nil || len(grant.Tokens) == 0 {
		http.Error(w, "no grant", http.StatusUnauthorized)
		return
	}
	writeJSON(w, map[string]string{"sub": request.GetSession().GetSubject()})
}

// TestFositeReplayedCode: a code that is used a second time ends the token of the first.
func TestFositeReplayedCode(t *testing.T) {
	for on, open := range backendtest.All() {
		t.Run(on, func(t *testing.T) {
			s := start(t, frameworks["fosite"], open(t))
			a := s.app("web")
			exchange := a.begin("ann")
			token, err := exchange()
			if err != nil {
				t.Fatal(err)
			}
			next := a.mustRefresh(token.RefreshToken)
			if _, err := exchange(); err == nil {
				t.Fatal("a code was good twice")
			}
			a.wantError(next.RefreshToken, "invalid_grant")
		})
	}
}
