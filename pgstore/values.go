package pgstore

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"time"

	"example.com/tokenstore/domain"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/oklog/ulid/v2"
)

// keyOf is what a tenant is known by in every row: the first 16 bytes of the SHA-256 of its name.
func keyOf(name string) identity {
	sum := sha256.Sum256([]byte(name))
	return identity(sum[:16])
}

// number is a 64-bit number without sign, as a numeric.
type number uint64

// NumericValue writes the number.
func (n number) NumericValue() (pgtype.Numeric, error) {
	return pgtype.Numeric{Int: new(big.Int).SetUint64(uint64(n)), Valid: true}, nil
}

// ScanNumeric reads the number.
func (n *number) ScanNumeric(v pgtype.Numeric) error {
	if !v.Valid {
		*n = 0
		return nil
	}
	whole := v.Int
	for range v.Exp { // the server leaves out zeros at the end
		whole = new(big.Int).Mul(whole, big.NewInt(10))
	}
	if v.Exp < 0 || v.NaN || v.InfinityModifier != pgtype.Finite || !whole.IsUint64() {
		return damaged("a number")
	}
	*n = number(whole.Uint64())
	return nil
}

// instant is a time in two columns: to the microsecond, and what is below that.
type instant struct {
	at time.Time
	ns int16
}

func instantOf(t time.Time) instant {
	return instant{t.UTC().Truncate(time.Microsecond), int16(t.Nanosecond() % 1000)}
}

func (i instant) time() time.Time { return i.at.UTC().Add(time.Duration(i.ns)) }

// optional is a timestamptz that is null for the zero time.
type optional time.Time

// TimestamptzValue writes the time.
func (o optional) TimestamptzValue() (pgtype.Timestamptz, error) {
	t := time.Time(o)
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}, nil
}

// ScanTimestamptz reads the time.
func (o *optional) ScanTimestamptz(v pgtype.Timestamptz) error {
	*o = optional(v.Time.UTC())
	if !v.Valid {
		*o = optional{}
	}
	return nil
}

// text is a text that is null for the empty one.
type text string

// TextValue writes the text.
func (t text) TextValue() (pgtype.Text, error) {
	return pgtype.Text{String: string(t), Valid: t != ""}, nil
}

// ScanText reads the text.
func (t *text) ScanText(v pgtype.Text) error {
	*t = text(v.String)
	return nil
}

// identity is an id that is null for the zero one.
type identity ulid.ULID

// UUIDValue writes the id.
func (i identity) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: i, Valid: i != identity{}}, nil
}

// ScanUUID reads the id.
func (i *identity) ScanUUID(v pgtype.UUID) error {
	*i = identity(v.Bytes)
	if !v.Valid {
		*i = identity{}
	}
	return nil
}

// octets are the bytes of an array, null if they are all zero.
type octets []byte

// BytesValue writes the bytes.
func (o octets) BytesValue() ([]byte, error) {
	for _, b := range o {
		if b != 0 {
			return o, nil
		}
	}
	return nil, nil
}

// ScanBytes reads the bytes into the array, which is zero.
func (o octets) ScanBytes(v []byte) error {
	if v != nil && len(v) != len(o) {
		return damaged("a digest")
	}
	copy(o, v)
	return nil
}

func ids[T ~[16]byte](list []T) [][16]byte {
	raw := make([][16]byte, len(list))
	for i, id := range list {
		raw[i] = [16]byte(id)
	}
	return raw
}

func digestOf(t *domain.Target) []byte {
	sum := sha256.Sum256([]byte(t.Key()))
	return sum[:]
}

// digestOfAll is a digest of targets in their order.
func digestOfAll(targets []domain.Target) []byte {
	h := sha256.New()
	for i := range targets {
		h.Write(digestOf(&targets[i]))
	}
	return h.Sum(nil)
}

// uuidText is an id as the server writes a uuid.
func uuidText(id ulid.ULID) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
