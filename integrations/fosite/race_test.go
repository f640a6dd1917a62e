package fosite_test

import (
	"testing"

	"example.com/tokenstore"
	adapter "example.com/tokenstore/integrations/fosite"
	"example.com/tokenstore/internal/backendtest"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
)

// candidate is what fosite's handlers work on.
type candidate struct {
	open   func(t *testing.T) *server
	broken bool // what the tests look for is there
}

// candidates are fosite's own store and strategy, and a tokenstore for refresh tokens in their place.
func candidates() map[string]candidate {
	all := map[string]candidate{"fosite's MemoryStore": {func(t *testing.T) *server {
		memory, config := newMemory(), newConfig()
		return newServer(t, memory, memory, compose.NewOAuth2HMACStrategy(config), config)
	}, true}}
	for name, open := range backendtest.All() {
		all["tokenstore on "+name] = candidate{func(t *testing.T) *server {
			return newRig(t, open(t), adapter.Options{}, tokenstore.Options{}).server
		}, false}
	}
	return all
}

// TestRevocationMeetsRefresh: a grant is revoked, and that is acknowledged, while one of its refreshes is on its way
// between two calls of the storage. On fosite's own store the refresh then makes a token that is live.
func TestRevocationMeetsRefresh(t *testing.T) {
	for name, c := range candidates() {
		for _, call := range []string{"", "RotateRefreshToken", "CreateAccessTokenSession", "CreateRefreshTokenSession"} {
			t.Run(name+" before "+call, func(t *testing.T) {
				s := c.open(t)
				secret := s.mustIssue("grant-1", "ann")
				revoke := func() {
					if err := s.revokeToken(secret, "web"); err != nil {
						t.Fatal(err)
					}
				}
				a, err := s.validate(secret, "web")
				if err != nil {
					t.Fatal(err)
				}
				s.tokens.before = map[string]func(){call: revoke}
				s.tokens.pass("") // at once, if it is to be after the validation
				next, err := s.answer(a)
				live := err == nil
				if !c.broken {
					wantError(t, err, fosite.ErrInvalidRequest) // as fosite tells its own races
					if n := len(s.memory.AccessTokens); n > 0 && (call == "" || call == "RotateRefreshToken") {
						t.Errorf("%d access tokens were made after the revocation", n)
					}
				}
				if live {
					_, err = s.try(next, "web")
					live = err == nil
				}
				if len(s.tokens.before) > 0 || live != c.broken {
					t.Errorf("a token is live after its revocation: %v, want %v (error %v)", live, c.broken, err)
				}
			})
		}
	}
}

// TestDoubleSpend: two refreshes with one secret are both validated before either is answered. On fosite's own store each gets
// a live token of its own, and revoking the grant ends only one of them.
func TestDoubleSpend(t *testing.T) {
	for name, c := range candidates() {
		t.Run(name, func(t *testing.T) {
			s := c.open(t)
			secret := s.mustIssue("grant-1", "ann")
			var attempts [2]attempt
			for i := range attempts {
				var err error
				if attempts[i], err = s.validate(secret, "web"); err != nil {
					t.Fatal(err)
				}
			}
			var inner string
			s.tokens.before = map[string]func(){"CreateRefreshTokenSession": func() {
				var err error
				if inner, err = s.answer(attempts[1]); err != nil {
					t.Fatal(err)
				}
			}}
			outer, err := s.answer(attempts[0])
			if err != nil {
				t.Fatal(err)
			}
			if forked := inner != outer; forked != c.broken {
				t.Errorf("two different tokens for one: %v, want %v", forked, c.broken)
			}
			if err := s.revokeToken(outer, "web"); err != nil {
				t.Fatal(err)
			}
			_, err = s.try(inner, "web")
			if live := err == nil; live != c.broken {
				t.Errorf("one is live after the revocation of the other: %v, want %v", live, c.broken)
			}
		})
	}
}

// TestGrantRevokedBeforeIssue: a grant is revoked before its token is made, as where a code is used twice at once. On fosite's own
// store the token is made nevertheless.
func TestGrantRevokedBeforeIssue(t *testing.T) {
	for name, c := range candidates() {
		t.Run(name, func(t *testing.T) {
			s := c.open(t)
			if err := s.tokens.RevokeRefreshToken(t.Context(), "grant-1"); err != nil {
				t.Fatal(err)
			}
			secret, err := s.issue("grant-1", "ann")
			live := err == nil
			if live {
				_, err = s.try(secret, "web")
				live = err == nil
			}
			if live != c.broken {
				t.Errorf("a revoked grant has a live token: %v, want %v (error %v)", live, c.broken, err)
			}
			s.mustTry(s.mustIssue("grant-2", "ann"))
		})
	}
}
