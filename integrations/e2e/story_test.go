package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	sdk "github.com/auth0/go-auth0/management"
)

// TestApplication: it signs in, refreshes many times, loses an answer and asks again, and sees its tokens die when a stolen one
// is replayed; another device of the same user goes on. What its ID tokens say of the session stays as it was.
func TestApplication(t *testing.T) {
	onLibraries(t, func(a *app) {
		other := a.signIn("ann").RefreshToken
		first := a.signIn("ann")
		stolen, current := first.RefreshToken, first
		if c := first.claims; c != (claims{}) && (c.Subject != "ann" || c.SessionID == "" || c.AuthenticatedAt == 0) {
			a.Errorf("claims %+v", c)
		}
		for range 30 {
			next := a.mustRefresh(current.RefreshToken)
			if next.RefreshToken == current.RefreshToken || next.AccessToken == "" {
				a.Fatal("a refresh without a new token")
			}
			if next.claims != first.claims {
				a.Errorf("claims %+v, at first %+v", next.claims, first.claims)
			}
			current = next
		}

		lost := a.loseAnswer()
		if _, err := a.refresh(current.RefreshToken); err == nil || refusal(err) != "" {
			a.Fatalf("error %v, want that of the connection", err)
		}
		again := a.mustRefresh(current.RefreshToken).RefreshToken
		if again != refreshToken(a, <-lost) {
			a.Error("asked again, and got another token than the one that was lost")
		}
		current = a.mustRefresh(again)
		if status := a.userinfoStatus(current.AccessToken); status != http.StatusOK {
			a.Errorf("the access token is no good: %d", status)
		}

		a.wantError(stolen, "invalid_grant")
		a.wantError(current.RefreshToken, "invalid_grant")
		a.wantError(current.RefreshToken, "invalid_grant")
		if status := a.userinfoStatus(current.AccessToken); status == http.StatusOK {
			a.Error("the access token outlives its refresh token")
		}
		a.mustRefresh(other)
		if n := len(a.live()); n != 1 {
			a.Errorf("%d tokens are live, want 1", n)
		}
		a.Attr("stories", "1")
	})
}

// refreshToken is that of an answer.
func refreshToken(a *app, body string) string {
	a.Helper()
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.RefreshToken == "" {
		a.Fatalf("no refresh token in %s", body)
	}
	return answer.RefreshToken
}

// TestCutOff: whoever revokes, the next refresh is refused, before any sweep, and nobody else's is.
func TestCutOff(t *testing.T) {
	onLibraries(t, func(a *app) {
		cuts, stories := map[string]func(secret string, token tokenstore.RefreshToken) error{
			"manager": func(_ string, token tokenstore.RefreshToken) error {
				_, err := a.manager.Revoke(a.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: token.UserID}}})
				return err
			},
			"session": func(_ string, token tokenstore.RefreshToken) error {
				session, _ := token.SessionID.Get()
				_, err := a.manager.Revoke(a.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{SessionID: session}}})
				return err
			},
			"RFC 7009":       func(secret string, _ tokenstore.RefreshToken) error { return a.revoke(secret, "") },
			"RFC 7009, hint": func(secret string, _ tokenstore.RefreshToken) error { return a.revoke(secret, "refresh_token") },
			"management API, the SDK's DELETE": func(_ string, token tokenstore.RefreshToken) error {
				api, err := sdk.New(a.api, sdk.WithInsecure(), sdk.WithStaticToken(apiToken))
				if err != nil {
					return err
				}
				return api.RefreshToken.Delete(a.Context(), token.ID.String())
			},
		}, 0
		if library, ok := a.library.(revoker); ok {
			cuts["RFC 7009, by the library"] = func(secret string, _ tokenstore.RefreshToken) error { return library.giveUp(secret) }
		}
		for name, cut := range cuts {
			bob := a.signIn("bob").RefreshToken
			signedIn := a.signIn("ann")
			var token tokenstore.RefreshToken
			for _, live := range a.live() {
				if live.UserID != a.userOf(bob) {
					token = live
				}
			}
			next := a.mustRefresh(signedIn.RefreshToken)
			if a.userinfoStatus(next.AccessToken) != http.StatusOK {
				a.Errorf("%s: the access token is no good before", name)
			}
			if err := cut(next.RefreshToken, token); err != nil {
				a.Errorf("%s: %v", name, err)
			}
			a.wantError(next.RefreshToken, "invalid_grant")
			a.wantError(signedIn.RefreshToken, "invalid_grant")
			if a.userinfoStatus(next.AccessToken) == http.StatusOK {
				a.Errorf("%s: the access token outlives its refresh token", name)
			}
			a.mustRefresh(bob)
			a.mustRefresh(a.signIn("ann").RefreshToken) // who may sign in again
			if err := a.revokeAll(); err != nil {
				a.Fatal(err)
			}
			stories++
		}
		a.Attr("stories", strconv.Itoa(stories))
	})
}

// TestRevocationByWrongHint: a server is not to be misled by it, whatever a secret happens to look like.
func TestRevocationByWrongHint(t *testing.T) {
	onAll(t, func(s *server) {
		a := s.app("web")
		for range 25 {
			secret := a.signIn("ann").RefreshToken
			if err := a.revoke(secret, "access_token"); err != nil {
				s.Fatal(err)
			}
			a.wantError(secret, "invalid_grant")
		}
	})
}

// userOf is the user of a secret.
func (s *server) userOf(secret string) string {
	s.Helper()
	in, err := s.manager.Introspect(s.Context(), tokenstore.NewSecret(secret))
	if err != nil || !in.Active {
		s.Fatal(in.Cause, err)
	}
	return in.Token.UserID
}

