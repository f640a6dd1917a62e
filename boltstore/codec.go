package boltstore

import (
	"errors"
	"fmt"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func encode[T any](value *T, fields func(*codec.Coder, *T)) []byte {
	return codec.Encode(value, fields)
}

// decode reads a value, and returns [ErrCorrupt] for one that is damaged and [ErrFormat] for one of another version.
func decode[T any](data []byte, fields func(*codec.Coder, *T)) (value T, err error) {
	err = decodeInto(&value, data, fields)
	return value, err
}

// decodeInto is decode into a zero value of the caller's.
func decodeInto[T any](value *T, data []byte, fields func(*codec.Coder, *T)) error {
	switch err := codec.DecodeInto(value, data, fields); {
	case err == nil:
		return nil
	case errors.Is(err, codec.ErrFormat):
		return fmt.Errorf("%w: %w", ErrFormat, err)
	default:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
}

// record is a token, and when it is to be looked at for expiry, in whole seconds of Unix time: 0 for never. That is not
// moved when the token is exchanged, but when it has been looked at, so that an exchange writes no index.
type record struct {
	token domain.RefreshToken
	due   uint64
}

func recordFields(c *codec.Coder, r *record) {
	c.Uint(&r.due)
	codec.Token(c, &r.token)
}

// revocation is a stored tombstone, pending or retired, and how far its sweep has come.
type revocation struct {
	status store.Status
	walks  bool // some target has no index: it is swept by the walk over all tokens

	// Where the sweep by index stands: at the target-th target, after this id.
	target uint32
	after  ulid.ULID

	// Where the walk stood when this tombstone joined it. One lap later it is done.
	joined bool
	from   ulid.ULID
	ends   uint32 // how often the walk has come to the end of the tokens since then

	// Where the erasure stands, once the sweep is over: in a stage, after this key.
	stage uint32
	key   string

	supersedes ulid.ULID // the tombstone that it superseded, or zero
}

func (r *revocation) id() ulid.ULID { return r.status.Tombstone.ID }

func revocationFields(c *codec.Coder, r *revocation) {
	codec.Status(c, &r.status)
	c.Bool(&r.walks)
	c.Small(&r.target)
	c.Fixed(r.after[:])
	c.Bool(&r.joined)
	c.Fixed(r.from[:])
	c.Small(&r.ends)
	c.Bool(&r.status.Tombstone.Erases)
	c.Small(&r.stage)
	c.Text(&r.key)
	c.Fixed(r.supersedes[:])
}

// meta is what a tenant's store knows of itself.
type meta struct {
	sequence uint64
	latest   time.Time // the latest creation time of any token inserted so far
	horizon  domain.Horizon
	walk     ulid.ULID // how far the walk over all tokens has come in its present lap
	tokens   uint64
	pending  uint64
	open     uint64 // pending tombstones without an anchor
	guards   uint64
	history  uint64

	sessionless uint64 // tokens without a session
	created     bool   // it was created on purpose
	erased      bool   // it was erased, and nothing has been written since
	erasureKey  domain.ErasureKey

	noted   uint64 // the number of the latest note of entries of the index
	fresh   uint64 // entries that are noted and have not settled in a run
	settled uint64 // how often any have

	lastEvent uint64 // the number of the latest event
	floor     uint64 // up to which number events have been dropped
	events    uint64
}

// written reports whether the tenant is named among the others. After its erasure no token and nothing pending can come without
// ending that.
func (m *meta) written() bool {
	return m.created || m.sequence > 0 && (!m.erased || m.history+m.guards > 0)
}

// next is the number of what is being written.
func (m *meta) next() uint64 {
	m.erased = false
	m.sequence++
	return m.sequence
}

func metaFields(c *codec.Coder, m *meta) {
	c.Uint(&m.sequence)
	c.Instant(&m.latest)
	c.Uint(&m.horizon.Sequence)
	c.Instant(&m.horizon.Time)
	c.Fixed(m.walk[:])
	c.Uint(&m.tokens)
	c.Uint(&m.pending)
	c.Uint(&m.open)
	c.Uint(&m.guards)
	c.Uint(&m.history)
	c.Uint(&m.sessionless)
	c.Bool(&m.created)
	c.Bool(&m.erased)
	c.Fixed(m.erasureKey[:])
	c.Uint(&m.noted)
	c.Uint(&m.fresh)
	c.Uint(&m.settled)
	c.Uint(&m.lastEvent)
	c.Uint(&m.floor)
	c.Uint(&m.events)
}
