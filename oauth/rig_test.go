package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/oauth"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The clients of the tests. A secret of a client has what form-encoding changes.
const (
	app, appSecret     = "app", "s3cret+/=%:ä"
	other, otherSecret = "other client", "another secret"
	api, apiSecret     = "api", "of a resource server"
)

var errBroken = errors.New("disk on fire")

// rig is both endpoints on a manager in memory, whose store can be broken.
type rig struct {
	testing.TB
	*tokenstore.Manager
	revocation, introspection http.Handler
	backend                   *flaky
	now                       time.Time
	log                       logged
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t, backend: &flaky{Backend: memstore.New()}, now: time.Date(2026, 11, 23, 12, 0, 0, 500, time.UTC)}
	var err error
	r.Manager, err = tokenstore.New(r.backend, &tokenstore.Options{Now: func() time.Time { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := oauth.NewClients(map[string]string{app: appSecret, other: otherSecret, api: apiSecret})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.revocation, err = oauth.NewRevocation(r.Manager, clients, &oauth.RevocationOptions{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	r.introspection, err = oauth.NewIntrospection(r.Manager, clients, &oauth.IntrospectionOptions{
		Others: func(id string) bool { return id == api }, Issuer: "https://issuer.example", Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) issue(change func(*tokenstore.IssueRequest)) tokenstore.Issued {
	r.Helper()
	req := tokenstore.IssueRequest{UserID: "auth0|ann", ClientID: app, SessionID: tokenstore.MustSessionID("session-1")}
	if change != nil {
		change(&req)
	}
	issued, err := r.Issue(r.Context(), req)
	if err != nil {
		r.Fatal(err)
	}
	return issued
}

func (r *rig) exchange(s tokenstore.Secret) tokenstore.Secret {
	r.Helper()
	next, err := r.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: s, ClientID: app})
	if err != nil {
		r.Fatal(err)
	}
	return next.Secret
}

// alive reports whether the token is not revoked.
func (r *rig) alive(id ulid.ULID) bool {
	r.Helper()
	_, err := r.Get(r.Context(), id, tokenstore.Fenced)
	if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
		r.Fatal(err)
	}
	return err == nil
}

// ask is a request of the app, with client_secret_basic.
func ask(pairs ...string) *http.Request { return asClient(app, appSecret, pairs...) }

func asClient(id, secret string, pairs ...string) *http.Request {
	req := bare(pairs...)
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	return req
}

// bare is a request without authentication.
func bare(pairs ...string) *http.Request {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	req := httptest.NewRequest(http.MethodPost, "/oauth", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

// send serves a request, and checks what holds for every answer.
func (r *rig) send(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	r.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		r.Errorf("Cache-Control is %q, want no-store", got)
	}
	if w.Body.Len() > 0 && w.Header().Get("Content-Type") != "application/json" {
		r.Errorf("Content-Type is %q, want application/json", w.Header().Get("Content-Type"))
	}
	if (w.Code == http.StatusUnauthorized) != strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
		r.Errorf("status %d with WWW-Authenticate %q", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	if (w.Code == http.StatusServiceUnavailable) != (w.Header().Get("Retry-After") != "") {
		r.Errorf("status %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if w.Code != http.StatusOK {
		var body struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error == "" || body.Description == "" {
			r.Errorf("the body of status %d is %s", w.Code, w.Body)
		}
	}
	return w
}

// same checks that a request gets the same answer as another, byte for byte.
func same(t *testing.T, got, want *httptest.ResponseRecorder) {
	t.Helper()
	var a, b bytes.Buffer
	for buf, w := range map[*bytes.Buffer]*httptest.ResponseRecorder{&a: got, &b: want} {
		if err := w.Result().Write(buf); err != nil {
			t.Fatal(err)
		}
	}
	if a.String() != b.String() {
		t.Errorf("the answers differ:\n%s\nand\n%s", a.String(), b.String())
	}
}

// leaks checks that none of the texts is in an answer or in the log.
func (r *rig) leaks(w *httptest.ResponseRecorder, secrets ...string) {
	r.Helper()
	var all bytes.Buffer
	_ = w.Header().Write(&all)
	all.Write(w.Body.Bytes())
	all.WriteString(r.log.String())
	for _, secret := range secrets {
		if secret != "" && strings.Contains(all.String(), secret) {
			r.Errorf("a secret is in an answer or in the log")
			r.Logf("%q in\n%s", secret, all.String())
		}
	}
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// flaky is a backend whose reads or revocations fail on demand.
type flaky struct {
	store.Backend
	get, revoke error
}

func (f *flaky) Tenant(name string) (store.Store, error) {
	s, err := f.Backend.Tenant(name)
	return &flakyStore{s, f}, err
}

type flakyStore struct {
	store.Store
	*flaky
}

func (s *flakyStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	if s.flaky.get != nil {
		return store.View{}, s.flaky.get
	}
	return s.Store.Get(ctx, id)
}

func (s *flakyStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	if s.flaky.revoke != nil {
		return store.Status{}, s.flaky.revoke
	}
	return s.Store.Revoke(ctx, r)
}
