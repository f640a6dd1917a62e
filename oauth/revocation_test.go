package oauth_test

import (
	"net/http"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/oauth"
)

// A token is revoked by any secret that it ever had, whatever hint comes with it.
func TestRevocation(t *testing.T) {
	for name, c := range map[string]struct {
		use  func(r *rig, first tokenstore.Secret) tokenstore.Secret
		form []string
	}{
		"current":       {use: func(r *rig, first tokenstore.Secret) tokenstore.Secret { return r.exchange(first) }},
		"good hint":     {form: []string{"token_type_hint", "refresh_token"}},
		"wrong hint":    {form: []string{"token_type_hint", "access_token"}},
		"unknown hint":  {form: []string{"token_type_hint", "pigeon", "and", "more"}},
		"of the past":   {use: func(r *rig, first tokenstore.Secret) tokenstore.Secret { r.exchange(r.exchange(first)); return first }},
		"within leeway": {use: func(r *rig, first tokenstore.Secret) tokenstore.Secret { r.exchange(first); return first }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			issued, untouched := r.issue(nil), r.issue(nil)
			secret := issued.Secret
			if c.use != nil {
				secret = c.use(r, secret)
			}
			w := r.send(r.revocation, ask(append(c.form, "token", secret.Reveal())...))
			if w.Code != http.StatusOK || w.Body.Len() != 0 {
				t.Errorf("status %d, body %q; want 200 without a body", w.Code, w.Body)
			}
			if r.alive(issued.Token.ID) {
				t.Error("the token is not revoked")
			}
			if !r.alive(untouched.Token.ID) {
				t.Error("another token is revoked")
			}
			r.leaks(w, secret.Reveal(), appSecret)
			same(t, r.send(r.revocation, ask("token", secret.Reveal())), w) // again
		})
	}
}

// What does not revoke gets the very answer that revoking gets.
func TestRevocationTellsNothing(t *testing.T) {
	r := newRig(t)
	done := r.send(r.revocation, ask("token", r.issue(nil).Secret.Reveal()))
	revoked := r.issue(nil)
	if _, err := r.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{TokenID: revoked.Token.ID}}}); err != nil {
		t.Fatal(err)
	}
	mine, outdated := r.issue(nil), r.issue(nil)
	r.exchange(outdated.Secret)
	before, err := r.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, req := range map[string]*http.Request{
		"malformed":              ask("token", "v1.MjAyNg"),
		"long":                   ask("token", string(make([]byte, 10000))),
		"of another store":       ask("token", newRig(t).issue(nil).Secret.Reveal()),
		"revoked":                ask("token", revoked.Secret.Reveal()),
		"of another client":      asClient(other, otherSecret, "token", mine.Secret.Reveal()),
		"outdated, of another":   asClient(other, otherSecret, "token", outdated.Secret.Reveal()),
		"of a resource server's": asClient(api, apiSecret, "token", mine.Secret.Reveal()),
	} {
		t.Run(name, func(t *testing.T) { same(t, r.send(r.revocation, req), done) })
	}
	after, err := r.State(t.Context())
	if err != nil || after != before {
		t.Errorf("the store has changed from %+v to %+v (error %v)", before, after, err)
	}
	if !r.alive(mine.Token.ID) || !r.alive(outdated.Token.ID) {
		t.Error("a token was revoked for a client that it does not belong to")
	}
}

// The answer comes when the revocation is recorded, and says so if it is not.
func TestRevocationFaults(t *testing.T) {
	for name, breakIt := range map[string]func(*flaky){
		"read":            func(f *flaky) { f.get = errBroken },
		"closed":          func(f *flaky) { f.get = tokenstore.ErrClosed },
		"write":           func(f *flaky) { f.revoke = errBroken },
		"not committed":   func(f *flaky) { f.revoke = tokenstore.ErrNotCommitted },
		"unknown outcome": func(f *flaky) { f.revoke = tokenstore.ErrUnknownOutcome },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			issued := r.issue(nil)
			breakIt(r.backend)
			w := r.send(r.revocation, ask("token", issued.Secret.Reveal()))
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("status %d, want 503", w.Code)
			}
			r.leaks(w, issued.Secret.Reveal(), appSecret)
			r.backend.get, r.backend.revoke = nil, nil
			if !r.alive(issued.Token.ID) {
				t.Error("503 means that the token is still good")
			}
			if w := r.send(r.revocation, ask("token", issued.Secret.Reveal())); w.Code != http.StatusOK || r.alive(issued.Token.ID) {
				t.Errorf("asked again: status %d, revoked %t", w.Code, !r.alive(issued.Token.ID))
			}
		})
	}
}

// Once the answer is there, introspection knows.
func TestRevocationIsSeenAtOnce(t *testing.T) {
	r := newRig(t)
	secret := r.issue(nil).Secret.Reveal()
	if w := r.send(r.introspection, ask("token", secret)); w.Body.String() == "{\"active\":false}" {
		t.Fatal("the token is not active before it is revoked")
	}
	r.send(r.revocation, ask("token", secret))
	if w := r.send(r.introspection, ask("token", secret)); w.Body.String() != "{\"active\":false}" {
		t.Errorf("after the revocation it says %s", w.Body)
	}
}

// Nothing is served without a manager and an authenticator.
func TestNew(t *testing.T) {
	r := newRig(t)
	clients, _ := oauth.NewClients(nil)
	for name, makeIt := range map[string]func() (http.Handler, error){
		"manager":                func() (http.Handler, error) { return oauth.NewRevocation(nil, clients, nil) },
		"clients":                func() (http.Handler, error) { return oauth.NewRevocation(r.Manager, nil, nil) },
		"manager, introspection": func() (http.Handler, error) { return oauth.NewIntrospection(nil, clients, nil) },
		"clients, introspection": func() (http.Handler, error) { return oauth.NewIntrospection(r.Manager, nil, nil) },
	} {
		if h, err := makeIt(); err == nil || h != nil {
			t.Errorf("%s: no error", name)
		}
	}
	h, err := oauth.NewRevocation(r.Manager, clients, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := r.send(h, ask("token", "x")); w.Code != http.StatusUnauthorized {
		t.Errorf("status %d of an empty set of clients, want 401", w.Code)
	}
}
