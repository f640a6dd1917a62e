package tokenstore_test

import (
	"errors"
	"testing"
	"time"

	"example.com/tokenstore"
	"pgregory.net/rapid"
)

func TestLifetimesByRequestPolicyAndOptions(t *testing.T) {
	t.Parallel()
	policy := &tokenstore.ClientPolicy{}
	r := newRig(t, tokenstore.Options{Lifetime: tokenstore.Lifetime(10 * day), IdleLifetime: tokenstore.Lifetime(5 * day), Client: policies(policy)})
	for _, test := range []struct {
		name             string
		policy           tokenstore.ClientPolicy
		lifetime, idle   tokenstore.Lifetime
		wantLife, wantID time.Duration // 0 for never
	}{
		{name: "options", wantLife: 10 * day, wantID: 5 * day},
		{name: "policy", policy: tokenstore.ClientPolicy{Lifetime: tokenstore.Lifetime(8 * day), IdleLifetime: tokenstore.Lifetime(4 * day)}, wantLife: 8 * day, wantID: 4 * day},
		{name: "request", policy: tokenstore.ClientPolicy{Lifetime: tokenstore.Lifetime(8 * day)}, lifetime: tokenstore.Lifetime(2 * day), idle: tokenstore.Lifetime(day), wantLife: 2 * day, wantID: day},
		{name: "never, by policy", policy: tokenstore.ClientPolicy{Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never}},
		{name: "never, by request", lifetime: tokenstore.Never, idle: tokenstore.Never},
	} {
		*policy = test.policy
		req := request("ann")
		req.Lifetime, req.IdleLifetime = test.lifetime, test.idle
		token := r.issue(req).Token
		for what, got := range map[string][2]time.Time{
			"absolute": {token.ExpiresAt, ends(r.clock(), test.wantLife)}, "idle": {token.IdleExpiresAt, ends(r.clock(), test.wantID)},
		} {
			if !got[0].Equal(got[1]) {
				t.Errorf("%s: %s end %v, want %v", test.name, what, got[0], got[1])
			}
		}
	}
	for _, bad := range []tokenstore.ClientPolicy{{Lifetime: -5}, {IdleLifetime: -5}, {Cap: -1}, {Rotation: 9}} {
		*policy = bad
		_, err := r.Issue(t.Context(), request("ann"))
		if !errors.Is(err, tokenstore.ErrInvalid) {
			t.Errorf("policy %+v: got error %v, want a FieldError", bad, err)
		}
	}
}

func ends(now time.Time, after time.Duration) time.Time {
	if after == 0 {
		return time.Time{}
	}
	return now.Add(after)
}

// The idle lifetime is the policy's as it is at each exchange; the absolute one stays as it was issued.
func TestIdleLifetimeIsReadAtTheExchange(t *testing.T) {
	t.Parallel()
	policy := &tokenstore.ClientPolicy{Lifetime: tokenstore.Lifetime(100 * day), IdleLifetime: tokenstore.Lifetime(10 * day)}
	r := newRig(t, tokenstore.Options{Client: policies(policy)})
	issued := r.issue(request("ann"))
	secret, expires := issued.Secret, issued.Token.ExpiresAt
	for _, idle := range []time.Duration{20 * day, 2 * day, 0, 3 * day} {
		policy.IdleLifetime, policy.Lifetime = tokenstore.Lifetime(idle), tokenstore.Lifetime(day)
		if idle == 0 {
			policy.IdleLifetime = tokenstore.Never
		}
		r.wait(time.Hour)
		x := r.exchange(secret)
		secret = x.Secret
		if want := ends(r.clock(), idle); !x.Token.IdleExpiresAt.Equal(want) || !x.Token.ExpiresAt.Equal(expires) {
			t.Errorf("idle %v: ends %v and %v, want %v and %v", idle, x.Token.IdleExpiresAt, x.Token.ExpiresAt, want, expires)
		}
	}
	r.wait(3*day - 1)
	secret = r.exchange(secret).Secret // an instant before
	r.wait(3 * day)
	_, err := r.try(secret)
	wantRefusal(t, err, tokenstore.ErrIdleExpired)
}

func TestExpiresByShortensOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, tokenstore.Options{Lifetime: tokenstore.Lifetime(10 * day), IdleLifetime: tokenstore.Never})
	secret := r.issue(request("ann")).Secret
	exchange := func(by time.Time) tokenstore.RefreshToken {
		t.Helper()
		x, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app", ExpiresBy: by})
		if err != nil {
			t.Fatal(err)
		}
		secret = x.Secret
		return x.Token
	}
	end := r.clock().Add(10 * day)
	if got := exchange(end.Add(day)).ExpiresAt; !got.Equal(end) {
		t.Errorf("a later end must change nothing: got %v, want %v", got, end)
	}
	if got := exchange(end.Add(-day)).ExpiresAt; !got.Equal(end.Add(-day)) {
		t.Errorf("an earlier end must shorten: got %v", got)
	}
	if got := exchange(end).ExpiresAt; !got.Equal(end.Add(-day)) {
		t.Errorf("what was shortened must stay so: got %v", got)
	}
	r.wait(9 * day)
	_, err := r.try(secret)
	wantRefusal(t, err, tokenstore.ErrExpired)
}

// Within the granularity an exchange of a token that does not rotate writes nothing; the token may expire up to that
// much too early, and never too late.
func TestLastUsedIsCoalesced(t *testing.T) {
	t.Parallel()
	r := newRig(t, tokenstore.Options{IdleLifetime: tokenstore.Lifetime(100 * time.Minute), LastUsedEvery: 10 * time.Minute})
	req := request("ann")
	req.Static = true
	secret := r.issue(req).Secret
	first := r.exchange(secret).Token
	if !first.LastExchangedAt.Equal(r.clock()) {
		t.Errorf("the first use must be noted: got %v", first.LastExchangedAt)
	}
	r.wait(10*time.Minute - 1)
	r.wantNoWrite(func() {
		x, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "app", Device: tokenstore.Device{LastIP: "192.0.2.1"}})
		if err != nil || x.Secret.Reveal() != secret.Reveal() {
			t.Errorf("the exchange must succeed with the same secret: got error %v", err)
		}
	})
	r.wait(1)
	if x := r.exchange(secret); !x.Token.LastExchangedAt.Equal(r.clock()) {
		t.Errorf("a use after the granularity must be noted: got %v", x.Token.LastExchangedAt)
	}

	rotating := r.issue(request("bob")).Secret
	writes := r.spy.count()
	r.exchange(r.exchange(rotating).Secret)
	if n := r.spy.count() - writes; n != 2 {
		t.Errorf("every rotation must be written: got %d writes of 2", n)
	}
}

func TestLastUsedGranularityNeverExpiresLate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		idle := time.Duration(rapid.IntRange(20, 200).Draw(rt, "idle")) * time.Minute
		every := time.Duration(rapid.IntRange(1, 60).Draw(rt, "granularity")) * time.Minute
		r := newRig(t, tokenstore.Options{IdleLifetime: tokenstore.Lifetime(idle), Lifetime: tokenstore.Never, LastUsedEvery: every})
		req := request("ann")
		req.Static = true
		secret, last := r.issue(req).Secret, r.clock()
		for range rapid.IntRange(1, 30).Draw(rt, "uses") {
			r.wait(time.Duration(rapid.IntRange(1, 100).Draw(rt, "pause")) * time.Minute / 2)
			_, err := r.try(secret)
			unused := r.clock().Sub(last)
			switch {
			case err == nil && unused >= idle:
				rt.Fatal("a token was exchanged after it had lain idle for its idle lifetime")
			case err != nil && unused < idle-min(every, idle/10):
				rt.Fatal("a token expired earlier than the granularity allows")
			case err != nil:
				return
			}
			last = r.clock()
		}
	})
}
