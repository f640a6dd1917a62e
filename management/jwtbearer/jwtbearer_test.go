package jwtbearer_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/management"
	"example.com/tokenstore/management/jwtbearer"
	"example.com/tokenstore/memstore"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const audience = "https://tokens.example/api/v2/"

// issuer is an authorization server: discovery, and a key set that may change.
type issuer struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetches int
	extra   []byte // extra comes after the key set.
}

func newIssuer(t *testing.T, keys ...jose.JSONWebKey) *issuer {
	t.Helper()
	s := &issuer{t: t, keys: keys}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		s.write(w, map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fetches++
		set := jose.JSONWebKeySet{}
		for _, key := range s.keys {
			set.Keys = append(set.Keys, key.Public())
		}
		s.write(w, set)
		_, _ = w.Write(s.extra)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *issuer) write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		s.t.Error(err)
	}
}

func (s *issuer) rotate(keys ...jose.JSONWebKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

func (s *issuer) fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *issuer) authorizer(opts jwtbearer.Options) *jwtbearer.Authorizer {
	s.t.Helper()
	opts.Issuer, opts.Audience, opts.Client = s.URL, audience, s.Client()
	a, err := jwtbearer.New(s.t.Context(), opts)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// claims are those of a good token, with some of them changed, or without those that are nil.
func (s *issuer) claims(changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": s.URL, "aud": []string{audience, "https://other.example"}, "sub": "client-1@clients", "exp": time.Now().Add(time.Hour).Unix(),
		"iat": time.Now().Unix(), "scope": "read:refresh_tokens other", "permissions": []string{"delete:refresh_tokens"},
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func rsaKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}
}

func ecKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}
}

func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unsigned is a token with a header of its own making.
func unsigned(t *testing.T, header string, claims map[string]any, signature string) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	coding := base64.RawURLEncoding
	return coding.EncodeToString([]byte(header)) + "." + coding.EncodeToString(payload) + "." + coding.EncodeToString([]byte(signature))
}

func authorize(t *testing.T, a management.Authorizer, token string) (management.Caller, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return a.Authorize(r)
}

func TestGoodTokens(t *testing.T) {
	key, curve := rsaKey(t, "one"), ecKey(t, "two")
	s := newIssuer(t, key, curve)
	a := s.authorizer(jwtbearer.Options{Tenant: "acme"})
	want := management.Caller{Actor: "client-1@clients", Tenant: "acme", Scopes: []string{"read:refresh_tokens", "other", "delete:refresh_tokens"}}
	for name, token := range map[string]string{
		"RS256":           sign(t, jose.RS256, key, s.claims(nil)),
		"ES256":           sign(t, jose.ES256, curve, s.claims(nil)),
		"one audience":    sign(t, jose.RS256, key, s.claims(map[string]any{"aud": audience})),
		"scopes in lists": sign(t, jose.RS256, key, s.claims(map[string]any{"scope": []string{"read:refresh_tokens", "other"}})),
		"no key id":       sign(t, jose.RS256, key.Key, s.claims(nil)),
	} {
		caller, err := authorize(t, a, token)
		if err != nil || caller.Actor != want.Actor || caller.Tenant != want.Tenant || !slices.Equal(caller.Scopes, want.Scopes) {
			t.Errorf("%s: %+v, %v, want %+v", name, caller, err, want)
		}
	}
	caller, err := authorize(t, a, sign(t, jose.RS256, key, s.claims(map[string]any{"scope": 7, "permissions": map[string]any{}})))
	if err != nil || len(caller.Scopes) != 0 {
		t.Errorf("scopes of a wrong form: %+v, %v, want none", caller, err)
	}
}

