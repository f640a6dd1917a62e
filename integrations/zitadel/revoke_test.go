package zitadel_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	"example.com/tokenstore/memstore"
	"github.com/oklog/ulid/v2"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func amrOf(amr func(tokenstore.RefreshToken) []string) func(context.Context, tokenstore.RefreshToken) ([]string, error) {
	return func(_ context.Context, token tokenstore.RefreshToken) ([]string, error) { return amr(token), nil }
}

// TestRevokeToken: as op asks, by the id that it was told, or by the secret itself.
func TestRevokeToken(t *testing.T) {
	for name, revoke := range map[string]func(r *rig, secret string) *oidc.Error{
		"by id": func(r *rig, secret string) *oidc.Error {
			user, id, err := r.GetRefreshTokenInfo(r.Context(), "web", secret)
			if err != nil || user != "ann" {
				r.Fatal(user, err)
			}
			return r.RevokeToken(r.Context(), id, user, "web")
		},
		"by secret": func(r *rig, secret string) *oidc.Error { return r.RevokeToken(r.Context(), secret, "", "web") },
	} {
		for _, outdated := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				onBackends(t, zitadel.Options{}, func(r *rig) {
					other := r.signIn(ann())
					first := r.signIn(ann())
					current := r.wantRefresh(first)
					given := current
					if outdated {
						given = first
					}
					for range 2 { // again is no error, and no other revocation
						if err := revoke(r, given); err != nil {
							r.Fatal(err)
						}
					}
					r.wantGone(current)
					r.wantRefresh(other)
					page, err := r.manager.Revocations(r.Context(), tokenstore.RevocationsRequest{})
					if err != nil || len(page.Revocations) != 1 || page.Revocations[0].Tombstone.Reason != tokenstore.ReasonClient {
						r.Errorf("revocations %+v, %v", page, err)
					}
				})
			})
		}
	}
}

// TestRevokeTokenNot: what is no refresh token of the client changes none; what is none at all is the host's.
func TestRevokeTokenNot(t *testing.T) {
	r := newRig(t, memstore.New(), zitadel.Options{})
	secret := r.signIn(ann())
	id := r.tokens()[0].ID.String()
	for name, c := range map[string]struct{ text, user, client, forwarded string }{
		"another client's":               {secret, "", "other", ""},
		"another client's, by id":        {id, "ann", "other", ""},
		"another user's, by id":          {id, "bob", "web", ""},
		"an id, which is public":         {id, "", "web", id + "  web"},
		"an id of no token":              {ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV").String(), "ann", "web", "01ARZ3NDEKTSV4RRFFQ69G5FAV ann web"},
		"an access token's id":           {"7f1c", "ann", "web", "7f1c ann web"},
		"an access token, not decrypted": {"abc.def", "", "web", "abc.def  web"},
	} {
		t.Run(name, func(t *testing.T) {
			r.access.revoked = nil
			r.wantUnchanged(func() {
				if err := r.RevokeToken(t.Context(), c.text, c.user, c.client); err != nil {
					t.Error(err)
				}
			})
			if want := []string{c.forwarded}; c.forwarded != "" && !slices.Equal(r.access.revoked, want) || c.forwarded == "" && len(r.access.revoked) > 0 {
				t.Errorf("forwarded %q, want %q", r.access.revoked, c.forwarded)
			}
		})
	}
	for name, c := range map[string]struct{ client, text string }{
		"another client's": {"other", secret}, "an id": {"web", id}, "malformed": {"web", "rts_"}, "none": {"web", ""},
	} {
		if _, _, err := r.GetRefreshTokenInfo(t.Context(), c.client, c.text); !errors.Is(err, op.ErrInvalidRefreshToken) {
			t.Errorf("%s: error %v, want ErrInvalidRefreshToken", name, err)
		}
	}
	r.wantRefresh(secret)
}

// TestSignOut: it reaches what the request names, and nobody else.
func TestSignOut(t *testing.T) {
	hint := func(sid string) *oidc.IDTokenClaims { return &oidc.IDTokenClaims{SessionID: sid} }
	for name, c := range map[string]struct {
		request op.EndSessionRequest
		keep    bool
		stays   []string
	}{
		"a session":                {op.EndSessionRequest{UserID: "ann", ClientID: "web", IDTokenHintClaims: hint("s-1")}, false, []string{"ann web s-2", "bob web s-3"}},
		"a session of another":     {op.EndSessionRequest{UserID: "bob", ClientID: "web", IDTokenHintClaims: hint("s-1")}, false, []string{"ann web s-1", "ann app s-1", "ann web s-2", "bob web s-3"}},
		"no sid":                   {op.EndSessionRequest{UserID: "ann", ClientID: "web", IDTokenHintClaims: hint("")}, false, []string{"ann app s-1", "bob web s-3"}},
		"no hint":                  {op.EndSessionRequest{ClientID: "web"}, false, []string{"ann web s-1", "ann app s-1", "ann web s-2", "bob web s-3"}},
		"no client":                {op.EndSessionRequest{UserID: "ann"}, false, []string{"ann web s-1", "ann app s-1", "ann web s-2", "bob web s-3"}},
		"nothing":                  {op.EndSessionRequest{}, false, []string{"ann web s-1", "ann app s-1", "ann web s-2", "bob web s-3"}},
		"a session, offline stays": {op.EndSessionRequest{UserID: "ann", ClientID: "web", IDTokenHintClaims: hint("s-1")}, true, []string{"ann web s-1", "ann web s-2", "bob web s-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			onBackends(t, zitadel.Options{Issue: withSession, KeepOffline: c.keep}, func(r *rig) {
				secrets := map[string]string{}
				for _, l := range []*login{
					{user: "ann", client: "web", session: "s-1", scopes: []string{"offline_access"}},
					{user: "ann", client: "app", session: "s-1"},
					{user: "ann", client: "web", session: "s-2", scopes: []string{"offline_access"}},
					{user: "bob", client: "web", session: "s-3", scopes: []string{"offline_access"}},
				} {
					secrets[l.user+" "+l.client+" "+l.session] = r.signIn(l)
				}
				c.request.RedirectURI = "https://web.test/out"
				redirect, err := r.TerminateSessionFromRequest(r.Context(), &c.request)
				if err != nil || redirect != "https://web.test/out" {
					r.Fatal(redirect, err)
				}
				for key, secret := range secrets {
					_, err := r.manager.Exchange(r.Context(), tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(secret), ClientID: key[4:7]})
					if stays := slices.Contains(c.stays, key); stays != (err == nil) {
						r.Errorf("%s: error %v, want none: %v", key, err, stays)
					}
				}
			})
		})
	}
}

