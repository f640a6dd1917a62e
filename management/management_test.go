package management_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// The static tokens of the tests: of one tenant with all scopes, another actor of it, one of another tenant, and one for each
// scope, named secret-only-<scope>.
const (
	adminToken = "secret-admin-of-acme"
	otherActor = "secret-second-of-acme"
	otherAdmin = "secret-admin-of-globex"
	strangers  = "secret-of-a-tenant-not-served"
)

func onlyToken(scope string) string { return "secret-only-" + scope }

// rig is a handler over managers of two tenants in memory, with a clock that the test moves.
type rig struct {
	*testing.T
	http.Handler
	manager *tokenstore.Manager // of the tenant acme
	other   *tokenstore.Manager // of the tenant globex
	log     *syncBuffer

	mu  sync.Mutex
	now time.Time
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// newRig takes a backend, or nil for one in memory.
func newRig(t *testing.T, backend store.Backend, opts management.Options) *rig {
	t.Helper()
	r := &rig{T: t, log: &syncBuffer{}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	if backend == nil {
		backend = memstore.New()
	}
	var err error
	r.manager, err = tokenstore.New(backend, &tokenstore.Options{
		Tenant: "acme", Now: r.clock, Legacy: tokenstore.LegacyRule{AllowNoSession: true},
	})
	r.must(err)
	r.other, err = r.manager.Tenant("globex", nil)
	r.must(err)
	opts.Now = r.clock
	opts.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Handler, err = management.New(r.managers, staticTokens(t), &opts)
	r.must(err)
	return r
}

func (r *rig) managers(tenant string) (*tokenstore.Manager, error) {
	switch tenant {
	case "acme":
		return r.manager, nil
	case "globex":
		return r.other, nil
	}
	return nil, tokenstore.ErrNotFound
}

func staticTokens(t *testing.T) management.Authorizer {
	t.Helper()
	tokens := map[string]management.Caller{
		adminToken: {Actor: "admin", Tenant: "acme", Scopes: management.Scopes()},
		otherActor: {Actor: "second", Tenant: "acme", Scopes: management.Scopes()},
		otherAdmin: {Actor: "admin", Tenant: "globex", Scopes: management.Scopes()},
		strangers:  {Actor: "admin", Tenant: "nowhere", Scopes: management.Scopes()},
	}
	for _, scope := range management.Scopes() {
		tokens[onlyToken(scope)] = management.Caller{Actor: scope, Tenant: "acme", Scopes: []string{scope}}
	}
	auth, err := management.NewStaticTokens(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) wait(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// issue issues a token of a user and client in a session named after the user.
func (r *rig) issue(m *tokenstore.Manager, user, client string, audiences ...string) tokenstore.Issued {
	r.Helper()
	var servers []tokenstore.ResourceServer
	for _, a := range audiences {
		servers = append(servers, tokenstore.ResourceServer{Audience: a, Scopes: "read write"})
	}
	session := "session-" + user
	if len(session) > 50 {
		session = "session"
	}
	issued, err := m.Issue(r.Context(), tokenstore.IssueRequest{
		UserID: user, ClientID: client, SessionID: tokenstore.MustSessionID(session), ResourceServers: servers,
		Device: tokenstore.Device{InitialUserAgent: "browser of " + user},
	})
	r.must(err)
	return issued
}

// exchangeable reports whether the secret of an issued token is still good.
func (r *rig) exchangeable(m *tokenstore.Manager, issued tokenstore.Issued) bool {
	r.Helper()
	_, err := m.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: issued.Token.ClientID})
	if err != nil && !errors.Is(err, tokenstore.ErrInvalidGrant) {
		r.Fatal(err)
	}
	return err == nil
}

// answer is what the handler answered.
type answer struct {
	status int
	header http.Header
	text   string
}

// object is the body, which has to be a JSON object.
func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(a.text), &object); err != nil {
		t.Fatalf("the body is no object: %v: %s", err, a.text)
	}
	return object
}

// list is a member of the body that is a list of objects.
func (a answer) list(t *testing.T, key string) []map[string]any {
	t.Helper()
	var body map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.text), &body); err != nil {
		t.Fatalf("the body is no object: %v: %s", err, a.text)
	}
	var list []map[string]any
	if err := json.Unmarshal(body[key], &list); err != nil || list == nil {
		t.Fatalf("the body has no list of %s: %v: %s", key, err, a.text)
	}
	return list
}

// ask sends a request, by default as the admin of acme. A header is "Name: value".
func (r *rig) ask(method, target, body string, headers ...string) answer {
	r.Helper()
	req := httptest.NewRequestWithContext(r.Context(), method, target, nil)
	if body != "" {
		req = httptest.NewRequestWithContext(r.Context(), method, target, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	r.ServeHTTP(recorder, req)
	result := recorder.Result()
	text, err := io.ReadAll(result.Body)
	r.must(err)
	return answer{result.StatusCode, result.Header, string(text)}
}

func as(token string) string { return "Authorization: Bearer " + token }

// want asks, and fails the test if the status is another one.
func (r *rig) want(status int, method, target, body string, headers ...string) answer {
	r.Helper()
	got := r.ask(method, target, body, headers...)
	if got.status != status {
		r.Fatalf("%s %s: status %d, want %d: %s", method, target, got.status, status, got.text)
	}
	return got
}
