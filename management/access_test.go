package management_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/management"
)

// target is a path of the route that any caller with its scopes may ask for, and a body that fits.
func target(route management.Route) (path, body string) {
	path = strings.NewReplacer("{id}", "01KASMRR00000000000000TEST", "{user_id}", "alice").Replace(route.Path)
	switch route.Method + " " + route.Path {
	case "GET /api/v2/refresh-tokens":
		path += "?user_id=alice"
	case "POST /api/v2/refresh-tokens/revoke":
		body = `{"user_id":"alice"}`
	case "PATCH /api/v2/refresh-tokens/{id}":
		body = `{"refresh_token_metadata":null}`
	}
	return path, body
}

// TestEveryRouteDemandsItsScope: no credentials, wrong ones, every scope but the right ones, the right ones.
func TestEveryRouteDemandsItsScope(t *testing.T) {
	r := newRig(t, nil, management.Options{})
	for _, route := range management.Routes() {
		t.Run(route.Method+" "+route.Path, func(t *testing.T) {
			r := &rig{T: t, Handler: r.Handler}
			path, body := target(route)
			if route.Static {
				r.want(http.StatusOK, route.Method, path, body, "Authorization")
				return
			}
			if got := r.want(http.StatusUnauthorized, route.Method, path, body, "Authorization"); got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("WWW-Authenticate is %q, want Bearer", got.header.Get("WWW-Authenticate"))
			}
			got := r.want(http.StatusUnauthorized, route.Method, path, body, as("not-a-token-of-anybody"))
			if got.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
				t.Errorf("WWW-Authenticate is %q, want that the token is invalid", got.header.Get("WWW-Authenticate"))
			}
			for _, scope := range management.Scopes() {
				got := r.ask(route.Method, path, body, as(onlyToken(scope)))
				if slices.Equal(route.Scopes, []string{scope}) {
					if got.status == http.StatusForbidden || got.status == http.StatusUnauthorized {
						t.Errorf("with %s it is answered by %d", scope, got.status)
					}
					continue
				}
				if got.status != http.StatusForbidden {
					t.Errorf("with %s it is answered by %d, want 403", scope, got.status)
				} else if want := "Insufficient scope, expected: " + strings.Join(route.Scopes, ", "); got.object(t)["message"] != want {
					t.Errorf("the message is %q, want %q", got.object(t)["message"], want)
				}
			}
			if got := r.ask(route.Method, path, body); got.status == http.StatusForbidden || got.status == http.StatusUnauthorized {
				t.Errorf("with all scopes it is answered by %d", got.status)
			}
			got = r.want(http.StatusForbidden, route.Method, path, body, as(strangers))
			if got.object(t)["message"] != "The tenant is not served here." {
				t.Errorf("a caller of another tenant is told %q", got.object(t)["message"])
			}
		})
	}
}

func TestNew(t *testing.T) {
	auth := staticTokens(t)
	managers := func(string) (*tokenstore.Manager, error) { return nil, nil }
	if _, err := management.New(nil, auth, nil); err == nil {
		t.Error("a handler without managers was made")
	}
	if _, err := management.New(managers, nil, nil); err == nil {
		t.Error("a handler without an authorizer was made")
	}
	for _, opts := range []management.Options{
		{MaxBody: -1}, {RateLimit: management.RateLimit{PerSecond: -1}}, {RateLimit: management.RateLimit{Burst: 1}},
		{RateLimit: management.RateLimit{PerSecond: 1, Burst: -1}}, {RateLimit: management.RateLimit{PerSecond: 1e-9}},
		{RateLimit: management.RateLimit{PerSecond: 1e9}}, {RateLimit: management.RateLimit{PerSecond: math.NaN()}},
	} {
		if _, err := management.New(managers, auth, &opts); !errors.Is(err, tokenstore.ErrInvalid) {
			t.Errorf("%+v: %v, want a FieldError", opts, err)
		}
	}
	h, err := management.New(managers, auth, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, Handler: h}
	r.want(http.StatusForbidden, "GET", "/api/v2/revocations", "") // a tenant that has no manager
}

