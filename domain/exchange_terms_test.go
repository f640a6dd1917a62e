package domain_test

import (
	"testing"
	"time"

	"example.com/tokenstore/domain"
)

// A use that is as recent as the granularity allows is not noted again.
func TestExchangeGranularity(t *testing.T) {
	for _, c := range []struct {
		name        string
		idle        domain.Lifetime
		granularity time.Duration
		since       time.Duration
		noted       bool
	}{
		{"none", 0, 0, 0, true},
		{"at once", 0, time.Minute, 0, false},
		{"just before", 0, time.Minute, time.Minute - 1, false},
		{"at its end", 0, time.Minute, time.Minute, true},
		{"a clock that is behind", 0, time.Minute, -1, true},
		{"idle never", domain.Never, time.Minute, time.Minute - 1, false},
		{"a tenth of the idle lifetime, just before", domain.Lifetime(10 * time.Second), time.Minute, time.Second - 1, false},
		{"a tenth of the idle lifetime, at its end", domain.Lifetime(10 * time.Second), time.Minute, time.Second, true},
		{"less than a tenth of the idle lifetime", domain.Lifetime(time.Hour), time.Minute, time.Minute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := newCredential()
			token := newToken(first)
			token.Rotating, token.IdleLifetime = false, c.idle
			token, _ = rotate(t, token, first, noon, 1)
			e := exchange(first, noon.Add(c.since), 2)
			e.Granularity = c.granularity
			got := e.Apply(token, false)
			if got.Refusal != "" || got.Secret.Reveal() != first.Secret().Reveal() {
				t.Fatalf("refusal %q, want the same secret", got.Refusal)
			}
			if noted := got.Next != nil; noted != c.noted {
				t.Errorf("noted: %t, want %t", noted, c.noted)
			}
		})
	}
	t.Run("never used", func(t *testing.T) {
		first := newCredential()
		token := newToken(first)
		token.Rotating = false
		e := exchange(first, noon, 1)
		e.Granularity = time.Hour
		if got := e.Apply(token, false); got.Next == nil {
			t.Error("the first use is not noted")
		}
	})
}

// What a policy changes is stored, however recent the last use is; what it leaves as it was is not.
func TestExchangeTerms(t *testing.T) {
	end := noon.Add(24 * time.Hour)
	for _, c := range []struct {
		name   string
		before func(*domain.RefreshToken)
		policy func(*domain.Exchange)
		after  func(*domain.RefreshToken) // nil if nothing is stored
	}{
		{"no policy", func(*domain.RefreshToken) {}, func(*domain.Exchange) {}, nil},
		{"rotation ends",
			func(token *domain.RefreshToken) { token.Rotating = true },
			func(e *domain.Exchange) { e.Rotation = domain.RotationOff },
			func(token *domain.RefreshToken) { token.Rotating = false }},
		{"no rotation, as before", func(*domain.RefreshToken) {}, func(e *domain.Exchange) { e.Rotation = domain.RotationOff }, nil},
		{"another idle lifetime",
			func(*domain.RefreshToken) {},
			func(e *domain.Exchange) { e.IdleLifetime = domain.Lifetime(time.Hour) },
			func(token *domain.RefreshToken) {
				token.IdleLifetime, token.IdleExpiresAt = domain.Lifetime(time.Hour), noon.Add(time.Hour+1)
			}},
		{"the idle lifetime that it has",
			func(token *domain.RefreshToken) {
				token.IdleLifetime, token.IdleExpiresAt = domain.Lifetime(time.Hour), noon.Add(time.Hour)
			},
			func(e *domain.Exchange) { e.IdleLifetime = domain.Lifetime(time.Hour) }, nil},
		{"never idle, said otherwise", func(*domain.RefreshToken) {}, func(e *domain.Exchange) { e.IdleLifetime = domain.Never }, nil},
		{"an end for a token without",
			func(*domain.RefreshToken) {},
			func(e *domain.Exchange) { e.ExpiresBy = end },
			func(token *domain.RefreshToken) { token.ExpiresAt = end }},
		{"an earlier end",
			func(token *domain.RefreshToken) { token.ExpiresAt = end.Add(1) },
			func(e *domain.Exchange) { e.ExpiresBy = end },
			func(token *domain.RefreshToken) { token.ExpiresAt = end }},
		{"the end that it has", func(token *domain.RefreshToken) { token.ExpiresAt = end }, func(e *domain.Exchange) { e.ExpiresBy = end }, nil},
		{"a later end",
			func(token *domain.RefreshToken) { token.ExpiresAt = end },
			func(e *domain.Exchange) { e.ExpiresBy = end.Add(1) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := newCredential()
			token := newToken(first)
			token.Rotating, token.LastExchangedAt = false, noon
			c.before(&token)
			e := exchange(first, noon.Add(1), 1)
			e.Granularity = time.Minute
			c.policy(&e)
			got := e.Apply(token, false)
			if got.Refusal != "" || got.Secret.Reveal() != first.Secret().Reveal() {
				t.Fatalf("refusal %q, want the same secret", got.Refusal)
			}
			if c.after == nil {
				if got.Next != nil {
					t.Error("what nothing changes is stored")
				}
				return
			}
			want := token
			want.LastExchangedAt = e.Now
			c.after(&want)
			if got.Next == nil || !sameRecord(*got.Next, want) {
				t.Logf("got %+v, want %+v", got.Next, want)
				t.Error("the record is not the one of the policy")
			}
		})
	}
}

// A token that another key has sealed is sealed again, however recent its last use is; a foreign secret is sealed under none.
func TestExchangeSealsAgain(t *testing.T) {
	first := newCredential()
	own := newToken(first)
	own.Rotating, own.LastExchangedAt = false, noon
	foreign := importedToken("opaque")
	foreign.Rotating, foreign.LastExchangedAt = false, noon
	for _, c := range []struct {
		name     string
		token    domain.RefreshToken
		exchange domain.Exchange
		pepper   *domain.PepperRing
		sealed   bool
	}{
		{"own", own, exchange(first, noon.Add(1), 1), ring("1", 1), true},
		{"own, under no key still", own, exchange(first, noon.Add(1), 1), ring("", 1), false},
		{"foreign", foreign, present("opaque", noon.Add(1), 1), ring("1", 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.exchange.Granularity, c.exchange.Pepper = time.Minute, c.pepper
			got := c.exchange.Apply(c.token, false)
			if got.Refusal != "" {
				t.Fatalf("refusal %q", got.Refusal)
			}
			if sealed := got.Next != nil && got.Next.PepperKeyID == c.pepper.Current(); sealed != c.sealed {
				t.Errorf("sealed: %t, want %t", sealed, c.sealed)
			}
			if !c.sealed && got.Next != nil {
				t.Error("what nothing changes is stored")
			}
		})
	}
}
