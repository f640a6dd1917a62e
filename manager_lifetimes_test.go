package tokenstore_test

import (
	"errors"
	"testing"
	"time"

	"example.com/tokenstore"
)

const (
	minute = tokenstore.Lifetime(time.Minute)
	hour   = tokenstore.Lifetime(time.Hour)
	day    = tokenstore.Lifetime(24 * time.Hour)
)

// TestLifetimesByPolicy: what the request says comes before what the client's policy says, and that before the options.
func TestLifetimesByPolicy(t *testing.T) {
	for _, c := range []struct {
		name                     string
		request, policy, options tokenstore.Lifetime
		want                     time.Duration // 0 for never
	}{
		{"request", hour, 2 * hour, 3 * hour, time.Hour},
		{"request, longer than the policy's", 5 * hour, 2 * hour, 3 * hour, 5 * time.Hour},
		{"policy", 0, 2 * hour, 3 * hour, 2 * time.Hour},
		{"policy, longer than the options'", 0, 5 * hour, 3 * hour, 5 * time.Hour},
		{"options", 0, 0, 3 * hour, 3 * time.Hour},
		{"never, by request", tokenstore.Never, 2 * hour, 3 * hour, 0},
		{"never, by policy", 0, tokenstore.Never, 3 * hour, 0},
		{"not never, by request", hour, tokenstore.Never, tokenstore.Never, time.Hour},
		{"not never, by policy", 0, hour, tokenstore.Never, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policies{policy: tokenstore.ClientPolicy{Lifetime: c.policy, IdleLifetime: c.policy}}
			r := newRig(t, tokenstore.Options{Lifetime: c.options, IdleLifetime: c.options, Client: p.of})
			req := request("ann")
			req.Lifetime, req.IdleLifetime = c.request, c.request
			token := r.issue(req).Token
			want := time.Time{}
			if c.want != 0 {
				want = r.now.Add(c.want)
			}
			if !token.ExpiresAt.Equal(want) || !token.IdleExpiresAt.Equal(want) {
				t.Errorf("expires at %v, idle at %v; want %v", token.ExpiresAt, token.IdleExpiresAt, want)
			}
		})
	}
}

// TestPolicyIsOfTheClient: each client has its own.
func TestPolicyIsOfTheClient(t *testing.T) {
	r := newRig(t, tokenstore.Options{Lifetime: day, Client: func(client string) tokenstore.ClientPolicy {
		if client == "kiosk" {
			return tokenstore.ClientPolicy{Lifetime: hour}
		}
		return tokenstore.ClientPolicy{}
	}})
	req := request("ann")
	app := r.issue(req).Token
	req.ClientID = "kiosk"
	kiosk := r.issue(req).Token
	if !app.ExpiresAt.Equal(r.now.Add(24*time.Hour)) || !kiosk.ExpiresAt.Equal(r.now.Add(time.Hour)) {
		t.Errorf("app until %v, kiosk until %v", app.ExpiresAt, kiosk.ExpiresAt)
	}
}

// TestPoliciesAreChecked: a policy that was reckoned wrong is an error of every call that asks for it, and nothing else.
func TestPoliciesAreChecked(t *testing.T) {
	for field, policy := range map[string]tokenstore.ClientPolicy{
		"lifetime": {Lifetime: -2}, "idle_lifetime": {IdleLifetime: -2}, "cap": {Cap: -1}, "rotation": {Rotation: 3},
	} {
		var p policies
		r := newRig(t, tokenstore.Options{Client: p.of})
		out := r.issue(request("ann"))
		p.set(policy)
		r.wantNoWrite(func() {
			_, err := r.Issue(t.Context(), request("ann"))
			wantField(t, err, field)
			_, err = r.try(out.Secret)
			wantField(t, err, field)
		})
		p.set(tokenstore.ClientPolicy{})
		r.exchange(out.Secret)
	}
}

// TestExpiryIsExact: an instant before its end a token is live, at it no more. The one that is asked is each time new,
// because an exchange renews the idle lifetime.
func TestExpiryIsExact(t *testing.T) {
	for _, c := range []struct {
		cause          tokenstore.Refusal
		lifetime, idle tokenstore.Lifetime
	}{
		{tokenstore.ErrExpired, hour, 0},
		{tokenstore.ErrExpired, hour, hour},
		{tokenstore.ErrExpired, hour, tokenstore.Never},
		{tokenstore.ErrIdleExpired, 0, hour},
		{tokenstore.ErrIdleExpired, tokenstore.Never, hour},
	} {
		for _, early := range []time.Duration{1, 0, -1} {
			r := newRig(t, tokenstore.Options{})
			req := request("ann")
			req.Lifetime, req.IdleLifetime = c.lifetime, c.idle
			out := r.issue(req)
			r.wait(time.Hour - early)
			seen, err := r.Introspect(t.Context(), out.Secret)
			if seen.Active != (early > 0) || err != nil || early <= 0 && seen.Cause != c.cause {
				t.Errorf("%v before the end: %+v, %v", early, seen, err)
			}
			_, err = r.try(out.Secret)
			if early > 0 {
				if err != nil {
					t.Errorf("%v before the end: %v", early, err)
				}
				continue
			}
			wantRefusal(t, err, c.cause)
		}
	}
}