func TestAuthorizers(t *testing.T) {
	for name, auth := range map[string]management.AuthorizerFunc{
		"an error": func(*http.Request) (management.Caller, error) { return management.Caller{}, errors.New("secret cause") },
		"an actor of 301": func(*http.Request) (management.Caller, error) {
			return management.Caller{Actor: strings.Repeat("x", 301)}, nil
		},
		"an actor of no UTF-8": func(*http.Request) (management.Caller, error) { return management.Caller{Actor: "\xff"}, nil },
	} {
		r := newRig(t, nil, management.Options{})
		h, err := management.New(r.managers, auth, nil)
		r.must(err)
		r.Handler = h
		if got := r.want(http.StatusUnauthorized, "GET", "/api/v2/revocations", ""); strings.Contains(got.text, "secret") {
			t.Errorf("%s: the answer has the cause: %s", name, got.text)
		}
	}
}

func TestBearer(t *testing.T) {
	long := strings.Repeat("x", management.MaxBearer)
	tests := []struct {
		name    string
		headers []string
		token   string
		err     error
	}{
		{"none", nil, "", management.ErrNoCredentials},
		{"good", []string{"Bearer abc.def-_~+/="}, "abc.def-_~+/=", nil},
		{"any case, more spaces", []string{"bEARER   abc "}, "abc", nil},
		{"no scheme", []string{"abc"}, "", management.ErrNoCredentials},
		{"another scheme", []string{"Basic abc"}, "", management.ErrNoCredentials},
		{"no token", []string{"Bearer "}, "", management.ErrNoCredentials},
		{"two", []string{"Bearer abc", "Bearer abc"}, "", management.ErrNoCredentials},
		{"as long as may be", []string{"Bearer " + long}, long, nil},
		{"too long", []string{"Bearer " + long + "x"}, "", management.ErrBadCredentials},
	}
	for _, test := range tests {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		req.Header["Authorization"] = test.headers
		if token, err := management.Bearer(req); token != test.token || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", test.name, err, test.err)
		}
	}
}

// TestStaticTokens: a token is its caller's and nobody else's, is not kept, and must not be short.
func TestStaticTokens(t *testing.T) {
	for _, token := range []string{"", "fifteen bytes !", strings.Repeat("x", management.MaxBearer+1)} {
		_, err := management.NewStaticTokens(map[string]management.Caller{token: {}})
		field, ok := errors.AsType[*tokenstore.FieldError](err)
		if !ok || field.Field != "static_token" || field.Size != len(token) {
			t.Errorf("a token of %d bytes: %v, want a FieldError", len(token), err)
		}
	}
	for _, actor := range []string{strings.Repeat("x", domain.MaxActor+1), "\xff"} {
		_, err := management.NewStaticTokens(map[string]management.Caller{"token-number-one-": {Actor: "one"}, "token-number-two-": {Actor: actor}})
		if field, ok := errors.AsType[*tokenstore.FieldError](err); !ok || field.Field != "actor" {
			t.Errorf("an actor of %d bytes that every revocation would refuse: %v, want a FieldError", len(actor), err)
		}
	}
	if _, err := management.NewStaticTokens(map[string]management.Caller{"token-number-one-": {Actor: strings.Repeat("é", domain.MaxActor)}}); err != nil {
		t.Errorf("the longest actor: %v", err)
	}
	for range 20 {
		_, err := management.NewStaticTokens(map[string]management.Caller{"b": {}, "a-token-that-is-long": {Actor: "\xff"}, "c": {}, "d": {}})
		if field, ok := errors.AsType[*tokenstore.FieldError](err); !ok || field.Field != "actor" {
			t.Fatalf("of several errors it must be that of the first token: %v", err)
		}
	}
	scopes := []string{management.ScopeReadTokens}
	auth, err := management.NewStaticTokens(map[string]management.Caller{
		"token-number-one-": {Actor: "one", Scopes: scopes}, "token-number-two-": {Actor: "two"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", auth, auth, auth); strings.Contains(text, "token-number") {
		t.Error("the authorizer keeps tokens")
	}
	scopes[0] = "changed"
	ask := func(token string) (management.Caller, error) {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		return auth.Authorize(req)
	}
	for token, actor := range map[string]string{"token-number-one-": "one", "token-number-two-": "two"} {
		caller, err := ask(token)
		if err != nil || caller.Actor != actor {
			t.Errorf("%s is %q, %v", actor, caller.Actor, err)
		}
		if actor == "one" && !slices.Equal(caller.Scopes, []string{management.ScopeReadTokens}) {
			t.Errorf("the scopes of one are %v", caller.Scopes)
		}
	}
	for _, token := range []string{"token-number-one", "token-number-one-x", "Token-number-one-"} {
		if _, err := ask(token); !errors.Is(err, management.ErrBadCredentials) {
			t.Errorf("a token that is not there: %v", err)
		}
	}
}
