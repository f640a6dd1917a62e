package domain_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

// foreignSuccessorForm is what "opaque" of the tenant acme, with the salt 1, is replaced by.
const foreignSuccessorForm = "rts_00000000000000000000000001_000000DTCQ7GYSH7J9HMTCH9XJ9XQWPVE7J8PB5EC72D0STJDG6E3QW7G2SFHR7G"

// longSecret is longer than a block of SHA-256, where HMAC takes the digest of a key for the key.
var longSecret = strings.Repeat("opaque-", 20)

// presented is a foreign secret as it comes from a client.
func presented(text string) domain.Credential {
	return domain.ForeignCredential(ulid.ULID{15: 1}, domain.NewSecret(text), domain.DigestForeign(text))
}

// importedToken is the record of a rotating token that was imported with the digest of a foreign secret.
func importedToken(text string) domain.RefreshToken {
	return domain.RefreshToken{
		ID: ulid.ULID{15: 1}, UserID: "user", ClientID: client, CreatedAt: noon, Rotating: true,
		ForeignDigest: domain.DigestForeign(text),
	}
}

// drawnFor is a credential for a weak secret, another one for each step.
func drawnFor(c domain.Credential, step byte) domain.Credential {
	drawn := must(domain.NewCredential(c.ID, bytes.NewReader(bytes.Repeat([]byte{step}, 32))))
	drawn.Generation = 1
	return drawn
}

func present(text string, now time.Time, step byte) domain.Exchange {
	e := exchange(presented(text), now, step)
	e.Drawn = drawnFor(e.Credential, step)
	return e
}

// TestForeignLine: a foreign secret is the parent of our first one, in every respect.
func TestForeignLine(t *testing.T) {
	for _, text := range []string{"x", "opaque", longSecret} {
		token := importedToken(text)
		e := present(text, noon, 1)
		first := e.Apply(token, false)
		if first.Refusal != "" || first.Next == nil || first.Retried {
			t.Fatalf("refusal %q, record %t, retried %t; want our first secret", first.Refusal, first.Next != nil, first.Retried)
		}
		ours := reveal(t, first.Secret)
		next := *first.Next
		if ours.ID != token.ID || ours.Generation != 1 || next.Generation != 1 || next.ForeignDigest != token.ForeignDigest ||
			next.FamilyDigest != ours.FamilyDigest() || next.SecretDigest != ours.SecretDigest() || next.Validate() != nil {
			t.Errorf("the record does not have our first secret: %+v", next)
		}
		retry := present(text, noon.Add(leeway-1), 2)
		if got := retry.Apply(next, false); got.Secret.Reveal() != first.Secret.Reveal() || !got.Retried || got.Next != nil {
			t.Error("a retry within the leeway gets another secret")
		}
		late := present(text, noon.Add(leeway), 2)
		wantRefusal(t, late.Apply(next, false), domain.ErrReused)
		same := present(text, noon.Add(leeway), 1)
		if got := same.Apply(next, false); got.Secret.Reveal() != first.Secret.Reveal() || got.Retried {
			t.Error("the same call does not find its own commit")
		}
		used, _ := rotate(t, next, ours, noon.Add(1), 3)
		wantRefusal(t, retry.Apply(used, false), domain.ErrReused)
		if used.FamilyDigest != next.FamilyDigest {
			t.Error("a later exchange changes the family")
		}
	}
}

func TestForeignStatic(t *testing.T) {
	token := importedToken("opaque")
	token.Rotating = false
	for step := range byte(3) {
		e := present("opaque", noon.Add(time.Duration(step)*time.Hour), step)
		got := e.Apply(token, false)
		if got.Refusal != "" || got.Secret.Reveal() != "opaque" || got.Next == nil {
			t.Fatalf("refusal %q, record %t; want the same secret again", got.Refusal, got.Next != nil)
		}
		token = *got.Next
		if token.Generation != 0 || token.SecretDigest != (domain.Digest{}) || !token.LastExchangedAt.Equal(e.Now) {
			t.Fatalf("the record is %+v, want one that was used and is as before", token)
		}
	}
	e := present("opaque", noon.Add(24*time.Hour), 9)
	e.Rotation = domain.RotationOn
	if got := e.Apply(token, false); got.Next == nil || got.Next.Generation != 1 || !got.Began {
		t.Error("the token does not begin to rotate")
	}
}

