package oauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"example.com/tokenstore"
	"example.com/tokenstore/oauth"
)

// What is no proper request is refused by both endpoints alike, and revokes nothing.
func TestRefusedRequests(t *testing.T) {
	header := func(name, value string, req *http.Request) *http.Request {
		req.Header.Set(name, value)
		return req
	}
	body := func(text string) *http.Request {
		req := ask()
		req.Body = io.NopCloser(strings.NewReader(text))
		return req
	}
	method := func(m string, req *http.Request) *http.Request {
		req.Method = m
		return req
	}
	for name, c := range map[string]struct {
		status int
		code   string
		req    func(token string) *http.Request
	}{
		"GET":     {405, "invalid_request", func(token string) *http.Request { return method("GET", ask("token", token)) }},
		"PUT":     {405, "invalid_request", func(token string) *http.Request { return method("PUT", ask("token", token)) }},
		"no type": {415, "invalid_request", func(token string) *http.Request { return header("Content-Type", "", ask("token", token)) }},
		"JSON": {415, "invalid_request", func(token string) *http.Request {
			return header("Content-Type", "application/json", ask("token", token))
		}},
		"odd type": {415, "invalid_request", func(token string) *http.Request { return header("Content-Type", "a;b;c", ask("token", token)) }},
		"two types": {415, "invalid_request", func(token string) *http.Request {
			r := ask("token", token)
			r.Header.Add("Content-Type", "text/plain")
			return r
		}},
		"no token":    {400, "invalid_request", func(string) *http.Request { return ask("token_type_hint", "refresh_token") }},
		"empty token": {400, "invalid_request", func(string) *http.Request { return ask("token", "") }},
		"in the URL":  {400, "invalid_request", func(token string) *http.Request { r := ask(); r.URL.RawQuery = "token=" + token; return r }},
		"two tokens":  {400, "invalid_request", func(token string) *http.Request { return ask("token", token, "token", "x") }},
		"two hints": {400, "invalid_request", func(token string) *http.Request {
			return ask("token", token, "token_type_hint", "a", "token_type_hint", "b")
		}},
		"bad escape": {400, "invalid_request", func(token string) *http.Request { return body("token=" + token + "&x=%zz") }},
		"semicolon":  {400, "invalid_request", func(token string) *http.Request { return body("token=" + token + ";x=y") }},
		"too large": {413, "invalid_request", func(token string) *http.Request {
			return body("token=" + token + "&x=" + strings.Repeat("y", oauth.MaxBody))
		}},
		"cut short": {400, "invalid_request", func(string) *http.Request {
			r := ask()
			r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
			return r
		}},
		"no client":    {401, "invalid_client", func(token string) *http.Request { return bare("token", token) }},
		"wrong secret": {401, "invalid_client", func(token string) *http.Request { return asClient(app, "x", "token", token) }},
		"no secret":    {401, "invalid_client", func(token string) *http.Request { return bare("token", token, "client_id", app) }},
		"its digest": {401, "invalid_client", func(token string) *http.Request {
			return bare("token", token, "client_id", app, "client_secret", "\x00")
		}},
		"other's":     {401, "invalid_client", func(token string) *http.Request { return asClient(app, otherSecret, "token", token) }},
		"unknown":     {401, "invalid_client", func(token string) *http.Request { return asClient("nobody", "", "token", token) }},
		"bearer":      {401, "invalid_client", func(token string) *http.Request { return header("Authorization", "Bearer x", bare("token", token)) }},
		"not base 64": {401, "invalid_client", func(token string) *http.Request { return header("Authorization", "Basic *", bare("token", token)) }},
		"bad Basic":   {401, "invalid_client", func(token string) *http.Request { r := bare("token", token); r.SetBasicAuth(app, "%zz"); return r }},
		"two methods": {400, "invalid_request", func(token string) *http.Request {
			return ask("token", token, "client_id", app, "client_secret", appSecret)
		}},
		"two headers": {400, "invalid_request", func(token string) *http.Request {
			r := ask("token", token)
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
			return r
		}},
		"an empty header before": {400, "invalid_request", func(token string) *http.Request {
			r := ask("token", token, "client_id", app, "client_secret", appSecret)
			r.Header["Authorization"] = []string{"", r.Header.Get("Authorization")}
			return r
		}},
		"an assertion beside Basic": {400, "invalid_request", func(token string) *http.Request {
			return ask("token", token, "client_assertion", "x")
		}},
		"an assertion beside a secret": {400, "invalid_request", func(token string) *http.Request {
			return bare("token", token, "client_id", app, "client_secret", appSecret, "client_assertion", "x")
		}},
		"an assertion": {401, "invalid_client", func(token string) *http.Request {
			return bare("token", token, "client_id", app, "client_assertion", "x")
		}},
		"two clients": {400, "invalid_request", func(token string) *http.Request { return ask("token", token, "client_id", other) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			issued := r.issue(nil)
			for endpoint, h := range map[string]http.Handler{"revocation": r.revocation, "introspection": r.introspection} {
				w := r.send(h, c.req(issued.Secret.Reveal()))
				if w.Code != c.status || !strings.Contains(w.Body.String(), `"error":"`+c.code+`"`) {
					t.Errorf("%s answers %d %s, want %d %s", endpoint, w.Code, w.Body, c.status, c.code)
				}
				if (w.Code == 405) != (w.Header().Get("Allow") == "POST") {
					t.Errorf("%s answers %d with Allow %q", endpoint, w.Code, w.Header().Get("Allow"))
				}
				r.leaks(w, issued.Secret.Reveal(), appSecret, otherSecret)
			}
			if !r.alive(issued.Token.ID) {
				t.Error("the token is revoked")
			}
		})
	}
}

