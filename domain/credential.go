package domain

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"io"

	"github.com/oklog/ulid/v2"
)

// The text form of a secret is prefix, id, "_", payload: 95 characters, all of them letters, digits and "_".
//
//	rts_01ARZ3NDEKTSV4RRFFQ69G5FAV_(64 characters)
//
// The payload is 40 bytes in Crockford's base 32: generation (4), family part (16), changing part (16), CRC-32 (4) of all
// that stands before it. So a secret scanner knows it by [SecretPattern], an operator reads the token's id out of it, and
// a mistype is refused without a look-up.
const (
	secretPrefix  = "rts_"
	payloadAt     = len(secretPrefix) + ulid.EncodedSize + 1
	payloadSize   = 40
	randomAt      = 4  // in the payload
	sumAt         = 36 // in the payload
	secretTextLen = payloadAt + payloadSize*8/5
)

// SecretPattern is a regular expression that matches the secrets this library makes, for secret scanners.
const SecretPattern = `rts_[0-7][0-9A-HJKMNP-TV-Z]{25}_[0-9A-HJKMNP-TV-Z]{64}`

const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var crockford = base32.NewEncoding(letters).WithPadding(base32.NoPadding)

// Digest is a domain-separated SHA-256 of a secret's parts. It does not reveal them, their parts being 128 random bits.
type Digest [sha256.Size]byte

// Salt is drawn for one exchange and kept with the record that it rotated. It makes the successor underivable from the
// parent alone, and lets an exchange that is tried again find out that it has already committed.
type Salt [16]byte

// Credential is a secret taken apart: the id of the token, the generation, the constant family part and the changing
// part. It shows as little of itself as a [Secret], and is meant to live for one call.
type Credential struct {
	hidden
	ID         ulid.ULID // ID is the id of the token that the secret claims to belong to.
	Generation uint32    // Generation is the generation that the secret claims to be of.
	text       *string   // a text that has the random parts in it; behind a pointer to a string, which fmt follows under no verb
	foreign    *Digest   // the digest of a foreign secret, which text then is; nil for one of our own
}

func newCredential(id ulid.ULID, generation uint32, random randomParts) Credential {
	raw := encode(id, generation, random)
	text := string(raw[:])
	return Credential{ID: id, Generation: generation, text: &text}
}

// randomParts are the family part and the changing part.
type randomParts [32]byte

func (r *randomParts) family() []byte   { return r[:16] }
func (r *randomParts) changing() []byte { return r[16:] }

// random returns the random parts, zeros for the zero value and for a foreign secret, which has none.
func (c Credential) random() (r randomParts) {
	c.readRandom(&r)
	return r
}

// readRandom writes the random parts into r, which must be zero, since a credential may have none. They are read out of the text, so that a
// secret which is only looked at is kept nowhere else.
func (c *Credential) readRandom(r *randomParts) {
	if c.text != nil && c.foreign == nil {
		decodeRandom(r, (*c.text)[payloadAt:])
	}
}

// NewCredential draws the first credential of a token from rand.
func NewCredential(id ulid.ULID, rand io.Reader) (Credential, error) {
	var random randomParts
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return Credential{}, err
	}
	return newCredential(id, 0, random), nil
}

// ParseSecret takes a secret of our own form apart. It returns [ErrMalformed] for any other text: a wrong length, prefix
// or letter, another spelling of the same bytes, a wrong checksum.
func ParseSecret(s Secret) (Credential, error) {
	text := s.Reveal()
	if len(text) != secretTextLen || text[:len(secretPrefix)] != secretPrefix || text[payloadAt-1] != '_' {
		return Credential{}, ErrMalformed
	}
	var payload [payloadSize]byte
	id, ok := decodeID(text[len(secretPrefix) : payloadAt-1])
	if !ok || !decodeLetters(payload[:], text[payloadAt:]) || checksum(text, &payload) != binary.BigEndian.Uint32(payload[sumAt:]) {
		return Credential{}, ErrMalformed
	}
	return Credential{ID: id, Generation: binary.BigEndian.Uint32(payload[:]), text: s.text}, nil
}

// Secret returns the text form, for a foreign secret the text that was presented.
func (c Credential) Secret() Secret {
	if c.foreign != nil {
		return Secret{text: c.text}
	}
	raw := encode(c.ID, c.Generation, c.random())
	if c.text != nil && *c.text == string(raw[:]) {
		return Secret{text: c.text}
	}
	return NewSecret(string(raw[:]))
}

func encode(id ulid.ULID, generation uint32, random randomParts) (raw [secretTextLen]byte) {
	copy(raw[:], secretPrefix)
	_ = id.MarshalTextTo(raw[len(secretPrefix) : payloadAt-1])
	raw[payloadAt-1] = '_'
	var payload [payloadSize]byte
	binary.BigEndian.PutUint32(payload[:], generation)
	copy(payload[randomAt:], random[:])
	binary.BigEndian.PutUint32(payload[sumAt:], checksum(string(raw[:payloadAt]), &payload))
	crockford.Encode(raw[payloadAt:], payload[:])
	return raw
}

// FamilyDigest is the digest of the constant part: it recognises any secret that the token ever had. It is made without a
// pepper; [PepperRing.Seal] makes those that are stored.
func (c Credential) FamilyDigest() Digest { return c.familyDigest(nil) }

func (c *Credential) familyDigest(pepper *pepperKey) Digest {
	random := c.random()
	var buf [1 + 16 + 16]byte
	buf[0] = 'F'
	copy(buf[1:], c.ID[:])
	copy(buf[17:], random.family())
	if pepper != nil {
		return pepper.digest(string(buf[:]))
	}
	return sha256.Sum256(buf[:])
}

// SecretDigest is the digest of the whole secret: it recognises the one of the current generation. It is made without a
// pepper, like [Credential.FamilyDigest].
func (c Credential) SecretDigest() Digest { return c.secretDigest(nil) }

func (c *Credential) secretDigest(pepper *pepperKey) Digest {
	var buf [1 + 16 + 16 + 16]byte // one block of SHA-256
	buf[0] = 'S'
	copy(buf[1:], c.ID[:])
	c.readRandom((*randomParts)(buf[17:]))
	if pepper != nil {
		return pepper.digest(string(buf[:]))
	}
	return sha256.Sum256(buf[:])
}

// successor derives the credential of the next generation: its changing part is a keyed hash of this one's over tenant,
// id, generation and salt. The same parent and salt always yield the same successor, which is why a lost answer can be
// given again though it is not stored; without the parent's secret nobody can derive it. Under a pepper an exchange hashes
// once more with its key, so that the secret alone is not enough either.
func (c Credential) successor(tenant string, salt Salt, pepper *pepperKey) Credential {
	if c.foreign != nil {
		return c.foreignSuccessor(tenant, salt, pepper)
	}
	generation := c.Generation + 1
	random := c.random()
	sum := derive(random.changing(), "tokenstore successor\x00", c.ID, generation, tenant, salt, pepper)
	copy(random.changing(), sum[:])
	return newCredential(c.ID, generation, random)
}

// Equal compares in constant time, by words, which is quicker than the bytes of crypto/subtle.
func (d Digest) Equal(other Digest) bool {
	differ := uint64(0)
	for i := 0; i < len(d); i += 8 {
		differ |= binary.LittleEndian.Uint64(d[i:]) ^ binary.LittleEndian.Uint64(other[i:])
	}
	return differ == 0
}
