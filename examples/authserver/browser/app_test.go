package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/examples/authserver/provider"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/oauth2"
)

const password = "a password for tests"

// site is a provider, and an application that people sign in to. Nothing is swept before sweep is called.
type site struct {
	*testing.T
	tokens   *tokenstore.Manager
	url      string // the provider's
	app      string // the application's
	config   *oauth2.Config
	verifier string
	ahead    atomic.Int64

	mu  sync.Mutex
	got *oauth2.Token // what the application got last
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, verifier: oauth2.GenerateVerifier()}
	now := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	dir := t.TempDir()
	backend, err := boltstore.Open(filepath.Join(dir, "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	if s.tokens, err = tokenstore.New(backend, &tokenstore.Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	keys, err := provider.LoadKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewServer(http.HandlerFunc(s.serveApp))
	t.Cleanup(app.Close)
	var p *provider.Provider
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Public().ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	p, err = provider.New(provider.Config{
		Issuer: web.URL, Tokens: s.tokens, Keys: keys, OperatorToken: "a-token-for-the-operator", Now: now,
		Accounts: []provider.Account{{ID: "user-ann", Username: "ann", Name: "Ann Example", Password: hash}},
		Clients:  []provider.Client{{ID: "notes", Name: "Notes", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.app = web.URL, app.URL
	s.config = &oauth2.Config{
		ClientID: "notes", RedirectURL: app.URL + "/callback", Scopes: []string{"openid", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: web.URL + "/authorize", TokenURL: web.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	return s
}

func (s *site) serveApp(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		http.Redirect(w, r, s.config.AuthCodeURL("a state of some length", oauth2.S256ChallengeOption(s.verifier)), http.StatusFound)
	case "/callback":
		token, err := s.config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(s.verifier))
		if err != nil {
			fmt.Fprint(w, "not signed in: ", err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = token
		fmt.Fprint(w, "signed in to the application")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// signIn signs in to the application, and returns what that got.
func (s *site) signIn(b *tab) *oauth2.Token {
	s.Helper()
	b.visit(s.app)
	b.wantText("to go on to", "Notes")
	b.fill("#username", "ann")
	b.fill("#password", password)
	b.click("form button")
	b.wantText("signed in to the application")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *site) refresh(token *oauth2.Token) (*oauth2.Token, error) {
	return s.config.TokenSource(s.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
}

func (s *site) mustRefresh(token *oauth2.Token) *oauth2.Token {
	s.Helper()
	next, err := s.refresh(token)
	if err != nil {
		s.Fatal(err)
	}
	return next
}

func (s *site) sweep() {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.tokens.Run(ctx) }()
	s.Cleanup(func() { stop(); <-ended })
}
