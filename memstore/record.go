package memstore

import (
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// record is a token as it is kept, in two thirds of the memory and in one piece: times without zones, and what few tokens have
// behind a pointer. It is replaced, never changed, but for due.
type record struct {
	id              ulid.ULID
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
	createdAt       instant
	authenticatedAt instant
	expiresAt       instant
	idleExpiresAt   instant
	lastExchangedAt instant
	rotatedAt       instant
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
		createdAt: instantOf(t.CreatedAt), authenticatedAt: instantOf(t.AuthenticatedAt), expiresAt: instantOf(t.ExpiresAt),
		idleExpiresAt: instantOf(t.IdleExpiresAt), lastExchangedAt: instantOf(t.LastExchangedAt), rotatedAt: instantOf(t.RotatedAt),
		generation: t.Generation, retries: t.Retries, rotating: t.Rotating, offline: t.Offline,
	}
	if t.ForeignID != "" || t.ForeignDigest != (domain.Digest{}) || t.ForeignWeak || t.PepperKeyID != "" ||
		t.Confirmation != (domain.Confirmation{}) || t.Metadata.Len() > 0 {
		r.rare = &rare{
			foreignID: t.ForeignID, foreignDigest: t.ForeignDigest, foreignWeak: t.ForeignWeak, pepperKeyID: t.PepperKeyID,
			confirmation: t.Confirmation, metadata: t.Metadata,
		}
	}
	return r
}

// read writes the token into t, which must be zero: it is large, so that it is copied as seldom as can be.
func (r *record) read(t *domain.RefreshToken) {
	t.ID, t.Sequence, t.UserID, t.ClientID, t.SessionID = r.id, r.sequence, r.userID, r.clientID, r.sessionID
	t.Device, t.ResourceServers, t.IdleLifetime = r.device, r.resourceServers, r.idleLifetime
	t.FamilyDigest, t.SecretDigest, t.Salt = r.familyDigest, r.secretDigest, r.salt
	t.CreatedAt, t.AuthenticatedAt, t.ExpiresAt = r.createdAt.time(), r.authenticatedAt.time(), r.expiresAt.time()
	t.IdleExpiresAt, t.LastExchangedAt, t.RotatedAt = r.idleExpiresAt.time(), r.lastExchangedAt.time(), r.rotatedAt.time()
	t.Generation, t.Retries, t.Rotating, t.Offline = r.generation, r.retries, r.rotating, r.offline
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

// instant is a time in UTC, of any year, to the nanosecond: the two halves of Unix seconds, and nanoseconds. In three words of
// four bytes it is half as large as a time. The zero value is the zero time.
type instant [3]uint32

// zeroTime is the zero time in Unix seconds.
var zeroTime = time.Time{}.Unix()

func instantOf(t time.Time) instant {
	seconds := uint64(t.Unix() - zeroTime)
	return instant{uint32(seconds >> 32), uint32(seconds), uint32(t.Nanosecond())}
}

func (i instant) time() time.Time {
	if i == (instant{}) {
		return time.Time{}
	}
	return time.Unix(int64(uint64(i[0])<<32|uint64(i[1]))+zeroTime, int64(i[2])).UTC()
}
