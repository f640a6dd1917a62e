package zitadel_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/integrations/zitadel"
	"example.com/tokenstore/memstore"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// A host's storage is an op.Storage with nothing but the embedding, and the one of sessions too.
var (
	_ op.Storage                        = whole{}
	_ op.CanTerminateSessionFromRequest = whole{}
)

// TestIssue: the record has all that the request says, and a refresh says it again.
func TestIssue(t *testing.T) {
	amr := func(tokenstore.RefreshToken) []string { return []string{"pwd"} }
	onBackends(t, zitadel.Options{AMR: amrOf(amr)}, func(r *rig) {
		request := ann()
		request.audience = []string{"web", "https://api.test"}
		secret := r.signIn(request)
		token := r.tokens()[0]
		if token.UserID != "ann" || token.ClientID != "web" || !token.Offline || !token.Rotating || !token.AuthenticatedAt.Equal(start) {
			r.Errorf("issued %+v", token)
		}
		read, err := r.TokenRequestByRefreshToken(r.Context(), secret)
		if err != nil {
			r.Fatal(err)
		}
		if read.GetSubject() != "ann" || read.GetClientID() != "web" || !read.GetAuthTime().Equal(start) ||
			!slices.Equal(read.GetScopes(), request.scopes) || !slices.Equal(read.GetAudience(), request.audience) ||
			!slices.Equal(read.GetAMR(), []string{"pwd"}) || read.(*zitadel.RefreshTokenRequest).RefreshToken().ID != token.ID {
			r.Errorf("read %+v", read)
		}
		if len(r.access.made) != 1 || r.access.made[0].ID != token.ID {
			r.Errorf("access tokens were made with %+v", r.access.made)
		}
	})
}

// TestIssueWithoutAudience: scopes are kept where the request names no audience.
func TestIssueWithoutAudience(t *testing.T) {
	r := newRig(t, memstore.New(), zitadel.Options{})
	read, err := r.TokenRequestByRefreshToken(t.Context(), r.signIn(ann()))
	if err != nil || !slices.Equal(read.GetAudience(), []string{"web"}) || !slices.Equal(read.GetScopes(), ann().scopes) {
		t.Errorf("read %+v, %v", read, err)
	}
}

// TestRefresh: secrets rotate in place, a lost answer is given again, and a replay ends the token.
func TestRefresh(t *testing.T) {
	onBackends(t, zitadel.Options{}, func(r *rig) {
		first := r.signIn(ann())
		id := r.tokens()[0].ID
		secret, parent := first, ""
		for range 20 {
			parent, secret = secret, r.wantRefresh(secret)
			if again := r.wantRefresh(parent); again != secret {
				r.Fatal("a retry within the leeway got another secret")
			}
		}
		if tokens := r.tokens(); len(tokens) != 1 || tokens[0].ID != id || tokens[0].Generation != 20 {
			r.Errorf("tokens %+v", tokens)
		}
		other := r.signIn(ann())
		r.wantGone(first) // long outdated
		r.wantGone(secret)
		r.wantRefresh(other)
		page, err := r.manager.Revocations(r.Context(), tokenstore.RevocationsRequest{})
		if err != nil || len(page.Revocations) != 1 || page.Revocations[0].Tombstone.Reason != tokenstore.ReasonReuse {
			r.Errorf("revocations %+v, %v", page, err)
		}
	})
}

// TestLeewayEnds: after the leeway, or once the successor has been used, the parent is replay.
func TestLeewayEnds(t *testing.T) {
	for name, use := range map[string]func(r *rig, next string){
		"time":      func(r *rig, _ string) { r.wait(10 * time.Second) },
		"successor": func(r *rig, next string) { r.wantRefresh(next) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, memstore.New(), zitadel.Options{})
			first := r.signIn(ann())
			next := r.wantRefresh(first)
			use(r, next)
			r.wantGone(first)
			r.wantGone(next)
		})
	}
}

