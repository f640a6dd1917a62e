package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
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
// is replayed; another device of the same user goes on.
func TestApplication(t *testing.T) {
	onAll(t, func(s *server) {
		a := s.app("web")
		other := a.signIn("ann").RefreshToken
		stolen := a.signIn("ann").RefreshToken
		current := stolen
		for range 30 {
			next := a.mustRefresh(current)
			if next.RefreshToken == current || next.AccessToken == "" {
				s.Fatal("a refresh without a new token")
			}
			current = next.RefreshToken
		}

		a.lose.Store(true)
		if _, err := a.refresh(current); !errors.Is(err, errLost) {
			s.Fatalf("error %v, want that of the connection", err)
		}
		var lost struct {
			RefreshToken string `json:"refresh_token"`
		}
		if err := json.Unmarshal([]byte(a.lost), &lost); err != nil {
			s.Fatal(err)
		}
		again := a.mustRefresh(current).RefreshToken
		if again != lost.RefreshToken {
			s.Error("asked again, and got another token than the one that was lost")
		}
		current = a.mustRefresh(again).RefreshToken

		a.wantError(stolen, "invalid_grant")
		a.wantError(current, "invalid_grant")
		a.wantError(current, "invalid_grant")
		a.mustRefresh(other)
		if n := len(s.live()); n != 1 {
			s.Errorf("%d tokens are live, want 1", n)
		}
		s.Attr("stories", "1")
	})
}

// TestCutOff: whoever revokes, the next refresh is refused, before any sweep, and nobody else's is.
func TestCutOff(t *testing.T) {
	onAll(t, func(s *server) {
		a, stories := s.app("web"), 0
		for name, cut := range map[string]func(secret string, token tokenstore.RefreshToken) error{
			"manager": func(_ string, token tokenstore.RefreshToken) error {
				_, err := s.manager.Revoke(s.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: token.UserID}}})
				return err
			},
			"session": func(_ string, token tokenstore.RefreshToken) error {
				session, _ := token.SessionID.Get()
				_, err := s.manager.Revoke(s.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{SessionID: session}}})
				return err
			},
			"RFC 7009":       func(secret string, _ tokenstore.RefreshToken) error { return a.revoke(secret, "") },
			"RFC 7009, hint": func(secret string, _ tokenstore.RefreshToken) error { return a.revoke(secret, "refresh_token") },
			"management API, the SDK's DELETE": func(_ string, token tokenstore.RefreshToken) error {
				api, err := sdk.New(s.api, sdk.WithInsecure(), sdk.WithStaticToken(apiToken))
				if err != nil {
					return err
				}
				return api.RefreshToken.Delete(s.Context(), token.ID.String())
			},
		} {
			bob := a.signIn("bob").RefreshToken
			signedIn := a.signIn("ann")
			var token tokenstore.RefreshToken
			for _, live := range s.live() {
				if live.UserID != s.userOf(bob) {
					token = live
				}
			}
			next := a.mustRefresh(signedIn.RefreshToken)
			if s.userinfo != "" && a.userinfoStatus(next.AccessToken) != http.StatusOK {
				s.Errorf("%s: the access token is no good before", name)
			}
			if err := cut(next.RefreshToken, token); err != nil {
				s.Errorf("%s: %v", name, err)
			}
			a.wantError(next.RefreshToken, "invalid_grant")
			a.wantError(signedIn.RefreshToken, "invalid_grant")
			if s.userinfo != "" && a.userinfoStatus(next.AccessToken) == http.StatusOK {
				s.Errorf("%s: the access token outlives its refresh token", name)
			}
			a.mustRefresh(bob)
			a.mustRefresh(a.signIn("ann").RefreshToken) // who may sign in again
			if err := s.revokeAll(); err != nil {
				s.Fatal(err)
			}
			stories++
		}
		s.Attr("stories", strconv.Itoa(stories))
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
		state, err := s.manager.State(s.Context())
		if err != nil {
			s.Fatal(err)
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

		status, body := a.post(s.paths.token, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {secret}, "scope": {"openid email admin"},
		})
		if s.wider != "" && (status != http.StatusBadRequest || !strings.Contains(body, s.wider)) || strings.Contains(body, "admin") {
			s.Errorf("a wider scope: %d %s", status, body)
		}
		if s.wider == "" { // it was a refresh like any other
			var answer struct {
				RefreshToken string `json:"refresh_token"`
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.RefreshToken == "" {
				s.Fatalf("a wider scope: %d %s", status, body)
			}
			secret = answer.RefreshToken
		}

		if now, err := s.manager.State(s.Context()); err != nil || now.Sequence != state.Sequence {
			s.Errorf("something was revoked or issued: %+v, before %+v, %v", now, state, err)
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
		code := a.code("ann")
		a.signIn("ann")
		user := s.live()[0].UserID
		if _, err := s.manager.Revoke(s.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}}); err != nil {
			s.Fatal(err)
		}
		if token, err := a.config.Exchange(a.context(), code); err == nil {
			s.Errorf("a code of before the revocation got %v", token.Valid())
		}
		if n := len(s.live()); n != 0 {
			s.Errorf("%d tokens are live", n)
		}
		a.signIn("ann")
	})
}