// TestAlgorithms: without a list, and with an empty one, tokens may be signed by RS256 and ES256; else by what is listed, and by nothing else.
func TestAlgorithms(t *testing.T) {
	key, curve := rsaKey(t, "one"), ecKey(t, "two")
	key.Algorithm = ""
	s := newIssuer(t, key, curve)
	tokens := map[jose.SignatureAlgorithm]string{}
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512} {
		tokens[algorithm] = sign(t, algorithm, key, s.claims(nil))
	}
	tokens[jose.ES256] = sign(t, jose.ES256, curve, s.claims(nil))
	for _, c := range []struct {
		algorithms []string
		want       []jose.SignatureAlgorithm
	}{
		{nil, []jose.SignatureAlgorithm{jose.RS256, jose.ES256}},
		{[]string{}, []jose.SignatureAlgorithm{jose.RS256, jose.ES256}},
		{[]string{"PS256"}, []jose.SignatureAlgorithm{jose.PS256}},
		{[]string{"ES256", "RS512"}, []jose.SignatureAlgorithm{jose.ES256, jose.RS512}},
	} {
		a := s.authorizer(jwtbearer.Options{Tenant: "acme", Algorithms: c.algorithms})
		for algorithm, token := range tokens {
			_, err := authorize(t, a, token)
			if in := slices.Contains(c.want, algorithm); in != (err == nil) || !in && !errors.Is(err, management.ErrBadCredentials) {
				t.Errorf("algorithms %q, a token of %s: %v", c.algorithms, algorithm, err)
			}
		}
	}
}