// The ways in which a client may authenticate.
func TestClients(t *testing.T) {
	for name, req := range map[string]func(token string) *http.Request{
		"basic":              func(token string) *http.Request { return ask("token", token) },
		"basic, named again": func(token string) *http.Request { return ask("token", token, "client_id", app) },
		"post": func(token string) *http.Request {
			return bare("token", token, "client_id", app, "client_secret", appSecret)
		},
		"a type with parameters": func(token string) *http.Request {
			r := ask("token", token)
			r.Header.Set("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			issued := r.issue(nil)
			if w := r.send(r.revocation, req(issued.Secret.Reveal())); w.Code != http.StatusOK || r.alive(issued.Token.ID) {
				t.Errorf("status %d, revoked %t", w.Code, !r.alive(issued.Token.ID))
			}
		})
	}
}

func TestNewClients(t *testing.T) {
	long := strings.Repeat("x", oauth.MaxClientSecret)
	for _, c := range []struct {
		id, secret string
		ok         bool
	}{
		{"web", "secret", true}, {"web", long, true}, {strings.Repeat("i", 64), "s", true},
		{"web", "", false}, {"web", long + "x", false}, {"", "secret", false}, {strings.Repeat("i", 65), "s", false}, {"\xff", "s", false},
	} {
		clients, err := oauth.NewClients(map[string]string{c.id: c.secret})
		if (err == nil) != c.ok || (clients != nil) != c.ok {
			t.Errorf("id %q, secret of %d bytes: error %v", c.id, len(c.secret), err)
		}
		if err != nil && strings.Contains(err.Error(), long) {
			t.Error("the error has the secret")
		}
	}
	for range 20 { // of several errors it is always that of the first client
		_, err := oauth.NewClients(map[string]string{"c": "s", "b": "", "a": long + "x", strings.Repeat("i", 65): "s"})
		if field, ok := errors.AsType[*tokenstore.FieldError](err); !ok || field.Size != len(long)+1 {
			t.Fatalf("got %v", err)
		}
	}
}

// A host recognises clients in its own way. What it can't tell is its own fault, and not the client's.
func TestAuthenticator(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		id     string
		err    error
		status int
	}{
		"public client": {id: app, status: 200},
		"refused":       {err: errors.Join(errors.New("no such key"), oauth.ErrInvalidClient), status: 401},
		"odd":           {err: oauth.ErrInvalidRequest, status: 400},
		"fault":         {err: errBroken, status: 503},
		"nobody":        {status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			issued := r.issue(nil)
			auth := oauth.AuthenticatorFunc(func(req *http.Request) (string, error) {
				if req.PostForm.Get("client_assertion") != "of the host" {
					t.Error("the form is not there")
				}
				return c.id, c.err
			})
			h, err := oauth.NewRevocation(r.Manager, auth, nil)
			if err != nil {
				t.Fatal(err)
			}
			w := r.send(h, bare("token", issued.Secret.Reveal(), "client_assertion", "of the host"))
			if w.Code != c.status || r.alive(issued.Token.ID) == (c.status == 200) {
				t.Errorf("status %d, revoked %t; want %d", w.Code, !r.alive(issued.Token.ID), c.status)
			}
		})
	}
}
