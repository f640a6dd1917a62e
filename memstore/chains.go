package memstore

import (
	"hash/maphash"
	"iter"

	"github.com/oklog/ulid/v2"
)

// chains is ids under texts, in their order. Most texts have few, whose records are chained, from the highest id down.
type chains struct {
	heads *table[string]    // the first record of each chain
	many  map[string]*idSet // under texts that had more than fewIDs at some time since they last had none
	by    int               // which of a record's links are meant
}

// What records are chained by.
const (
	byUser = iota
	bySession
	kindsOfChains
)

// link is a record's place in a chain.
type link struct{ next, previous *record }

const fewIDs = 64

func newChains(by int, text func(*record) string) chains {
	return chains{heads: newTable(maphash.String, text), many: map[string]*idSet{}, by: by}
}

// set is the ids under a text that had many, nil for any other.
func (c *chains) set(text string) *idSet {
	if len(c.many) == 0 {
		return nil
	}
	return c.many[text]
}

// add adds a record.
func (c *chains) add(r *record) {
	text := c.heads.key(r)
	if set := c.set(text); set != nil {
		set.add(r.id)
		return
	}
	head, at := c.heads.at(text)
	if head == nil {
		r.chained[c.by] = 1
		c.heads.add(r)
		return
	}
	switch count := &head.chained[c.by]; {
	case *count == fewIDs:
		c.unchain(head).add(r.id)
	case head.id.Compare(r.id) < 0: // as most ids come
		r.chained[c.by] = *count + 1
		c.join(r, head)
		at.record.Store(r)
	default:
		*count++
		above := head
		for next := above.links[c.by].next; next != nil && next.id.Compare(r.id) > 0; next = above.links[c.by].next {
			above = next
		}
		c.join(r, above.links[c.by].next)
		c.join(above, r)
	}
}

// join has a record be followed by another, or by none.
func (c *chains) join(r, next *record) {
	r.links[c.by].next = next
	if next != nil {
		next.links[c.by].previous = r
	}
}

// unchain moves the ids of a chain into a set.
func (c *chains) unchain(head *record) *idSet {
	text, set := c.heads.key(head), &idSet{}
	for id := range c.after(text, ulid.ULID{}) {
		set.add(id)
	}
	c.heads.remove(text)
	c.many[text] = set
	for r := head; r != nil; {
		next := r.links[c.by].next
		r.links[c.by] = link{}
		r = next
	}
	return set
}

// remove removes a record that was added.
func (c *chains) remove(r *record) {
	text := c.heads.key(r)
	if set := c.set(text); set != nil {
		if set.remove(r.id); set.empty() {
			delete(c.many, text)
		}
		return
	}
	own := r.links[c.by]
	r.links[c.by] = link{}
	switch head, at := c.heads.at(text); {
	case head != r:
		head.chained[c.by]--
		c.join(own.previous, own.next)
	case own.next == nil:
		c.heads.remove(text)
	default:
		own.next.chained[c.by] = r.chained[c.by] - 1
		own.next.links[c.by].previous = nil
		at.record.Store(own.next)
	}
}

// replace puts a record in the place of one of the same token.
func (c *chains) replace(r, by *record) {
	text := c.heads.key(r)
	if c.set(text) != nil {
		return
	}
	own := r.links[c.by]
	by.chained[c.by] = r.chained[c.by]
	c.join(by, own.next)
	if own.previous != nil {
		c.join(own.previous, by)
		return
	}
	_, at := c.heads.at(text)
	at.record.Store(by)
}

// after walks the ids under the text above the given one, ascending. They may be changed only after the walk has ended.
func (c *chains) after(text string, id ulid.ULID) iter.Seq[ulid.ULID] {
	if set := c.set(text); set != nil {
		return set.after(id)
	}
	return func(yield func(ulid.ULID) bool) {
		var ids [fewIDs]ulid.ULID
		n := 0
		for r := c.heads.get(text); r != nil && r.id.Compare(id) > 0; r = r.links[c.by].next {
			ids[n] = r.id
			n++
		}
		for n--; n >= 0; n-- {
			if !yield(ids[n]) {
				return
			}
		}
	}
}
