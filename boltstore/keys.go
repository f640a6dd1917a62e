package boltstore

import (
	"encoding/binary"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// The buckets. All of a tenant's lie in a bucket of its own below "tenants", so no key of one can reach another's.
var (
	bucketAbout    = []byte("about")    // version → that of the format
	bucketTenants  = []byte("tenants")  // name → the tenant's buckets
	bucketRewrites = []byte("rewrites") // generation → number, id, name of a tenant → token
	bucketPending  = []byte("pending")  // name of a tenant that has pending tombstones → nothing

	keyVersion  = []byte("version")
	keyTrial    = []byte("format")   // in its place in the trial formats of before the first release
	keyMeta     = []byte("meta")     // in the tenant's bucket itself
	keyOrigin   = []byte("origin")   // beside it: what the tenant's memory was taken over from
	keyRestored = []byte("restored") // and the records of restorations

	bucketTokens  = []byte("tokens")  // id → token
	bucketFresh   = []byte("fresh")   // number → entries of the index that have not settled
	bucketRuns    = []byte("runs")    // run, entry → entries
	bucketLive    = []byte("live")    // id → pending tombstone
	bucketWalkers = []byte("walkers") // id of a pending tombstone that is swept by the walk → nothing
	bucketRetired = []byte("retired") // id → retired tombstone
	bucketFence   = []byte("fence")   // anchor, id of a pending tombstone → nothing
	bucketGuards  = []byte("guards")  // anchor, target → guard
	bucketAges    = []byte("ages")    // time, anchor, target of a guard → nothing
	bucketHistory = []byte("history") // time of retirement, id of a retired tombstone → nothing
	bucketOutbox  = []byte("outbox")  // number → event
)

// appendText appends a text after its length, so that no text's key is the beginning of another's.
func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}

func anchorKey(a domain.Anchor) []byte {
	return appendText(append(make([]byte, 0, len(a.Value)+64), byte(a.Kind)), a.Value)
}

func guardKey(g *domain.Guard) []byte {
	return append(anchorKey(g.Target.Anchor()), g.Target.Key()...)
}

// ageSize is the length of an instant in a key.
const ageSize = 12

// ageKey is an instant, in the order of time, followed by a key.
func ageKey(at time.Time, key []byte) []byte {
	age := binary.BigEndian.AppendUint64(make([]byte, 0, ageSize+len(key)), uint64(at.Unix())^1<<63)
	return append(binary.BigEndian.AppendUint32(age, uint32(at.Nanosecond())), key...)
}

func guardAgeKey(g *domain.Guard) []byte { return ageKey(g.Time, guardKey(g)) }

// idAtEnd is the id that an index key ends with.
func idAtEnd(key []byte) (id ulid.ULID) {
	copy(id[:], key[len(key)-len(id):])
	return id
}
