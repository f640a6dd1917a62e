package domain_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

const (
	tenant = "acme"
	client = "app"
	leeway = 10 * time.Second
)

var jkt = domain.Confirmation{Kind: domain.ConfirmationJKT, Value: "thumbprint"}

// newToken is the record of a rotating token which was issued at noon with the credential.
func newToken(c domain.Credential) domain.RefreshToken {
	return domain.RefreshToken{
		ID: c.ID, UserID: "user", ClientID: client, CreatedAt: noon, Rotating: true,
		Generation: c.Generation, FamilyDigest: c.FamilyDigest(), SecretDigest: c.SecretDigest(),
	}
}

// exchange is a plain exchange of the credential. Each step draws another salt.
func exchange(c domain.Credential, now time.Time, step byte) domain.Exchange {
	return domain.Exchange{
		Credential: c, Tenant: tenant, ClientID: client, Now: now, Leeway: leeway, Salt: domain.Salt{step, 1},
	}
}

func reveal(t rapid.TB, s domain.Secret) domain.Credential {
	t.Helper()
	c, err := domain.ParseSecret(s)
	if err != nil {
		t.Fatalf("the exchange hands out what does not parse")
	}
	return c
}

// rotate exchanges the token's current credential, and returns the record and the credential that follow.
func rotate(t rapid.TB, token domain.RefreshToken, c domain.Credential, now time.Time, step byte) (domain.RefreshToken, domain.Credential) {
	t.Helper()
	e := exchange(c, now, step)
	got := e.Apply(token, false)
	if got.Refusal != "" || got.Next == nil || got.Retried {
		t.Fatalf("the current credential is not exchanged")
	}
	return *got.Next, reveal(t, got.Secret)
}

// line is a token after two rotations, the second of them at rotated, and all its credentials.
type line struct {
	token                        domain.RefreshToken
	grandparent, parent, current domain.Credential
	rotated                      time.Time
}

func newLine(t rapid.TB) line {
	t.Helper()
	l := line{grandparent: newCredential(), rotated: noon.Add(time.Hour)}
	l.token = newToken(l.grandparent)
	l.token, l.parent = rotate(t, l.token, l.grandparent, noon.Add(time.Minute), 1)
	l.token, l.current = rotate(t, l.token, l.parent, l.rotated, 2)
	return l
}

// wantRefusal fails unless the answer is the refusal and nothing else: no record to store, no secret.
func wantRefusal(t *testing.T, got domain.Exchanged, want domain.Refusal) {
	t.Helper()
	if got.Refusal != want {
		t.Errorf("refusal is %q, want %q", got.Refusal, want)
	}
	if got.Next != nil || got.Secret.Reveal() != "" || got.Retried {
		t.Errorf("a refusal comes with a record, a secret or a retry")
	}
}

// forge makes a credential with the id of the given one, from random bytes.
func forge(c domain.Credential, random []byte) domain.Credential {
	forged := must(domain.NewCredential(c.ID, bytes.NewReader(random)))
	forged.Generation = c.Generation
	return forged
}

func otherFamily(c domain.Credential) domain.Credential { return forge(c, make([]byte, 32)) }

// sameFamily has the family part that newCredential makes, and another changing part.
func sameFamily(c domain.Credential) domain.Credential {
	return forge(c, append(bytes.Repeat([]byte{filler}, 16), make([]byte, 16)...))
}

