package memstore

import "slices"

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
	n := len(t.tokens) + size(&t.byID) + size(&t.byDue) + len(t.pending) + len(t.retired)
	for _, index := range []idIndex{t.byUser, t.bySession} {
		for _, list := range index.few {
			n += 1 + len(list)
		}
		for _, set := range index.many {
			n += 1 + size(set)
		}
	}
	for _, guards := range t.guards {
		n += 1 + len(guards)
	}
	return n
}

func size[K ordered[K]](s *sortedSet[K]) int { return len(slices.Concat(s.chunks...)) }
