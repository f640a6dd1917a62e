package memstore

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
)

// table is records by the hashes of their ids, or of texts. It takes the place of a map, which would hold the keys as well: an entry is a
// hash and a pointer, so that many more of them are in the processor's caches. Like a map it grows in small parts, and no single call waits
// for the whole to be moved.
//
// One may change it at a time. Who looks for a record by its id meanwhile finds it, or what was there before, or nothing; see [tenant.peek].
type table struct {
	seed  maphash.Seed
	parts atomic.Pointer[parts]
	gone  *record // stands where a record was
	count int     // how many records there are
}

// parts is a power of two of parts, by the first bits of a hash. A part that is of fewer such bits stands there several times in a row.
type parts struct {
	list []atomic.Pointer[part]
	bits int
}

// part is the records whose hashes begin alike. They are looked for from where the bits before the number tell, up to a free entry.
type part struct {
	entries []entry // a power of two, a quarter of which is free at least
	used    int
	bits    int // how many first bits are alike
}

// entry is for one hash, until its part is made anew.
type entry struct {
	hash   uint64                 // the last byte is no part of it, but a number that is kept beside the record
	record atomic.Pointer[record] // nil if the entry is free
}

const (
	minPart    = 8
	maxPart    = 1024 // so many are moved at once at most
	numberBits = 8
	numberMask = 1<<numberBits - 1
)

func newTable() *table {
	t := &table{seed: maphash.MakeSeed(), gone: &record{}}
	first := &parts{list: make([]atomic.Pointer[part], 1)}
	first.list[0].Store(&part{entries: make([]entry, minPart)})
	t.parts.Store(first)
	return t
}

func (t *table) ofID(id *ulid.ULID) uint64 { return maphash.Bytes(t.seed, id[:]) &^ numberMask }

func (t *table) ofText(text string) uint64 { return maphash.String(t.seed, text) &^ numberMask }

func (e *entry) number() int { return int(e.hash & numberMask) }

// is reports whether the entry is for the hash, whatever its number.
func (e *entry) is(hash uint64) bool { return e.hash^hash <= numberMask }

func (p *parts) of(hash uint64) *part { return p.list[hash>>(64-p.bits)].Load() }

// at is the record with the hash, and with the id unless that is nil, and its entry. If there is none it is nil, and the free entry where
// one would stand, until another record is added.
func (t *table) at(hash uint64, id *ulid.ULID) (*record, *entry) {
	entries := t.parts.Load().of(hash).entries
	for i := int(hash >> numberBits); ; i++ {
		e := &entries[i&(len(entries)-1)]
		r := e.record.Load()
		if r == nil || e.is(hash) && r != t.gone && (id == nil || r.id == *id) {
			return r, e
		}
	}
}

// get returns the record with the id, nil if there is none.
func (t *table) get(id ulid.ULID) *record {
	r, _ := t.at(t.ofID(&id), &id)
	return r
}

// add adds a record at the free entry where one with the hash would stand.
func (t *table) add(e *entry, hash uint64, r *record) {
	p := t.parts.Load().of(hash)
	for p.used == len(p.entries)*3/4 {
		t.remake(hash)
		p = t.parts.Load().of(hash)
		e = p.free(hash)
	}
	p.put(e, hash, r)
	t.count++
}

// remove removes the record of an entry.
func (t *table) remove(e *entry) {
	e.record.Store(t.gone)
	t.count--
}

// remake puts a new part, or two, in the place of that of a hash, with more free entries.
func (t *table) remake(hash uint64) {
	p := t.parts.Load().of(hash)
	held, size := 0, minPart
	for i := range p.entries {
		if t.holds(&p.entries[i]) {
			held++
		}
	}
	for held > size*3/8 {
		size *= 2
	}
	if size <= maxPart {
		q := t.filled(p, size, p.bits, func(uint64) bool { return true })
		t.replace(hash, q, q)
		return
	}
	if all := t.parts.Load(); p.bits == all.bits {
		twice := &parts{list: make([]atomic.Pointer[part], 2*len(all.list)), bits: all.bits + 1}
		for i := range twice.list {
			twice.list[i].Store(all.list[i/2].Load())
		}
		t.parts.Store(twice)
	}
	bit := uint64(1) << (63 - p.bits) // the first in which its hashes differ
	t.replace(hash,
		t.filled(p, maxPart, p.bits+1, func(hash uint64) bool { return hash&bit == 0 }),
		t.filled(p, maxPart, p.bits+1, func(hash uint64) bool { return hash&bit != 0 }))
}

func (t *table) holds(e *entry) bool {
	r := e.record.Load()
	return r != nil && r != t.gone
}

// filled is a part of so many entries with those records of p whose hashes are wanted.
func (t *table) filled(p *part, size, bits int, wanted func(hash uint64) bool) *part {
	q := &part{entries: make([]entry, size), bits: bits}
	for i := range p.entries {
		if e := &p.entries[i]; t.holds(e) && wanted(e.hash) {
			q.put(q.free(e.hash), e.hash, e.record.Load())
		}
	}
	return q
}

// replace puts parts in the place of that of a hash: one where its next bit is 0, one where it is 1.
func (t *table) replace(hash uint64, low, high *part) {
	all := t.parts.Load()
	bits := all.of(hash).bits
	places := len(all.list) >> bits
	first := int(hash>>(64-bits)) * places
	for i := range places {
		if i < places/2 {
			all.list[first+i].Store(low)
		} else {
			all.list[first+i].Store(high)
		}
	}
}

// free is the free entry where a record with the hash would stand.
func (p *part) free(hash uint64) *entry {
	for i := int(hash >> numberBits); ; i++ {
		if e := &p.entries[i&(len(p.entries)-1)]; e.record.Load() == nil {
			return e
		}
	}
}

func (p *part) put(e *entry, hash uint64, r *record) {
	e.hash = hash
	e.record.Store(r)
	p.used++
}
