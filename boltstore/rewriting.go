package boltstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// noting is what a transaction for writing does about notes. What records become is written in their places where it is not noted.
type noting byte

const (
	notesAndPlaces noting = iota // it makes notes, and puts some of those before into their places
	placesOnly                   // there is little room: it puts some into their places
	noNotes                      // neither
)

// look reads which tokens have notes.
func (t *txn) look() (generations []generation) {
	all := t.tx.Bucket(bucketRewrites)
	if all == nil { // in a file of format 1
		return nil
	}
	check(all.ForEach(func(name, _ []byte) error {
		if len(name) != len(numberKey(0)) || all.Bucket(name) == nil || len(generations) > 1 {
			return fmt.Errorf("%w: rewritten records are of a wrong generation", ErrCorrupt)
		}
		g := generation{name: binary.BigEndian.Uint64(name), notes: map[tokenKey]uint64{}}
		tenant := ""
		err := all.Bucket(name).ForEach(func(note, value []byte) error {
			if len(note) <= noteHead || binary.BigEndian.Uint64(note) == 0 {
				return fmt.Errorf("%w: a record was rewritten for nobody", ErrCorrupt)
			}
			if string(note[noteHead:]) != tenant {
				tenant = string(note[noteHead:])
				if t.tx.Bucket(bucketTenants).Bucket(note[noteHead:]) == nil {
					return fmt.Errorf("%w: tenant %q: a record was rewritten, and the tenant is not there", ErrCorrupt, tenant)
				}
			}
			key := tokenKey{tenant, ulid.ULID(note[8:noteHead])}
			if g.notes[key] > 0 {
				return fmt.Errorf("%w: a record was rewritten twice in one generation", ErrCorrupt)
			}
			// Whose it is stands in the key alone, which has no sum: if that is damaged, what is out of date would be taken for its record.
			if x, err := decode(value, recordFields); err == nil && x.token.ID != key.id {
				return fmt.Errorf("%w: tenant %q: token %s is stored as %s", ErrCorrupt, tenant, x.token.ID, key.id)
			}
			g.notes[key] = binary.BigEndian.Uint64(note)
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

// noted returns where notes of a token may be that a commit before has made.
func (t *txn) noted(key tokenKey) [2]noted {
	if t.rewrites == nil {
		t.lookItself()
		return find(t.generations, key)
	}
	return t.rewrites.find(t.generations, key)
}

// lookItself has a transaction go by what it sees, and by nothing that is known in memory.
func (t *txn) lookItself() {
	if t.rewrites != nil || t.generations == nil {
		t.rewrites, t.generations = nil, append([]generation{}, t.look()...)
	}
}

// noteAt returns what is noted of a token in a place, or nil.
func (t *txn) noteAt(key *tokenKey, place noted) []byte {
	if place.number > 0 {
		if notes := t.notes(place.generation); notes != nil {
			return notes.Get(key.note(place.number))
		}
	}
	return nil
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
	if number := t.rewriting.noted[key]; number > 0 {
		if record := t.noteAt(&key, noted{t.rewrites.latest().name, number}); record != nil {
			return record
		}
	}
	for _, place := range t.noted(key) {
		if record := t.noteAt(&key, place); record != nil {
			return record
		}
	}
	return nil
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

// rewrite has a record that is there become another.
func (r *records) rewrite(id ulid.ULID, record []byte) {
	r.txn.rewriting.owed++
	switch {
	case r.txn.noting == notesAndPlaces:
		r.note(id, record)
	case r.txn.rewrites.blocked: // a note that was deleted might take a page with it, and meet the damage
		r.replace(id, record)
	default:
		r.txn.rewriting.forgets = true
		r.forgetRewrites(id)
		r.putEncoded(id, record)
	}
}

// note notes what a record becomes.
func (r *records) note(id ulid.ULID, record []byte) {
	t, key := r.txn, tokenKey{r.name, id}
	t.dirty = true
	x, latest := &t.rewriting, t.rewrites.latest()
	number := cmp.Or(x.noted[key], latest.notes[key])
	if number == 0 {
		x.last++
		x.added++
		number = x.last
	}
	if x.noted == nil {
		x.noted = map[tokenKey]uint64{}
	}
	x.noted[key] = number
	err := protect(func() error {
		notes := t.notes(latest.name)
		if notes == nil {
			notes = must(t.tx.Bucket(bucketRewrites).CreateBucket(numberKey(latest.name)))
		}
		notes.FillPercent = fillRewrites
		return notes.Put(key.note(number), record)
	})
	x.placing = x.placing || isDamage(err) // which is where all are noted, and not of this token
	check(err)
}

// replace writes a record over that of a token, wherever it is. It is for where notes don't come into their places any more.
func (r *records) replace(id ulid.ULID, record []byte) {
	key := tokenKey{r.name, id}
	for _, place := range r.txn.noted(key) {
		if r.txn.noteAt(&key, place) != nil {
			r.txn.dirty = true
			check(r.txn.notes(place.generation).Put(key.note(place.number), record))
			return
		}
	}
	r.putEncoded(id, record)
}

// forgetRewrites deletes what is noted of a token: because it goes, or is written in its place.
func (r *records) forgetRewrites(id ulid.ULID) {
	t, key := r.txn, tokenKey{r.name, id}
	forget := func(generation, number uint64) {
		if number == 0 {
			return
		}
		if notes := t.notes(generation); notes != nil {
			check(notes.Delete(key.note(number)))
		}
	}
	forget(t.rewrites.latest().name, t.rewriting.noted[key])
	for _, place := range t.noted(key) {
		forget(place.generation, place.number)
	}
}

// isRecordOf reports whether what is noted of a token can be read, and is its record.
func isRecordOf(id ulid.ULID, note []byte) bool {
	x, err := decode(note, recordFields)
	return err == nil && x.token.ID == id
}

// settleRewrites puts some of what an older generation has noted into its places: an eighth more than this commit has rewritten, or
// than is owed, so that it is done before the next is full. It ends a commit's work. What can't be put into a place, because it is
// damaged or has none, is noted again as it is: whoever asks for it is told.
func (t *txn) settleRewrites() {
	if t.noting == noNotes {
		return
	}
	x, generations := &t.rewriting, t.generations
	latest := t.rewrites.latest()
	if len(generations) == 1 {
		n := len(latest.notes) + x.added
		x.full = n >= t.generationMax() || n > 0 && t.noting == placesOnly
		x.owed = 0
		return
	}
	own := x.owed - t.rewrites.owed
	owed := min(x.owed, max(placedMax, own))
	if t.noting == placesOnly {
		owed = max(own, placedMin)
	} else if owed < min(placedMin, t.generationMax()) {
		return
	}
	x.placing = true
	older := &generations[0]
	notes := t.notes(older.name)
	if notes == nil { // a commit that failed was made all the same
		x.left = nil
	}
	rest := max(0, x.owed-owed)
	n := owed + owed/8 + 1
	for looks := max(looksMin, 2*n); n > 0 && looks > 0 && len(x.left) > 0; x.left = x.left[1:] {
		looks--
		key := x.left[0]
		later := noted{latest.name, cmp.Or(x.noted[key], latest.notes[key])}
		if t.noteAt(&key, later) != nil {
			continue // that is right
		}
		record := notes.Get(key.note(older.notes[key]))
		if record == nil {
			continue // it has gone
		}
		r := t.unread(key.tenant)
		switch inPlace := r.get(bucketTokens, key.id[:]); {
		case inPlace == nil || !isRecordOf(key.id, record):
			r.note(key.id, bytes.Clone(record))
			n--
		case !bytes.Equal(inPlace, record): // nor did it come there before the file was opened
			r.putEncoded(key.id, bytes.Clone(record))
			n--
		}
	}
	x.owed = rest
	if len(x.left) > 0 {
		return
	}
	x.placed = true
	if notes != nil {
		check(t.tx.Bucket(bucketRewrites).DeleteBucket(numberKey(older.name)))
	}
}

// hasRoomForNotes reports whether there is room for half of the file again. Notes take no more than half of that. What room is left when
// nothing is noted any more is for what makes room, and for what is more important.
func (t *txn) hasRoomForNotes() bool {
	db := t.tx.DB()
	size := int64(db.Info().PageSize)
	room, known := roomOnDisk(db.Path())
	if limit := int64(db.MaxSize); limit > 0 && (!known || limit-t.tx.Size() < room) {
		room, known = limit-t.tx.Size(), true
	}
	return !known || room+size*int64(db.Stats().FreePageN) >= t.tx.Size()/roomPart
}

// generationMax is how many notes make a generation full. The larger it is, the more neighbours are put into their places at once.
func (t *txn) generationMax() int {
	if t.rewrites.max > 0 {
		return t.rewrites.max
	}
	pages := int(t.tx.Size()) / t.tx.DB().Info().PageSize
	return min(max(pages/generationPart, generationMin), generationMax)
}
