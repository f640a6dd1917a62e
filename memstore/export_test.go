package memstore

import (
	"iter"
	"slices"
)

// Keys counts the entries of all maps and indexes.
func (b *Backend) Keys() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, t := range b.tenants {
		n += t.keys()
	}
	return n
}

func (t *tenant) keys() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := t.tokens.count + size(&t.byID) + size(&t.byDue) + len(t.pending) + len(t.retired)
	for _, c := range []*chains{&t.byUser, &t.bySession} {
		n += c.heads.count
		for e := range c.heads.all() {
			n += e.number()
		}
		for _, set := range c.many {
			n += 1 + size(set)
		}
	}
	for _, guards := range t.guards {
		n += 1 + len(guards)
	}
	return n
}

func size[K ordered[K]](s *sortedSet[K]) int { return len(slices.Concat(s.chunks...)) }

// all walks the entries that hold records, in no order.
func (t *table) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		var last *part
		for i := range t.parts.Load().list {
			p := t.parts.Load().list[i].Load()
			if p == last {
				continue
			}
			last = p
			for j := range p.entries {
				if e := &p.entries[j]; t.holds(e) && !yield(e) {
					return
				}
			}
		}
	}
}
