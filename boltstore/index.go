package boltstore

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"github.com/oklog/ulid/v2"
)

// The index finds tokens by user, by session, by foreign secret, and by when they are due. An entry is a kind, a hash or a
// time, and an id. Two texts may have one hash, so it may name a token too many, and whoever looks something up compares
// with the record.
//
// Entries come in random order, and a tree that takes them one by one costs each commit about two pages for each of them.
// So they are noted one behind the other, and move on from there in sorted runs ([records.settle]). In every commit each entry
// is in exactly one place, and a look-up asks them all: it makes no difference to it whether and when anything moves.
//
// Entries of one user, and those of one time, are together, and are removed together from where they are. Those of a session or a
// foreign secret stand alone, and to remove one costs as much as to put it into a tree. So it is cancelled by a mark, which is
// noted and moves like an entry, and goes with it where the two meet.

// entry is a prefix and an id, or the mark that cancels them.
type entry [entrySize]byte

// prefix is what the entries of one user, session, foreign secret or second begin with.
type prefix [prefixSize]byte

const (
	prefixSize = 8
	entrySize  = prefixSize + 16
)

// The kinds of entries. They are what a prefix begins with.
const (
	byUser byte = iota + 1
	bySession
	byForeign
	byDue

	cancelled = 0x80 // set beside the kind in a mark, which is in the place of the entry that it cancels
)

func underText(kind byte, text string) prefix {
	sum := sha256.Sum256([]byte(text))
	return underHash(kind, sum[:])
}

func underUser(user string) prefix { return underText(byUser, user) }

func underSession(session string) prefix { return underText(bySession, session) }

func underForeign(digest domain.Digest) prefix { return underHash(byForeign, digest[:]) }

func underHash(kind byte, hash []byte) (p prefix) {
	p[0] = kind
	copy(p[1:], hash)
	return p
}

// underSecond is in the order of time, for seconds that fit into seven bytes, as those of all valid instants do.
func underSecond(second uint64) (p prefix) {
	binary.BigEndian.PutUint64(p[:], second)
	p[0] = byDue
	return p
}

func (p prefix) entry(id ulid.ULID) (e entry) {
	copy(e[:], p[:])
	copy(e[prefixSize:], id[:])
	return e
}

// mark is what cancels an entry.
func (e entry) mark() entry {
	e[0] |= cancelled
	return e
}

// alone says that the entry is of a kind that is cancelled by marks.
func (e *entry) alone() bool { return e[0] == bySession || e[0] == byForeign }

// compareEntries is the order of entries, in which a mark is equal to what it cancels. Sorting and merging are made of it.
func compareEntries(a, b []byte) int {
	const unmarked = ^uint64(cancelled << 56)
	for at := 0; at < entrySize; at += 8 {
		x, y := binary.BigEndian.Uint64(a[at:]), binary.BigEndian.Uint64(b[at:])
		if at == 0 {
			x, y = x&unmarked, y&unmarked
		}
		if x != y {
			return cmp.Compare(x, y)
		}
	}
	return 0
}

func (e *entry) id() ulid.ULID { return ulid.ULID(e[prefixSize:]) }

func (e *entry) second() time.Time {
	var second [8]byte
	copy(second[1:], e[1:prefixSize])
	return time.Unix(int64(binary.BigEndian.Uint64(second[:])), 0).UTC()
}

// last is not before any entry of the prefix.
func (p prefix) last() (e entry) {
	copy(e[:], bytes.Repeat([]byte{0xFF}, len(e)))
	copy(e[:], p[:])
	return e
}

// entries are those of a token.
func (x *record) entries() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		token := &x.token
		if !yield(underUser(token.UserID).entry(token.ID)) {
			return
		}
		if session, ok := token.SessionID.Get(); ok && !yield(underSession(session).entry(token.ID)) {
			return
		}
		if token.ForeignDigest != (domain.Digest{}) && !yield(underForeign(token.ForeignDigest).entry(token.ID)) {
			return
		}
		if x.due != 0 {
			yield(underSecond(x.due).entry(token.ID))
		}
	}
}

// indexed calls f with the ids under a prefix, after the given one, ascending, until it returns false. It reports whether it
// came to the end.
func (r *records) indexed(under prefix, after ulid.ULID, f func(ulid.ULID) bool) (ended bool) {
	from := under.entry(after)
	return r.between(from, under.last(), func(e *entry) bool {
		return *e == from && !after.IsZero() || f(e.id())
	})
}

