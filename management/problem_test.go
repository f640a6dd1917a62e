package management_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/management"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// broken is a backend whose stores fail by an error, as long as there is one.
type broken struct {
	store.Backend
	err error
}

func (b *broken) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return &brokenStore{st, b}, err
}

type brokenStore struct {
	store.Store
	backend *broken
}

func (s *brokenStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	if s.backend.err != nil {
		return store.View{}, s.backend.err
	}
	return s.Store.Get(ctx, id)
}

func (s *brokenStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	if s.backend.err != nil {
		return store.Page{}, s.backend.err
	}
	return s.Store.List(ctx, q)
}

func (s *brokenStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	if s.backend.err != nil {
		return s.backend.err
	}
	return s.Store.Update(ctx, id, decide)
}

func (s *brokenStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	if s.backend.err != nil {
		return store.Status{}, s.backend.err
	}
	return s.Store.Revoke(ctx, r)
}

func (s *brokenStore) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	if s.backend.err != nil {
		return store.Status{}, s.backend.err
	}
	return s.Store.Revocation(ctx, id)
}

func (s *brokenStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	if s.backend.err != nil {
		return store.RevocationPage{}, s.backend.err
	}
	return s.Store.Revocations(ctx, q)
}

// TestFailures: every route tells an error of the library by its status, and no more than the table has; the cause is logged.
func TestFailures(t *testing.T) {
	backend := &broken{Backend: memstore.New()}
	r := newRig(t, backend, management.Options{})
	for _, test := range []struct {
		err    error
		status int
		retry  string
	}{
		{tokenstore.ErrBusy, 503, "1"}, {tokenstore.ErrNotCommitted, 503, "1"}, {tokenstore.ErrUnknownOutcome, 503, "1"}, {tokenstore.ErrClosed, 503, "1"},
		{context.DeadlineExceeded, 503, "1"}, {context.Canceled, 503, "1"}, {tokenstore.ErrConflict, 409, ""},
		{tokenstore.ErrRevoked, 404, ""}, {tokenstore.ErrNotFound, 404, ""}, {&tokenstore.FieldError{Field: "user_id", Limit: "shorter"}, 400, ""},
		{&tokenstore.FieldError{Field: "now", Limit: "in the years 1970..9999"}, 500, ""},
		{store.ErrImmutable, 500, ""}, {errors.New("page 17 is corrupt"), 500, ""}, {domain.ErrKeyMissing, 500, ""},
	} {
		backend.err = fmt.Errorf("open secret-file.db: %w", test.err)
		for _, route := range management.Routes() {
			if route.Static {
				continue
			}
			path, body := target(route)
			got := r.want(test.status, route.Method, path, body)
			if got.header.Get("Retry-After") != test.retry {
				t.Errorf("%v: Retry-After is %q, want %q", test.err, got.header.Get("Retry-After"), test.retry)
			}
			if strings.Contains(got.text, "secret-file") || strings.Contains(got.text, "tokenstore:") || test.status == 500 && strings.Contains(got.text, test.err.Error()) {
				t.Errorf("%v: the answer of %s %s tells it: %s", test.err, route.Method, route.Path, got.text)
			}
			if logged := strings.Contains(r.log.String(), "secret-file"); logged != (test.status >= 500) {
				t.Errorf("%v: that the cause is logged is %v", test.err, logged)
			}
			r.log.mu.Lock()
			r.log.Reset()
			r.log.mu.Unlock()
		}
	}
}

// TestFailuresAround: so are the errors of the directory and of the managers.
func TestFailuresAround(t *testing.T) {
	r := newRig(t, nil, management.Options{Directory: directory{fails: errors.New("secret-host is down")}})
	got := r.want(http.StatusInternalServerError, "GET", "/api/v2/users/alice/refresh-tokens", "")
	h, err := management.New(func(string) (*tokenstore.Manager, error) { return nil, errors.New("secret-host is down") }, staticTokens(t), nil)
	r.must(err)
	r.Handler = h
	for _, got := range []answer{got, r.want(http.StatusInternalServerError, "GET", "/api/v2/revocations", "")} {
		if got.text != `{"statusCode":500,"error":"Internal Server Error","message":"An internal error occurred."}` {
			t.Errorf("the answer is %s", got.text)
		}
	}
}

// TestLogs: revocations, refusals and failures are logged, with the id that a middleware gave the request, and without any
// credential, secret, or id of a user.
func TestLogs(t *testing.T) {
	backend := &broken{Backend: memstore.New()}
	r := newRig(t, backend, management.Options{})
	issued := r.issue(r.manager, "alice-in-person", "app")
	r.want(http.StatusAccepted, "DELETE", "/api/v2/users/alice-in-person/refresh-tokens", "", "X-Request-Id: request-1", "Idempotency-Key: secret-key")
	r.want(http.StatusUnauthorized, "DELETE", "/api/v2/users/alice-in-person/refresh-tokens", "", as("wrong-and-secret-token"), "X-Request-Id: request-2")
	r.want(http.StatusForbidden, "DELETE", "/api/v2/users/alice-in-person/refresh-tokens", "", as(onlyToken(management.ScopeReadTokens)), "X-Request-Id: request-3")
	backend.err = errors.New("disk on fire")
	r.want(http.StatusInternalServerError, "PATCH", "/api/v2/refresh-tokens/"+issued.Token.ID.String(), `{"refresh_token_metadata":{"k":"private"}}`,
		"X-Request-Id: request-4"+strings.Repeat("x", 1000))
	middleware := httptest.NewRecorder()
	middleware.Header().Set("X-Request-Id", "request-5")
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v2/revocations", nil)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	r.ServeHTTP(middleware, req)

	log := r.log.String()
	for _, want := range []string{
		"level=INFO msg=\"management: revoked\" tenant=acme actor=admin revocation=", "request_id=request-1",
		"level=WARN msg=\"management: caller refused\" method=DELETE route=/api/v2/users/{user_id}/refresh-tokens status=401 request_id=request-2 error=\"management: bearer token not valid\"",
		"status=403 request_id=request-3", "level=ERROR msg=\"management: request failed\" method=PATCH route=/api/v2/refresh-tokens/{id} status=500 request_id=request-4x",
		"disk on fire", "request_id=request-5",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q", want)
		}
	}
	for _, secret := range []string{adminToken, "wrong-and-secret", "secret-only", "secret-key", "alice-in-person", issued.Secret.Reveal(), "private", strings.Repeat("x", 200)} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}
