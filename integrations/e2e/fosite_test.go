package e2e

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"example.com/tokenstore"
	adapter "example.com/tokenstore/integrations/fosite"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
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

func newFosite(t *testing.T, manager *tokenstore.Manager, issuer string) http.Handler {
	config := &fosite.Config{GlobalSecret: []byte("a secret of thirty-two bytes...."), EnforcePKCEForPublicClients: true}
	memory := storage.NewMemoryStore()
	for _, id := range []string{"web", "other"} {
		secret, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(t.Context(), []byte(id+"-secret"))
		if err != nil {
			t.Fatal(err)
		}
		memory.Clients[id] = &fosite.DefaultClient{
			ID: id, Secret: secret, RedirectURIs: []string{redirectURI}, ResponseTypes: fosite.Arguments{"code"},
			GrantTypes: fosite.Arguments{"authorization_code", "refresh_token"},
			Scopes:     fosite.Arguments{"openid", "email", "offline_access"},
		}
	}
	tokens, err := adapter.New(manager, memory, &adapter.Options{Replayed: memory.RevokeAccessToken})
	if err != nil {
		t.Fatal(err)
	}
	provider := compose.Compose(config, fositeStorage{fositeMemory{memory}, tokens},
		fositeStrategy{fositeCommon{&compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(config)}}, tokens},
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenRevocationFactory)

	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		request, err := provider.NewAuthorizeRequest(r.Context(), r)
		if err != nil {
			provider.WriteAuthorizeError(r.Context(), w, request, err)
			return
		}
		session := openid.NewDefaultSession()
		session.Subject = request.GetRequestForm().Get("login_hint")
		session.Claims.Subject, session.Claims.AuthTime = session.Subject, time.Now()
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		response, err := provider.NewAuthorizeResponse(r.Context(), request, session)
		if err != nil {
			provider.WriteAuthorizeError(r.Context(), w, request, err)
			return
		}
		provider.WriteAuthorizeResponse(r.Context(), w, request, response)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		request, err := provider.NewAccessRequest(r.Context(), r, openid.NewDefaultSession())
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(r.Context(), request)
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		provider.WriteAccessResponse(r.Context(), w, request, response)
	})
	mux.HandleFunc("/revoke", func(w http.ResponseWriter, r *http.Request) {
		err := provider.NewRevocationRequest(r.Context(), r)
		if errors.Is(err, fosite.ErrTemporarilyUnavailable) { // which the writer would answer by 200
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		provider.WriteRevocationResponse(r.Context(), w, err)
	})
	return mux
}

// TestFositeReplayedCode: a code that is used a second time ends the token of the first.
func TestFositeReplayedCode(t *testing.T) {
	for on, open := range backends {
		t.Run(on, func(t *testing.T) {
			s := start(t, frameworks["fosite"], open(t))
			a := s.app("web")
			code := a.code("ann")
			token, err := a.config.Exchange(a.context(), code)
			if err != nil {
				t.Fatal(err)
			}
			next := a.mustRefresh(token.RefreshToken)
			if _, err := a.config.Exchange(a.context(), code); err == nil {
				t.Fatal("a code was good twice")
			}
			a.wantError(next.RefreshToken, "invalid_grant")
		})
	}
}
