package memstore

import (
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"
)

// chains is ids under texts. Most texts have few, whose records are chained, newest first; those of a text that has many stand in a set.
//
// An addition reads no record that is there, for it would wait for memory: texts are told apart by their hashes alone, so that who walks
// the ids under one has to pass over those under another that may have the same hash, and no record is told at once which now stands before it.
type chains struct {
	heads *table            // the first record of each chain, with how many there are in it
	many  map[uint64]*idSet // under hashes that had more than fewIDs at some time since they last had none
	by    int               // which of a record's links are meant
	text  func(*record) string
	hash  func(text string) uint64
}

// What records are chained by.
const (
	byUser = iota
	bySession
	kindsOfChains
)

// link is a record's place in a chain. It knows the previous one only once [chains.previous] was asked for one that did not.
type link struct{ next, previous *record }

const fewIDs = 64

const _ = uint8(fewIDs) // it is counted in the number of an entry

func newChains(by int, text func(*record) string) chains {
	heads := newTable()
	return chains{heads: heads, many: map[uint64]*idSet{}, by: by, text: text, hash: heads.ofText}
}

// set is the ids under a hash that had many, nil for any other.
func (c *chains) set(hash uint64) *idSet {
	if len(c.many) == 0 {
		return nil
	}
	return c.many[hash]
}

// add adds a record.
func (c *chains) add(r *record) {
	hash := c.hash(c.text(r))
	if set := c.set(hash); set != nil {
		set.add(r.id)
		return
	}
	switch head, e := c.heads.at(hash, nil); {
	case head == nil:
		c.heads.add(e, hash|1, r) // one in the chain
	case e.number() == fewIDs:
		c.unchain(e, hash).add(r.id)
	default:
		r.links[c.by].next = head
		e.hash++
		e.record.Store(r)
	}
}

// previous returns the record that stands before another in the chain of an entry, nil if that is the first. All that don't know theirs yet
// stand before all that do; they are told it now, so that each is told once.
func (c *chains) previous(e *entry, r *record) *record {
	if r.links[c.by].previous == nil {
		above := e.record.Load()
		for next := above.links[c.by].next; next != nil && next.links[c.by].previous == nil; next = next.links[c.by].next {
			next.links[c.by].previous = above
			above = next
		}
	}
	return r.links[c.by].previous
}

// unchain moves the ids of a chain into a set.
func (c *chains) unchain(e *entry, hash uint64) *idSet {
	set := &idSet{}
	for r := e.record.Load(); r != nil; {
		set.add(r.id)
		next := r.links[c.by].next
		r.links[c.by] = link{}
		r = next
	}
	c.heads.remove(e)
	c.many[hash] = set
	return set
}

// remove removes a record that was added.
func (c *chains) remove(r *record) {
	hash := c.hash(c.text(r))
	if set := c.set(hash); set != nil {
		if set.remove(r.id); set.empty() {
			delete(c.many, hash)
		}
		return
	}
	_, e := c.heads.at(hash, nil)
	previous, next := c.previous(e, r), r.links[c.by].next
	r.links[c.by] = link{}
	switch {
	case previous != nil:
		previous.links[c.by].next = next
	case next == nil:
		c.heads.remove(e)
		return
	default:
		e.record.Store(next)
	}
	if next != nil {
		next.links[c.by].previous = previous
	}
	e.hash--
}

// replace puts a record in the place of one of the same token.
func (c *chains) replace(r, by *record) {
	hash := c.hash(c.text(r))
	if c.set(hash) != nil {
		return
	}
	_, e := c.heads.at(hash, nil)
	previous := c.previous(e, r)
	by.links[c.by] = r.links[c.by]
	if previous != nil {
		previous.links[c.by].next = by
	} else {
		e.record.Store(by)
	}
	if next := by.links[c.by].next; next != nil {
		next.links[c.by].previous = by
	}
}

// after walks the ids under the text, and under any other that has its hash, above the given one, ascending. They may be changed only
// after the walk has ended.
func (c *chains) after(text string, id ulid.ULID) iter.Seq[ulid.ULID] {
	hash := c.hash(text)
	if set := c.set(hash); set != nil {
		return set.after(id)
	}
	return func(yield func(ulid.ULID) bool) {
		var few [fewIDs]ulid.ULID
		ids := few[:0]
		for r, _ := c.heads.at(hash, nil); r != nil; r = r.links[c.by].next {
			if r.id.Compare(id) > 0 {
				ids = append(ids, r.id)
			}
		}
		slices.Reverse(ids) // most come in their order
		slices.SortFunc(ids, ulid.ULID.Compare)
		for _, id := range ids {
			if !yield(id) {
				return
			}
		}
	}
}
