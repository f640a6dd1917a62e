package boltstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// A stored value is a version byte, the fields one after the other, and a CRC-32C of both. The fields of each kind of
// value stand in one function, which serves writing and reading alike, so the two can't disagree.
const codecVersion = 1

// coder writes or reads fields. After an error it does nothing more.
type coder struct {
	buf     []byte // what has been written, or what is left to read
	reading bool
	err     error
}

func encode[T any](value *T, fields func(*coder, *T)) []byte {
	c := coder{buf: append(make([]byte, 0, 512), codecVersion)}
	fields(&c, value)
	return sealed(c.buf)
}

// sealSize is how much longer data is once it is sealed.
const sealSize = 4

func sealed(data []byte) []byte {
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli()))
}

// sealIsWhole reports whether what was sealed is as it was.
func sealIsWhole(data []byte) bool {
	n := len(data) - 4
	return n >= 1 && crc32.Checksum(data[:n], castagnoli()) == binary.BigEndian.Uint32(data[n:])
}

// decode reads a value, and returns [ErrCorrupt] for one that is damaged and [ErrFormat] for one of another version.
func decode[T any](data []byte, fields func(*coder, *T)) (value T, err error) {
	if !sealIsWhole(data) {
		return value, fmt.Errorf("%w: a record's checksum is wrong", ErrCorrupt)
	}
	if data[0] != codecVersion {
		return value, fmt.Errorf("%w: a record has version %d, this program knows %d", ErrFormat, data[0], codecVersion)
	}
	return decodeFields(data[1:len(data)-4], fields)
}

func decodeFields[T any](data []byte, fields func(*coder, *T)) (value T, err error) {
	c := coder{buf: data, reading: true}
	fields(&c, &value)
	if len(c.buf) > 0 {
		c.fail("has bytes to spare")
	}
	return value, c.err
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (c *coder) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: a record %s", ErrCorrupt, what)
	}
	c.buf = nil
}

func (c *coder) uint(v *uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *v)
		return
	}
	n := 0
	if *v, n = binary.Uvarint(c.buf); n <= 0 {
		c.fail("ends within a number")
		return
	}
	c.buf = c.buf[n:]
}

// take returns the next n bytes, without copying them.
func (c *coder) take(n uint64) []byte {
	if n > uint64(len(c.buf)) {
		c.fail("ends within a text")
		return nil
	}
	taken := c.buf[:n]
	c.buf = c.buf[n:]
	return taken
}

func (c *coder) fixed(v []byte) {
	if !c.reading {
		c.buf = append(c.buf, v...)
		return
	}
	copy(v, c.take(uint64(len(v))))
}

func (c *coder) text(v *string) {
	n := uint64(len(*v))
	c.uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *v...)
		return
	}
	*v = string(c.take(n)) // a copy: nothing that is handed out points into the file
}

func (c *coder) bool(v *bool) {
	n := uint64(0)
	if *v {
		n = 1
	}
	c.uint(&n)
	if n > 1 {
		c.fail("has a truth value that is neither")
	}
	*v = n == 1
}

// instant is 0 for the zero time, else seconds (signed, folded) plus one, and nanoseconds.
func (c *coder) instant(v *time.Time) {
	var s, ns uint64
	if !v.IsZero() {
		sec := v.Unix()
		s, ns = uint64(sec<<1^sec>>63)+1, uint64(v.Nanosecond())
	}
	c.uint(&s)
	if s == 0 {
		*v = time.Time{}
		return
	}
	c.uint(&ns)
	if c.reading {
		if ns >= 1e9 {
			c.fail("has a time with too many nanoseconds")
			return
		}
		folded := s - 1
		*v = time.Unix(int64(folded>>1)^-int64(folded&1), int64(ns)).UTC()
	}
}

// size is a count of things that follow; each takes a byte at least, so a damaged count can't ask for much memory.
func (c *coder) size(n int) int {
	v := uint64(n)
	c.uint(&v)
	if c.reading && v > uint64(len(c.buf)) {
		c.fail("has a count that is too large")
		return 0
	}
	return int(v)
}

func (c *coder) small(v *uint32) {
	wide := uint64(*v)
	c.uint(&wide)
	if wide > 1<<32-1 {
		c.fail("has a number that is too large")
	}
	*v = uint32(wide)
}

func (c *coder) check(err error) {
	if err != nil {
		c.fail("breaks a limit: " + err.Error())
	}
}

// record is a token, and when it is to be looked at for expiry, in whole seconds of Unix time: 0 for never. That is not
// moved when the token is exchanged, but when it has been looked at, so that an exchange writes no index.
type record struct {
	token domain.RefreshToken
	due   uint64
}

func recordFields(c *coder, r *record) {
	c.uint(&r.due)
	tokenFields(c, &r.token)
}