// TestExchangeOrderOfChecks goes through all combinations of what can be wrong: the first check that fails answers.
func TestExchangeOrderOfChecks(t *testing.T) {
	l := newLine(t)
	ahead := l.current.Successor(tenant, domain.Salt{})
	unknown := func(c domain.Credential, generation uint32) domain.Credential {
		c.Generation = generation
		return c
	}
	// What recognising a credential answers at once, and what its generation answers in the end.
	credentials := []struct {
		name        string
		credential  domain.Credential
		first, last domain.Refusal
	}{
		{"current", l.current, "", ""},
		{"parent, too late", l.parent, "", domain.ErrReused},
		{"grandparent", l.grandparent, "", domain.ErrReused},
		{"old generation, never handed out", unknown(sameFamily(l.parent), 1), "", domain.ErrReused},
		{"current secret as an old generation", unknown(l.current, 1), "", domain.ErrReused},
		{"ahead", ahead, domain.ErrAhead, ""},
		{"current secret as a new generation", unknown(l.current, math.MaxUint32), domain.ErrAhead, ""},
		{"forged, current generation", otherFamily(l.current), domain.ErrUnknownToken, ""},
		{"forged, old generation", otherFamily(l.parent), domain.ErrUnknownToken, ""},
		{"forged, new generation", otherFamily(ahead), domain.ErrUnknownToken, ""},
		{"right family, wrong changing part", sameFamily(l.current), domain.ErrUnknownToken, ""},
		{"parent as the current generation", unknown(l.parent, 2), domain.ErrUnknownToken, ""},
		{"zero", domain.Credential{}, domain.ErrUnknownToken, ""},
	}
	now := l.rotated.Add(leeway)
	for _, c := range credentials {
		for bits := range 1 << 5 {
			wrongClient, wrongConfirmation, revoked := bits&1 != 0, bits&2 != 0, bits&4 != 0
			expired, idle := bits&8 != 0, bits&16 != 0
			token := l.token
			token.Confirmation = jkt
			e := exchange(c.credential, now, 3)
			e.Confirmation = jkt
			want := c.last
			// From the last check to the first, so that the first has the last word.
			if idle {
				token.IdleExpiresAt = now
				want = domain.ErrIdleExpired
			}
			if expired {
				token.ExpiresAt = now
				want = domain.ErrExpired
			}
			if revoked {
				want = domain.ErrRevoked
			}
			if wrongConfirmation {
				e.Confirmation = domain.Confirmation{}
				want = domain.ErrConfirmation
			}
			if wrongClient {
				e.ClientID = "other"
				want = domain.ErrWrongClient
			}
			if c.first != "" {
				want = c.first
			}
			name := fmt.Sprintf("%s: client %t confirmation %t revoked %t expired %t idle %t",
				c.name, wrongClient, wrongConfirmation, revoked, expired, idle)
			got := e.Apply(token, revoked)
			if got.Refusal != want {
				t.Errorf("%s: refusal is %q, want %q", name, got.Refusal, want)
			}
			if refused := want != ""; refused != (got.Next == nil) || refused != (got.Secret.Reveal() == "") {
				t.Errorf("%s: a record or a secret is there or missing against the refusal %q", name, want)
			}
		}
	}
}

func TestExchangeConfirmation(t *testing.T) {
	other := domain.Confirmation{Kind: jkt.Kind, Value: "other"}
	kind := domain.Confirmation{Kind: domain.ConfirmationX5TS, Value: jkt.Value}
	for _, c := range []struct {
		name         string
		bound, shown domain.Confirmation
		want         domain.Refusal
	}{
		{"bound, the key", jkt, jkt, ""},
		{"bound, none shown", jkt, domain.Confirmation{}, domain.ErrConfirmation},
		{"bound, another key", jkt, other, domain.ErrConfirmation},
		{"bound, another kind", jkt, kind, domain.ErrConfirmation},
		{"not bound, one shown", domain.Confirmation{}, jkt, ""},
		{"not bound, none shown", domain.Confirmation{}, domain.Confirmation{}, ""},
	} {
		first := newCredential()
		token := newToken(first)
		token.Confirmation = c.bound
		e := exchange(first, noon, 1)
		e.Confirmation = c.shown
		got := e.Apply(token, false)
		if got.Refusal != c.want {
			t.Errorf("%s: refusal is %q, want %q", c.name, got.Refusal, c.want)
		}
		if got.Next != nil && got.Next.Confirmation != c.bound {
			t.Errorf("%s: the exchange changes the binding", c.name)
		}
	}
}

func TestExchangeLeeway(t *testing.T) {
	l := newLine(t)
	for _, c := range []struct {
		name    string
		leeway  time.Duration
		elapsed time.Duration
		want    domain.Refusal
	}{
		{"at once", leeway, 0, ""},
		{"last nanosecond", leeway, leeway - 1, ""},
		{"over", leeway, leeway, domain.ErrReused},
		{"long over", leeway, time.Hour, domain.ErrReused},
		{"clock that goes back", leeway, -time.Hour, ""},
		{"one nanosecond, at once", 1, 0, ""},
		{"one nanosecond, over", 1, 1, domain.ErrReused},
		{"off, at once", 0, 0, domain.ErrReused},
		{"off, later", 0, 1, domain.ErrReused},
		{"off, clock that goes back", 0, -1, domain.ErrReused},
		{"negative, at once", -1, 0, domain.ErrReused},
		{"negative, clock that goes back", -1, -2, domain.ErrReused},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := exchange(l.parent, l.rotated.Add(c.elapsed), 3)
			e.Leeway = c.leeway
			got := e.Apply(l.token, false)
			if c.want != "" {
				wantRefusal(t, got, c.want)
				return
			}
			if got.Refusal != "" || !got.Retried || got.Next != nil {
				t.Errorf("refusal %q, retried %t, record %t; want a retry that writes nothing", got.Refusal, got.Retried, got.Next != nil)
			}
			if got.Secret.Reveal() != l.current.Secret().Reveal() {
				t.Error("the retry gets another secret")
			}
		})
	}
}

