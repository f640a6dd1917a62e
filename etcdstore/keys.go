package etcdstore

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The keys of the whole database, below the prefix. Names are as they are, so that they come in byte order.
const (
	allFormat  = "f" // → the format of all that is below the prefix
	allNames   = "n" // name of a tenant that was created or written to → nothing, or when it was erased
	allPending = "p" // name of a tenant that may have pending tombstones → the id of the latest
	allTenants = "t" // length and name of a tenant, then what follows
)

// The kinds of a tenant's keys. All of a tenant's begin with the length of its name and the name, so no key of one can reach
// another's.
const (
	keyHead       = "h" // → head
	keyTip        = "i" // → latest creation time; its revision is that of the latest insert or revocation
	keyMark       = "m" // put whenever the set of pending tombstones changes
	keyGuardMark  = "g" // put whenever a guard is remembered
	keyWalk       = "w" // → how far the walk over all tokens has come in its present lap
	keyOrigin     = "o" // → what the tenant's memory was taken over from
	keyRestored   = "r" // → the records of restorations
	keyEvents     = "e" // → the base of the numbers of events; its revision is the present epoch
	keyFloor      = "f" // → the number up to which events have been dropped
	keyLastEvent  = "l" // → the latest event's number
	keyTokens     = "T" // id → token
	keyUsers      = "U" // hash of a user, id → nothing
	keySessions   = "S" // hash of a session, id → nothing; zeros for the null session
	keyDue        = "D" // second, id → nothing
	keyForeign    = "X" // foreign digest → id
	keyLive       = "L" // id → pending tombstone
	keyOldest     = "P" // time, id of a pending tombstone → nothing
	keyWalkers    = "W" // id of a pending tombstone that is swept by the walk → nothing
	keyRetired    = "R" // id → retired tombstone
	keyFence      = "F" // anchor, id of a pending tombstone → nothing
	keyGuards     = "G" // anchor, target → guard
	keyAges       = "A" // time, anchor, target of a guard → nothing
	keyHistory    = "H" // time of retirement, id of a retired tombstone → nothing
	keyOutbox     = "E" // epoch, a number of the writer's own, place → event
	sizeOfEpoch   = 8
	sizeOfInstant = 12
)

// span is the keys from start up to, and without, end.
type span struct{ start, end string }

func under(prefix string) span { return span{prefix, clientv3.GetPrefixRangeEnd(prefix)} }

// after is what of the span comes after a key.
func (s span) after(key string) span { return span{key + "\x00", s.end} }

func tenantRoot(prefix, name string) string {
	key := append([]byte(prefix+allTenants), byte(len(name)>>8), byte(len(name)))
	return string(append(key, name...))
}

// appendText appends a text after its length, so that no text's key is the beginning of another's.
func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}

func anchorKey(a domain.Anchor) string {
	return string(appendText(append(make([]byte, 0, len(a.Value)+4), byte(a.Kind)), a.Value))
}

func guardKey(g *domain.Guard) string { return anchorKey(g.Target.Anchor()) + g.Target.Key() }

// instantKey is an instant in the order of time.
func instantKey(at time.Time) string {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, sizeOfInstant), uint64(at.Unix())^1<<63)
	return string(binary.BigEndian.AppendUint32(key, uint32(at.Nanosecond())))
}

func instantOf(key string) time.Time {
	seconds, ns := binary.BigEndian.Uint64([]byte(key)), binary.BigEndian.Uint32([]byte(key[8:]))
	return time.Unix(int64(seconds^1<<63), int64(ns)).UTC()
}

func numberKey(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

func numberOf(key string) uint64 { return binary.BigEndian.Uint64([]byte(key)) }

// sizeOfHash is how much of a text's hash stands in an index. Two texts may have one hash, so whoever looks something up
// compares with the record.
const sizeOfHash = 16

func textKey(kind, text string) string {
	sum := sha256.Sum256([]byte(text))
	return kind + string(sum[:sizeOfHash])
}

func userKey(user string) string { return textKey(keyUsers, user) }

func sessionKey(s domain.SessionID) string {
	if session, ok := s.Get(); ok {
		return textKey(keySessions, session)
	}
	return keySessions + string(make([]byte, sizeOfHash))
}

func foreignKey(d domain.Digest) string { return keyForeign + string(d[:]) }

// dueKey is when a token is to be looked at for expiry, in the order of time.
func dueKey(second uint64) string { return keyDue + numberKey(second) }

// idAtEnd is the id that an index key ends with.
func idAtEnd(key string) (id ulid.ULID) {
	copy(id[:], key[len(key)-len(id):])
	return id
}

func idKey(kind string, id ulid.ULID) string { return kind + string(id[:]) }
