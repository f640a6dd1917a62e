package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"example.com/tokenstore/internal/codec"
	"go.etcd.io/bbolt"
)

// A run is a part of the index that was written in order, as blocks of entries. A block is entries one after the other and
// a CRC-32C of them; its key is that of the run and an entry, never a mark, that none of its own is above.
//
// The n-th run of level 0 holds what was fresh when it was moved for the n-th time. Four runs in a row of one level, once
// they are whole, move on to one run of the next: so a run's key says which it came from, there is no list of them to be
// kept, and where a run is not there, nothing is left in it.
type runKey [runSize]byte // level (1), number (8)

const (
	runSize   = 9
	levelBits = 2    // four runs become one: 1 << levelBits
	freshMax  = 1024 // how many entries are fresh before they settle
	blockMax  = 40   // how many entries a block has: four blocks with their keys fill a page of 4 KiB
	fillRuns  = 1    // blocks come in the order of their keys, and are written again only where tokens are removed
	fillNotes = 1    // so do notes
)

func runOf(level byte, number uint64) (r runKey) {
	r[0] = level
	binary.BigEndian.PutUint64(r[1:], number)
	return r
}

func (r runKey) level() byte { return r[0] }

func (r runKey) number() uint64 { return binary.BigEndian.Uint64(r[1:]) }

// into returns the number of the run of a level that a run has gone, or will go, into.
func (r runKey) into(level byte) uint64 { return r.number() >> (levelBits * (level - r.level())) }

// blockKey is the key of a block of so many entries.
func (r runKey) blockKey(entries []byte) []byte {
	key := append(r[:], entries[len(entries)-entrySize:]...)
	key[runSize] &^= cancelled
	return key
}

// entriesOf returns the entries of a block.
func entriesOf(block []byte) ([]byte, error) {
	n := len(block) - codec.SealSize
	if n%entrySize != 0 || !codec.IsWhole(block) {
		return nil, fmt.Errorf("%w: a block of the index is damaged", ErrCorrupt)
	}
	return block[:n], nil
}

// search returns where an entry is in a block, or would be.
func search(block []byte, e entry) (at int, found bool) {
	n := len(block) / entrySize
	i := sort.Search(n, func(i int) bool { return compareEntries(block[i*entrySize:], e[:]) >= 0 })
	at = i * entrySize
	return at, i < n && bytes.Equal(block[at:at+entrySize], e[:])
}

// runs returns the keys of the runs, ascending: those of the lowest level, which are the smallest, first.
func (r *records) runs() []runKey {
	if r.known != nil {
		return r.known
	}
	r.known = []runKey{}
	b := r.bucket(bucketRuns)
	if b == nil {
		return r.known
	}
	c := b.Cursor()
	for k, _ := c.First(); k != nil; {
		if len(k) != runSize+entrySize || len(r.known) > 0 && bytes.Compare(k, r.known[len(r.known)-1][:]) <= 0 {
			check(fmt.Errorf("%w: a run of the index is damaged", ErrCorrupt))
		}
		last := runKey(k[:runSize])
		r.known = append(r.known, last)
		k, _ = c.Seek(append(last[:], bytes.Repeat([]byte{0xFF}, entrySize)...)) // no entry is all of that
	}
	return r.known
}

// stream reads the entries of a run, or those that are fresh, in their order.
type stream struct {
	cursor *bbolt.Cursor // none for what is fresh
	run    []byte
	head   entry     // the entry that the stream is at
	key    []byte    // of its block
	rest   []byte    // what of its block comes after it
	used   *[][]byte // takes the keys of the blocks that it has come to the end of; nil for nobody
}

// seek goes to the first entry that is not before the given one. It reports whether there is one.
func (s *stream) seek(from entry) bool {
	k, v := s.cursor.Seek(append(bytes.Clone(s.run), from[:]...))
	if !s.load(k, v) {
		return false
	}
	at, _ := search(s.rest, from)
	s.rest = s.rest[at:]
	return s.next()
}

// next goes to the next entry. It reports whether there is one.
func (s *stream) next() bool {
	for len(s.rest) == 0 {
		if s.cursor == nil {
			return false
		}
		if s.used != nil {
			*s.used = append(*s.used, bytes.Clone(s.key))
		}
		if k, v := s.cursor.Next(); !s.load(k, v) {
			return false
		}
	}
	copy(s.head[:], s.rest)
	s.rest = s.rest[entrySize:]
	return true
}

func (s *stream) load(k, v []byte) bool {
	if k == nil || !bytes.HasPrefix(k, s.run) {
		return false
	}
	s.key, s.rest = k, must(entriesOf(v))
	return true
}

// freshStream reads what is fresh, from one entry to another, both included.
func (r *records) freshStream(from, to entry) *stream {
	var entries []entry
	r.notes(func(_, note []byte) {
		for e := range slices.Chunk(note, entrySize) {
			if compareEntries(e, from[:]) >= 0 && compareEntries(e, to[:]) <= 0 {
				entries = append(entries, entry(e))
			}
		}
	})
	slices.SortFunc(entries, byOrder)
	s := &stream{}
	for i := 0; i < len(entries); {
		e, count := entries[i], 0
		for ; i < len(entries) && byOrder(e, entries[i]) == 0; i++ {
			count += entries[i].counts()
		}
		s.rest = appendCount(s.rest, e, count)
	}
	return s
}

// counts returns how often an entry counts: a mark less by one.
func (e *entry) counts() int {
	if e[0]&cancelled != 0 {
		return -1
	}
	return 1
}

