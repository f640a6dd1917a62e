package etcdstore

import (
	"errors"
	"fmt"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func encode[T any](value *T, fields func(*codec.Coder, *T)) []byte {
	return codec.Encode(value, fields)
}

// decode reads a value, and returns [ErrCorrupt] for one that is damaged and [ErrFormat] for one of another version.
func decode[T any](data []byte, fields func(*codec.Coder, *T)) (T, error) {
	value, err := codec.Decode(data, fields)
	switch {
	case errors.Is(err, codec.ErrFormat):
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return value, err
}

// Some values have a number of the commit that writes them. The revision of that commit is missing from what is stored, since
// nobody knows it beforehand; whoever reads the value takes it from the key.

// writeFresh returns what is stored of a value, of which number is a part. Numbers from first on are the commit's own.
func writeFresh[T any](t *txn, value *T, number *uint64, first uint64, fields func(*codec.Coder, *T)) []byte {
	was := *number
	is := was >= first
	if is {
		*number -= t.next()
	}
	data := encode(value, func(c *codec.Coder, v *T) {
		c.Bool(&is)
		fields(c, v)
	})
	*number = was
	return data
}

// readFresh returns a value, and whether a number in it lacks the revision.
func readFresh[T any](i *item, fields func(*codec.Coder, *T)) (value T, is bool) {
	value = must(decode(i.value, func(c *codec.Coder, v *T) {
		c.Bool(&is)
		fields(c, v)
	}))
	return value, is
}

// revision is what the revision of a key adds to the numbers in its value.
func (i *item) revision() uint64 { return uint64(i.mod) << placeBits }

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

func (t *txn) encodeRecord(r *record) []byte {
	return writeFresh(t, r, &r.token.Sequence, t.first, recordFields)
}

func recordOf(i *item) record {
	r, is := readFresh(i, recordFields)
	if is {
		r.token.Sequence += i.revision()
	}
	if r.token.ID != idAtEnd(i.key) {
		check(fmt.Errorf("%w: a record is stored under another's id", ErrCorrupt))
	}
	return r
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
	c.Bool(&r.status.Tombstone.Erases)
	c.Bool(&r.walks)
	c.Small(&r.target)
	c.Fixed(r.after[:])
	c.Bool(&r.joined)
	c.Fixed(r.from[:])
	c.Small(&r.ends)
	c.Small(&r.stage)
	c.Text(&r.key)
	c.Fixed(r.supersedes[:])
}

func (t *txn) encodeRevocation(r *revocation) []byte {
	return writeFresh(t, r, &r.status.Tombstone.Watermark, t.first, revocationFields)
}

func revocationOf(i *item) revocation {
	r, is := readFresh(i, revocationFields)
	if is {
		r.status.Tombstone.Watermark += i.revision()
	}
	return r
}

func (t *txn) encodeGuard(g *domain.Guard) []byte {
	return writeFresh(t, g, &g.Watermark, t.first, codec.Guard)
}

func guardOf(i *item) domain.Guard {
	g, is := readFresh(i, codec.Guard)
	if is {
		g.Watermark += i.revision()
	}
	return g
}

// event is an event, and whether its sequence is that of the commit that wrote it. Its number is, until it is written again.
type event struct {
	store.Event
	numbered, sequenced bool // the numbers lack the revision
}

func eventFields(c *codec.Coder, e *event) {
	c.Bool(&e.numbered)
	c.Bool(&e.sequenced)
	codec.Event(c, &e.Event)
}

func (t *txn) encodeEvent(e store.Event) []byte {
	x := event{e, e.Number >= t.firstEvent, e.Sequence >= t.first}
	if x.numbered {
		x.Number -= t.next()
	}
	if x.sequenced {
		x.Sequence -= t.next()
	}
	return encode(&x, eventFields)
}

func eventOf(i *item) store.Event {
	x := must(decode(i.value, eventFields))
	if x.numbered {
		x.Number += i.revision()
	}
	if x.sequenced {
		x.Sequence += i.revision()
	}
	return x.Event
}

// head is what a tenant's store knows of itself, and rarely changes.
type head struct {
	base       uint64 // is added to all numbers of the sequence
	raised     uint64 // the sequence is at least this
	since      uint64 // the revision up to which numbers are without the base
	horizon    domain.Horizon
	erasureKey domain.ErasureKey
}

func headFields(c *codec.Coder, h *head) {
	c.Uint(&h.base)
	c.Uint(&h.raised)
	c.Uint(&h.since)
	c.Uint(&h.horizon.Sequence)
	c.Instant(&h.horizon.Time)
	c.Fixed(h.erasureKey[:])
}

// origin is what a tenant's memory was taken over from.
type origin struct {
	id       ulid.ULID
	complete bool // nothing of that is yet to come
}

func originFields(c *codec.Coder, o *origin) {
	c.Fixed(o.id[:])
	c.Bool(&o.complete)
}

// numberFields are those of a number by itself.
func numberFields(c *codec.Coder, n *uint64) { c.Uint(n) }
