package domain_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// ring has the keys "1", "2" and so on, and the given one is current.
func ring(current string, keys int) *domain.PepperRing {
	all := map[string][]byte{}
	for i := range keys {
		all[fmt.Sprint(i+1)] = key(byte(i + 1))
	}
	return must(domain.NewPepperRing(current, all))
}

func TestPepperRingLimits(t *testing.T) {
	many := map[string][]byte{}
	for i := range domain.MaxPepperKeys + 1 {
		many[fmt.Sprint(i)] = key(byte(i))
	}
	for name, c := range map[string]struct {
		current string
		keys    map[string][]byte
		field   string
	}{
		"no keys":       {"", nil, "pepper_keys"},
		"too many":      {"1", many, "pepper_keys"},
		"empty id":      {"", map[string][]byte{"": key(1)}, "pepper_key_id"},
		"long id":       {"", map[string][]byte{strings.Repeat("x", 33): key(1)}, "pepper_key_id"},
		"broken id":     {"", map[string][]byte{"\xff": key(1)}, "pepper_key_id"},
		"short key":     {"1", map[string][]byte{"1": make([]byte, 15)}, "pepper_key"},
		"long key":      {"1", map[string][]byte{"1": make([]byte, 257)}, "pepper_key"},
		"other current": {"2", map[string][]byte{"1": key(1)}, "pepper_current"},
	} {
		if _, err := domain.NewPepperRing(c.current, c.keys); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantField(t, err, c.field)
		}
	}
	for _, size := range []int{16, 256} {
		if _, err := domain.NewPepperRing("é", map[string][]byte{"é": make([]byte, size)}); err != nil {
			t.Error(err)
		}
	}
	delete(many, "0")
	if _, err := domain.NewPepperRing("1", many); err != nil || len(many) != domain.MaxPepperKeys {
		t.Errorf("%d keys: %v", len(many), err)
	}
	if _, err := domain.NewPepperRing("", map[string][]byte{strings.Repeat("é", 32): key(1)}); err != nil {
		t.Error(err)
	}
}

func TestPepperRingIsACopy(t *testing.T) {
	given := map[string][]byte{"1": key(1)}
	r := must(domain.NewPepperRing("1", given))
	var before, after domain.RefreshToken
	r.Seal(&before, newCredential())
	clear(given["1"])
	delete(given, "1")
	r.Seal(&after, newCredential())
	if before.SecretDigest != after.SecretDigest || !r.Holds("1") || r.Holds("2") || !r.Holds("") || r.Current() != "1" {
		t.Error("the ring follows what its maker does with the keys")
	}
	var none *domain.PepperRing
	if none.Current() != "" || none.Holds("1") || !none.Holds("") || len(none.IDs()) != 0 {
		t.Error("a nil ring has a key")
	}
	if got := ring("", 3).IDs(); fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("ids %v", got)
	}
}

func TestPepperRingShowsNothing(t *testing.T) {
	r := must(domain.NewPepperRing("id-of-the-key", map[string][]byte{"id-of-the-key": []byte("0123456789abcdef-key")}))
	held := struct {
		Ring  *domain.PepperRing
		inner *domain.PepperRing
		value domain.PepperRing
	}{r, r, *r}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{r, *r, held, &held, []any{held}} {
			shown := fmt.Sprintf(format, v)
			for _, part := range []string{"abcdef", hex.EncodeToString([]byte("abcdef")), "97 98 99"} {
				if strings.Contains(shown, part) {
					t.Errorf("%s shows the key", format)
				}
			}
		}
	}
	if text := string(must(json.Marshal(held))); strings.Contains(text, "abcdef") || !strings.Contains(text, "[secret]") {
		t.Errorf("JSON: %s", text)
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(r); err == nil {
		t.Error("gob takes a ring")
	}
}