// appendCount appends an entry, or its mark, or nothing, as they count together.
func appendCount(to []byte, e entry, count int) []byte {
	e[0] &^= cancelled
	switch count {
	case 0:
		return to
	case -1:
		e = e.mark()
	case 1:
	default:
		check(fmt.Errorf("%w: the index has an entry, or cancels it, %d times", ErrCorrupt, count))
	}
	return append(to, e[:]...)
}

// merger reads several streams in the order of their entries. An entry comes into the index and goes in turns, so in a run,
// which is of one time, it counts for one, nothing, or less by one; and so it does in several that follow one another.
type merger struct {
	streams []*stream // those that have not ended
	entry   entry     // never a mark
	count   int       // how often the streams have it, less its marks
	begun   bool
}

// next goes to the next entry of any stream, also where it counts for nothing. It reports whether there is one.
func (m *merger) next() bool {
	if len(m.streams) == 0 {
		return false
	}
	last := m.entry
	m.entry = m.streams[0].head
	for _, s := range m.streams[1:] {
		if byOrder(s.head, m.entry) < 0 {
			m.entry = s.head
		}
	}
	m.entry[0] &^= cancelled
	if m.begun && byOrder(last, m.entry) >= 0 {
		check(fmt.Errorf("%w: the index is out of order", ErrCorrupt))
	}
	m.begun, m.count = true, 0
	m.streams = slices.DeleteFunc(m.streams, func(s *stream) bool {
		if byOrder(s.head, m.entry) != 0 {
			return false
		}
		m.count += s.head.counts()
		return !s.next()
	})
	return true
}

// settle moves what is fresh, if it is enough, to runs of their own: to several if it is more than two settle with.
func (r *records) settle() {
	limit := int(r.txn.freshMax)
	if int(r.meta.fresh) < limit {
		return
	}
	all := r.freshStream(entry{}, prefix{math.MaxUint8}.last()).rest
	check(r.root.DeleteBucket(bucketFresh))
	r.meta.fresh = 0
	r.save()
	for n := len(all) / entrySize; n > 0; n = len(all) / entrySize {
		if n >= 2*limit {
			n = limit
		}
		r.settleRun(all[:n*entrySize], movedAtOnce(max(n, limit)))
		all = all[n*entrySize:]
	}
}

// settleRun adds a run of level 0, and goes on with moving so many entries of every level to the next. It is twice as many as settle:
// so no commit waits for a large merge, and none falls behind.
func (r *records) settleRun(entries []byte, moved int) {
	r.appendRun(runOf(0, r.meta.settled), entries)
	r.meta.settled++
	for level := byte(0); ; level++ {
		r.known = nil
		from := r.whole(level)
		if len(from) > 0 {
			r.move(from, level+1, moved)
			r.txn.merged = true
		} else if runs := r.runs(); len(runs) == 0 || runs[len(runs)-1].level() <= level {
			break
		}
	}
}

// whole returns the runs that are the next of a level to move on: those of one group, of which all is there.
func (r *records) whole(level byte) (group []runKey) {
	for _, x := range r.runs() {
		if x.level() == level {
			number := x.into(level + 1)
			if len(group) > 0 && group[0].into(level+1) != number {
				break
			}
			group = append(group, x)
		}
	}
	if len(group) == 0 {
		return nil
	}
	number := group[0].into(level + 1)
	if (number+1)<<(levelBits*(level+1)) > r.meta.settled {
		return nil // more is to come
	}
	for _, x := range r.runs() {
		if x.level() < level && x.into(level+1) == number {
			return nil // some of it is still on its way
		}
	}
	return group
}

// movedAtOnce is how many entries of a level move at once: twice as many as come, in whole blocks.
func movedAtOnce(come int) int { return (2*come + blockMax - 1) / blockMax * blockMax }

// move takes so many of the least entries of runs to the run that they go into.
func (r *records) move(from []runKey, level byte, count int) {
	b := r.made(bucketRuns)
	var streams []*stream
	var emptied [][]byte // keys of blocks of which nothing is left
	for i := range from {
		s := &stream{cursor: b.Cursor(), run: from[i][:], used: &emptied}
		if s.seek(entry{}) {
			streams = append(streams, s)
		}
	}
	var moved []byte
	m := merger{streams: streams}
	for n := 0; n < count && m.next(); n++ {
		moved = appendCount(moved, m.entry, m.count)
	}
	type cut struct{ key, rest []byte }
	var cuts []cut // what is left of blocks
	for _, s := range m.streams {
		if rest := append(s.head[:], s.rest...); len(rest) < blockMax*entrySize {
			cuts = append(cuts, cut{bytes.Clone(s.key), rest})
		}
	}
	for _, key := range emptied {
		check(b.Delete(key))
	}
	for _, c := range cuts {
		check(b.Put(c.key, codec.Sealed(c.rest)))
	}
	r.appendRun(runOf(level, from[0].into(level)), moved)
}

// appendRun writes entries, which are above all that the run has, behind them.
func (r *records) appendRun(to runKey, entries []byte) {
	b := r.made(bucketRuns)
	b.FillPercent = fillRuns
	for len(entries) > 0 {
		n := min(len(entries), blockMax*entrySize)
		block := append(make([]byte, 0, n+codec.SealSize), entries[:n]...)
		check(b.Put(to.blockKey(block), codec.Sealed(block)))
		entries = entries[n:]
	}
}
