package tokenstore_test

import (
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// TestSenderConstraint: a token that is bound to a key is exchanged with that key only, for as long as it lives.
func TestSenderConstraint(t *testing.T) {
	for _, key := range []tokenstore.Confirmation{
		{Kind: domain.ConfirmationJKT, Value: "thumbprint"}, {Kind: domain.ConfirmationX5TS, Value: "thumbprint"},
	} {
		for _, static := range []bool{false, true} {
			r := newRig(t, tokenstore.Options{})
			req := request("ann")
			req.Confirmation, req.Static = key, static
			secret := r.issue(req).Secret
			try := func(s tokenstore.Secret, c tokenstore.Confirmation) (tokenstore.Exchanged, error) {
				return r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: s, ClientID: "app", Confirmation: c})
			}
			wrong := []tokenstore.Confirmation{
				{}, {Kind: key.Kind}, {Kind: key.Kind, Value: "another"}, {Value: key.Value},
				{Kind: domain.ConfirmationJKT, Value: "Thumbprint"}, {Kind: domain.ConfirmationX5TS, Value: "thumbprint "},
				{Kind: other(key.Kind), Value: key.Value},
			}
			var old []tokenstore.Secret
			for range 3 {
				r.wantNoWrite(func() {
					for _, c := range wrong {
						_, err := try(secret, c)
						wantRefusal(t, err, tokenstore.ErrConfirmation)
						for _, s := range old { // a replay by somebody without the key revokes nothing
							_, err := try(s, c)
							wantRefusal(t, err, tokenstore.ErrConfirmation)
						}
					}
				})
				r.wait(time.Minute)
				out, err := try(secret, key)
				if err != nil || out.Token.Confirmation != key {
					t.Fatalf("%+v, %v", out.Token.Confirmation, err)
				}
				if !static {
					old = append(old, secret)
				}
				secret = out.Secret
			}
			if static {
				continue
			}
			_, err := try(old[0], key) // with the key it is replay
			wantRefusal(t, err, tokenstore.ErrReused)
			r.wantNoWrite(func() {
				_, err = try(secret, wrong[0])
				wantRefusal(t, err, tokenstore.ErrConfirmation)
			})
		}
	}
}

func other(kind string) string {
	if kind == domain.ConfirmationJKT {
		return domain.ConfirmationX5TS
	}
	return domain.ConfirmationJKT
}

// TestNoSenderConstraint: what the sender proves is nothing to a token that is bound to no key, and binds it to none.
func TestNoSenderConstraint(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	secret := r.issue(request("ann")).Secret
	for _, c := range []tokenstore.Confirmation{{}, {Kind: "jkt", Value: "one"}, {Kind: "x5t#S256", Value: "two"}, {}} {
		out, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app", Confirmation: c})
		if err != nil || out.Token.Confirmation != (tokenstore.Confirmation{}) {
			t.Fatalf("%+v, %v", out.Token.Confirmation, err)
		}
		secret = out.Secret
	}
}