// TestPepperForms: digests are in databases, so those under a key must not change either.
func TestPepperForms(t *testing.T) {
	var token domain.RefreshToken
	ring("1", 1).Seal(&token, newCredential())
	e := exchange(newCredential(), noon, 1)
	e.Pepper = ring("1", 1)
	sealed := newToken(newCredential())
	e.Pepper.Seal(&sealed, newCredential())
	got := e.Apply(sealed, false)
	for _, c := range []struct{ name, got, want string }{
		{"family", hex.EncodeToString(token.FamilyDigest[:]), "6cb7e5c1e26b95a56f7c10a6839caafdba386da4a8db12e239c26d200dc33cd2"},
		{"secret", hex.EncodeToString(token.SecretDigest[:]), "f306c87491c77696417447d77055734a11546c2cd1e2e7c6d0f0281e50942900"},
		{"successor", got.Secret.Reveal(), "rts_00000000000000000000000001_000000D7MYKTF9X7MYKTF9X7MYKTF9X7ADV4DWC9C3HAXNAN5E168S3HNZY75WPF"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
}

// TestPepperSeparates: each key, and none, makes digests and successors of its own.
func TestPepperSeparates(t *testing.T) {
	c := newCredential()
	seen := map[domain.Digest]bool{}
	secrets := map[string]bool{}
	rings := []*domain.PepperRing{nil, ring("1", 2), ring("2", 2)}
	for _, r := range rings {
		token := newToken(c)
		r.Seal(&token, c)
		seen[token.FamilyDigest], seen[token.SecretDigest] = true, true
		for _, credential := range []domain.Credential{c, presented("opaque")} {
			e := exchange(credential, noon, 1)
			e.Pepper = r
			before := token
			if credential.Foreign() {
				before = importedToken("opaque")
			}
			got := e.Apply(before, false)
			if got.Refusal != "" || got.Next.PepperKeyID != r.Current() {
				t.Fatalf("refusal %q, key %q", got.Refusal, got.Next.PepperKeyID)
			}
			secrets[got.Secret.Reveal()] = true
		}
	}
	if len(seen) != 2*len(rings) || len(secrets) != 2*len(rings) {
		t.Errorf("%d digests and %d successors, want %d of each", len(seen), len(secrets), 2*len(rings))
	}
}

// TestPepperMissingKey: a key that the ring lacks is the cause of a refusal of whatever is presented, and nothing is written.
func TestPepperMissingKey(t *testing.T) {
	l := newLine(t)
	imported := importedToken("opaque")
	e := present("opaque", noon, 1)
	e.Pepper = ring("1", 1)
	imported = *e.Apply(imported, false).Next
	l.token.PepperKeyID = "1"
	for _, r := range []*domain.PepperRing{nil, must(domain.NewPepperRing("2", map[string][]byte{"2": key(2)}))} {
		for name, c := range map[string]struct {
			credential domain.Credential
			token      domain.RefreshToken
		}{
			"current": {l.current, l.token}, "parent": {l.parent, l.token}, "grandparent": {l.grandparent, l.token},
			"forged": {otherFamily(l.current), l.token}, "foreign": {presented("opaque"), imported},
		} {
			e := exchange(c.credential, l.rotated, 3)
			e.Pepper = r
			if got := e.Apply(c.token, false); got.Refusal != domain.ErrKeyMissing || got.Next != nil {
				t.Errorf("%s: refusal %q, want that the key is missing", name, got.Refusal)
			}
			if got := c.credential.Introspect(&c.token, false, noon, r); got != domain.ErrKeyMissing {
				t.Errorf("%s: cause %q, want that the key is missing", name, got)
			}
		}
	}
}

// TestPepperLife follows a token through a drawn life in which the current key changes from exchange to exchange: the
// secrets are recognised as ever, a retry gets the same successor whatever key is current by then, and what the exchange of a
// current secret has written is under the current key.
func TestPepperLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCredential()
		token := newToken(c)
		token.Rotating = rapid.Bool().Draw(t, "rotating")
		line := []domain.Credential{c}
		now := noon
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			current := rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "key")
			at := rapid.IntRange(max(0, len(line)-3), len(line)-1).Draw(t, "generation")
			e := exchange(line[at], now, byte(step+1))
			e.Pepper, e.Granularity = ring(current, 3), time.Hour
			got := e.Apply(token, false)
			switch {
			case at == len(line)-1:
				if got.Refusal != "" {
					t.Fatal("the current secret is refused")
				}
				if got.Next != nil {
					token = *got.Next
				}
				if token.PepperKeyID != current {
					t.Fatal("a token keeps the digests of another key")
				}
				if token.Rotating {
					line = append(line, reveal(t, got.Secret))
				}
			case at == len(line)-2:
				if got.Secret.Reveal() != line[at+1].Secret().Reveal() || got.Next != nil {
					t.Fatal("a retry does not get the same secret")
				}
			case got.Refusal != domain.ErrReused:
				t.Fatal("an outdated secret is not replay")
			}
			for i, c := range line {
				want := domain.ErrReused
				if i == len(line)-1 {
					want = ""
				}
				if c.Introspect(&token, false, now, e.Pepper) != want {
					t.Fatal("a secret is not recognised")
				}
			}
			now = now.Add(1)
		}
	})
}
