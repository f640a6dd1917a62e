package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/oklog/ulid/v2"
)

// MinForeignEntropy is the entropy, in bits, below which a foreign secret is weak ([RefreshToken.ForeignWeak]).
const MinForeignEntropy = 128

// DigestForeign is the digest by which a foreign secret is known unless the host has another one: its SHA-256, without
// anything added, as other systems have it in their tables.
func DigestForeign(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// ParseForeignDigest reads a digest of 32 bytes in hexadecimal, or in base 64 of either alphabet, padded or not. It returns a
// [FieldError] for any other text. A salted digest, as bcrypt, scrypt and Argon2 make it, is refused as such: the same
// secret has another digest each time, so that none can be looked up from what a client presents.
func ParseForeignDigest(text string) (Digest, error) {
	const field = "foreign_digest"
	if strings.HasPrefix(text, "$") || strings.HasPrefix(text, "{") {
		return Digest{}, &FieldError{Field: field, Limit: "deterministic: a salted digest can't be looked up", Size: len(text)}
	}
	wrong := &FieldError{Field: field, Limit: "32 bytes in hexadecimal or base 64, not all zero", Size: len(text)}
	if len(text) > 2*len(Digest{}) {
		return Digest{}, wrong
	}
	var raw []byte
	var err error
	if len(text) == 2*len(Digest{}) {
		raw, err = hex.DecodeString(text)
	} else {
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(text, "="))
		raw, err = base64.RawStdEncoding.Strict().DecodeString(plain)
	}
	if err != nil || len(raw) != len(Digest{}) || Digest(raw) == (Digest{}) {
		return Digest{}, wrong
	}
	return Digest(raw), nil
}

// LooksLikeOurs reports whether a text begins as the secrets do that this library makes. Such a text is never taken for a
// foreign secret: if it does not parse it is mistyped.
func LooksLikeOurs(s Secret) bool { return strings.HasPrefix(s.Reveal(), secretPrefix) }

// ForeignCredential is a foreign secret that a client presents for the token with the given id, whose digest the caller
// has made. It is of generation 0.
func ForeignCredential(id ulid.ULID, s Secret, digest Digest) Credential {
	text := s.Reveal()
	return Credential{ID: id, text: &text, foreign: &digest}
}

// Foreign reports whether the credential is a foreign secret.
func (c Credential) Foreign() bool { return c.foreign != nil }

// foreignSuccessor derives the first credential of our own from a foreign secret: family and changing part are a keyed hash
// over tenant, id, generation and salt. The key is a hash of the secret, but not the one that is stored as its digest; nor
// the secret itself, because HMAC replaces a key that is longer than a block by just that digest.
func (c Credential) foreignSuccessor(tenant string, salt Salt, pepper *pepperKey) Credential {
	key := sha256.Sum256([]byte("tokenstore foreign secret\x00" + *c.text))
	sum := derive(key[:], "tokenstore foreign successor\x00", c.ID, 1, tenant, salt, pepper)
	return newCredential(c.ID, 1, randomParts(sum))
}

// derive is the keyed hash that successors are made of.
func derive(secret []byte, label string, id ulid.ULID, generation uint32, tenant string, salt Salt, pepper *pepperKey) (sum Digest) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(label))
	var head [16 + 4 + 16]byte
	copy(head[0:], id[:])
	binary.BigEndian.PutUint32(head[16:], generation)
	copy(head[20:], salt[:])
	mac.Write(head[:])
	mac.Write([]byte(tenant))
	mac.Sum(sum[:0])
	if pepper != nil {
		sum = pepper.digest(label + string(sum[:]))
	}
	return sum
}

// recogniseForeign says whether a foreign secret is the token's, and whether it has been replaced by one of our own.
func (c Credential) recogniseForeign(token *RefreshToken) (age, Refusal) {
	switch {
	case token.ForeignDigest == (Digest{}) || !token.ForeignDigest.Equal(*c.foreign):
		return 0, ErrUnknownToken
	case token.SecretDigest == (Digest{}):
		return current, ""
	}
	return outdated, ""
}

// checkForeign checks what a token has of a foreign secret: that is its generation 0, and it has no digests of its own
// before it has a generation of its own.
func (t *RefreshToken) checkForeign() error {
	own := t.SecretDigest != Digest{}
	switch {
	case t.ForeignDigest == (Digest{}) && t.ForeignWeak:
		return &FieldError{Field: "foreign_weak", Limit: "set only with a foreign digest"}
	case t.ForeignDigest != (Digest{}) && own != (t.Generation > 0):
		return &FieldError{Field: "foreign_digest", Limit: "that of generation 0, which has no other"}
	}
	return nil
}
