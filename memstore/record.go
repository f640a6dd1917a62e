package memstore

import (
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// record is a token as it is kept, in three quarters of the memory and in one piece: times without zones, and what few tokens have
// behind a pointer. It is replaced, never changed, for others may be reading it; but for the two that are about its place among others.
type record struct {
	id              ulid.ULID
	links           [kindsOfChains]link
	due             int64 // when it is to be looked at for expiry: 0 for never. Not moved when the token is exchanged, but when it has been looked at
	sequence        uint64
	userID          string
	clientID        string
	sessionID       domain.SessionID
	device          domain.Device
	resourceServers domain.ResourceServers
	idleLifetime    domain.Lifetime
	familyDigest    domain.Digest
	secretDigest    domain.Digest
	salt            domain.Salt
	times           times
	generation      uint32
	retries         uint32
	rotating        bool
	offline         bool
	rare            *rare // nil for none of it
}

// rare is what few tokens have.
type rare struct {
	foreignID     string
	foreignDigest domain.Digest
	foreignWeak   bool
	pepperKeyID   string
	confirmation  domain.Confirmation
	metadata      domain.Metadata
}

func newRecord(t *domain.RefreshToken) *record {
	r := &record{
		id: t.ID, sequence: t.Sequence, userID: t.UserID, clientID: t.ClientID, sessionID: t.SessionID,
		device: t.Device, resourceServers: t.ResourceServers, idleLifetime: t.IdleLifetime,
		familyDigest: t.FamilyDigest, secretDigest: t.SecretDigest, salt: t.Salt,
		generation: t.Generation, retries: t.Retries, rotating: t.Rotating, offline: t.Offline,
	}
	r.times.set(createdAt, t.CreatedAt)
	r.times.set(authenticatedAt, t.AuthenticatedAt)
	r.times.set(expiresAt, t.ExpiresAt)
	r.times.set(idleExpiresAt, t.IdleExpiresAt)
	r.times.set(lastExchangedAt, t.LastExchangedAt)
	r.times.set(rotatedAt, t.RotatedAt)
	if t.ForeignID != "" || t.ForeignDigest != (domain.Digest{}) || t.ForeignWeak || t.PepperKeyID != "" ||
		t.Confirmation != (domain.Confirmation{}) || t.Metadata.Len() > 0 {
		r.rare = &rare{
			foreignID: t.ForeignID, foreignDigest: t.ForeignDigest, foreignWeak: t.ForeignWeak, pepperKeyID: t.PepperKeyID,
			confirmation: t.Confirmation, metadata: t.Metadata,
		}
	}
	return r
}

// read writes the token into t, which must be zero: it is large, so that it is copied as seldom as can be. What is large is assigned alone, for
// the compiler copies it twice where several are assigned at once.
func (r *record) read(t *domain.RefreshToken) {
	t.ID, t.UserID, t.ClientID, t.SessionID = r.id, r.userID, r.clientID, r.sessionID
	t.Device = r.device
	t.ResourceServers = r.resourceServers
	t.FamilyDigest = r.familyDigest
	t.SecretDigest = r.secretDigest
	t.Salt = r.salt
	t.Sequence, t.IdleLifetime = r.sequence, r.idleLifetime
	t.Generation, t.Retries, t.Rotating, t.Offline = r.generation, r.retries, r.rotating, r.offline
	r.times.get(createdAt, &t.CreatedAt)
	r.times.get(authenticatedAt, &t.AuthenticatedAt)
	r.times.get(expiresAt, &t.ExpiresAt)
	r.times.get(idleExpiresAt, &t.IdleExpiresAt)
	r.times.get(lastExchangedAt, &t.LastExchangedAt)
	r.times.get(rotatedAt, &t.RotatedAt)
	if r.rare != nil {
		t.ForeignID, t.ForeignDigest, t.ForeignWeak = r.rare.foreignID, r.rare.foreignDigest, r.rare.foreignWeak
		t.PepperKeyID, t.Confirmation, t.Metadata = r.rare.pepperKeyID, r.rare.confirmation, r.rare.metadata
	}
}

// token is the token that the record is of.
func (r *record) token() (t domain.RefreshToken) {
	r.read(&t)
	return t
}

// session is the text of the session's id, empty for none.
func (r *record) session() string {
	session, _ := r.sessionID.Get()
	return session
}

// moment says which of a record's times is meant.
type moment int

const (
	createdAt moment = iota
	authenticatedAt
	expiresAt
	idleExpiresAt
	lastExchangedAt
	rotatedAt
	moments
)

// times are times in UTC, of any year, to the nanosecond, in half of their size.
type times struct {
	seconds     [moments]int64 // since the zero time, which half of them are: those cost nothing to read
	nanoseconds [moments]uint32
}

const zeroTime = -62135596800 // in seconds of Unix time

func (a *times) set(m moment, t time.Time) {
	a.seconds[m], a.nanoseconds[m] = t.Unix()-zeroTime, uint32(t.Nanosecond())
}

// get writes a time into t, which must be zero.
func (a *times) get(m moment, t *time.Time) {
	if a.seconds[m] != 0 || a.nanoseconds[m] != 0 {
		*t = time.Unix(a.seconds[m]+zeroTime, int64(a.nanoseconds[m])).UTC()
	}
}
