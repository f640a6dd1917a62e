package provider_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/examples/authserver/provider"
	"example.com/tokenstore/memstore"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/oauth2"
)

// TestHeaders: no page has a script, takes one from elsewhere, is shown in a frame, or sends a form to another site.
func TestHeaders(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	const strict = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	application := b.begin("notes", oauth2.GenerateVerifier())
	b.signIn("ann")
	for name, c := range map[string]struct {
		got    answer
		policy string
	}{
		"sign in":             {r.browser().get("/login"), strict},
		"sign in, for an app": {application, strict + " http://127.0.0.1:1"},
		"refused":             {r.browser().post("/login", url.Values{"username": {"ann"}}), strict},
		"devices":             {b.get("/devices"), strict},
		"signed out":          {b.get("/signed-out"), strict},
		"an error":            {b.get("/login?request=none"), strict},
		"style":               {b.get("/style.css"), strict},
	} {
		t.Run(name, func(t *testing.T) {
			h := c.got.header
			if got := h.Get("Content-Security-Policy"); got != c.policy {
				t.Errorf("policy %q, want %q", got, c.policy)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", h)
			}
			if strings.Contains(c.got.body, "<script") || strings.Contains(c.got.body, "style=") || strings.Contains(c.got.body, "javascript:") {
				t.Error("the page has a script or a style of its own")
			}
		})
	}
}

// TestCrossOrigin: a form that another site has a browser send does nothing.
func TestCrossOrigin(t *testing.T) {
	for name, header := range map[string]http.Header{
		"another site":   {"Sec-Fetch-Site": {"cross-site"}},
		"a sister":       {"Sec-Fetch-Site": {"same-site"}},
		"an old browser": {"Origin": {"https://evil.test"}},
		"a sandbox":      {"Origin": {"null"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := r.browser()
			token := b.open("notes", "ann")
			session := r.sessionOf(token)
			for path, form := range map[string]url.Values{
				"/devices/sign-out": {"session": {session}}, "/devices/sign-out?": {"all": {"yes"}},
				"/login": {"username": {"bob"}, "password": {password}},
			} {
				if got := b.do(http.MethodPost, path, form, header); got.status != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
					t.Errorf("%s: status %d", path, got.status)
				}
			}
			if got := b.get("/devices"); got.url.Path != "/devices" || !strings.Contains(got.body, "Ann Example") {
				t.Error("the session has changed")
			}
			r.mustRefresh(token)
			if page, err := r.tokens.Revocations(t.Context(), tokenstore.RevocationsRequest{}); err != nil || len(page.Revocations) != 0 {
				t.Errorf("%d revocations, %v", len(page.Revocations), err)
			}
			for _, same := range []http.Header{{"Sec-Fetch-Site": {"same-origin"}}, {"Origin": {r.url}}} {
				if got := b.do(http.MethodPost, "/login", url.Values{"username": {"ann"}, "password": {password}}, same); got.status != http.StatusOK {
					t.Errorf("its own form: status %d", got.status)
				}
			}
		})
	}
}

// TestRedirects: nobody is led on to where no client is, neither from the sign-in nor from the sign-out.
func TestRedirects(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, to := range []string{
		"", "https://evil.test/callback", "http://evil.test:1/callback", "http://127.0.0.1.evil.test:1/callback", "http://127.0.0.1:1@evil.test/callback",
		"http://127.0.0.1:1/callback/more", "http://127.0.0.1:1/other", "http://127.0.0.1:1/callback?more=x", "javascript:alert(1)", "//evil.test", "/devices",
	} {
		query := url.Values{
			"client_id": {"notes"}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {to},
			"code_challenge": {"a-challenge"}, "code_challenge_method": {"S256"},
		}
		if got := b.get("/authorize?" + query.Encode()); got.status != http.StatusBadRequest || got.header.Get("Location") != "" {
			t.Errorf("authorize, %q: %d to %s", to, got.status, got.url)
		}
		query = url.Values{"client_id": {"notes"}, "post_logout_redirect_uri": {to}}
		if got := b.get("/end_session?" + query.Encode()); got.status != http.StatusBadRequest && got.header.Get("Location") != "/signed-out" {
			t.Errorf("end of session, %q: %d to %s", to, got.status, got.url)
		}
	}
	// A confidential client's is the one that it has registered, to the letter.
	config := r.config("web")
	config.RedirectURL = "http://127.0.0.1:2/callback"
	if got := b.get(config.AuthCodeURL("a state of some length")); got.status != http.StatusBadRequest {
		t.Errorf("another port: %d to %s", got.status, got.url)
	}
}

// TestOtherOrigins: what scripts of other origins may read, they read without the cookie of the person.
func TestOtherOrigins(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.signIn("ann")
	origin := http.Header{"Origin": {"http://127.0.0.1:2"}}
	if got := b.do(http.MethodGet, "/keys", nil, origin); got.header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("an application in a browser can't read the keys")
	}
	for _, path := range []string{"/keys", "/devices", "/login", "/authorize/callback?id=x", "/userinfo"} {
		if got := b.do(http.MethodGet, path, nil, origin); got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: with the cookie", path)
		}
	}
}

// TestCookie: it can't be read by scripts, is not sent by other sites, and is a new one at each sign-in.
func TestCookie(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	cookie := func() *http.Cookie {
		at, _ := url.Parse(r.url)
		cookies := b.http.Jar.Cookies(at)
		if len(cookies) != 1 {
			t.Fatalf("%d cookies", len(cookies))
		}
		return cookies[0]
	}
	at, _ := url.Parse(r.url)
	b.http.Jar.SetCookies(at, []*http.Cookie{{Name: "session", Value: "planted", Path: "/"}})
	b.signIn("ann")
	first := cookie().Value
	if first == "planted" {
		t.Error("a planted cookie has become a session")
	}
	b.signIn("ann")
	if second := cookie().Value; second == first {
		t.Error("the second sign-in has the cookie of the first")
	}
	thief := r.browser()
	thief.http.Jar.SetCookies(at, []*http.Cookie{{Name: "session", Value: first, Path: "/"}})
	if got := thief.get("/devices"); got.url.Path != "/login" {
		t.Error("the cookie from before the second sign-in is still good")
	}

	for scheme, want := range map[string]string{
		"http":  "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax",
		"https": "Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax",
	} {
		got := setCookie(t, scheme)
		name, attributes, _ := strings.Cut(got, "=")
		_, attributes, _ = strings.Cut(attributes, "; ")
		if attributes != want || strings.HasPrefix(name, "__Host-") != (scheme == "https") {
			t.Errorf("%s: %s with %q, want %q", scheme, name, attributes, want)
		}
	}
}

// setCookie is the cookie of a provider behind a scheme.
func setCookie(t *testing.T, scheme string) string {
	t.Helper()
	tokens, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := provider.LoadKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	p, err := provider.New(provider.Config{
		Issuer: scheme + "://accounts.test", Tokens: tokens, Keys: keys, OperatorToken: operatorToken,
		Accounts: []provider.Account{{ID: "ann", Username: "ann", Password: hash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(url.Values{"username": {"ann"}, "password": {password}}.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	recorder := httptest.NewRecorder()
	p.Public().ServeHTTP(recorder, request)
	return recorder.Header().Get("Set-Cookie")
}

// TestPublicKeys: what applications verify with has nothing private in it.
func TestPublicKeys(t *testing.T) {
	r := newRig(t)
	first := r.browser().get("/keys").body
	if !strings.Contains(first, `"ES256"`) || strings.Contains(first, `"d"`) {
		t.Errorf("keys %s", first)
	}
}
