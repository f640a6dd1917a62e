package management

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// cursorLife is how long a cursor may be used.
const cursorLife = 24 * time.Hour

// listing is what a cursor is a position in. A cursor of one listing is refused by all others. It is no secret and no
// permission: who makes up a cursor gets a position in a listing that it may see anyway.
type listing struct{ tenant, name, user, client string }

// cursor writes a position, to be used from now on: time, id, and a checksum over both and the listing.
func (l listing) cursor(after ulid.ULID, now time.Time) string {
	text := make([]byte, 0, 32)
	text = binary.BigEndian.AppendUint64(text, uint64(now.Unix()))
	text = append(text, after[:]...)
	return cursorCoding().EncodeToString(append(text, l.checksum(text)...))
}

// after reads a position. It is the start for a cursor that is not there.
func (l listing) after(q *query, now time.Time) ulid.ULID {
	cursor, ok := q.get("from")
	if !ok {
		return ulid.ULID{}
	}
	text, err := cursorCoding().DecodeString(cursor)
	if err != nil || len(text) != 32 || string(text[24:]) != string(l.checksum(text[:24])) {
		q.fail(&tokenstore.FieldError{Field: "from", Limit: "a cursor of this list", Size: len(cursor)})
		return ulid.ULID{}
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(text)), 0)
	if age := now.Sub(made); age > cursorLife || age < -cursorLife { // a clock that is ahead may have made it
		q.fail(&tokenstore.FieldError{Field: "from", Limit: "a cursor of the last 24 hours", Size: len(cursor)})
	}
	return ulid.ULID(text[8:24])
}

func (l listing) checksum(text []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %x", l, text))
	return sum[:8]
}

func cursorCoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }
