package provider_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"example.com/tokenstore"
	"golang.org/x/oauth2"
)

// TestEndSession: the application's sign-out ends the session, its tokens and the browser's.
func TestEndSession(t *testing.T) {
	r := newRig(t)
	b, another := r.browser(), r.browser()
	token, there := b.open("notes", "ann"), another.open("notes", "ann")
	hint, _ := r.mustRefresh(token).Extra("id_token").(string)
	got := r.browser().get("/end_session?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {redirectURI}}.Encode())
	if !strings.HasPrefix(got.url.String(), redirectURI) {
		t.Errorf("at %s", got.url)
	}
	r.wantRefused(token)
	r.mustRefresh(there)
	if got := b.get("/devices"); got.url.Path != "/login" {
		t.Errorf("the browser is at %s", got.url)
	}
	if got := another.get("/end_session"); got.url.Path != "/signed-out" {
		t.Errorf("without a hint: at %s", got.url)
	}
	r.mustRefresh(there)
}

// TestAccessTokenAlone: an access token that came without a refresh token is good for as long as its session is.
func TestAccessTokenAlone(t *testing.T) {
	for name, form := range map[string]url.Values{"everywhere": {"all": {"yes"}}, "here": nil} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := r.browser()
			page := b.signIn("ann")
			verifier := oauth2.GenerateVerifier()
			code := b.code(b.begin("notes", verifier, oauth2.SetAuthURLParam("scope", "openid")))
			token, err := r.config("notes").Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
			if err != nil || token.RefreshToken != "" {
				t.Fatal("a refresh token that nobody asked for, or", err)
			}
			if got := r.userinfo(token); got != http.StatusOK {
				t.Errorf("userinfo: %d", got)
			}
			if form == nil {
				form = url.Values{"session": {regexp.MustCompile(`name="session" value="([^"]+)"`).FindStringSubmatch(page.body)[1]}}
			}
			b.post("/devices/sign-out", form)
			if got := r.userinfo(token); got == http.StatusOK {
				t.Error("it is good after she has signed out")
			}
		})
	}
}

// basic authenticates the client "web".
func basic(secret string) http.Header {
	request := &http.Request{Header: http.Header{}}
	request.SetBasicAuth("web", secret)
	return request.Header
}

// TestIntrospect: one endpoint for both kinds of tokens (RFC 7662), each for its own client only.
func TestIntrospect(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	token, foreign := b.open("web", "ann"), b.open("notes", "ann")
	ask := func(text, secret string) answer {
		return r.browser().do(http.MethodPost, "/oauth/introspect", url.Values{"token": {text}}, basic(secret))
	}
	for name, c := range map[string]struct{ text, want string }{
		"refresh token":           {token.RefreshToken, `"token_type":"refresh_token"`},
		"access token":            {token.AccessToken, `"sub":"user-ann"`},
		"another's refresh token": {foreign.RefreshToken, `"active":false`},
		"another's access token":  {foreign.AccessToken, `"active":false`},
		"no token at all":         {"x", `"active":false`},
	} {
		if got := ask(c.text, "web-secret"); got.status != http.StatusOK || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got := ask(c.text, "wrong"); got.status != http.StatusUnauthorized {
			t.Errorf("%s, wrong secret: %d %s", name, got.status, got.body)
		}
	}
	if got := r.browser().do(http.MethodPost, "/revoke", url.Values{"token": {token.RefreshToken}}, basic("web-secret")); got.status != http.StatusOK {
		t.Errorf("revoked: %d %s", got.status, got.body)
	}
	for name, text := range map[string]string{"refresh token": token.RefreshToken, "access token": token.AccessToken} {
		if got := ask(text, "web-secret"); strings.TrimSpace(got.body) != `{"active":false}` {
			t.Errorf("%s, revoked: %s", name, got.body)
		}
	}
	r.mustRefresh(foreign)
}

// TestRevokedSession: a browser whose session nothing is issued in any more, by a revocation or by a replay, asks for the
// password again, and goes on.
func TestRevokedSession(t *testing.T) {
	for name, revoke := range map[string]func(r *rig, session string) error{
		"user": func(r *rig, _ string) error {
			_, err := r.tokens.Revoke(r.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "user-ann"}}})
			return err
		},
		"session": func(r *rig, session string) error {
			_, err := r.tokens.Revoke(r.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{SessionID: session}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := r.browser()
			if err := revoke(r, r.sessionOf(b.open("notes", "ann"))); err != nil {
				t.Fatal(err)
			}
			verifier := oauth2.GenerateVerifier()
			code := b.code(b.begin("notes", verifier))
			if _, err := r.config("notes").Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
				t.Errorf("a sign-in of before got a token, or was not refused as it should be: %v", err)
			}
			if got := b.begin("notes", verifier); got.url.Path != "/login" {
				t.Errorf("no password was asked for: at %s", got.url)
			}
			r.mustRefresh(b.open("notes", "ann"))
		})
	}
}

// TestOperators: the management API cuts off at once; what it serves is not among what everybody sees.
func TestOperators(t *testing.T) {
	r := newRig(t)
	token := r.browser().open("notes", "ann")
	do := func(method, at, bearer string) answer {
		return r.browser().do(method, at, nil, http.Header{"Authorization": {"Bearer " + bearer}})
	}
	const path = "/api/v2/users/user-ann/refresh-tokens"
	if got := do(http.MethodDelete, r.operators+path, "another token altogether"); got.status != http.StatusUnauthorized {
		t.Errorf("another token: %d", got.status)
	}
	if got := do(http.MethodDelete, r.url+path, operatorToken); got.status != http.StatusNotFound {
		t.Errorf("at the public address: %d", got.status)
	}
	token = r.mustRefresh(token)
	if got := do(http.MethodDelete, r.operators+path, operatorToken); got.status != http.StatusAccepted {
		t.Errorf("%d %s", got.status, got.body)
	}
	r.wantRefused(token)
	got := r.browser().get(r.operators + "/metrics")
	for _, want := range []string{
		"authserver_pending_revocations 1\n", "authserver_oldest_pending_seconds ", `authserver_sign_ins_total{outcome="done"} 1` + "\n",
		`authserver_answers_total{outcome="400"} 1` + "\n",
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the metrics have no %q:\n%s", want, got.body)
		}
	}
	if got := r.browser().get("/metrics"); got.status != http.StatusNotFound {
		t.Errorf("metrics at the public address: %d", got.status)
	}
}
