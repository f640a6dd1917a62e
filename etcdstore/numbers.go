package etcdstore

import (
	"math"
	"time"
)

// The numbers of a tenant's sequence, and of its events, are the revisions of their commits, with room for a place within
// the commit, and a base that is 0 unless the tenant came from a database whose numbers were higher.
const (
	placeBits = 16
	lastPlace = 1<<placeBits - 1
)

// numbers are those that a run gives out. A commit's revision is known only afterwards. Until then they are as if the commit
// were the next after the snapshot, and they are stored as what is to be added to the revision of their key.
type numbers struct {
	first      uint64 // from here on they are the run's own
	firstEvent uint64
	rows       uint64    // how many tokens it has numbered
	events     uint64    // and events
	advanced   bool      // it inserts or revokes
	latest     time.Time // the latest creation time of a token that it inserts
	epochOf    int64     // what its events belong to
	writer     uint64    // a number of its own among those of the epoch
	later      uint64    // what the commit turned out to be later than the next
}

func newNumbers() *numbers { return &numbers{first: math.MaxUint64, firstEvent: math.MaxUint64} }

// settle is told of the revision of the commit.
func (n *numbers) settle(snapshot, commit int64) { n.later = uint64(commit-snapshot-1) << placeBits }

// final is a number of the sequence as it turned out.
func (n *numbers) final(number *uint64) {
	if *number >= n.first {
		*number += n.later
	}
}

// number is the next number of the sequence: of a token, or of the revocation, which is the last of its commit.
func (t *txn) number(revocation bool) uint64 {
	if !t.advanced {
		t.advanced = true
		t.first = t.head().base + t.next()
	}
	if revocation {
		return t.first + lastPlace
	}
	t.rows++
	return t.first + t.rows
}

// created notes the creation time of a token that is inserted.
func (t *txn) created(at time.Time) {
	if at.After(t.latest) {
		t.latest = at
	}
}

// next is what the revision of the commit adds to a number, as long as it is not known.
func (t *txn) next() uint64 { return uint64(t.rev+1) << placeBits }