func TestExchangeGrandparentIsReuse(t *testing.T) {
	l := newLine(t)
	e := exchange(l.grandparent, l.rotated, 3)
	wantRefusal(t, e.Apply(l.token, false), domain.ErrReused)
	e.Leeway = 1000 * time.Hour
	wantRefusal(t, e.Apply(l.token, false), domain.ErrReused)
	// Not even with the salt that once made it the parent.
	e.Salt = domain.Salt{1, 1}
	wantRefusal(t, e.Apply(l.token, false), domain.ErrReused)
}

func TestExchangeUsedSuccessorEndsLeeway(t *testing.T) {
	l := newLine(t)
	// The token stops rotating, so that the use of the successor leaves the generation as it is.
	l.token.Rotating = false
	token, _ := rotate(t, l.token, l.current, l.rotated.Add(1), 3)
	if token.Generation != l.token.Generation {
		t.Fatal("a token that does not rotate has rotated")
	}
	e := exchange(l.parent, l.rotated.Add(2), 4)
	wantRefusal(t, e.Apply(token, false), domain.ErrReused)
}

func TestExchangeOwnSaltFindsItsCommit(t *testing.T) {
	l := newLine(t)
	e := exchange(l.parent, l.rotated.Add(time.Hour), 2) // the salt that the line drew for its second rotation
	for _, e.Leeway = range []time.Duration{0, leeway} {
		for _, e.RetryLimit = range []uint32{0, 1} {
			got := e.Apply(l.token, false)
			if got.Refusal != "" || got.Next != nil || got.Retried {
				t.Errorf("refusal %q, record %t, retried %t; want the answer and no write", got.Refusal, got.Next != nil, got.Retried)
			}
			if got.Secret.Reveal() != l.current.Secret().Reveal() {
				t.Error("the re-run gets another secret")
			}
		}
	}
	wantRefusal(t, e.Apply(l.token, true), domain.ErrRevoked)
	e.Tenant = "other"
	wantRefusal(t, e.Apply(l.token, false), domain.ErrReused)
}

func TestExchangeRetryLimit(t *testing.T) {
	l := newLine(t)
	token := l.token
	e := exchange(l.parent, l.rotated, 3)
	e.RetryLimit = 2
	for try := range uint32(2) {
		got := e.Apply(token, false)
		if got.Refusal != "" || !got.Retried || got.Next == nil {
			t.Fatalf("try %d: refusal %q, retried %t; want a retry that is counted", try, got.Refusal, got.Retried)
		}
		if got.Secret.Reveal() != l.current.Secret().Reveal() {
			t.Errorf("try %d: another secret", try)
		}
		want := token
		want.Retries++
		if !sameRecord(*got.Next, want) {
			t.Errorf("try %d: more than the count has changed", try)
		}
		token = *got.Next
	}
	for range 3 {
		wantRefusal(t, e.Apply(token, false), domain.ErrRetryLimit)
	}
	e.Now = l.rotated.Add(leeway)
	wantRefusal(t, e.Apply(token, false), domain.ErrReused)
	next, _ := rotate(t, token, l.current, l.rotated, 4)
	if next.Retries != 0 {
		t.Errorf("the next generation begins with %d retries, want 0", next.Retries)
	}
}

// sameRecord compares what an exchange may change.
func sameRecord(a, b domain.RefreshToken) bool {
	return a.SameIdentity(&b) && a.Generation == b.Generation && a.Retries == b.Retries && a.Salt == b.Salt &&
		a.SecretDigest == b.SecretDigest && a.FamilyDigest == b.FamilyDigest && a.Device == b.Device &&
		a.RotatedAt.Equal(b.RotatedAt) && a.LastExchangedAt.Equal(b.LastExchangedAt) &&
		a.ExpiresAt.Equal(b.ExpiresAt) && a.IdleExpiresAt.Equal(b.IdleExpiresAt) && a.IdleLifetime == b.IdleLifetime &&
		a.Rotating == b.Rotating && a.Offline == b.Offline && a.Confirmation == b.Confirmation &&
		a.ForeignDigest == b.ForeignDigest && a.PepperKeyID == b.PepperKeyID && a.AuthenticatedAt.Equal(b.AuthenticatedAt)
}
