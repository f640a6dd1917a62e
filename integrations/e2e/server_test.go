package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/backendtest"
	"example.com/tokenstore/management"
	"example.com/tokenstore/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// framework makes an authorization server of which ann and bob are users and "web", with the secret "web-secret", and
// "other" are clients, at an address that it is given. Its login asks nothing: it takes the login_hint for the user.
type framework struct {
	open  func(t *testing.T, manager *tokenstore.Manager, issuer string) http.Handler
	paths paths
	wider string // the error of a refresh for more scopes than the token has; "" if no notice is taken of them
	// anybody is told of a token at introspection, not its client only
	anybody bool
}

// paths of the endpoints. That of introspection is the one for refresh tokens; userinfo refuses an access token as soon as its
// refresh token is revoked.
type paths struct{ authorize, token, revoke, introspect, userinfo string }

var frameworks = map[string]framework{
	"zitadel": {newZitadel, paths{"/authorize", "/oauth/token", "/revoke", "/introspect/refresh-token", "/userinfo"}, "invalid_scope", false},
	"fosite":  {newFosite, paths{"/authorize", "/token", "/revoke", "/introspect", "/userinfo"}, "", true},
}

// server is a running authorization server, with the management API beside it, and a clock that the test moves.
type server struct {
	*testing.T
	framework
	manager *tokenstore.Manager
	backend store.Backend
	url     string
	api     string // host and port of the management API
	ahead   *atomic.Int64
	losing  chan chan<- string
}

const apiToken = "a-token-for-the-sdk"

// onLibraries runs a test with every library, in every framework on every backend.
func onLibraries(t *testing.T, test func(a *app)) {
	for name, open := range libraries {
		t.Run(name, func(t *testing.T) {
			onAll(t, func(s *server) { test(s.appOn(open, "web")) })
		})
	}
}

// onAll runs a test in every framework on every backend.
func onAll(t *testing.T, test func(s *server)) {
	for name, f := range frameworks {
		for on, open := range backendtest.All() {
			t.Run(name+" on "+on, func(t *testing.T) { test(start(t, f, open(t))) })
		}
	}
}

func start(t *testing.T, f framework, backend store.Backend) *server {
	t.Helper()
	s := &server{T: t, framework: f, backend: backend, ahead: new(atomic.Int64), losing: make(chan chan<- string, 1)}
	manager, err := tokenstore.New(backend, &tokenstore.Options{
		Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.manager = manager
	s.serve()
	return s
}

// another is a server of another tenant on the same backend.
func (s *server) another() *server {
	s.Helper()
	other := *s
	var err error
	if other.manager, err = s.manager.Tenant("another", nil); err != nil {
		s.Fatal(err)
	}
	other.serve()
	return &other
}

func (s *server) serve() {
	s.Helper()
	var handler http.Handler
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == s.paths.token {
			select {
			case lost := <-s.losing:
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, r)
				lost <- answer.Body.String()
				panic(http.ErrAbortHandler) // which breaks the connection
			default:
			}
		}
		handler.ServeHTTP(w, r)
	}))
	s.Cleanup(web.Close)
	s.url = web.URL
	handler = s.open(s.T, s.manager, web.URL)

	auth, err := management.NewStaticTokens(map[string]management.Caller{
		apiToken: {Actor: "operator", Scopes: []string{management.ScopeReadTokens, management.ScopeDeleteTokens}},
	})
	if err != nil {
		s.Fatal(err)
	}
	manage, err := management.New(func(string) (*tokenstore.Manager, error) { return s.manager, nil }, auth, nil)
	if err != nil {
		s.Fatal(err)
	}
	api := httptest.NewServer(manage)
	s.Cleanup(api.Close)
	s.api = api.Listener.Addr().String()
}

// loseAnswer has the connection break before the next answer about tokens, and returns where that goes instead.
func (s *server) loseAnswer() <-chan string {
	lost := make(chan string, 1)
	s.losing <- lost
	return lost
}

// sweep runs the engine until ctx of the test ends.
func (s *server) sweep() {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.manager.Run(ctx) }()
	s.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			s.Error(err)
		}
	})
}

func (s *server) live() []tokenstore.RefreshToken {
	s.Helper()
	page, err := s.manager.List(s.Context(), tokenstore.ListRequest{Limit: 100, Consistency: tokenstore.Fenced})
	if err != nil {
		s.Fatal(err)
	}
	return page.Tokens
}

func (s *server) state() tokenstore.State {
	s.Helper()
	state, err := s.manager.State(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return state
}