// TestReadBeforeExchange: reading consumes nothing, and what has happened since is seen by the exchange.
func TestReadBeforeExchange(t *testing.T) {
	for name, c := range map[string]struct {
		between func(r *rig, secret string)
		want    any // "" for success
	}{
		"nothing":       {func(*rig, string) {}, ""},
		"another read":  {func(r *rig, secret string) { _, _ = r.TokenRequestByRefreshToken(r.Context(), secret) }, ""},
		"another wins":  {func(r *rig, secret string) { r.wantRefresh(secret) }, ""},
		"a later wins":  {func(r *rig, secret string) { r.wantRefresh(r.wantRefresh(secret)) }, oidc.InvalidGrant},
		"expired":       {func(r *rig, _ string) { r.wait(30 * 24 * time.Hour) }, oidc.InvalidGrant},
		"revoked":       {func(r *rig, _ string) { r.revoke(tokenstore.Target{UserID: "ann"}) }, oidc.InvalidGrant},
		"wrong session": {func(r *rig, _ string) { r.revoke(tokenstore.Target{SessionID: "another"}) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onBackends(t, zitadel.Options{}, func(r *rig) {
				secret := r.signIn(ann())
				request, err := r.TokenRequestByRefreshToken(r.Context(), secret)
				if err != nil {
					r.Fatal(err)
				}
				c.between(r, secret)
				made := len(r.access.made)
				_, next, _, err := r.CreateAccessAndRefreshTokens(r.Context(), request.(op.TokenRequest), secret)
				if c.want == "" {
					if err != nil || next == "" {
						r.Errorf("refused: %v", err)
					}
					return
				}
				wantError(r.T, err, c.want)
				if next != "" || len(r.access.made) != made {
					r.Error("a refused exchange left something behind")
				}
			})
		})
	}
}

func (r *rig) revoke(target tokenstore.Target) {
	r.Helper()
	if _, err := r.manager.Revoke(r.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{target}}); err != nil {
		r.Fatal(err)
	}
}

// TestRefused: every cause is answered in the same bytes, and nothing is written.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		client, want string
		scopes       []string
		secret       func(r *rig, first string) string
	}{
		"malformed":              {want: "invalid_grant", secret: func(*rig, string) string { return "rts_" }},
		"empty":                  {want: "invalid_grant", secret: func(*rig, string) string { return "" }},
		"unknown":                {want: "invalid_grant", secret: func(r *rig, _ string) string { return "not-one-of-ours" }},
		"of another store":       {want: "invalid_grant", secret: func(r *rig, _ string) string { return newRig(r.T, memstore.New(), zitadel.Options{}).signIn(ann()) }},
		"revoked":                {want: "invalid_grant", secret: func(r *rig, first string) string { r.revoke(tokenstore.Target{UserID: "ann"}); return first }},
		"idle":                   {want: "invalid_grant", secret: func(r *rig, first string) string { r.wait(30 * 24 * time.Hour); return first }},
		"wrong client":           {client: "other", want: "invalid_grant", secret: func(_ *rig, first string) string { return first }},
		"wrong client, replay":   {client: "other", want: "invalid_grant", secret: func(r *rig, first string) string { r.wantRefresh(r.wantRefresh(first)); return first }},
		"wider scope":            {scopes: []string{"openid", "admin"}, want: "invalid_scope", secret: func(_ *rig, first string) string { return first }},
		"wider scope, with more": {scopes: []string{"admin"}, want: "invalid_scope", secret: func(r *rig, first string) string { r.wantRefresh(first); return first }},
	} {
		t.Run(name, func(t *testing.T) {
			onBackends(t, zitadel.Options{}, func(r *rig) {
				secret := c.secret(r, r.signIn(ann()))
				r.wantUnchanged(func() {
					if c.client == "" {
						c.client = "web"
					}
					_, err := r.refresh(secret, c.client, c.scopes...)
					told, _ := errors.AsType[*oidc.Error](err)
					if body, _ := json.Marshal(told); string(body) != `{"error":"`+c.want+`"}` {
						r.Errorf("answered %s, of %v", body, err)
					}
				})
			})
		})
	}
}

