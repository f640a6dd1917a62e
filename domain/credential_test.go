package domain_test

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's

var secretPattern = regexp.MustCompile(`\A(?:` + domain.SecretPattern + `)\z`)

func drawCredential(t *rapid.T) domain.Credential {
	var id ulid.ULID
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	random := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "random")
	c := must(domain.NewCredential(id, bytes.NewReader(random)))
	c.Generation = rapid.Uint32().Draw(t, "generation")
	return c
}

func parse(text string) (domain.Credential, error) { return domain.ParseSecret(domain.NewSecret(text)) }

func TestCredentialRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made := drawCredential(t)
		text := made.Secret().Reveal()
		t.Logf("text: %s", text)
		if !secretPattern.MatchString(text) {
			t.Fatalf("SecretPattern does not match")
		}
		read, err := parse(text)
		if err != nil {
			t.Fatalf("a secret that was made does not parse")
		}
		if read.ID != made.ID || read.Generation != made.Generation {
			t.Fatalf("id or generation is lost")
		}
		if read.FamilyDigest() != made.FamilyDigest() || read.SecretDigest() != made.SecretDigest() {
			t.Fatalf("digests differ")
		}
		if read.Secret().Reveal() != text {
			t.Fatalf("text differs")
		}
	})
}

func TestSecretPatternInText(t *testing.T) {
	// A scanner finds the secret in the middle of a line.
	secret := newCredential().Secret().Reveal()
	found := regexp.MustCompile(domain.SecretPattern).FindString(`curl -d refresh_token=` + secret + `&x=y`)
	if found != secret {
		t.Errorf("found %q, want %q", found, secret)
	}
	if len(secret) != 95 {
		t.Errorf("length is %d, want 95", len(secret))
	}
}

func TestCredentialShortRandomness(t *testing.T) {
	for _, size := range []int{0, 15, 16, 31} {
		_, err := domain.NewCredential(ulid.ULID{1}, bytes.NewReader(make([]byte, size)))
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: error is %v, want an end of file", size, err)
		}
	}
}

func TestParseSecretRefusesEveryChange(t *testing.T) {
	text := newCredential().Secret().Reveal()
	if _, err := parse(text); err != nil {
		t.Fatalf("the secret itself: %v", err)
	}
	for at := range len(text) {
		for with := range 256 {
			changed := text[:at] + string([]byte{byte(with)}) + text[at+1:]
			if changed == text {
				continue
			}
			// A burst of up to 32 bits never escapes a CRC-32, so the refusal is certain.
			if _, err := parse(changed); !errors.Is(err, domain.ErrMalformed) {
				t.Errorf("byte %#x in place of %q at %d: error is %v, want ErrMalformed", with, text[at], at, err)
			}
		}
	}
}

func TestParseSecretRefusesSwaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(drawCredential(t).Secret().Reveal())
		at := rapid.IntRange(0, len(text)-2).Draw(t, "at")
		if text[at] == text[at+1] {
			return
		}
		text[at], text[at+1] = text[at+1], text[at]
		if _, err := parse(string(text)); !errors.Is(err, domain.ErrMalformed) {
			t.Fatalf("two letters change places, and it parses")
		}
	})
}

func TestParseSecretRefusesForms(t *testing.T) {
	// A credential of zeros and one that holds a 1, so that the aliases O, I and L have something to stand for.
	ones := must(domain.NewCredential(ulid.ULID{}, bytes.NewReader(bytes.Repeat([]byte{0x08, 0x42, 0x10, 0x84, 0x21}, 7))))
	text := ones.Secret().Reveal()
	id, payload := text[4:30], text[31:]
	fives := bytes.Repeat([]byte{0x5a}, 32)
	letters := must(domain.NewCredential(ulid.ULID(fives[:16]), bytes.NewReader(fives))).Secret().Reveal()
	for name, changed := range map[string]string{
		"empty":                 "",
		"prefix only":           "rts_",
		"one shorter":           text[:94],
		"one longer":            text + "0",
		"a ULID":                id,
		"no prefix":             text[4:],
		"another prefix":        "rtx_" + text[4:],
		"upper-case prefix":     "RTS_" + text[4:],
		"no separator":          text[:30] + "0" + payload,
		"space before":          " " + text,
		"space before, cut":     " " + text[:94],
		"newline after":         text + "\n",
		"newline at the end":    text[:94] + "\n",
		"newline inside":        text[:40] + "\n" + text[40:],
		"newline inside, cut":   text[:40] + "\n" + text[40:94],
		"newlines, 8 of them":   text[:40] + strings.Repeat("\n", 8) + text[48:],
		"return inside":         text[:40] + "\r" + text[41:],
		"newline in the id":     text[:10] + "\n" + text[11:],
		"NUL inside":            text[:40] + "\x00" + text[41:],
		"lower-case id":         letters[:4] + strings.ToLower(letters[4:30]) + letters[30:],
		"lower-case payload":    letters[:31] + strings.ToLower(letters[31:]),
		"all lower case":        strings.ToLower(letters),
		"alias O in id":         "rts_" + strings.Replace(id, "0", "O", 1) + "_" + payload,
		"alias o in id":         "rts_" + strings.Replace(id, "0", "o", 1) + "_" + payload,
		"alias O in payload":    "rts_" + id + "_" + strings.Replace(payload, "0", "O", 1),
		"alias I in payload":    "rts_" + id + "_" + strings.Replace(payload, "1", "I", 1),
		"alias L in payload":    "rts_" + id + "_" + strings.Replace(payload, "1", "L", 1),
		"alias l in payload":    "rts_" + id + "_" + strings.Replace(payload, "1", "l", 1),
		"U, which is no letter": "rts_" + id + "_" + strings.Replace(payload, "1", "U", 1),
		"padding":               text[:94] + "=",
		"id above the largest":  "rts_8" + id[1:] + "_" + payload,
		"multi-byte":            text[:93] + "é",
	} {
		if changed == text || changed == letters {
			t.Errorf("%s: nothing has changed, the test is void", name)
		}
		if _, err := parse(changed); !errors.Is(err, domain.ErrMalformed) {
			t.Errorf("%s: error is %v, want ErrMalformed", name, err)
		}
	}
	if _, err := domain.ParseSecret(domain.Secret{}); !errors.Is(err, domain.ErrMalformed) {
		t.Errorf("zero secret: error is %v, want ErrMalformed", err)
	}
}

