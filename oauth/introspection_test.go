package oauth_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/oauth"
)

// An active token is described in full, and no more is said than there is.
func TestIntrospection(t *testing.T) {
	r := newRig(t)
	full := r.issue(func(req *tokenstore.IssueRequest) {
		req.ResourceServers = []tokenstore.ResourceServer{
			{Audience: "https://a.example", Scopes: "read write"}, {Audience: "https://b.example", Scopes: "write admin"},
			{Audience: "https://a.example", Scopes: ""},
		}
		req.Confirmation = tokenstore.Confirmation{Kind: "jkt", Value: "thumbprint"}
		req.IdleLifetime, req.Lifetime = tokenstore.Lifetime(time.Hour), tokenstore.Lifetime(2*time.Hour)
	})
	plain := r.issue(func(req *tokenstore.IssueRequest) {
		req.Lifetime, req.IdleLifetime = tokenstore.Never, tokenstore.Never
	})
	issued := float64(r.now.Unix())
	for name, c := range map[string]struct {
		token tokenstore.Issued
		want  map[string]any
	}{
		"full": {full, map[string]any{
			"active": true, "iss": "https://issuer.example", "client_id": app, "sub": "auth0|ann", "scope": "read write admin",
			"aud": []any{"https://a.example", "https://b.example"}, "exp": issued + 3600, "iat": issued,
			"token_type": "refresh_token", "sid": "session-1", "jti": full.Token.ID.String(),
			"cnf": map[string]any{"jkt": "thumbprint"},
		}},
		"plain": {plain, map[string]any{
			"active": true, "iss": "https://issuer.example", "client_id": app, "sub": "auth0|ann", "iat": issued,
			"token_type": "refresh_token", "sid": "session-1", "jti": plain.Token.ID.String(),
		}},
	} {
		for who, req := range map[string]*http.Request{
			"its client":        ask("token", c.token.Secret.Reveal(), "token_type_hint", "access_token"),
			"a resource server": asClient(api, apiSecret, "token", c.token.Secret.Reveal()),
		} {
			t.Run(name+" to "+who, func(t *testing.T) {
				w := r.send(r.introspection, req)
				var got map[string]any
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				if w.Code != http.StatusOK || !reflect.DeepEqual(got, c.want) {
					t.Errorf("status %d\n got %v\nwant %v", w.Code, got, c.want)
				}
				r.leaks(w, c.token.Secret.Reveal(), appSecret, apiSecret)
			})
		}
	}
}

// A token without a session has no sid, and without an issuer there is no iss.
func TestIntrospectionOfLegacyGrant(t *testing.T) {
	r := newRig(t)
	m, err := r.Tenant("legacy", &tokenstore.TenantOptions{Legacy: &tokenstore.LegacyRule{AllowNoSession: true}})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: app})
	if err != nil {
		t.Fatal(err)
	}
	h, err := oauth.NewIntrospection(m, oauth.AuthenticatorFunc(func(*http.Request) (string, error) { return app, nil }), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(r.send(h, bare("token", issued.Secret.Reveal())).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	_, sid := got["sid"]
	_, iss := got["iss"]
	if sid || iss || got["active"] != true {
		t.Errorf("got %v", got)
	}
}

// Of what is not active, or not the client's to know, nothing else is said, and asking writes nothing.
func TestIntrospectionInactive(t *testing.T) {
	for name, ask := range map[string]func(r *rig, token tokenstore.Issued) *http.Request{
		"malformed": func(*rig, tokenstore.Issued) *http.Request { return ask("token", "v1.x") },
		"of another client": func(_ *rig, token tokenstore.Issued) *http.Request {
			return asClient(other, otherSecret, "token", token.Secret.Reveal())
		},
		"of another store": func(*rig, tokenstore.Issued) *http.Request { return ask("token", newRig(t).issue(nil).Secret.Reveal()) },
		"outdated": func(r *rig, token tokenstore.Issued) *http.Request {
			r.exchange(r.exchange(token.Secret))
			return ask("token", token.Secret.Reveal())
		},
		"direct parent": func(r *rig, token tokenstore.Issued) *http.Request {
			r.exchange(token.Secret)
			return ask("token", token.Secret.Reveal())
		},
		"expired": func(r *rig, token tokenstore.Issued) *http.Request {
			r.now = r.now.Add(30 * 24 * time.Hour)
			return ask("token", token.Secret.Reveal())
		},
		"revoked": func(r *rig, token tokenstore.Issued) *http.Request {
			if _, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: token.Token.UserID}}}); err != nil {
				t.Fatal(err)
			}
			return asClient(api, apiSecret, "token", token.Secret.Reveal())
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			req := ask(r, r.issue(nil))
			before, err := r.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w := r.send(r.introspection, req)
			if w.Code != http.StatusOK || w.Body.String() != `{"active":false}` {
				t.Errorf("status %d, body %s", w.Code, w.Body)
			}
			if after, err := r.State(t.Context()); err != nil || after != before {
				t.Errorf("the store has changed from %+v to %+v (error %v)", before, after, err)
			}
		})
	}
}

// A store that can't be read does not make a token inactive.
func TestIntrospectionFaults(t *testing.T) {
	r := newRig(t)
	secret := r.issue(nil).Secret.Reveal()
	r.backend.get = errBroken
	w := r.send(r.introspection, ask("token", secret))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", w.Code)
	}
	r.leaks(w, secret, appSecret)
}
