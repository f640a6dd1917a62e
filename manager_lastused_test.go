package tokenstore_test

import (
	"testing"
	"time"

	"example.com/tokenstore"
	property "pgregory.net/rapid"
)

// TestLastUsedIsCoalesced: within the granularity an exchange of a token that does not rotate writes nothing, not even
// where it comes from; the first use is always noted.
func TestLastUsedIsCoalesced(t *testing.T) {
	for _, c := range []struct {
		name        string
		every       time.Duration
		idle        tokenstore.Lifetime
		granularity time.Duration
	}{
		{"as stated", time.Minute, hour, time.Minute},
		{"at most a tenth of the idle lifetime", time.Hour, hour, 6 * time.Minute},
		{"without an idle lifetime", time.Hour, tokenstore.Never, time.Hour},
		{"off", 0, hour, 0},
		{"negative is off", -time.Minute, hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, tokenstore.Options{LastUsedEvery: c.every, IdleLifetime: c.idle})
			req := request("ann")
			req.Static = true
			out := r.issue(req)
			ask := tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app"}
			use := func(ip string) (writes int) {
				t.Helper()
				before := r.spy.count()
				ask.Device.LastIP = ip
				if _, err := r.Exchange(t.Context(), ask); err != nil {
					t.Fatal(err)
				}
				return r.spy.count() - before
			}
			if use("192.0.2.1") != 1 {
				t.Error("the first use is not noted")
			}
			if c.granularity > 0 {
				for _, wait := range []time.Duration{0, 1, c.granularity - 2} {
					r.wait(wait)
					if use("192.0.2.2") != 0 {
						t.Errorf("written within the granularity, %v after the last", wait)
					}
				}
				r.wait(1)
			}
			if use("192.0.2.3") != 1 {
				t.Error("nothing written at the end of the granularity")
			}
			token := r.live("ann")[0]
			if !token.LastExchangedAt.Equal(r.now) || token.Device.LastIP != "192.0.2.3" || !token.IdleExpiresAt.Equal(c.idle.Deadline(r.now)) {
				t.Errorf("%+v, want what the last exchange that wrote said", token)
			}
		})
	}
}

// TestRotationIsNotCoalesced: each exchange of a rotating token writes, for its secret.
func TestRotationIsNotCoalesced(t *testing.T) {
	r := newRig(t, tokenstore.Options{LastUsedEvery: time.Hour})
	secret := r.issue(request("ann")).Secret
	for range 3 {
		before := r.spy.count()
		answer := r.exchange(secret)
		if r.spy.count() != before+1 || !answer.Token.LastExchangedAt.Equal(r.now) {
			t.Errorf("%d writes, last exchanged at %v", r.spy.count()-before, answer.Token.LastExchangedAt)
		}
		secret = answer.Secret
		r.wait(time.Second)
	}
}

// TestChangesAreNotCoalesced: what the policy or the request changes is written, however recent the last use.
func TestChangesAreNotCoalesced(t *testing.T) {
	for name, change := range map[string]func(*tokenstore.ClientPolicy, *tokenstore.ExchangeRequest){
		"rotation":      func(p *tokenstore.ClientPolicy, _ *tokenstore.ExchangeRequest) { p.Rotation = tokenstore.RotationOn },
		"idle lifetime": func(p *tokenstore.ClientPolicy, _ *tokenstore.ExchangeRequest) { p.IdleLifetime = 2 * hour },
		"a shorter life": func(_ *tokenstore.ClientPolicy, r *tokenstore.ExchangeRequest) {
			r.ExpiresBy = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
		},
		"no idle at last": func(p *tokenstore.ClientPolicy, _ *tokenstore.ExchangeRequest) { p.IdleLifetime = tokenstore.Never },
	} {
		var p policies
		r := newRig(t, tokenstore.Options{LastUsedEvery: time.Minute, IdleLifetime: hour, Client: p.of})
		req := request("ann")
		req.Static = true
		out := r.issue(req)
		r.exchange(out.Secret)
		ask := tokenstore.ExchangeRequest{Secret: out.Secret, ClientID: "app"}
		changed := tokenstore.ClientPolicy{}
		change(&changed, &ask)
		p.set(changed)
		before := r.spy.count()
		if _, err := r.Exchange(t.Context(), ask); err != nil || r.spy.count() != before+1 {
			t.Errorf("%s: %d writes, %v; want one", name, r.spy.count()-before, err)
		}
	}
}

// TestLastUsedNeverExpiresLate compares with a list of the real uses: a token lives at least as long after the last of
// them as its idle lifetime less the granularity, and never longer than the idle lifetime. The sweep agrees.
func TestLastUsedNeverExpiresLate(t *testing.T) {
	property.Check(t, func(rt *property.T) {
		var p policies
		every := time.Duration(property.IntRange(0, 15).Draw(rt, "every")) * time.Minute
		idle := time.Duration(property.IntRange(1, 10).Draw(rt, "idle")) * 10 * time.Minute
		r := newRig(t, tokenstore.Options{LastUsedEvery: every, Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Lifetime(idle), Client: p.of})
		req := request("ann")
		req.Static = true
		out := r.issue(req)
		last, noted, used := r.now, time.Time{}, false
		for range property.IntRange(1, 20).Draw(rt, "uses") {
			r.wait(time.Duration(property.IntRange(0, int(idle/time.Second)*11/10).Draw(rt, "pass")) * time.Second / time.Duration(property.SampledFrom([]int{1, 1, 10}).Draw(rt, "part")))
			granularity := min(every, idle/10)
			since := r.now.Sub(last)
			if property.Bool().Draw(rt, "sweep") {
				removed := r.expire()
				if removed > 0 && since < idle-granularity || removed == 0 && since >= idle+time.Second {
					rt.Fatalf("%d removed %v after the last use, of an idle lifetime of %v", removed, since, idle)
				}
				if removed > 0 {
					return
				}
			}
			longer := idle
			if property.IntRange(0, 4).Draw(rt, "other") == 0 {
				longer = time.Duration(property.IntRange(1, 10).Draw(rt, "other idle")) * 10 * time.Minute
			}
			p.set(tokenstore.ClientPolicy{IdleLifetime: tokenstore.Lifetime(longer)})
			before := r.spy.count()
			_, err := r.try(out.Secret)
			switch {
			case since >= idle && err != tokenstore.ErrIdleExpired:
				rt.Fatalf("%v %v after the last use, of an idle lifetime of %v", err, since, idle)
			case since < idle-granularity && err != nil:
				rt.Fatalf("%v %v after the last use, of an idle lifetime of %v with a granularity of %v", err, since, idle, granularity)
			case err != nil:
				return
			}
			mustWrite := !used || longer != idle || r.now.Sub(noted) >= granularity
			if wrote := r.spy.count() > before; wrote != mustWrite {
				rt.Fatalf("wrote: %v, want %v; noted %v before, with a granularity of %v", wrote, mustWrite, r.now.Sub(noted), granularity)
			}
			if mustWrite {
				noted, used = r.now, true
			}
			last, idle = r.now, longer
		}
	})
}
