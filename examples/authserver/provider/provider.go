// Package provider is a complete small OpenID provider, to be copied from: the protocol is that of
// github.com/zitadel/oidc/v3, refresh tokens are in a tokenstore, and there are two pages, to sign in and to see where one is
// signed in. What else it has to remember is in memory, with limits. It knows nothing of TLS, nor of limits by address, without which
// anybody can keep everybody from signing in: those belong in front of it.
//
//	provider.go   what is served where
//	storage.go    what the protocol asks for: requests.go, access.go, clients.go, keys.go, accounts.go
//	sessions.go   who has signed in, in which browser
//	login.go      the page to sign in
//	devices.go    "Your devices"
//	pages.go      what all pages have in common: their looks, and their security headers
//	operators.go  the management API, and the metrics
package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	"example.com/tokenstore/oauth"
	"github.com/rs/cors"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Config of a provider. All fields without a default are required.
type Config struct {
	Issuer   string // Issuer is the URL that people and applications reach the provider at, without a path.
	Tokens   *tokenstore.Manager
	Keys     *Keys
	Accounts []Account
	Clients  []Client
	// OperatorToken is what callers of the management API present. At least management.MinStaticToken characters.
	OperatorToken string
	Now           func() time.Time // Now is the clock. Defaults to time.Now.
	Logger        *slog.Logger     // Logger takes what goes wrong on our side. Defaults to slog.Default().
}

// Provider is an OpenID provider. Somebody has to run its Tokens.
type Provider struct {
	config    Config
	accounts  *accounts
	clients   clients
	sessions  *sessions
	requests  *requests
	op        *op.Provider
	counters  *counters
	public    http.Handler
	operators http.Handler
}

// New makes a provider, and starts nothing.
func New(config Config) (*Provider, error) {
	issuer, err := url.Parse(config.Issuer)
	if err != nil || issuer.Host == "" || issuer.Path != "" {
		return nil, errors.New("the issuer has to be a URL without a path")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	https := issuer.Scheme == "https"
	p := &Provider{
		config: config, clients: newClients(config.Clients), requests: newRequests(config.Now), counters: newCounters(),
		sessions: newSessions(config.Now, https),
	}
	if p.accounts, err = newAccounts(config.Accounts, config.Now); err != nil {
		return nil, err
	}
	access := &accessTokens{newExpiring[accessToken](config.Now, maxAccess), config.Tokens, p.sessions, config.Now}
	options := []op.Option{
		op.WithHttpInterceptors(zitadel.Interceptor, withCaller),
		// Applications in a browser ask by tokens, never by the cookie of the person, which op would let them.
		op.WithCORSOptions(&cors.Options{AllowedHeaders: []string{"Authorization", "Content-Type"}}),
	}
	if !https {
		options = append(options, op.WithAllowInsecure()) // for trials on one machine
	}
	p.op, err = op.NewProvider(&op.Config{
		CryptoKey: config.Keys.encryption, CodeMethodS256: true, GrantTypeRefreshToken: true,
		DefaultLogoutRedirectURI: "/signed-out", SupportedScopes: []string{"openid", "profile", "offline_access"},
	}, &storage{
		Storage: refreshTokens(config.Tokens, access), accessTokens: access, requests: p.requests, clients: p.clients,
		accounts: p.accounts, keys: config.Keys,
	}, op.StaticIssuer(config.Issuer), options...)
	if err != nil {
		return nil, err
	}
	introspect, err := p.introspection()
	if err != nil {
		return nil, err
	}

	pages := http.NewServeMux()
	pages.Handle("GET /{$}", http.RedirectHandler("/devices", http.StatusFound))
	pages.HandleFunc("GET /login", p.showLogin)
	pages.HandleFunc("POST /login", p.login)
	pages.HandleFunc("GET /devices", p.showDevices)
	pages.HandleFunc("POST /devices/sign-out", p.signOut)
	pages.HandleFunc("GET /signed-out", p.showSignedOut)
	pages.HandleFunc("GET /style.css", serveFile("style.css", "text/css; charset=utf-8"))
	pages.HandleFunc("GET /icon.svg", serveFile("icon.svg", "image/svg+xml"))

	public := http.NewServeMux()
	for _, path := range []string{"/{$}", "/login", "/devices", "/devices/sign-out", "/signed-out", "/style.css", "/icon.svg"} {
		public.Handle(path, page(https, pages))
	}
	public.Handle("/authorize/callback", p.callback(page(https, http.HandlerFunc(p.showForeign))))
	public.Handle("POST /oauth/introspect", introspect)
	public.Handle("/", p.op) // /.well-known/openid-configuration, /authorize, /oauth/token, /userinfo, /revoke, /end_session, /keys
	p.public = p.counters.count(limitBody(public))
	p.operators, err = p.operatorsHandler()
	return p, err
}

// Public is what people and applications see.
func (p *Provider) Public() http.Handler { return p.public }

// Operators is the management API and /metrics, for an address that not everybody reaches.
func (p *Provider) Operators() http.Handler { return p.operators }

// callback sends the code to the application: to the browser that has signed in, and to no other. Otherwise whoever began a
// sign-in and had somebody else complete it could fetch the code. SaveAuthCode has the last word: somebody may complete it
// between here and there.
func (p *Provider) callback(foreign http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, ok := p.requests.pending.get(r.FormValue("id"))
		session, here := p.sessions.of(r)
		if ok && asked.session != nil && (!here || asked.session.id != session.id) {
			foreign.ServeHTTP(w, r)
			return
		}
		p.op.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), browserKey{}, session.id)))
	})
}

func (p *Provider) showForeign(w http.ResponseWriter, _ *http.Request) {
	p.showError(w, http.StatusForbidden, "This sign-in was completed in another browser. Go back to the application, and begin again.")
}

// introspection is RFC 7662 for both kinds of tokens: op knows access tokens only, package oauth refresh tokens only.
func (p *Provider) introspection() (http.Handler, error) {
	refresh, err := oauth.NewIntrospection(p.config.Tokens, zitadel.Clients(p.op), nil)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the request can't be read", http.StatusBadRequest)
			return
		}
		form, _ := url.ParseQuery(string(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		if p.isRefreshToken(r.Context(), form.Get("token")) {
			refresh.ServeHTTP(w, r)
			return
		}
		p.op.ServeHTTP(w, r)
	}), nil
}

// isRefreshToken has whoever can't tell answered by package oauth, which says what is the matter.
func (p *Provider) isRefreshToken(ctx context.Context, secret string) bool {
	known, err := p.config.Tokens.Recognise(ctx, tokenstore.NewSecret(secret))
	return err != nil || !known.Token.ID.IsZero() || strings.TrimSpace(secret) == ""
}

// maxBody, and the limit of headers, are also those of what a sign-in under way takes of the memory.
const maxBody = 16 << 10

func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}
