package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// look reads which tokens have notes.
func (t *txn) look() (generations []generation) {
	all := t.tx.Bucket(bucketRewrites)
	check(all.ForEach(func(name, _ []byte) error {
		if len(name) != len(numberKey(0)) || all.Bucket(name) == nil || len(generations) > 1 {
			return fmt.Errorf("%w: rewritten records are of a wrong generation", ErrCorrupt)
		}
		g := generation{name: binary.BigEndian.Uint64(name), notes: map[tokenKey]uint64{}}
		tenant := ""
		err := all.Bucket(name).ForEach(func(note, _ []byte) error {
			if len(note) <= noteHead {
				return fmt.Errorf("%w: a record was rewritten for nobody", ErrCorrupt)
			}
			g.last = binary.BigEndian.Uint64(note)
			if string(note[noteHead:]) != tenant {
				tenant = string(note[noteHead:])
			}
			g.notes[tokenKey{tenant, ulid.ULID(note[8:noteHead])}] = g.last
			return nil
		})
		generations = append(generations, g)
		return err
	}))
	return generations
}

// notes returns the bucket of a generation, or nil.
func (t *txn) notes(generation uint64) *bbolt.Bucket {
	return t.tx.Bucket(bucketRewrites).Bucket(numberKey(generation))
}

// noteOf returns where the note of a token is, or zeros.
func (t *txn) noteOf(key tokenKey) (generation, number uint64) {
	if number, changed := t.rewriting.changed[key]; changed {
		return t.rewrites.latest().name, number
	}
	if t.looked == nil && t.rewrites != nil {
		epoch := t.begunRewrites
		if t.tx.Writable() { // nobody else takes any away
			epoch = t.rewrites.now()
		}
		if generation, number, sure := t.rewrites.find(key, epoch); sure {
			return generation, number
		}
	}
	t.lookOnce()
	return find(t.looked, key)
}

// lookOnce has the transaction go by what it sees itself.
func (t *txn) lookOnce() {
	if t.looked == nil {
		t.looked = append([]generation{}, t.look()...)
	}
}

// stored returns the record of a token as it is stored, or nil.
func (r *records) stored(id ulid.ULID) []byte {
	if rewritten := r.rewritten(id); rewritten != nil {
		return rewritten
	}
	return r.get(bucketTokens, id[:])
}

// rewritten returns what is noted of a token, or nil.
func (r *records) rewritten(id ulid.ULID) []byte {
	t, key := r.txn, tokenKey{r.name, id}
	generation, number := t.noteOf(key)
	if number == 0 {
		return nil
	}
	if notes := t.notes(generation); notes != nil {
		if record := notes.Get(key.note(number)); record != nil {
			return record
		}
	}
	if t.looked != nil || t.tx.Writable() {
		check(fmt.Errorf("%w: what a record was rewritten as is gone", ErrCorrupt))
	}
	t.lookOnce() // it was noted, or has gone, since this snapshot
	return r.rewritten(id)
}

// current returns what is stored of the token that has a value in its place.
func (r *records) current(id, inPlace []byte) []byte {
	if len(id) == len(ulid.ULID{}) {
		if rewritten := r.rewritten(ulid.ULID(id)); rewritten != nil {
			return rewritten
		}
	}
	return inPlace
}

// rewrite notes what a record that is there becomes.
func (r *records) rewrite(id ulid.ULID, record []byte) {
	t, key := r.txn, tokenKey{r.name, id}
	t.dirty = true
	x, latest := &t.rewriting, t.rewrites.latest()
	if x.changed == nil {
		x.changed, x.last = map[tokenKey]uint64{}, latest.last
	}
	number, changed := x.changed[key]
	if !changed {
		number = latest.notes[key]
	}
	if number == 0 {
		x.last++
		number = x.last
	}
	x.changed[key] = number
	x.owed++
	notes := t.notes(latest.name)
	if notes == nil {
		notes = must(t.tx.Bucket(bucketRewrites).CreateBucket(numberKey(latest.name)))
	}
	notes.FillPercent = fillRewrites
	check(notes.Put(key.note(number), record))
}

// replace writes a record over that of a token, wherever it is: into a file that is open for nobody else.
func (r *records) replace(id ulid.ULID, record []byte) {
	key := tokenKey{r.name, id}
	generation, number := r.txn.noteOf(key)
	if number == 0 {
		r.putEncoded(id, record)
		return
	}
	check(r.txn.notes(generation).Put(key.note(number), record))
}

// forgetRewrites is for a token that goes.
func (r *records) forgetRewrites(id ulid.ULID) {
	t, key := r.txn, tokenKey{r.name, id}
	x := &t.rewriting
	remove := func(generation, number uint64) {
		if number == 0 {
			return
		}
		if x.changed == nil {
			x.changed, x.last = map[tokenKey]uint64{}, t.rewrites.latest().last
		}
		x.changed[key] = 0
		check(t.notes(generation).Delete(key.note(number)))
	}
	if number, changed := x.changed[key]; changed {
		remove(t.rewrites.latest().name, number)
	}
	for _, g := range t.rewrites.generations {
		remove(g.name, g.notes[key])
	}
}

// settleRewrites puts some of what an older generation has noted into its places: a little more than has been noted since, so that
// it is done before the next is full. It ends a commit's work.
func (t *txn) settleRewrites() {
	x, generations := &t.rewriting, t.rewrites.generations
	latest := t.rewrites.latest()
	if len(generations) == 1 {
		x.full = len(latest.notes)+len(x.changed) >= t.generationMax()
		x.owed = 0
		return
	}
	if t.rewrites.blocked || x.owed < min(placedAtOnce, t.generationMax()) {
		return
	}
	older := &generations[0]
	notes := t.notes(older.name)
	n := x.owed + x.owed/4 + 1
	for looks := looksEach * n; n > 0 && looks > 0 && len(x.left) > 0; x.left = x.left[1:] {
		key := x.left[0]
		number := older.notes[key]
		_, changed := x.changed[key]
		if number == 0 || changed || latest.notes[key] > 0 {
			continue // it is gone, or what was noted later is right
		}
		looks--
		record := notes.Get(key.note(number))
		if record == nil {
			check(fmt.Errorf("%w: what a record was rewritten as is gone", ErrCorrupt))
		}
		if r := t.records(key.tenant); !bytes.Equal(r.get(bucketTokens, key.id[:]), record) { // nor did it come there before a crash
			r.putEncoded(key.id, bytes.Clone(record))
			n--
		}
	}
	x.owed = 0
	if len(x.left) > 0 {
		return
	}
	x.placed = true
	if notes != nil {
		check(t.tx.Bucket(bucketRewrites).DeleteBucket(numberKey(older.name)))
	}
}

// generationMax is how many notes make a generation full. The larger it is, the more neighbours are put into their places at once.
func (t *txn) generationMax() int {
	if t.rewrites.max > 0 {
		return t.rewrites.max
	}
	pages := int(t.tx.Size()) / t.tx.DB().Info().PageSize
	return min(max(pages/generationPart, generationMin), generationMax)
}
