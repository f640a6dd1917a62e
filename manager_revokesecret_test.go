package tokenstore_test

import (
	"errors"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// TestRevokeSecret: every genuine secret of a client's own token revokes it, in one write.
func TestRevokeSecret(t *testing.T) {
	for name, use := range map[string]func(r *rig, first tokenstore.Secret) tokenstore.Secret{
		"current": func(r *rig, first tokenstore.Secret) tokenstore.Secret { return r.exchange(first).Secret },
		"direct parent within the leeway": func(r *rig, first tokenstore.Secret) tokenstore.Secret {
			r.exchange(first)
			return first
		},
		"long outdated": func(r *rig, first tokenstore.Secret) tokenstore.Secret {
			r.exchange(r.exchange(first).Secret)
			r.wait(time.Hour)
			return first
		},
		"of an expired token": func(r *rig, first tokenstore.Secret) tokenstore.Secret {
			r.wait(400 * 24 * time.Hour)
			return first
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{})
			issued, other := r.issue(request("ann")), r.issue(request("ann"))
			secret := use(r, issued.Secret)
			writes := r.spy.count()
			got, err := r.RevokeSecret(t.Context(), "app", secret)
			if err != nil || got.Cause != "" {
				t.Fatalf("cause %q, error %v; want neither", got.Cause, err)
			}
			if n := r.spy.count() - writes; n != 1 {
				t.Errorf("%d writes, want 1", n)
			}
			if _, err := r.Get(t.Context(), issued.Token.ID, tokenstore.Fenced); !errors.Is(err, tokenstore.ErrNotFound) {
				t.Errorf("the token is still there (error %v)", err)
			}
			if _, err := r.Get(t.Context(), other.Token.ID, tokenstore.Fenced); err != nil {
				t.Errorf("another token of the user is gone: %v", err)
			}
			status, err := r.Revocation(t.Context(), got.Receipt.ID())
			if err != nil || status.Tombstone.Reason != tokenstore.ReasonClient || status.Tombstone.Actor != "app" {
				t.Errorf("revocation %+v, error %v", status, err)
			}
		})
	}
}

// TestRevokeSecretWritesNothing: what is not a genuine secret of the client's own live token is left alone.
func TestRevokeSecretWritesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		cause tokenstore.Refusal
		ask   func(r *rig, s tokenstore.Secret) (clientID string, _ tokenstore.Secret)
	}{
		"another client's":           {tokenstore.ErrWrongClient, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) { return "other", s }},
		"no client":                  {tokenstore.ErrWrongClient, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) { return "", s }},
		"another client's, outdated": {tokenstore.ErrWrongClient, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) { r.exchange(s); return "other", s }},
		"another client's, revoked": {tokenstore.ErrWrongClient, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) {
			r.revoke(tokenstore.Target{UserID: "ann"})
			return "other", s
		}},
		"of another store": {tokenstore.ErrUnknownToken, func(r *rig, _ tokenstore.Secret) (string, tokenstore.Secret) {
			return "app", newRig(r.T, tokenstore.Options{}).issue(request("ann")).Secret
		}},
		"of another tenant": {tokenstore.ErrUnknownToken, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) {
			other, err := r.Tenant("other", nil)
			if err != nil {
				r.Fatal(err)
			}
			issued, err := other.Issue(r.Context(), request("ann"))
			if err != nil {
				r.Fatal(err)
			}
			return "app", issued.Secret
		}},
		"no secret of ours": {tokenstore.ErrUnknownToken, func(*rig, tokenstore.Secret) (string, tokenstore.Secret) {
			return "app", tokenstore.NewSecret("v1.from-elsewhere")
		}},
		"empty": {tokenstore.ErrMalformed, func(*rig, tokenstore.Secret) (string, tokenstore.Secret) { return "app", tokenstore.Secret{} }},
		"revoked before": {tokenstore.ErrRevoked, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) {
			r.revoke(tokenstore.Target{UserID: "ann"})
			return "app", s
		}},
		"swept": {tokenstore.ErrUnknownToken, func(r *rig, s tokenstore.Secret) (string, tokenstore.Secret) {
			r.run(r.revoke(tokenstore.Target{UserID: "ann"}))
			return "app", s
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{})
			clientID, secret := c.ask(r, r.issue(request("ann")).Secret)
			r.wantNoWrite(func() {
				got, err := r.RevokeSecret(t.Context(), clientID, secret)
				if err != nil || got.Cause != c.cause || !got.Receipt.ID().IsZero() {
					t.Errorf("%+v, error %v; want cause %q", got, err, c.cause)
				}
			})
		})
	}
}