// TestForeignWeak: a weak secret has a successor that is drawn, and no second one.
func TestForeignWeak(t *testing.T) {
	token := importedToken("1234")
	token.ForeignWeak = true
	e := present("1234", noon, 1)
	got := e.Apply(token, false)
	if got.Refusal != "" || got.Secret.Reveal() != drawnFor(e.Credential, 1).Secret().Reveal() {
		t.Fatalf("refusal %q; want the secret that was drawn", got.Refusal)
	}
	if again := e.Apply(*got.Next, false); again.Secret.Reveal() != got.Secret.Reveal() || again.Retried || again.Next != nil {
		t.Error("the same call does not find its own commit")
	}
	second := present("1234", noon, 2)
	wantRefusal(t, second.Apply(*got.Next, false), domain.ErrReused)
	second.Drawn = domain.Credential{}
	wantRefusal(t, second.Apply(token, false), domain.ErrUnknownToken) // nobody gets the zero credential
}

// TestForeignSuccessorNeedsTheSecret: what is stored, digest and salt, does not derive the successor, nor does it as the key
// of a hash in the place of the secret.
func TestForeignSuccessorNeedsTheSecret(t *testing.T) {
	for _, text := range []string{"opaque", longSecret} {
		digest := domain.DigestForeign(text)
		ours := presented(text).Successor(tenant, domain.Salt{1})
		for name, stolen := range map[string]string{"digest": string(digest[:]), "hex": hex.EncodeToString(digest[:]), "other": text + "x"} {
			if c := domain.ForeignCredential(ulid.ULID{15: 1}, domain.NewSecret(stolen), digest); c.Successor(tenant, domain.Salt{1}).SecretDigest() == ours.SecretDigest() {
				t.Errorf("%s derives the successor", name)
			}
		}
	}
}

func TestForeignSuccessorDependsOnAll(t *testing.T) {
	seen := map[domain.Digest]string{}
	for name, c := range map[string]domain.Credential{
		"as is":  presented("opaque").Successor("acme", domain.Salt{1}),
		"tenant": presented("opaque").Successor("other", domain.Salt{1}),
		"salt":   presented("opaque").Successor("acme", domain.Salt{2}),
		"secret": presented("opaquf").Successor("acme", domain.Salt{1}),
		"id":     domain.ForeignCredential(ulid.ULID{15: 2}, domain.NewSecret("opaque"), domain.DigestForeign("opaque")).Successor("acme", domain.Salt{1}),
	} {
		for what, d := range map[string]domain.Digest{"secret": c.SecretDigest(), "family": c.FamilyDigest()} {
			if other, ok := seen[d]; ok {
				t.Errorf("%s of %s is that of %s", what, name, other)
			}
			seen[d] = name
		}
	}
	// A digest in a database must be recognised in the next release too.
	c := presented("opaque").Successor("acme", domain.Salt{1})
	if got, want := c.Secret().Reveal(), foreignSuccessorForm; got != want {
		t.Errorf("the successor is %s, want %s", got, want)
	}
}