// TestIdleLifetimeFollowsThePolicy: each exchange reads it anew; without a policy a token keeps what it has.
func TestIdleLifetimeFollowsThePolicy(t *testing.T) {
	for _, static := range []bool{false, true} {
		var p policies
		r := newRig(t, tokenstore.Options{IdleLifetime: day, Client: p.of})
		req := request("ann")
		req.IdleLifetime, req.Static = 2*hour, static
		out := r.issue(req)
		secret := out.Secret
		for _, step := range []struct {
			name         string
			policy, want tokenstore.Lifetime
		}{
			{"its own", 0, 2 * hour},
			{"longer", 10 * hour, 10 * hour},
			{"shorter", hour, hour},
			{"no policy any more", 0, hour},
			{"never", tokenstore.Never, tokenstore.Never},
			{"still never", 0, tokenstore.Never},
			{"back", hour, hour},
		} {
			p.set(tokenstore.ClientPolicy{IdleLifetime: step.policy})
			r.wait(30 * time.Minute)
			token := r.exchange(secret)
			secret = token.Secret
			want := step.want.Deadline(r.now)
			if token.Token.IdleLifetime != step.want || !token.Token.IdleExpiresAt.Equal(want) {
				t.Errorf("static %v, %s: idle for %v until %v, want until %v", static, step.name, token.Token.IdleLifetime, token.Token.IdleExpiresAt, want)
			}
			if !token.Token.ExpiresAt.Equal(out.Token.ExpiresAt) {
				t.Errorf("%s: the absolute lifetime moved", step.name)
			}
		}
		r.wait(time.Hour)
		_, err := r.try(secret)
		wantRefusal(t, err, tokenstore.ErrIdleExpired)
	}
}

// TestShorterIdleLifetimeWaitsForAnExchange: what the policy says applies from the next exchange on, not to who stays away.
func TestShorterIdleLifetimeWaitsForAnExchange(t *testing.T) {
	var p policies
	r := newRig(t, tokenstore.Options{IdleLifetime: day, Client: p.of})
	secret := r.issue(request("ann")).Secret
	p.set(tokenstore.ClientPolicy{IdleLifetime: minute, Lifetime: minute})
	r.wait(23 * time.Hour)
	if r.expire() != 0 {
		t.Error("removed, though it is not expired")
	}
	secret = r.exchange(secret).Secret
	r.wait(time.Minute)
	if r.expire() != 1 {
		t.Error("a life that was cut short is not over in the background")
	}
	_, err := r.try(secret)
	wantRefusal(t, err, tokenstore.ErrUnknownToken)
}

// TestExpiresByOnlyShortens, whatever the token's end is, and for a token that lives for ever too.
func TestExpiresByOnlyShortens(t *testing.T) {
	for _, static := range []bool{false, true} {
		for _, c := range []struct {
			name     string
			lifetime tokenstore.Lifetime
			by, want time.Duration // from the issue on; 0 for none
		}{
			{"none", day, 0, 24 * time.Hour},
			{"sooner", day, 2 * time.Hour, 2 * time.Hour},
			{"an instant sooner", day, 24*time.Hour - 1, 24*time.Hour - 1},
			{"at its end", day, 24 * time.Hour, 24 * time.Hour},
			{"later", day, 48 * time.Hour, 24 * time.Hour},
			{"of one that lives for ever", tokenstore.Never, 2 * time.Hour, 2 * time.Hour},
			{"none, of one that lives for ever", tokenstore.Never, 0, 0},
		} {
			r := newRig(t, tokenstore.Options{Lifetime: c.lifetime, IdleLifetime: tokenstore.Never, LastUsedEvery: time.Hour})
			req := request("ann")
			req.Static = static
			out := r.issue(req)
			out.Secret = r.exchange(out.Secret).Secret
			at := func(d time.Duration) time.Time {
				if d == 0 {
					return time.Time{}
				}
				return out.Token.CreatedAt.Add(d)
			}
			ask := tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app", ExpiresBy: at(c.by)}
			answer, err := r.Exchange(t.Context(), ask)
			if err != nil || !answer.Token.ExpiresAt.Equal(at(c.want)) {
				t.Errorf("static %v, %s: until %v, %v; want %v", static, c.name, answer.Token.ExpiresAt, err, at(c.want))
			}
			if c.want == 0 {
				continue
			}
			r.wait(c.want - 1)
			secret := r.exchange(answer.Secret).Secret
			r.wait(1)
			_, err = r.try(secret)
			wantRefusal(t, err, tokenstore.ErrExpired)
			r.wait(time.Second - 1)
			if r.expire() != 1 {
				t.Errorf("%s: not removed within a second of its end", c.name)
			}
		}
	}
}

// TestExpiresByOutOfRange: an instant that no record can hold is an error, and the secret still works.
func TestExpiresByOutOfRange(t *testing.T) {
	r := newRig(t, tokenstore.Options{Lifetime: tokenstore.Never})
	out := r.issue(request("ann"))
	r.wantNoWrite(func() {
		_, err := r.Exchange(t.Context(), tokenstore.ExchangeRequest{
			Secret: out.Secret, ClientID: "app", ExpiresBy: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
		})
		if !errors.Is(err, tokenstore.ErrInvalid) || errors.Is(err, tokenstore.ErrInvalidGrant) {
			t.Errorf("error %v, want a FieldError", err)
		}
	})
	r.exchange(out.Secret)
}

// TestNeverIsForEver: neither the exchange nor the sweep ends a token that does not expire.
func TestNeverIsForEver(t *testing.T) {
	r := newRig(t, tokenstore.Options{Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never})
	secret := r.issue(request("ann")).Secret
	for range 7 {
		r.wait(time.Duration(1<<63 - 1)) // 292 years
		if r.expire() != 0 {
			t.Fatal("removed")
		}
		secret = r.exchange(secret).Secret
	}
}