func tokenFields(c *coder, t *domain.RefreshToken) {
	c.fixed(t.ID[:])
	c.uint(&t.Sequence)
	c.text(&t.UserID)
	c.text(&t.ClientID)
	sessionField(c, &t.SessionID)
	c.instant(&t.CreatedAt)
	c.instant(&t.AuthenticatedAt)
	c.instant(&t.ExpiresAt)
	idle := uint64(t.IdleLifetime) + 1 // Never is -1
	c.uint(&idle)
	t.IdleLifetime = domain.Lifetime(idle - 1)
	c.instant(&t.IdleExpiresAt)
	c.instant(&t.LastExchangedAt)
	for _, text := range []*string{
		&t.Device.InitialIP, &t.Device.InitialASN, &t.Device.InitialUserAgent,
		&t.Device.LastIP, &t.Device.LastASN, &t.Device.LastUserAgent,
		&t.ForeignID, &t.Confirmation.Kind, &t.Confirmation.Value, &t.PepperKeyID,
	} {
		c.text(text)
	}
	c.bool(&t.Rotating)
	c.bool(&t.Offline)
	resourceServersField(c, &t.ResourceServers)
	metadataField(c, &t.Metadata)
	c.small(&t.Generation)
	c.instant(&t.RotatedAt)
	c.small(&t.Retries)
	c.fixed(t.Salt[:])
	c.fixed(t.FamilyDigest[:])
	c.fixed(t.SecretDigest[:])
	foreignFields(c, t)
}

func sessionField(c *coder, s *domain.SessionID) {
	text, _ := s.Get()
	c.text(&text)
	if c.reading && text != "" {
		var err error
		*s, err = domain.NewSessionID(text)
		c.check(err)
	}
}

func resourceServersField(c *coder, r *domain.ResourceServers) {
	var list []domain.ResourceServer
	for rs := range r.All() {
		list = append(list, rs)
	}
	n := c.size(len(list))
	for i := 0; i < n && c.err == nil; i++ {
		if c.reading {
			list = append(list, domain.ResourceServer{})
		}
		c.text(&list[i].Audience)
		c.text(&list[i].Scopes)
	}
	if c.reading {
		var err error
		*r, err = domain.NewResourceServers(list...)
		c.check(err)
	}
}

func metadataField(c *coder, m *domain.Metadata) {
	n := c.size(m.Len())
	if !c.reading {
		for key, value := range m.All() {
			c.text(&key)
			c.text(&value)
		}
		return
	}
	entries := map[string]string{}
	for i := 0; i < n && c.err == nil; i++ {
		var key, value string
		c.text(&key)
		c.text(&value)
		entries[key] = value
	}
	if c.err == nil {
		var err error
		*m, err = domain.NewMetadata(entries)
		c.check(err)
	}
}

func targetFields(c *coder, t *domain.Target) {
	c.fixed(t.TokenID[:])
	c.text(&t.UserID)
	c.text(&t.ClientID)
	c.text(&t.SessionID)
	c.text(&t.Audience)
	c.instant(&t.IssuedBefore)
	c.instant(&t.LegacyBefore)
	offline := uint32(t.Offline)
	c.small(&offline)
	t.Offline = domain.Offline(offline)
	c.bool(&t.Everything)
	if c.reading {
		c.check(t.Validate())
	}
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

func revocationFields(c *coder, r *revocation) {
	t := &r.status.Tombstone
	c.fixed(t.ID[:])
	targetsField(c, &t.Targets)
	c.uint(&t.Watermark)
	c.instant(&t.Time)
	c.instant(&t.Through)
	c.text(&t.Reason)
	c.text(&t.Actor)
	c.bool(&r.status.Retired)
	c.instant(&r.status.RetiredAt)
	c.uint(&r.status.Examined)
	c.uint(&r.status.Swept)
	c.fixed(r.status.SupersededBy[:])
	c.bool(&r.walks)
	c.small(&r.target)
	c.fixed(r.after[:])
	c.bool(&r.joined)
	c.fixed(r.from[:])
	c.small(&r.ends)
	c.bool(&t.Erases)
	c.small(&r.stage)
	c.text(&r.key)
	c.fixed(r.supersedes[:])
}

func guardFields(c *coder, g *domain.Guard) {
	targetFields(c, &g.Target)
	c.uint(&g.Watermark)
	c.instant(&g.Time)
	c.instant(&g.Through)
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

func metaFields(c *coder, m *meta) {
	c.uint(&m.sequence)
	c.instant(&m.latest)
	c.uint(&m.horizon.Sequence)
	c.instant(&m.horizon.Time)
	c.fixed(m.walk[:])
	c.uint(&m.tokens)
	c.uint(&m.pending)
	c.uint(&m.open)
	c.uint(&m.guards)
	c.uint(&m.history)
	c.uint(&m.sessionless)
	c.bool(&m.created)
	c.bool(&m.erased)
	c.fixed(m.erasureKey[:])
	c.uint(&m.noted)
	c.uint(&m.fresh)
	c.uint(&m.settled)
	c.uint(&m.lastEvent)
	c.uint(&m.floor)
	c.uint(&m.events)
}
