package openapitest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

const (
	admin     = "token-of-the-admin"
	powerless = "token-without-any-scope"
	aToken    = "01KASMRR00000000000000TEST" // aToken is an id that no token has.
)

var errClosed = store.ErrClosed

// broken is a backend whose stores fail.
type broken struct {
	store.Backend
	err error
}

func (b broken) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return brokenStore{st, b.err}, err
}

type brokenStore struct {
	store.Store
	err error
}

func (s brokenStore) Get(context.Context, ulid.ULID) (store.View, error) { return store.View{}, s.err }

func (s brokenStore) List(context.Context, store.Query) (store.Page, error) {
	return store.Page{}, s.err
}

func (s brokenStore) Update(context.Context, ulid.ULID, func(store.View) store.Decision) error {
	return s.err
}

func (s brokenStore) Revoke(context.Context, store.Revocation) (store.Status, error) {
	return store.Status{}, s.err
}

func (s brokenStore) Revocation(context.Context, ulid.ULID) (store.Status, error) {
	return store.Status{}, s.err
}

func (s brokenStore) Revocations(context.Context, store.RevocationQuery) (store.RevocationPage, error) {
	return store.RevocationPage{}, s.err
}

// nobody is a directory that knows nobody and nothing.
type nobody struct{}

func (nobody) UserExists(context.Context, string, string) (bool, error)           { return false, nil }
func (nobody) ClientExists(context.Context, string, string) (bool, error)         { return false, nil }
func (nobody) ResourceServerExists(context.Context, string, string) (bool, error) { return false, nil }

// newServer serves an empty tenant, whose store fails by the error if there is one.
func newServer(t *testing.T, fails error, opts *management.Options) *server {
	t.Helper()
	var backend store.Backend = memstore.New()
	if fails != nil {
		backend = broken{backend, fails}
	}
	return serve(t, newManager(t, backend), opts)
}

func newManager(t *testing.T, backend store.Backend) *tokenstore.Manager {
	t.Helper()
	m, err := tokenstore.New(backend, &tokenstore.Options{Legacy: tokenstore.LegacyRule{AllowNoSession: true}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func serve(t *testing.T, m *tokenstore.Manager, opts *management.Options) *server {
	t.Helper()
	auth, err := management.NewStaticTokens(map[string]management.Caller{
		admin: {Actor: "admin", Scopes: management.Scopes()}, powerless: {Actor: "powerless"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := management.New(func(string) (*tokenstore.Manager, error) { return m, nil }, auth, opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{httptest.NewServer(h)}
	t.Cleanup(s.Close)
	return s
}

// tenant is a server with tokens of alice, of which token is one, and a revocation.
type tenant struct {
	*server
	manager    *tokenstore.Manager
	token      string
	revocation string
}

func withToken(t *testing.T, opts *management.Options) *tenant {
	t.Helper()
	w := &tenant{manager: newManager(t, memstore.New())}
	w.server = serve(t, w.manager, opts)
	for i := range 3 {
		request := tokenstore.IssueRequest{
			UserID: "alice", ClientID: "app", Static: i == 0, Metadata: map[string]string{"device": "phone"},
			Device: tokenstore.Device{InitialIP: "192.0.2.1", InitialUserAgent: "browser"}, Offline: true, Lifetime: tokenstore.Never,
			ResourceServers: []tokenstore.ResourceServer{{Audience: "https://api.example", Scopes: "read write"}},
		}
		if i > 0 {
			request.SessionID = tokenstore.MustSessionID("session")
		}
		issued, err := w.manager.Issue(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		w.token = issued.Token.ID.String()
	}
	receipt, err := w.manager.Revoke(t.Context(), tokenstore.RevokeRequest{
		Targets: []tokenstore.Target{
			{UserID: "bob", ClientID: "app", SessionID: "s", Audience: "a", IssuedBefore: time.Now(), Offline: tokenstore.OfflineNo},
			w.manager.LegacyTarget(), {ClientID: "old"},
		},
		Reason: "test", Actor: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	w.revocation = receipt.ID().String()
	return w
}

func (w *tenant) show(t *testing.T) (int, http.Header, []byte) {
	t.Helper()
	return w.send(t, request{method: "GET", path: "/api/v2/refresh-tokens/{id}", id: w.token})
}

// ofOperations are the requests that each operation answers in its own way.
func ofOperations(t *testing.T) []request {
	t.Helper()
	const (
		tokens  = "/api/v2/refresh-tokens"
		revoke  = tokens + "/revoke"
		token   = tokens + "/{id}"
		users   = "/api/v2/users/{user_id}/refresh-tokens"
		session = "/api/v2/sessions/{id}/revoke"
		devices = "/api/v2/device-credentials"
		device  = devices + "/{id}"
		many    = "/api/v2/revocations"
		one     = many + "/{id}"
	)
	w := withToken(t, nil)
	unknown := newServer(t, nil, &management.Options{Directory: nobody{}})
	plentiful := newServer(t, nil, &management.Options{RateLimit: management.RateLimit{PerSecond: 1000}})
	huge := `{"refresh_token_metadata":{"a":"` + strings.Repeat("x", 300<<10) + `"}}`
	all := []request{
		{at: w.server, method: "GET", path: tokens, query: "user_id=alice&client_id=app&take=2&consistency=fenced", status: 200},
		{at: w.server, method: "GET", path: tokens, query: "user_id=alice&fields=id,session_id", status: 200},
		{at: w.server, method: "GET", path: tokens, query: "user_id=nobody", status: 200},
		{at: plentiful, method: "GET", path: tokens, query: "user_id=nobody", status: 200},
		{at: w.server, method: "GET", path: tokens, query: "", status: 400},
		{at: unknown, method: "GET", path: tokens, query: "user_id=alice", status: 404},
		{at: w.server, method: "GET", path: token, id: w.token, status: 200},
		{at: w.server, method: "GET", path: token, id: w.token, query: "consistency=odd", status: 400},
		{at: w.server, method: "GET", path: token, id: aToken, status: 404},
		{at: w.server, method: "PATCH", path: token, id: w.token, body: `{"refresh_token_metadata":{"a":"b"}}`, status: 200},
		{at: w.server, method: "PATCH", path: token, id: w.token, body: `{"refresh_token_metadata":null}`, status: 200},
		{at: w.server, method: "PATCH", path: token, id: w.token, body: `{}`, status: 400},
		{at: w.server, method: "PATCH", path: token, id: aToken, body: `{"refresh_token_metadata":null}`, status: 404},
		{at: w.server, method: "PATCH", path: token, id: w.token, body: huge, status: 413},
		{at: w.server, method: "PATCH", path: token, id: w.token, body: `{}`, kind: "text/plain", status: 415},
		{at: w.server, method: "GET", path: users, id: "alice", query: "take=1", status: 200},
		{at: w.server, method: "GET", path: users, id: "alice", query: "take=50&include_totals=true", status: 200},
		{at: w.server, method: "GET", path: users, id: "alice", query: "take=0", status: 400},
		{at: unknown, method: "GET", path: users, id: "alice", status: 404},
		{at: w.server, method: "GET", path: devices, status: 200},
		{at: w.server, method: "GET", path: devices, query: "user_id=alice&include_totals=true&type=rotating_refresh_token", status: 200},
		{at: w.server, method: "GET", path: devices, query: "type=public_key&fields=id&page=1", status: 200},
		{at: w.server, method: "GET", path: devices, query: "type=odd", status: 400},
		{at: w.server, method: "GET", path: many, query: "take=1", status: 200},
		{at: w.server, method: "GET", path: many, query: "state=odd", status: 400},
		{at: w.server, method: "GET", path: one, id: w.revocation, status: 200},
		{at: w.server, method: "GET", path: one, id: aToken, status: 404},

		{at: w.server, method: "DELETE", path: users, id: "alice", key: "first", status: 202},
		{at: w.server, method: "DELETE", path: users, id: "carol", key: "first", status: 409},
		{at: w.server, method: "DELETE", path: users, id: strings.Repeat("x", 301), status: 400},
		{at: unknown, method: "DELETE", path: users, id: "alice", status: 404},
		{at: w.server, method: "DELETE", path: token, id: w.token, status: 202},
		{at: w.server, method: "DELETE", path: token, id: w.token, key: strings.Repeat("x", 256), status: 400},
		{at: w.server, method: "DELETE", path: token, id: w.token, key: "first", status: 409},
		{at: w.server, method: "DELETE", path: device, id: w.token, status: 204},
		{at: w.server, method: "DELETE", path: device, id: w.token, key: strings.Repeat("x", 256), status: 400},
		{at: w.server, method: "DELETE", path: device, id: w.token, key: "first", status: 409},
		{at: w.server, method: "POST", path: session, id: "session", status: 202},
		{at: w.server, method: "POST", path: session, id: strings.Repeat("x", 51), status: 400},
		{at: w.server, method: "POST", path: session, id: "session", key: "first", status: 409},
		{at: w.server, method: "POST", path: revoke, body: `{"client_id":"app"}`, status: 400},
		{at: w.server, method: "POST", path: revoke, body: `{"user_id":"bob"}`, key: "first", status: 409},
		{at: w.server, method: "POST", path: revoke, body: huge, status: 413},
		{at: w.server, method: "POST", path: revoke, body: `{}`, kind: "text/plain", status: 415},
		{at: w.server, method: "POST", path: revoke, body: "user_id=bob", kind: "application/x-www-form-urlencoded", status: 202},
	}
	for _, body := range []string{
		`{"ids":["` + aToken + `","foreign"]}`, `{"user_id":"bob"}`, `{"user_id":"bob","client_id":"app"}`,
		`{"user_id":"bob","client_id":"app","audience":"https://api.example"}`,
	} {
		all = append(all, request{at: w.server, method: "POST", path: revoke, body: body, status: 202})
	}
	return all
}
