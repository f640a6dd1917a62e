package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
)

// That the database can't be asked is no reason for a new copy of its feed.
func TestFeedCopyOfWhatIsAway(t *testing.T) {
	backend := memstore.New()
	m, err := tokenstore.New(backend, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := feedCopy{last: tokenstore.Event{Number: 1}}
	if err := c.goOn(t.Context(), m); !errors.Is(err, tokenstore.ErrInvalid) || !strings.Contains(err.Error(), "a new file is needed") {
		t.Errorf("a line that the feed does not have: got %v", err)
	}
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.goOn(t.Context(), m); !errors.Is(err, tokenstore.ErrClosed) || strings.Contains(err.Error(), "a new file is needed") {
		t.Errorf("a database that is away: got %v", err)
	}
}

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

// All routes have a name of their own in metrics and logs, and nothing else has, whatever clients ask for.
func TestRoutes(t *testing.T) {
	p := serve(t, t.TempDir()+"/tokens.db", "--oauth-client", "web=secret")
	var document struct{ Paths map[string]any }
	if err := json.Unmarshal([]byte(p.do("GET", "/openapi.json").body), &document); err != nil {
		t.Fatal(err)
	}
	want := []string{"/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/oauth/revoke", "/oauth/introspect", "other"}
	for path := range document.Paths {
		want = append(want, path)
		p.do("GET", regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "a|a%2Fb"))
	}
	for _, path := range append(want, "/", "/x", "/api/v2", "/api/v2/users/a", "/api/v2/users/a/b/c", "/api/v2/refresh-tokens/a/b", "/metrics/x") {
		p.do("GET", "/"+strings.TrimPrefix(path, "/"))
	}
	var got []string
	for _, m := range regexp.MustCompile(`duration_seconds_count\{route="(.*)"\}`).FindAllStringSubmatch(p.do("GET", "/metrics").body, -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("the routes are %q, want %q", got, want)
	}
}

// What a signal has ended says so, in the words of whoever sent it, wherever that stands in the error.
func TestInterruptedIsSaid(t *testing.T) {
	for want, err := range map[string]error{
		"interrupted":                              context.Canceled,
		"backup.db was not made: interrupted":      fmt.Errorf("backup.db was not made: %w", context.Canceled),
		"tokens.db is as it was: x: interrupted":   fmt.Errorf("tokens.db is as it was: tokenstore: x: %w", context.Canceled),
		"tokens.db is in use: tokenstore is known": errors.New("tokenstore: tokens.db is in use: tokenstore is known"),
	} {
		if got := message(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A panic is answered and logged, without what it says.
func TestPanic(t *testing.T) {
	var log strings.Builder
	logger := slog.New(withRequestID{slog.NewJSONHandler(&log, nil)})
	m := newMeasures()
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/half" {
			fmt.Fprint(w, `{"half":`)
		}
		panic("a secret")
	})
	w := httptest.NewRecorder()
	h := identify(logged(broken, m, logger))
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Body.String() != "Internal Server Error\n" {
		t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
	}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("half an answer ends as if it were whole (%v)", p)
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/half", nil))
	}()
	if strings.Contains(log.String(), "a secret") || !strings.Contains(log.String(), "TestPanic") || !strings.Contains(log.String(), `"status":500`) {
		t.Errorf("the log is\n%s", log.String())
	}
}