// Whoever knows how the checksum is made still gets no second text for an id.
func TestParseSecretRefusesIDsWithTheirChecksum(t *testing.T) {
	crockford := base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
	text := newCredential().Secret().Reveal()
	head, payload := text[:31], must(crockford.DecodeString(text[31:]))[:36]
	for _, c := range []struct {
		name, head string
		good       bool
	}{
		{"as it is", head, true},
		{"above the largest", "rts_8" + head[5:], false},
		{"a first letter that is none", "rts_U" + head[5:], false},
		{"a second letter that is none", head[:5] + "U" + head[6:], false},
		{"a third letter that is none", head[:6] + "U" + head[7:], false},
		{"a last letter that is none", head[:29] + "U" + head[30:], false},
	} {
		sum := crc32.ChecksumIEEE(append([]byte(c.head), payload...))
		_, err := parse(c.head + crockford.EncodeToString(binary.BigEndian.AppendUint32(slices.Clone(payload), sum)))
		if c.good && err != nil || !c.good && !errors.Is(err, domain.ErrMalformed) {
			t.Errorf("%s: error is %v", c.name, err)
		}
	}
}

func TestMalformedIsInvalidGrant(t *testing.T) {
	_, err := parse("nonsense")
	if !errors.Is(err, domain.ErrInvalidGrant) {
		t.Errorf("%v is no ErrInvalidGrant", err)
	}
	if errors.Is(err, domain.ErrInvalid) || errors.Is(err, domain.ErrRevoked) {
		t.Errorf("%v is taken for another error", err)
	}
}

func TestSuccessor(t *testing.T) {
	parent := newCredential()
	salt := domain.Salt{1}
	next := parent.Successor("acme", salt)
	text := next.Secret().Reveal()

	if again := parent.Successor("acme", salt).Secret().Reveal(); again != text {
		t.Errorf("the same parent and salt yield %s and %s", text, again)
	}
	if reread := must(parse(parent.Secret().Reveal())).Successor("acme", salt).Secret().Reveal(); reread != text {
		t.Errorf("the parent that was read yields %s, want %s", reread, text)
	}
	if next.ID != parent.ID || next.Generation != 1 {
		t.Errorf("successor is generation %d of %s, want 1 of %s", next.Generation, next.ID, parent.ID)
	}
	if next.FamilyDigest() != parent.FamilyDigest() {
		t.Error("the family digest changes")
	}
	if next.SecretDigest() == parent.SecretDigest() {
		t.Error("the secret digest does not change")
	}

	later, otherID := parent, parent
	later.Generation = 7
	otherID.ID = ulid.ULID{15: 9}
	random := bytes.Repeat([]byte{filler}, 32)
	random[31] = 0
	otherChanging := must(domain.NewCredential(parent.ID, bytes.NewReader(random)))
	for name, other := range map[string]domain.Credential{
		"tenant":     parent.Successor("other", salt),
		"no tenant":  parent.Successor("", salt),
		"salt":       parent.Successor("acme", domain.Salt{2}),
		"generation": later.Successor("acme", salt),
		"id":         otherID.Successor("acme", salt),
		"parent":     otherChanging.Successor("acme", salt),
		"child":      next.Successor("acme", salt),
	} {
		// Id and generation are made equal, so that only the changing part can tell the two apart.
		other.ID, other.Generation = next.ID, next.Generation
		if other.SecretDigest() == next.SecretDigest() {
			t.Errorf("another %s yields the same changing part", name)
		}
		if other.FamilyDigest() != next.FamilyDigest() {
			t.Errorf("another %s changes the family part", name)
		}
	}
	if parent.Generation != 0 || parent.SecretDigest() != newCredential().SecretDigest() {
		t.Error("deriving the successor has changed the parent")
	}
}

func TestSuccessorLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCredential(t)
		c.Generation = rapid.Uint32Range(0, math.MaxUint32-20).Draw(t, "first generation")
		first := c.Generation
		family := c.FamilyDigest()
		seen := map[domain.Digest]bool{c.SecretDigest(): true}
		for step := range rapid.Uint32Range(1, 20).Draw(t, "steps") {
			c = c.Successor("acme", domain.Salt{byte(rapid.IntRange(0, 1).Draw(t, "salt"))})
			if c.Generation != first+step+1 {
				t.Fatalf("the generation does not rise by one")
			}
			if c.FamilyDigest() != family {
				t.Fatalf("the family digest changes")
			}
			if seen[c.SecretDigest()] {
				t.Fatalf("a secret comes back")
			}
			seen[c.SecretDigest()] = true
		}
	})
}

func TestDigests(t *testing.T) {
	c := newCredential()
	other := c
	other.ID = ulid.ULID{15: 2}
	if c.FamilyDigest() == other.FamilyDigest() || c.SecretDigest() == other.SecretDigest() {
		t.Error("tokens with the same random parts share a digest")
	}
	if c.FamilyDigest() == c.SecretDigest() {
		t.Error("the two digests of a credential are equal")
	}
	if d := c.SecretDigest(); !d.Equal(c.SecretDigest()) || d.Equal(c.FamilyDigest()) {
		t.Error("Equal disagrees with ==")
	}
	var zero domain.Credential
	if read, err := domain.ParseSecret(zero.Secret()); err != nil || read.SecretDigest() != zero.SecretDigest() {
		t.Errorf("the zero credential does not round trip: %v", err)
	}
}

// TestCredentialForms: secrets are in clients' hands and digests in databases, so neither may change from one release to
// the next.
func TestCredentialForms(t *testing.T) {
	first := newCredential()
	second := first.Successor("acme", domain.Salt{1})
	hexOf := func(d domain.Digest) string { return hex.EncodeToString(d[:]) }
	for _, c := range []struct{ name, got, want string }{
		{"secret", first.Secret().Reveal(), "rts_00000000000000000000000001_00000057MYKTF9X7MYKTF9X7MYKTF9X7MYKTF9X7MYKTF9X7MYKTF9X7MWGWSNRW"},
		{"family digest", hexOf(first.FamilyDigest()), "f448972bea6543d888ecd64d9c2f34c22d248bbaf88a41673ba33cb22546b4db"},
		{"secret digest", hexOf(first.SecretDigest()), "5967509fc67a2a880c4cdf92f15e58a1d6e76551b2f17b97fed181633ae8d5f5"},
		{"successor", second.Secret().Reveal(), "rts_00000000000000000000000001_000000D7MYKTF9X7MYKTF9X7MYKTF9X7VZ5ATPRJFS4Q9S2PGPEABGVWPYMB982Z"},
		{"successor's digest", hexOf(second.SecretDigest()), "95ddbbf566efa8f9da2523a0e564809595e780ad7845dd51b3c98806ce4a6b2b"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	text := newCredential().Secret().Reveal()
	f.Add(text)
	f.Add(newCredential().Successor("acme", domain.Salt{1}).Secret().Reveal())
	f.Add(text[:94])
	f.Add(text[:94] + "\n")
	f.Add(strings.ToLower(text))
	f.Add("rts_" + strings.Repeat("Z", 26) + "_" + strings.Repeat(alphabet, 2))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			if !errors.Is(err, domain.ErrMalformed) {
				t.Errorf("%q: error is %v, want ErrMalformed", text, err)
			}
			return
		}
		if again := c.Secret().Reveal(); again != text {
			t.Errorf("%q parses, but is written as %q", text, again)
		}
		if !secretPattern.MatchString(text) {
			t.Errorf("%q parses, but SecretPattern does not match", text)
		}
	})
}

func TestDigestsDifferByAnyBit(t *testing.T) {
	t.Parallel()
	d := domain.DigestForeign("secret")
	if same := d; !d.Equal(same) {
		t.Error("a digest is not its own equal")
	}
	for bit := range 8 * len(d) {
		other := d
		other[bit/8] ^= 1 << (bit % 8)
		if d.Equal(other) {
			t.Errorf("digests that differ in bit %d are equal", bit)
		}
		other[(bit/8+8)%len(d)] ^= 1 << (bit % 8)
		if d.Equal(other) {
			t.Errorf("digests that differ in bit %d, and in the same one of the next word, are equal", bit)
		}
	}
}