// TestScopes: the access token's may be fewer, the refresh token's stay, and none is ever more.
func TestScopes(t *testing.T) {
	r := newRig(t, memstore.New(), zitadel.Options{})
	next, err := r.refresh(r.signIn(ann()), "web", "openid")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.access.scopes[1]; !slices.Equal(got, []string{"openid"}) {
		t.Errorf("the access token has %v", got)
	}
	request, err := r.TokenRequestByRefreshToken(t.Context(), next)
	if err != nil || !slices.Equal(request.GetScopes(), ann().scopes) {
		t.Errorf("the refresh token has %v, %v", request.GetScopes(), err)
	}
	request.SetCurrentScopes([]string{"admin", "email"})
	if got := request.GetScopes(); !slices.Equal(got, []string{"email"}) {
		t.Errorf("widened to %v", got)
	}
	request.SetCurrentScopes([]string{"openid"})
	if got := request.GetScopes(); !slices.Equal(got, []string{"openid"}) {
		t.Errorf("narrowed to %v", got)
	}
}

// TestSubjectOfOutdated: a token exchange, which takes a refresh token for its subject and exchanges nothing, learns of no
// user from an outdated one; a refresh does, once it is a retry. So it is with a type that a host embeds the request in.
func TestSubjectOfOutdated(t *testing.T) {
	r := newRig(t, memstore.New(), zitadel.Options{})
	first := r.signIn(ann())
	r.wantRefresh(first)
	request, err := r.TokenRequestByRefreshToken(t.Context(), first)
	if err != nil || request.GetSubject() != "" {
		t.Fatalf("subject %q, error %v; want none", request.GetSubject(), err)
	}
	decorated := struct{ *zitadel.RefreshTokenRequest }{request.(*zitadel.RefreshTokenRequest)}
	if _, _, _, err := r.CreateAccessAndRefreshTokens(t.Context(), decorated, first); err != nil {
		t.Fatal(err)
	}
	if decorated.GetSubject() != "ann" || decorated.RefreshToken().Generation != 1 {
		t.Errorf("subject %q after the exchange, record %+v", decorated.GetSubject(), decorated.RefreshToken())
	}
}

// TestLoginBeforeRevocation: a code of before the revocation of all of a user's tokens is worth nothing after it.
func TestLoginBeforeRevocation(t *testing.T) {
	onBackends(t, zitadel.Options{}, func(r *rig) {
		before := ann()
		r.wait(time.Minute)
		r.revoke(tokenstore.Target{UserID: "ann"})
		r.wantUnchanged(func() {
			_, _, _, err := r.CreateAccessAndRefreshTokens(r.Context(), before, "")
			wantError(r.T, err, oidc.InvalidGrant)
		})
		after := ann()
		after.at = start.Add(2 * time.Minute)
		r.signIn(after)
	})
}

// TestAccessTokenFails: without an access token there is no refresh token either, or the same one again.
func TestAccessTokenFails(t *testing.T) {
	onBackends(t, zitadel.Options{}, func(r *rig) {
		r.access.err = errors.New("database of access tokens: connection refused")
		_, secret, _, err := r.CreateAccessAndRefreshTokens(r.Context(), ann(), "")
		wantError(r.T, err, oidc.ServerError)
		if secret != "" || len(r.tokens()) != 0 {
			r.Errorf("%d tokens are there", len(r.tokens()))
		}
		r.access.err = nil
		first := r.signIn(ann())
		r.access.err = oidc.ErrInvalidTarget()
		_, err = r.refresh(first, "web")
		if told, ok := errors.AsType[*oidc.Error](err); !ok || told.ErrorType != oidc.InvalidTarget {
			r.Errorf("error %v, want the host's own", err)
		}
		r.access.err = nil
		r.wantRefresh(r.wantRefresh(first))
	})
}