// TestForeignOrderOfChecks: a foreign secret is checked in the order of our own, and a wrong one is unknown, whatever else
// is wrong.
func TestForeignOrderOfChecks(t *testing.T) {
	fresh := importedToken("opaque")
	fresh.Confirmation = jkt
	e := present("opaque", noon, 1)
	e.Confirmation = jkt
	replaced := *e.Apply(fresh, false).Next
	for bits := range 1 << 6 {
		wrong, wrongClient, wrongKey, revoked, expired, old := bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0, bits&32 != 0
		text, token, want := "opaque", fresh, domain.Refusal("")
		if old {
			token, want = replaced, domain.ErrReused
		}
		if expired {
			token.ExpiresAt, want = noon.Add(time.Minute), domain.ErrExpired
		}
		if revoked {
			want = domain.ErrRevoked
		}
		e := present(text, noon.Add(time.Hour), 2)
		e.Confirmation = jkt
		if wrongKey {
			e.Confirmation, want = domain.Confirmation{}, domain.ErrConfirmation
		}
		if wrongClient {
			e.ClientID, want = "other", domain.ErrWrongClient
		}
		if wrong {
			e.Credential, want = presented("another"), domain.ErrUnknownToken
		}
		got := e.Apply(token, revoked)
		if got.Refusal != want || (want != "") != (got.Next == nil) {
			t.Errorf("%06b: refusal %q, want %q", bits, got.Refusal, want)
		}
	}
	none := fresh
	none.ForeignDigest = domain.Digest{}
	zero := domain.ForeignCredential(none.ID, domain.NewSecret("opaque"), domain.Digest{})
	for _, c := range []domain.Credential{zero, presented("opaque")} {
		e := exchange(c, noon, 1)
		wantRefusal(t, e.Apply(none, false), domain.ErrUnknownToken)
	}
	// Nor does one of our own form do for a token that never had one.
	for _, generation := range []uint32{0, 1} {
		forged := newCredential()
		forged.Generation = generation
		e := exchange(forged, noon, 1)
		wantRefusal(t, e.Apply(fresh, false), domain.ErrUnknownToken)
	}
}

// TestForeignLife follows a token through a drawn life, beside a model that has one line of secrets: all that are older than
// the parent are replay, and so is the parent but for the leeway of a strong one, while the current one has not been used.
func TestForeignLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := importedToken("opaque")
		token.ForeignWeak = rapid.Bool().Draw(t, "weak")
		line := []domain.Credential{presented("opaque")}
		now, rotated := noon, noon
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, 1, leeway - 1, leeway}).Draw(t, "wait"))
			at := rapid.IntRange(max(0, len(line)-3), len(line)-1).Draw(t, "generation")
			e := exchange(line[at], now, byte(step+1))
			e.Drawn = drawnFor(line[at], byte(step+100))
			got := e.Apply(token, false)
			switch {
			case at == len(line)-1:
				if got.Refusal != "" || got.Next == nil {
					t.Fatal("the current secret is refused")
				}
				token, rotated = *got.Next, now
				line = append(line, reveal(t, got.Secret))
			case at == len(line)-2 && now.Sub(rotated) < leeway && !(at == 0 && token.ForeignWeak):
				if got.Secret.Reveal() != line[at+1].Secret().Reveal() || got.Next != nil {
					t.Fatal("a retry within the leeway does not get the same secret")
				}
			case got.Refusal != domain.ErrReused || got.Next != nil || got.Secret.Reveal() != "":
				t.Fatal("an outdated secret is not replay")
			}
			if err := token.Validate(); err != nil {
				t.Fatal("an exchange makes a record that is not valid")
			}
		}
	})
}

func TestForeignIntrospect(t *testing.T) {
	token := importedToken("opaque")
	c := presented("opaque")
	e := present("opaque", noon, 1)
	next := *e.Apply(token, false).Next
	for _, got := range []struct{ cause, want domain.Refusal }{
		{c.Introspect(&token, false, noon, nil), ""},
		{c.Introspect(&token, true, noon, nil), domain.ErrRevoked},
		{c.Introspect(&next, false, noon, nil), domain.ErrReused},
		{presented("another").Introspect(&token, false, noon, nil), domain.ErrUnknownToken},
	} {
		if got.cause != got.want {
			t.Errorf("cause %q, want %q", got.cause, got.want)
		}
	}
}

func TestForeignValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*domain.RefreshToken)
		field  string
	}{
		"a digest":                  {func(*domain.RefreshToken) {}, ""},
		"a weak one":                {func(t *domain.RefreshToken) { t.ForeignWeak = true }, ""},
		"and a secret of our own":   {func(t *domain.RefreshToken) { t.SecretDigest = domain.Digest{1} }, "foreign_digest"},
		"of a later generation":     {func(t *domain.RefreshToken) { t.Generation = 1 }, "foreign_digest"},
		"replaced":                  {func(t *domain.RefreshToken) { t.Generation, t.SecretDigest = 1, domain.Digest{1} }, ""},
		"a weak one, but no digest": {func(t *domain.RefreshToken) { t.ForeignDigest, t.ForeignWeak = domain.Digest{}, true }, "foreign_weak"},
	} {
		token := importedToken("opaque")
		c.change(&token)
		if err := token.Validate(); c.field != "" {
			wantField(t, err, c.field)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForeignShowsNothing(t *testing.T) {
	c := presented("opaque-secret")
	for _, shown := range []string{
		fmt.Sprintf("%v %+v %#v %s %x", c, c, c, c, c),
		fmt.Sprintf("%v %+v %#v", struct{ c domain.Credential }{c}, struct{ c domain.Credential }{c}, []any{&c}),
	} {
		if strings.Contains(shown, "opaque-secret") || strings.Contains(shown, hex.EncodeToString([]byte("opaque-secret"))) {
			t.Error("a foreign secret is shown")
		}
	}
	if c.Secret().Reveal() != "opaque-secret" || c.FamilyDigest() != presented("x").FamilyDigest() {
		t.Error("a foreign secret is not given back, or has parts")
	}
}

func TestParseForeignDigest(t *testing.T) {
	sum := sha256.Sum256([]byte("opaque"))
	if got := domain.DigestForeign("opaque"); got != sum {
		t.Errorf("the digest of a foreign secret is %x, want its SHA-256", got)
	}
	sum[0], sum[1] = 0xfb, 0xff // so that the two alphabets differ
	for _, text := range []string{
		hex.EncodeToString(sum[:]), strings.ToUpper(hex.EncodeToString(sum[:])),
		base64.StdEncoding.EncodeToString(sum[:]), base64.RawStdEncoding.EncodeToString(sum[:]),
		base64.URLEncoding.EncodeToString(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:]),
	} {
		if got, err := domain.ParseForeignDigest(text); err != nil || got != sum {
			t.Errorf("%s: got %x, error %v", text, got, err)
		}
	}
	for name, c := range map[string]struct{ text, limit string }{
		"empty":      {"", "32 bytes"},
		"zero":       {strings.Repeat("0", 64), "32 bytes"},
		"SHA-1":      {strings.Repeat("ab", 20), "32 bytes"},
		"SHA-512":    {strings.Repeat("ab", 64), "32 bytes"},
		"no hex":     {strings.Repeat("xy", 32), "32 bytes"},
		"loose bits": {base64.RawStdEncoding.EncodeToString(sum[:])[:42] + "/", "32 bytes"},
		"newlines":   {hex.EncodeToString(sum[:])[:42] + "\n", "32 bytes"},
		"long":       {strings.Repeat("a", 1<<20), "32 bytes"},
		"bcrypt":     {"$2b$12$" + strings.Repeat("a", 53), "salted"},
		"Argon2":     {"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "salted"},
		"LDAP":       {"{SSHA}" + strings.Repeat("a", 32), "salted"},
	} {
		_, err := domain.ParseForeignDigest(c.text)
		if wrong := wantField(t, err, "foreign_digest"); !strings.Contains(wrong.Limit, c.limit) {
			t.Errorf("%s: the limit is %q, want it to say %q", name, wrong.Limit, c.limit)
		}
	}
}

func FuzzParseForeignDigest(f *testing.F) {
	sum := domain.DigestForeign("opaque")
	f.Add(hex.EncodeToString(sum[:]))
	f.Add(base64.StdEncoding.EncodeToString(sum[:]))
	f.Add(base64.RawURLEncoding.EncodeToString(sum[:]))
	f.Add("$2b$12$")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := domain.ParseForeignDigest(text)
		if err != nil {
			if !errors.Is(err, domain.ErrInvalid) || d != (domain.Digest{}) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for _, form := range []string{hex.EncodeToString(d[:]), base64.RawURLEncoding.EncodeToString(d[:])} {
			if again, err := domain.ParseForeignDigest(form); err != nil || again != d {
				t.Errorf("%q reads as %x, which does not read as itself", text, d)
			}
		}
	})
}
