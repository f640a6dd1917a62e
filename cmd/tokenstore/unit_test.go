package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
)

// /readyz is degraded while the sweep does not run, and while it lags.
func TestReadyz(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	m, err := tokenstore.New(memstore.New(), &tokenstore.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	page := readyz(m, 5*time.Minute)
	want := func(status int, reasons ...string) {
		t.Helper()
		got, body := page(httptest.NewRequest("GET", "/readyz", nil))
		text, err := json.Marshal(body)
		if err != nil || got != status || strings.Count(string(text), "sweep")+strings.Count(string(text), "old,") != len(reasons) {
			t.Errorf("status %d %s, %v; want %d", got, text, err, status)
		}
		for _, reason := range reasons {
			if !strings.Contains(string(text), reason) {
				t.Errorf("%s does not say %q", text, reason)
			}
		}
	}
	const stopped = "the sweep does not run"
	want(503, stopped)
	if _, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: tokenstore.MustSessionID("s")}); err != nil {
		t.Fatal(err)
	}
	receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(5 * time.Minute)
	want(503, stopped)
	now = now.Add(time.Second)
	want(503, stopped, "the oldest pending revocation is 5m1s old, over the threshold of 5m0s")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	if _, err := m.Wait(ctx, receipt); err != nil {
		t.Error(err)
	}
	want(200)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	want(503, stopped)
}

// All routes of the management API have a name of their own in metrics and logs, and nothing else has.
func TestRoutesOfTheAPI(t *testing.T) {
	p := serve(t, t.TempDir()+"/tokens.db")
	var document struct{ Paths map[string]any }
	if err := json.Unmarshal([]byte(p.do("GET", "/openapi.json").body), &document); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{\w+\}`)
	known := map[string]bool{"/openapi.json": true, "/docs": true}
	for path := range document.Paths {
		name := parameter.ReplaceAllString(path, "{id}")
		known[name] = true
		if got := apiRoute(parameter.ReplaceAllString(path, "a%2Fb")); got != name {
			t.Errorf("%s is named %q", path, got)
		}
	}
	for _, name := range apiRoutes {
		if !known[name] {
			t.Errorf("%s is no route of the API", name)
		}
	}
	for _, path := range []string{"", "/", "/x", "/api/v2", "/api/v2/users/a", "/api/v2/users/a/b/c", "/api/v2/refresh-tokens/a/b", "*"} {
		if got := apiRoute(path); got != "other" {
			t.Errorf("%q is named %q", path, got)
		}
	}
}

// A panic is answered and logged, without what it says.
func TestPanic(t *testing.T) {
	var log strings.Builder
	logger := slog.New(withRequestID{slog.NewJSONHandler(&log, nil)})
	m := newMeasures()
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a secret") })
	w := httptest.NewRecorder()
	identify(observe(broken, func(*http.Request) string { return "other" }, m, logger)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
	if strings.Contains(log.String(), "a secret") || !strings.Contains(log.String(), "TestPanic") || !strings.Contains(log.String(), `"status":500`) {
		t.Errorf("the log is\n%s", log.String())
	}
}

func TestOutcome(t *testing.T) {
	for want, errs := range map[string][]error{
		"ok":        {nil},
		"not_found": {store.ErrNotFound},
		"refused":   {tokenstore.ErrRevoked, tokenstore.ErrReused, store.ErrCovered},
		"invalid":   {&tokenstore.FieldError{}, store.ErrConflict},
		"canceled":  {context.Canceled, context.DeadlineExceeded},
		"failed":    {store.ErrBusy, store.ErrClosed, store.ErrUnknownOutcome, errors.New("disk on fire")},
	} {
		for _, err := range errs {
			if got := outcome(err); got != want {
				t.Errorf("%v is %q, want %q", err, got, want)
			}
		}
	}
}