// TestBadTokens: none of them is let in, and no error holds any part of one.
func TestBadTokens(t *testing.T) {
	key, stranger := rsaKey(t, "one"), rsaKey(t, "one")
	s := newIssuer(t, key)
	a := s.authorizer(jwtbearer.Options{Tenant: "acme"})
	public, err := x509.MarshalPKIXPublicKey(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, jose.RS256, key, s.claims(nil))
	parts := strings.Split(good, ".")
	set, err := json.Marshal(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"expired":             sign(t, jose.RS256, key, s.claims(map[string]any{"exp": time.Now().Add(-time.Second).Unix()})),
		"no expiry":           sign(t, jose.RS256, key, s.claims(map[string]any{"exp": nil})),
		"not yet":             sign(t, jose.RS256, key, s.claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})),
		"wrong audience":      sign(t, jose.RS256, key, s.claims(map[string]any{"aud": "https://other.example"})),
		"no audience":         sign(t, jose.RS256, key, s.claims(map[string]any{"aud": nil})),
		"wrong issuer":        sign(t, jose.RS256, key, s.claims(map[string]any{"iss": s.URL + "/"})),
		"no issuer":           sign(t, jose.RS256, key, s.claims(map[string]any{"iss": nil})),
		"wrong key":           sign(t, jose.RS256, stranger, s.claims(nil)),
		"wrong key, no id":    sign(t, jose.RS256, stranger.Key, s.claims(nil)),
		"algorithm none":      unsigned(t, `{"alg":"none","typ":"JWT"}`, s.claims(nil), ""),
		"algorithm None":      unsigned(t, `{"alg":"None","kid":"one"}`, s.claims(nil), ""),
		"no algorithm":        unsigned(t, `{"typ":"JWT"}`, s.claims(nil), "x"),
		"HS256 by public key": sign(t, jose.HS256, public, s.claims(nil)),
		"HS256 by key set":    sign(t, jose.HS256, set, s.claims(nil)),
		"not allowed RS512":   sign(t, jose.RS512, key, s.claims(nil)),
		"key in the header":   unsigned(t, `{"alg":"RS256","jwk":`+string(set)+`}`, s.claims(nil), "x"),
		"no subject":          sign(t, jose.RS256, key, s.claims(map[string]any{"sub": nil})),
		"long subject":        sign(t, jose.RS256, key, s.claims(map[string]any{"sub": strings.Repeat("x", 301)})),
		"other claims":        parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"admin"}`)) + "." + parts[2],
		"no signature":        parts[0] + "." + parts[1] + ".",
		"two parts":           parts[0] + "." + parts[1],
		"no JWT":              "an-opaque-access-token",
		"odd letters":         "..%$#@",
	} {
		caller, err := authorize(t, a, token)
		if !errors.Is(err, management.ErrBadCredentials) || caller.Actor != "" || caller.Scopes != nil {
			t.Errorf("%s: let in as %+v, %v", name, caller, err)
			continue
		}
		for part := range strings.SplitSeq(token, ".") {
			if part != "" && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error holds a part of the token: %v", name, err)
			}
		}
		if len(err.Error()) > 300 {
			t.Errorf("%s: the error is %d bytes long", name, len(err.Error()))
		}
	}
	if _, err := authorize(t, a, ""); !errors.Is(err, management.ErrNoCredentials) {
		t.Errorf("without a token: %v", err)
	}
	if _, err := authorize(t, a, good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestClock(t *testing.T) {
	key := rsaKey(t, "one")
	s := newIssuer(t, key)
	later := s.authorizer(jwtbearer.Options{Now: func() time.Time { return time.Now().Add(2 * time.Hour) }})
	if _, err := authorize(t, later, sign(t, jose.RS256, key, s.claims(nil))); !errors.Is(err, management.ErrBadCredentials) {
		t.Errorf("two hours later: %v", err)
	}
}

// TestKeyRotation: a token by a new key is let in without a restart, one by a key that is gone is not, once keys are fetched
// again.
func TestKeyRotation(t *testing.T) {
	first, second := rsaKey(t, "first"), rsaKey(t, "second")
	s := newIssuer(t, first)
	a := s.authorizer(jwtbearer.Options{})
	in := func(key jose.JSONWebKey) error {
		_, err := authorize(t, a, sign(t, jose.RS256, key, s.claims(nil)))
		return err
	}
	// The set of keys answers who waits for them a moment before it takes them over. Until it has, what is asked is answered by
	// the fetch before, and nothing is fetched.
	soon := func(what string, is func() bool) {
		t.Helper()
		for range 1000 {
			if is() {
				return
			}
			runtime.Gosched()
		}
		t.Fatal(what)
	}
	if err := in(first); err != nil || in(first) != nil {
		t.Fatal(err)
	}
	if n := s.fetched(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	s.rotate(first, second)
	soon("a new key lets no token in", func() bool { return in(second) == nil })
	if err := in(first); err != nil {
		t.Error(err)
	}
	s.rotate(second)
	third := rsaKey(t, "third")
	soon("a key that is gone lets tokens in", func() bool {
		if in(third) == nil {
			t.Error("a key that the issuer never had lets tokens in")
		}
		return in(first) != nil
	})
	if err := in(second); err != nil {
		t.Error(err)
	}
}

// TestFetchesAreBounded: tokens that name unknown keys don't have the issuer asked without end, and no answer is read without
// end.
func TestFetchesAreBounded(t *testing.T) {
	key := rsaKey(t, "one")
	s := newIssuer(t, key)
	a := s.authorizer(jwtbearer.Options{})
	good := sign(t, jose.RS256, key, s.claims(nil))
	if _, err := authorize(t, a, good); err != nil {
		t.Fatal(err)
	}
	bad := rsaKey(t, "unknown")
	for range 50 {
		if _, err := authorize(t, a, sign(t, jose.RS256, bad, s.claims(nil))); !errors.Is(err, management.ErrBadCredentials) {
			t.Fatalf("an unknown key: %v", err)
		}
	}
	if n := s.fetched(); n > 5 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if _, err := authorize(t, a, good); err != nil {
		t.Errorf("a good token after them: %v", err)
	}

	long := newIssuer(t, key)
	long.extra = bytes.Repeat([]byte(" "), 2<<20)
	if _, err := authorize(t, long.authorizer(jwtbearer.Options{}), sign(t, jose.RS256, key, long.claims(nil))); !errors.Is(err, management.ErrBadCredentials) {
		t.Errorf("keys in an answer of 2 MiB: %v", err)
	}
}

func TestTenantClaim(t *testing.T) {
	key := rsaKey(t, "one")
	s := newIssuer(t, key)
	a := s.authorizer(jwtbearer.Options{TenantClaim: "https://tokens.example/tenant"})
	caller, err := authorize(t, a, sign(t, jose.RS256, key, s.claims(map[string]any{"https://tokens.example/tenant": "globex"})))
	if err != nil || caller.Tenant != "globex" {
		t.Errorf("%+v, %v, want the tenant globex", caller, err)
	}
	for _, tenant := range []any{nil, "", 7, []string{"globex"}} {
		if _, err := authorize(t, a, sign(t, jose.RS256, key, s.claims(map[string]any{"https://tokens.example/tenant": tenant}))); !errors.Is(err, management.ErrBadCredentials) {
			t.Errorf("tenant %v: %v", tenant, err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	good := jwtbearer.Options{Issuer: "https://issuer.example/", Audience: audience, KeySetURL: "https://issuer.example/keys"}
	if _, err := jwtbearer.New(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*jwtbearer.Options){
		"issuer":      func(o *jwtbearer.Options) { o.Issuer = "" },
		"audience":    func(o *jwtbearer.Options) { o.Audience = "" },
		"key_set_url": func(o *jwtbearer.Options) { o.KeySetURL = "http://issuer.example/keys" },
		"tenant":      func(o *jwtbearer.Options) { o.Tenant, o.TenantClaim = "a", "b" },
		"algorithms":  func(o *jwtbearer.Options) { o.Algorithms = []string{"RS256", "HS256"} },
	} {
		opts := good
		spoil(&opts)
		_, err := jwtbearer.New(t.Context(), opts)
		if e, ok := errors.AsType[*tokenstore.FieldError](err); !ok || e.Field != field {
			t.Errorf("%s: %v, want a FieldError of it", field, err)
		}
	}
	for _, text := range []string{"http://issuer.example", "issuer.example", "ftp://issuer.example", "https://user:password@issuer.example", "https://"} {
		opts := good
		opts.Issuer = text
		if _, err := jwtbearer.New(t.Context(), opts); !errors.Is(err, tokenstore.ErrInvalid) {
			t.Errorf("%s: %v, want a FieldError", text, err)
		}
	}
	for _, algorithm := range []string{"none", "HS256", "HS384", "HS512", ""} {
		opts := good
		opts.Algorithms = []string{algorithm}
		if _, err := jwtbearer.New(t.Context(), opts); !errors.Is(err, tokenstore.ErrInvalid) {
			t.Errorf("algorithm %q: %v, want a FieldError", algorithm, err)
		}
	}
	gone := newIssuer(t)
	gone.Close()
	if _, err := jwtbearer.New(context.Background(), jwtbearer.Options{Issuer: gone.URL, Audience: audience}); err == nil {
		t.Error("an issuer that does not answer is taken")
	}
}

// TestAtTheHandler: the handler asks it, route by route.
func TestAtTheHandler(t *testing.T) {
	key := rsaKey(t, "one")
	s := newIssuer(t, key)
	m, err := tokenstore.New(memstore.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := management.New(func(tenant string) (*tokenstore.Manager, error) { return m.Tenant(tenant, nil) }, s.authorizer(jwtbearer.Options{Tenant: "acme"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		claims map[string]any
		status int
	}{
		{nil, http.StatusOK}, {map[string]any{"scope": "openid"}, http.StatusForbidden}, {map[string]any{"aud": "other"}, http.StatusUnauthorized},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v2/refresh-tokens?user_id=alice", nil)
		r.Header.Set("Authorization", "Bearer "+sign(t, jose.RS256, key, s.claims(test.claims)))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%v: status %d, want %d: %s", test.claims, w.Code, test.status, w.Body)
		}
	}
}