// TestRevokeSecretFromElsewhere: the secret that an imported token had elsewhere is one of its secrets, before its first use
// and after it.
func TestRevokeSecretFromElsewhere(t *testing.T) {
	for _, used := range []bool{false, true} {
		r := newRig(t, tokenstore.Options{})
		secret := tokenstore.NewSecret("v1.from-elsewhere")
		token := foreign("f", "ann", r.now)
		token.ForeignDigest, token.Rotating = tokenstore.DigestForeign(secret.Reveal()), true
		results, err := r.Import(t.Context(), []tokenstore.RefreshToken{token})
		if err != nil || results[0].Err != nil {
			t.Fatal(results, err)
		}
		client := token.ClientID
		if used {
			if _, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: client}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := r.RevokeSecret(t.Context(), "other", secret); err != nil || got.Cause != tokenstore.ErrWrongClient {
			t.Errorf("another client: %+v, %v", got, err)
		}
		if got, err := r.RevokeSecret(t.Context(), client, secret); err != nil || got.Cause != "" || got.Receipt.ID().IsZero() {
			t.Errorf("its client: %+v, %v", got, err)
		}
		if got, err := r.RevokeSecret(t.Context(), client, secret); err != nil || got.Cause != tokenstore.ErrRevoked {
			t.Errorf("its client again: %+v, %v", got, err)
		}
	}
}

// TestRevokeSecretOfUnknownOutcome: a commit of which it is not known whether it was made is made again, and if it stays
// unknown, that is no success.
func TestRevokeSecretOfUnknownOutcome(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	secret := r.issue(request("ann")).Secret
	r.spy.leaveUnknown(3)
	if _, err := r.RevokeSecret(t.Context(), "app", secret); !errors.Is(err, store.ErrUnknownOutcome) {
		t.Fatalf("error %v, want ErrUnknownOutcome", err)
	}
	got, err := r.RevokeSecret(t.Context(), "app", secret)
	if err != nil || got.Cause != tokenstore.ErrRevoked {
		t.Errorf("asked again: cause %q, error %v; want ErrRevoked", got.Cause, err)
	}
}

// tamper replaces the record of ann's one token, as another program might.
func (r *rig) tamper(change func(*tokenstore.RefreshToken)) {
	r.Helper()
	st, err := r.spy.Tenant("default")
	if err != nil {
		r.Fatal(err)
	}
	err = st.Update(r.Context(), r.live("ann")[0].ID, func(v store.View) store.Decision {
		change(&v.Token)
		return store.Decision{Next: &v.Token}
	})
	if err != nil {
		r.Fatal(err)
	}
}

// TestRevokeSecretKeyMissing: what can't be recognised is not reported as gone, and no other client learns of it.
func TestRevokeSecretKeyMissing(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	secret := r.issue(request("ann")).Secret
	r.tamper(func(token *tokenstore.RefreshToken) { token.PepperKeyID = "2026-11" })
	r.wantNoWrite(func() {
		if _, err := r.RevokeSecret(t.Context(), "app", secret); !errors.Is(err, tokenstore.ErrKeyMissing) {
			t.Errorf("error %v, want ErrKeyMissing", err)
		}
		if got, err := r.RevokeSecret(t.Context(), "other", secret); err != nil || got.Cause != tokenstore.ErrWrongClient {
			t.Errorf("another client: cause %q, error %v; want ErrWrongClient", got.Cause, err)
		}
	})
}

// TestRevokeSecretAhead: the secret of a store that was rolled back is genuine too.
func TestRevokeSecretAhead(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	issued := r.issue(request("ann"))
	before := r.live("ann")[0]
	secret := r.exchange(issued.Secret).Secret
	r.tamper(func(token *tokenstore.RefreshToken) { *token = before })
	if got, err := r.RevokeSecret(t.Context(), "app", secret); err != nil || got.Cause != "" {
		t.Errorf("cause %q, error %v; want neither", got.Cause, err)
	}
	_, err := r.try(issued.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
}
