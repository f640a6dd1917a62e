package etcdstore

import (
	"bytes"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// The stages of an erasure. Pending tombstones come first: what is retired later is clean then. Events come last: what is
// written until then may still name the user.
const (
	_ uint32 = iota
	scrubPending
	scrubHistory
	scrubGuards
	scrubEvents
	scrubbed
)

// erase goes on with an erasure whose sweep is over, looks at no more than so many rows, and reports whether it has come
// through.
func (t *txn) erase(p *revocation, visit *int) bool {
	for ; p.stage < scrubbed; p.stage, p.key = p.stage+1, "" {
		ended := false
		switch by := &p.status.Tombstone; p.stage {
		case scrubPending:
			ended = t.scrub(p, keyLive, visit, func(key string) { t.scrubPending(by, key) })
		case scrubHistory:
			ended = t.scrub(p, keyRetired, visit, func(key string) { t.scrubRetired(by, key) })
		case scrubGuards:
			ended = t.scrub(p, keyAges, visit, func(key string) { t.scrubGuard(by, key) })
		case scrubEvents:
			ended = t.scrubEvents(p, visit)
		}
		if !ended {
			return false
		}
	}
	return true
}

// scrub goes on with what a tenant has of a kind, and reports whether it came to the end.
func (t *txn) scrub(p *revocation, kind string, visit *int, one func(key string)) bool {
	all := under(t.below(kind))
	s := all
	if p.key != "" {
		s = s.after(all.start + p.key)
	}
	var keys []string
	ended := t.scan(s, func(i item) bool {
		if *visit < 1 {
			return false
		}
		*visit--
		keys = append(keys, i.key)
		return true
	})
	t.prefetch(keys)
	for _, key := range keys {
		p.key = key[len(all.start):]
		one(key)
	}
	return ended
}

// scrubPending is for a tombstone that covers nothing any more: the erasing one has swept it all.
func (t *txn) scrubPending(by *domain.Tombstone, key string) {
	if id := idAtEnd(key); bytes.Equal(id[:], by.ID[:]) {
		return
	}
	i := t.get(key)
	p := revocationOf(&i)
	clean := p
	switch by.Scrub(&clean.status.Tombstone, t.head().erasureKey) {
	case domain.RemainsPseudonymous:
		t.takeDown(&p)
		t.putUp(&clean)
		t.putLive(&clean)
	case domain.RemainsNothing:
		t.unfence(&p)
		t.forgetGuards(p.status.Tombstone.Guards()...)
	}
}

func (t *txn) scrubRetired(by *domain.Tombstone, key string) {
	i := t.get(key)
	p := revocationOf(&i)
	switch by.Scrub(&p.status.Tombstone, t.head().erasureKey) {
	case domain.RemainsPseudonymous:
		t.putRetired(&p)
	case domain.RemainsNothing:
		t.forget(&p)
	}
}

func (t *txn) scrubGuard(by *domain.Tombstone, age string) {
	was := t.agedGuard(age)
	guard := was
	switch by.ScrubGuard(&guard, t.head().erasureKey) {
	case domain.RemainsPseudonymous:
		t.drop(&was)
		t.remember(guard)
	case domain.RemainsNothing:
		t.forgetGuards(was)
		t.drop(&was)
	}
}

// scrubEvents goes on in the order of numbers. What an erasure of the tenant removes is dropped, as long as nothing older has
// to stay; else it leaves a gap that readers can see.
func (t *txn) scrubEvents(p *revocation, visit *int) bool {
	after := uint64(0)
	if p.key != "" {
		after = numberOf(p.key)
	}
	first := true // nothing older is there
	t.feed(0, func(e *eventItem) bool {
		first = e.Number > after
		return false
	})
	var events []eventItem
	ended := t.feed(after, func(e *eventItem) bool {
		if *visit < 1 {
			return false
		}
		*visit--
		events = append(events, *e)
		return true
	})
	for _, e := range events {
		p.key = numberKey(e.Number)
		t.get(e.key)
		switch e.Scrub(&p.status.Tombstone, t.head().erasureKey) {
		case domain.RemainsPseudonymous:
			t.put(e.key, t.encodeEvent(e.Event))
		case domain.RemainsNothing:
			if first {
				t.delete(e.key)
				t.raiseFloor(e.Number)
				continue
			}
			e.Erase(&p.status.Tombstone)
			t.put(e.key, t.encodeEvent(e.Event))
		}
		first = false
	}
	return ended
}

// beginErasure ends the sweep of a revocation that erases. The rest of it comes last in the slice ([txn.endErasure]).
func (t *txn) beginErasure(p *revocation) {
	if p.stage == 0 {
		p.stage = scrubPending
	}
	if p.walks {
		t.delete(t.below(idKey(keyWalkers, p.id())))
		p.walks = false
	}
	t.putLive(p)
}

// endErasure goes on with an erasure. Another one may have changed it in the same slice, or ended it.
func (t *txn) endErasure(status *store.Status, visit *int, by store.Bounds) {
	p, ok := t.live(status.Tombstone.ID)
	switch {
	case !ok:
		status.Retired, status.RetiredAt = true, by.Now
		return
	case t.erase(&p, visit):
		t.retire(&p, by)
	default:
		t.putLive(&p)
	}
	*status = p.status
}
