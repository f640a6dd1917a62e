package domain_test

import (
	"math"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func TestExchangeRotates(t *testing.T) {
	first := newCredential()
	token := newToken(first)
	before := token
	e := exchange(first, noon.Add(time.Minute), 7)
	got := e.Apply(token, false)
	if got.Refusal != "" || got.Next == nil || got.Retried {
		t.Fatalf("refusal %q, record %t, retried %t; want a rotation", got.Refusal, got.Next != nil, got.Retried)
	}
	want := first.Successor(tenant, e.Salt)
	if got.Secret.Reveal() != want.Secret().Reveal() {
		t.Error("the secret is not the successor's")
	}
	after := before
	after.Generation, after.Salt, after.SecretDigest = 1, e.Salt, want.SecretDigest()
	after.RotatedAt, after.LastExchangedAt = e.Now, e.Now
	if !sameRecord(*got.Next, after) {
		t.Logf("got %+v, want %+v", *got.Next, after)
		t.Error("the record is not that of the next generation")
	}
	if !sameRecord(token, before) {
		t.Error("Apply has changed the record that it was given")
	}
	if again := e.Apply(token, false); again.Secret.Reveal() != got.Secret.Reveal() || !sameRecord(*again.Next, *got.Next) {
		t.Error("the same record gets another answer")
	}
}

func TestExchangeWithoutRotation(t *testing.T) {
	first := newCredential()
	token := newToken(first)
	token.Rotating = false
	text := first.Secret().Reveal()
	for step := range byte(3) {
		e := exchange(first, noon.Add(time.Duration(step)*time.Hour), step)
		got := e.Apply(token, false)
		if got.Refusal != "" || got.Next == nil || got.Secret.Reveal() != text {
			t.Fatalf("exchange %d: refusal %q, want the same secret again", step, got.Refusal)
		}
		want := token
		want.LastExchangedAt = e.Now
		if !sameRecord(*got.Next, want) {
			t.Errorf("exchange %d: more than the time has changed", step)
		}
		token = *got.Next
	}
}

func TestExchangeLifetimes(t *testing.T) {
	end := noon.Add(24 * time.Hour)
	for _, c := range []struct {
		name       string
		idle       domain.Lifetime
		idleEnd    time.Time
		wantedIdle time.Time
	}{
		{"idle is renewed", domain.Lifetime(time.Hour), noon.Add(time.Hour), noon.Add(90 * time.Minute)},
		{"idle never", domain.Never, time.Time{}, time.Time{}},
		{"no idle", 0, time.Time{}, time.Time{}},
		{"fixed idle end", 0, noon.Add(time.Hour), noon.Add(time.Hour)},
		{"idle past the absolute end", domain.Lifetime(48 * time.Hour), noon.Add(time.Hour), noon.Add(48*time.Hour + 30*time.Minute)},
	} {
		for _, rotating := range []bool{true, false} {
			first := newCredential()
			token := newToken(first)
			token.Rotating = rotating
			token.ExpiresAt, token.IdleLifetime, token.IdleExpiresAt = end, c.idle, c.idleEnd
			next, _ := rotate(t, token, first, noon.Add(30*time.Minute), 1)
			if !next.ExpiresAt.Equal(end) {
				t.Errorf("%s: the absolute end moves to %s", c.name, next.ExpiresAt)
			}
			if !next.IdleExpiresAt.Equal(c.wantedIdle) || next.IdleLifetime != c.idle {
				t.Errorf("%s: the idle end is %s, want %s", c.name, next.IdleExpiresAt, c.wantedIdle)
			}
		}
	}
}

func TestExchangeRetryRenewsNothing(t *testing.T) {
	first := newCredential()
	token := newToken(first)
	token.IdleLifetime, token.IdleExpiresAt = domain.Lifetime(time.Hour), noon.Add(time.Hour)
	token, _ = rotate(t, token, first, noon, 1)
	e := exchange(first, noon.Add(1), 2)
	e.RetryLimit = 1
	e.Device.LastIP = "192.0.2.1"
	want := token
	want.Retries = 1
	if got := e.Apply(token, false); got.Next == nil || !sameRecord(*got.Next, want) {
		t.Error("a retry changes more than its count")
	}
}

func TestExchangeDevice(t *testing.T) {
	old := domain.Device{
		InitialIP: "192.0.2.1", InitialASN: "64500", InitialUserAgent: "first",
		LastIP: "192.0.2.2", LastASN: "64501", LastUserAgent: "last",
	}
	for _, c := range []struct {
		name        string
		seen, after domain.Device
	}{
		{"nothing", domain.Device{}, old},
		{"address", domain.Device{LastIP: "x"}, with(old, func(d *domain.Device) { d.LastIP = "x" })},
		{"system", domain.Device{LastASN: "x"}, with(old, func(d *domain.Device) { d.LastASN = "x" })},
		{"agent", domain.Device{LastUserAgent: "x"}, with(old, func(d *domain.Device) { d.LastUserAgent = "x" })},
		{"initial is fixed", domain.Device{InitialIP: "x", InitialASN: "x", InitialUserAgent: "x"}, old},
	} {
		first := newCredential()
		token := newToken(first)
		token.Device = old
		e := exchange(first, noon, 1)
		e.Device = c.seen
		if got := e.Apply(token, false).Next.Device; got != c.after {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.after)
		}
	}
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func TestExchangeLastGeneration(t *testing.T) {
	c := newCredential()
	c.Generation = math.MaxUint32 - 1
	token, last := rotate(t, newToken(c), c, noon, 1)
	if last.Generation != math.MaxUint32 {
		t.Fatalf("generation is %d, want the last", last.Generation)
	}
	// Generation 0 would come next, and its first secret is long outdated.
	e := exchange(last, noon.Add(1), 2)
	wantRefusal(t, e.Apply(token, false), domain.ErrExpired)
	retry := exchange(c, noon.Add(1), 3)
	if got := retry.Apply(token, false); got.Secret.Reveal() != last.Secret().Reveal() {
		t.Errorf("the parent of the last generation is refused: %q", got.Refusal)
	}
	token.Rotating = false
	if got := e.Apply(token, false); got.Secret.Reveal() != last.Secret().Reveal() {
		t.Errorf("the last generation of a token that does not rotate is refused: %q", got.Refusal)
	}
}

func TestExchangeRecordWithoutDigests(t *testing.T) {
	// An imported token has a foreign digest only; nothing of our own form may match its zero digests.
	token := domain.RefreshToken{ID: ulid.ULID{15: 1}, ClientID: client, Generation: 1, Rotating: true}
	for _, c := range []domain.Credential{{}, newCredential(), {Generation: 1}, {Generation: 2}} {
		e := exchange(c, noon, 1)
		wantRefusal(t, e.Apply(token, false), domain.ErrUnknownToken)
	}
}

func TestIntrospect(t *testing.T) {
	l := newLine(t)
	l.token.ExpiresAt, l.token.IdleExpiresAt = noon.Add(3*time.Hour), noon.Add(2*time.Hour)
	for _, c := range []struct {
		name       string
		credential domain.Credential
		revoked    bool
		now        time.Time
		want       domain.Refusal
	}{
		{"current", l.current, false, noon, ""},
		{"current, last moment", l.current, false, noon.Add(2*time.Hour - 1), ""},
		{"current, idle", l.current, false, noon.Add(2 * time.Hour), domain.ErrIdleExpired},
		{"current, expired", l.current, false, noon.Add(3 * time.Hour), domain.ErrExpired},
		{"current, revoked", l.current, true, noon, domain.ErrRevoked},
		{"current, revoked and expired", l.current, true, noon.Add(4 * time.Hour), domain.ErrRevoked},
		{"parent inside the leeway", l.parent, false, l.rotated, domain.ErrReused},
		{"parent, revoked", l.parent, true, l.rotated, domain.ErrRevoked},
		{"grandparent", l.grandparent, false, noon, domain.ErrReused},
		{"ahead", l.current.Successor(tenant, domain.Salt{}), false, noon, domain.ErrAhead},
		{"ahead, revoked", l.current.Successor(tenant, domain.Salt{}), true, noon, domain.ErrAhead},
		{"other family", otherFamily(l.current), false, noon, domain.ErrUnknownToken},
		{"other family, revoked", otherFamily(l.current), true, noon, domain.ErrUnknownToken},
		{"other family, old", otherFamily(l.parent), false, noon, domain.ErrUnknownToken},
		{"same family, wrong secret", sameFamily(l.current), false, noon, domain.ErrUnknownToken},
	} {
		if got := c.credential.Introspect(&l.token, c.revoked, c.now, nil); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestExchangeOneLiveSecret runs exchanges, retries and replays at random, and looks at every secret ever handed out:
// exactly one of them is live as long as the token is not revoked, and none from then on.
func TestExchangeOneLiveSecret(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := newCredential()
		token := newToken(first)
		token.Rotating = rapid.IntRange(0, 4).Draw(t, "rotating") != 0
		ever := []domain.Credential{first}
		salts := map[uint32]domain.Salt{} // of the exchange that used the secret of a generation
		now, revoked := noon, false
		limit := rapid.Uint32Range(0, 2).Draw(t, "retry limit")

		for step := range byte(rapid.IntRange(1, 25).Draw(t, "steps")) {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, 1, leeway - 1, leeway, leeway + 1}).Draw(t, "elapsed"))
			// Mostly the last two, as older ones end the run.
			back := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 1, 2}).Draw(t, "back")
			used := ever[max(0, len(ever)-1-back)]
			e := exchange(used, now, step)
			e.RetryLimit = limit
			if salt, ok := salts[used.Generation]; ok && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
				e.Salt = salt // an exchange which is tried again, as its answer was lost
			}
			before := token
			got := e.Apply(token, revoked)
			t.Logf("step %d: generation %d of %d, %q", step, used.Generation, token.Generation, got.Refusal)

			if (got.Refusal == "") == (got.Secret.Reveal() == "") {
				t.Fatalf("not exactly one of refusal and secret is set")
			}
			if got.Next != nil {
				token = *got.Next
			}
			if got.Refusal == domain.ErrReused {
				revoked = true
			}
			if got.Refusal == "" {
				handed := reveal(t, got.Secret)
				if handed.Generation != token.Generation {
					t.Fatalf("what is handed out is not of the current generation")
				}
				if handed.Generation != before.Generation {
					salts[used.Generation] = e.Salt
					ever = append(ever, handed)
				}
				if text := ever[len(ever)-1].Secret().Reveal(); got.Secret.Reveal() != text {
					t.Fatalf("two secrets of one generation are handed out")
				}
			}
			checkLive(t, token, ever, revoked, now)
		}
	})
}

func checkLive(t *rapid.T, token domain.RefreshToken, ever []domain.Credential, revoked bool, now time.Time) {
	active, exchangeable := 0, 0
	for i, c := range ever {
		introspected := c.Introspect(&token, revoked, now, nil)
		if introspected == "" {
			active++
			if i != len(ever)-1 {
				t.Fatalf("an outdated secret is active")
			}
		}
		e := exchange(c, now, 255)
		e.Leeway = 0
		refusal := e.Apply(token, revoked).Refusal
		if refusal == "" {
			exchangeable++
		}
		if refusal != introspected {
			t.Fatalf("exchange and introspection disagree")
		}
	}
	want := 1
	if revoked {
		want = 0
	}
	if active != want || exchangeable != want {
		t.Logf("active %d, exchangeable %d, want %d", active, exchangeable, want)
		t.Fatalf("the number of live secrets is wrong")
	}
}
