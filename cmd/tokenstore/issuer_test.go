package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const audience = "https://tokens.example"

// issuer is an authorization server with one key. sign makes a token of it.
func issuer(t *testing.T) (url string, sign func(claims map[string]any) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := jose.JSONWebKey{Key: key, KeyID: "one", Algorithm: "ES256", Use: "sig"}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var page any = map[string]string{"issuer": server.URL, "jwks_uri": server.URL + "/keys"}
		if r.URL.Path == "/keys" {
			page = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk.Public()}}
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	t.Cleanup(server.Close)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jwk}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, func(claims map[string]any) string {
		text, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// Tokens of an issuer let callers in by their scopes, beside static ones, and the revocation's actor is their subject.
func TestIssuer(t *testing.T) {
	url, sign := issuer(t)
	db, issued := fileWith(t, 1)
	p := serve(t, db, "--issuer", url, "--audience", audience)
	claims := func(scope, audience string, life time.Duration) map[string]any {
		return map[string]any{"iss": url, "aud": audience, "sub": "auth0|admin", "scope": scope, "exp": time.Now().Add(life).Unix()}
	}
	good := sign(claims("read:refresh_tokens delete:refresh_tokens", audience, time.Hour))
	ask := func(method, path, bearer string) answer {
		req, err := http.NewRequest(method, "http://"+p.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		return p.send(req)
	}
	for name, c := range map[string]struct {
		bearer string
		status int
	}{
		"good":             {good, 200},
		"static":           {token, 200},
		"other audience":   {sign(claims("read:refresh_tokens", "https://other.example", time.Hour)), 401},
		"expired":          {sign(claims("read:refresh_tokens", audience, -time.Hour)), 401},
		"other scope":      {sign(claims("read:sessions", audience, time.Hour)), 403},
		"tampered with":    {good[:len(good)-8] + "AAAAAAAA", 401},
		"not one of those": {"x", 401},
	} {
		if a := ask("GET", "/api/v2/refresh-tokens?user_id=auth0%7Cann", c.bearer); a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, a.status, c.status, a.body)
		}
	}
	a := ask("DELETE", "/api/v2/refresh-tokens/"+issued[0].Token.ID.String(), good)
	if page := p.do("GET", "/api/v2/revocations/"+a.header.Get("Tokenstore-Revocation")); !strings.Contains(page.body, `"auth0|admin"`) {
		t.Errorf("the revocation does not name its actor: %d %s", page.status, page.body)
	}
	if p.end(syscall.SIGTERM) != 0 || strings.Contains(p.stderr.String(), good) {
		t.Errorf("exit code %d, or a token in the log", p.code)
	}
}

// Without its issuer's keys the program does not start, and makes no file.
func TestIssuerOutOfReach(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	db := filepath.Join(t.TempDir(), "tokens.db")
	for issuer, want := range map[string]int{gone.URL: exitFailed, "http://issuer.example": exitUsage} {
		code, stdout, stderr := toEnd(t, "serve", "--db", db, "--issuer", issuer, "--audience", audience)
		if code != want || stdout != "" || !strings.Contains(stderr, "--issuer: ") {
			t.Errorf("%s: exit code %d, %q, %q", issuer, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(db); err == nil {
		t.Error("the file was made")
	}
}