func (s *server) revokeAll() error {
	_, err := s.manager.Revoke(s.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}})
	return err
}

// revoke is RFC 7009.
func (a *app) revoke(secret, hint string) error {
	form := url.Values{"token": {secret}}
	if hint != "" {
		form.Set("token_type_hint", hint)
	}
	if status, body := a.post(a.paths.revoke, form); status != http.StatusOK {
		return errors.New(body)
	}
	return nil
}

// TestRefused: bad requests get the standard errors, and change nothing.
func TestRefused(t *testing.T) {
	onAll(t, func(s *server) {
		a, wrong := s.app("web"), s.app("other")
		first := a.signIn("ann").RefreshToken
		second := a.mustRefresh(first).RefreshToken
		secret := a.mustRefresh(second).RefreshToken // first is replay by now, second a retry
		before, state := s.live(), s.state()
		unchanged := func() {
			s.Helper()
			if now := s.state(); now != state || !reflect.DeepEqual(s.live(), before) {
				s.Errorf("something has changed: %+v, before %+v", now, state)
			}
		}

		for _, text := range []string{first, second, secret} {
			wrong.wantError(text, "invalid_grant")
			if err := wrong.revoke(text, ""); err != nil {
				s.Errorf("revoking another client's: %v", err)
			}
		}
		a.wantError("rts_malformed", "invalid_grant")
		a.wantError("not-one-of-ours", "invalid_grant")
		s.another().app("web").wantError(secret, "invalid_grant")
		unchanged()

		status, body := a.post(s.paths.token, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {secret}, "scope": {"openid email admin"},
		})
		if s.wider != "" && (status != http.StatusBadRequest || !strings.Contains(body, s.wider)) || strings.Contains(body, "admin") {
			s.Errorf("a wider scope: %d %s", status, body)
		}
		if s.wider == "" { // it was a refresh like any other
			secret = refreshToken(a, body)
		} else {
			unchanged()
		}
		secret = a.mustRefresh(secret).RefreshToken
		s.ahead.Store(int64(31 * 24 * time.Hour))
		a.wantError(secret, "invalid_grant")
	})
}

// TestRefreshesAtOnce: of many refreshes with one secret at once, all that succeed get the same next one.
func TestRefreshesAtOnce(t *testing.T) {
	onAll(t, func(s *server) {
		a := s.app("web")
		secret := a.signIn("ann").RefreshToken
		const n = 16
		got := make([]string, n)
		var done atomic.Int64
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if token, err := a.refresh(secret); err != nil {
					s.Error(err)
				} else {
					got[i] = token.RefreshToken
					done.Add(1)
				}
			})
		}
		all.Wait()
		for _, next := range got {
			if next != got[0] {
				s.Error("two refreshes got different tokens")
			}
		}
		a.mustRefresh(got[0])
		s.Attr("operations", strconv.FormatInt(done.Load(), 10))
	})
}

// TestSweepUnderWay: what was revoked is swept while others refresh.
func TestSweepUnderWay(t *testing.T) {
	onAll(t, func(s *server) {
		s.sweep()
		a := s.app("web")
		bob := a.signIn("bob").RefreshToken
		ann := a.signIn("ann").RefreshToken
		receipt, err := s.manager.Revoke(s.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: s.userOf(ann)}}})
		if err != nil {
			s.Fatal(err)
		}
		bob = a.mustRefresh(bob).RefreshToken
		if status, err := s.manager.Wait(s.Context(), receipt); err != nil || status.Swept != 1 {
			s.Errorf("swept %+v, %v", status, err)
		}
		a.wantError(ann, "invalid_grant")
		a.mustRefresh(bob)
	})
}

// TestLoginBeforeRevocation: a code of before the revocation of all of a user's tokens gets none after it.
func TestLoginBeforeRevocation(t *testing.T) {
	onAll(t, func(s *server) {
		a := s.app("web")
		exchange := a.begin("ann")
		a.signIn("ann")
		user := s.live()[0].UserID
		if _, err := s.manager.Revoke(s.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}}); err != nil {
			s.Fatal(err)
		}
		if token, err := exchange(); err == nil {
			s.Errorf("a code of before the revocation got %v", token.Valid())
		}
		if n := len(s.live()); n != 0 {
			s.Errorf("%d tokens are live", n)
		}
		a.signIn("ann")
	})
}

// TestIntrospection: of refresh tokens, by package oauth or by fosite.
func TestIntrospection(t *testing.T) {
	onAll(t, func(s *server) {
		a := s.app("web")
		first := a.signIn("ann").RefreshToken
		secret := a.mustRefresh(first).RefreshToken
		others := `{"active":false}`
		if s.anybody {
			others = `"active":true`
		}
		for name, c := range map[string]struct {
			app   *app
			token string
			want  string
		}{
			"its client":     {a, secret, `"active":true`},
			"outdated":       {a, first, `{"active":false}`},
			"another client": {s.app("other"), secret, others},
		} {
			if status, body := c.app.post(s.paths.introspect, url.Values{"token": {c.token}}); status != http.StatusOK || !strings.Contains(body, c.want) {
				s.Errorf("%s: %d %s", name, status, body)
			}
		}
		nobody := s.app("web")
		nobody.secret = "wrong"
		if status, body := nobody.post(s.paths.introspect, url.Values{"token": {secret}}); status != http.StatusUnauthorized {
			s.Errorf("a wrong secret: %d %s", status, body)
		}
	})
}
