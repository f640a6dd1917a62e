package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// TestManyBegun: sign-ins that nobody completes take no more memory than that of so many, and are forgotten.
func TestManyBegun(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	verifier := oauth2.GenerateVerifier()
	const room = 10_000
	for range room {
		if got := b.begin("notes", verifier); got.url.Path != "/login" {
			t.Fatalf("at %s", got.url)
		}
	}
	if got := b.begin("notes", verifier); got.url.Query().Get("error") != "server_error" {
		t.Errorf("one more: at %s", got.url)
	}
	r.wait(10 * time.Minute)
	if got := b.begin("notes", verifier); got.url.Path != "/login" {
		t.Errorf("later: at %s", got.url)
	}
}

// TestLongBody: what is posted is short.
func TestLongBody(t *testing.T) {
	r := newRig(t)
	long := url.Values{"username": {"ann"}, "password": {password}, "token": {strings.Repeat("x", 16<<10)}}
	for path, header := range map[string]http.Header{"/login": nil, "/authorize": nil, "/oauth/token": nil, "/revoke": nil, "/oauth/introspect": basic("web-secret")} {
		if got := r.browser().do(http.MethodPost, path, long, header); got.status != http.StatusBadRequest || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: status %d", path, got.status)
		}
	}
}