// TestTenants: the secret of one tenant is unknown to another.
func TestTenants(t *testing.T) {
	type tenant struct{}
	var r *rig
	r = newRig(t, memstore.New(), zitadel.Options{Tenant: func(ctx context.Context) (*tokenstore.Manager, error) {
		name, ok := ctx.Value(tenant{}).(string)
		if !ok {
			return nil, errors.New("no tenant")
		}
		return r.manager.Tenant(name, nil)
	}})
	acme, umbra := context.WithValue(t.Context(), tenant{}, "acme"), context.WithValue(t.Context(), tenant{}, "umbra")
	_, secret, _, err := r.CreateAccessAndRefreshTokens(acme, ann(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.TokenRequestByRefreshToken(umbra, secret)
	wantError(t, err, oidc.InvalidGrant)
	if _, _, err := r.GetRefreshTokenInfo(umbra, "web", secret); !errors.Is(err, op.ErrInvalidRefreshToken) {
		t.Errorf("another tenant knows the token: %v", err)
	}
	if err := r.RevokeToken(umbra, secret, "", "web"); err != nil {
		t.Error(err)
	}
	if err := r.TerminateSession(umbra, "ann", "web"); err != nil {
		t.Error(err)
	}
	if _, err := r.TokenRequestByRefreshToken(acme, secret); err != nil {
		t.Errorf("what another tenant did reached the token: %v", err)
	}
	_, err = r.TokenRequestByRefreshToken(t.Context(), secret)
	wantError(t, err, oidc.ServerError)
}

// TestUnavailable: when the store fails, the client is told to try again, whatever op makes of it, and nothing of the cause.
func TestUnavailable(t *testing.T) {
	r := newRig(t, memstore.New(), zitadel.Options{})
	secret := r.signIn(ann())
	_ = r.backend.Close()
	calls := map[string]func(ctx context.Context) error{
		"refresh": func(ctx context.Context) error {
			_, err := op.RefreshTokenRequestByRefreshToken(ctx, whole{Storage: r.Storage}, secret)
			return err
		},
		"sign in": func(ctx context.Context) error {
			_, _, _, err := r.CreateAccessAndRefreshTokens(ctx, ann(), "")
			return err
		},
		"info": func(ctx context.Context) error {
			_, _, err := r.GetRefreshTokenInfo(ctx, "web", secret)
			return err
		},
		"revoke":   func(ctx context.Context) error { return r.RevokeToken(ctx, secret, "", "web") },
		"sign out": func(ctx context.Context) error { return r.TerminateSession(ctx, "ann", "web") },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				op.RequestError(w, req, call(req.Context()), nil)
			})
			answer := httptest.NewRecorder()
			zitadel.Interceptor(handler).ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/oauth/token", nil))
			var told tokenstore.ClientError
			if err := json.Unmarshal(answer.Body.Bytes(), &told); err != nil {
				t.Errorf("answer %q: %v", answer.Body, err)
			}
			if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || told.Code != "temporarily_unavailable" {
				t.Errorf("answer %d %q %v", answer.Code, answer.Body, answer.Header())
			}
		})
	}
}

// TestHintIsDropped: op must not take a refresh token for an access token because a client says so.
func TestHintIsDropped(t *testing.T) {
	for body, want := range map[string]string{
		"token=abc&token_type_hint=access_token": "token=abc", "token=abc": "token=abc", "token=%zz": "",
	} {
		var got string
		handler := zitadel.Interceptor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			got = r.Form.Encode()
		}))
		request := httptest.NewRequest(http.MethodPost, "/revoke", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if got != want || (answer.Code == http.StatusOK) != (want != "") {
			t.Errorf("%q became %q, answered by %d", body, got, answer.Code)
		}
	}
}