// between calls f with the entries from one to another, both included, ascending, until it returns false. It reports
// whether it came to the end. f must not write.
func (r *records) between(from, to entry, f func(*entry) bool) (ended bool) {
	var streams []*stream
	if s := r.freshStream(from, to); s.next() {
		streams = append(streams, s)
	}
	for _, run := range r.runs() {
		s := &stream{cursor: r.bucket(bucketRuns).Cursor(), run: run[:]}
		if s.seek(from) {
			streams = append(streams, s)
		}
	}
	for m := (merger{streams: streams}); m.next(); {
		switch {
		case compareEntries(m.entry[:], to[:]) > 0:
			return true
		case m.count < 0 || m.count > 1:
			check(fmt.Errorf("%w: the index has an entry %d times", ErrCorrupt, m.count))
		case m.count > 0 && !f(&m.entry):
			return false
		}
	}
	return true
}

// index adds entries.
func (r *records) index(entries ...entry) {
	for some := range slices.Chunk(entries, blockMax) {
		note := make([]byte, 0, len(some)*entrySize+codec.SealSize)
		for _, e := range some {
			note = append(note, e[:]...)
		}
		r.meta.noted++
		r.meta.fresh += uint64(len(some))
		b := r.made(bucketFresh)
		b.FillPercent = fillNotes
		check(b.Put(numberKey(r.meta.noted), codec.Sealed(note)))
		r.save()
	}
}

// notes calls f with what is fresh, as it was noted.
func (r *records) notes(f func(key, entries []byte)) {
	r.after(bucketFresh, nil, nil, func(k, v []byte) bool {
		f(k, must(entriesOf(v)))
		return true
	})
}

// unindex removes entries, or cancels them. What is removed is looked for in the largest runs first, and many at once, so that a
// block which has several is written once.
func (r *records) unindex(entries ...entry) {
	var marks, users, times []entry // tokens come in the order of ids, so those of one user do too, and those of times as a rule
	for _, e := range entries {
		switch {
		case e.alone():
			marks = append(marks, e.mark())
		case e[0] == byUser:
			users = append(users, e)
		default:
			times = append(times, e)
		}
	}
	r.index(marks...)
	left := append(users, times...)
	slices.SortFunc(left, byOrder)
	left = r.unindexFresh(left)
	for _, run := range slices.Backward(r.runs()) {
		left = r.unindexFrom(run, left)
	}
}

func byOrder(a, b entry) int { return compareEntries(a[:], b[:]) }

// unindexFresh removes those of the entries, which ascend, that are fresh, and returns the others.
func (r *records) unindexFresh(entries []entry) (others []entry) {
	fresh := map[entry]bool{}
	changed := map[string][]byte{} // what is left of notes
	r.notes(func(key, note []byte) {
		var rest []byte
		for e := range slices.Chunk(note, entrySize) {
			if _, found := slices.BinarySearchFunc(entries, entry(e), byOrder); found {
				fresh[entry(e)] = true
			} else {
				rest = append(rest, e...)
			}
		}
		if len(rest) < len(note) {
			changed[string(key)] = rest
		}
	})
	for key, rest := range changed {
		if len(rest) == 0 {
			r.delete(bucketFresh, []byte(key))
		} else {
			r.put(bucketFresh, []byte(key), codec.Sealed(rest))
		}
	}
	r.meta.fresh -= uint64(len(fresh))
	r.save()
	return slices.DeleteFunc(entries, func(e entry) bool { return fresh[e] })
}

// unindexFrom removes those of the entries, which ascend, that are in a run, and returns the others.
func (r *records) unindexFrom(run runKey, entries []entry) (others []entry) {
	b := r.made(bucketRuns)
	c := b.Cursor()
	others = entries[:0]
	for len(entries) > 0 {
		k, v := c.Seek(append(run[:], entries[0][:]...))
		if !bytes.HasPrefix(k, run[:]) {
			break // the run ends before
		}
		block := must(entriesOf(v))
		rest, from := make([]byte, 0, len(block)+codec.SealSize), 0
		for len(entries) > 0 && compareEntries(entries[0][:], k[runSize:]) <= 0 {
			if at, found := search(block, entries[0]); found {
				rest, from = append(rest, block[from:at]...), at+entrySize
			} else {
				others = append(others, entries[0])
			}
			entries = entries[1:]
		}
		rest = append(rest, block[from:]...)
		switch len(rest) {
		case len(block):
		case 0:
			check(b.Delete(k))
		default:
			key := run.blockKey(rest)
			if !bytes.Equal(key, k) { // it must not go on naming what is gone
				check(b.Delete(k))
			}
			check(b.Put(key, codec.Sealed(rest)))
		}
	}
	return append(others, entries...)
}
