package memstore

import (
	"iter"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// scrub is where an erasure stands: in which of the things that a tenant remembers, and after which of them.
type scrub struct {
	stage scrubStage
	after ulid.ULID // of the tombstones
	age   guardAge  // of the guards
	begun bool      // age is set
	event number    // of the events
}

type scrubStage uint8

// The stages. Pending tombstones come first: what is retired later is clean then. Events come last: what is written until
// then may still name the user.
const (
	_ scrubStage = iota
	scrubPending
	scrubHistory
	scrubGuards
	scrubEvents
	scrubbed
)

// erase goes on with an erasure, and ends it when it has come through.
func (s *slice) erase(p *pendingTombstone) {
	s.touch(p)
	s.tell() // before what it tells of is erased
	for ; p.scrub.stage < scrubbed; p.scrub.stage++ {
		ended := false
		switch p.scrub.stage {
		case scrubPending:
			ended = s.scrubTombstones(p, false)
		case scrubHistory:
			ended = s.scrubTombstones(p, true)
		case scrubGuards:
			ended = s.scrubGuards(p)
		case scrubEvents:
			ended = s.scrubEvents(p)
		}
		if !ended {
			return
		}
		p.scrub.after = ulid.ULID{}
	}
	s.tenant.retire(p, s.left)
}

// visit takes as many keys of a walk as the slice may look at, and reports whether these are all.
func visit[K any](s *slice, walk iter.Seq[K]) (keys []K, ended bool) {
	for key := range walk {
		if s.exhausted() {
			return keys, false
		}
		s.left.Visit--
		keys = append(keys, key)
	}
	return keys, true
}

// scrubTombstones reports whether it came to the end of the pending, or the retired, tombstones.
func (s *slice) scrubTombstones(p *pendingTombstone, retired bool) bool {
	t := s.tenant
	ids, ended := visit(s, t.order[retired].after(p.scrub.after))
	for _, id := range ids {
		p.scrub.after = id
		if retired {
			t.scrubRetired(&p.status.Tombstone, id)
		} else if other := t.pending[id]; other != p {
			s.scrubPending(&p.status.Tombstone, other)
		}
	}
	return ended
}

// scrubPending is for a tombstone that covers nothing any more: the erasing one has swept it all.
func (s *slice) scrubPending(by *domain.Tombstone, p *pendingTombstone) {
	t := s.tenant
	clean := p.status.Tombstone
	switch by.Scrub(&clean, t.erasureKey) {
	case domain.RemainsPseudonymous:
		t.fence.takeDown(p)
		p.status.Tombstone = clean
		t.fence.putUp(p)
	case domain.RemainsNothing:
		t.unfence(p)
		p.status.Retired, p.status.RetiredAt = true, s.left.Now
		for _, guard := range clean.Guards() {
			t.horizon = t.horizon.Forget(guard)
		}
	}
}

func (t *tenant) scrubRetired(by *domain.Tombstone, id ulid.ULID) {
	status := *t.retired[id]
	switch by.Scrub(&status.Tombstone, t.erasureKey) {
	case domain.RemainsPseudonymous:
		t.retired[id] = &status
	case domain.RemainsNothing:
		t.forget(age{status.RetiredAt, id})
	}
}

func (s *slice) scrubGuards(p *pendingTombstone) bool {
	t := s.tenant
	walk := t.ages.all()
	if p.scrub.begun {
		walk = t.ages.after(p.scrub.age)
	}
	ages, ended := visit(s, walk)
	for _, a := range ages {
		p.scrub.age, p.scrub.begun = a, true
		guard := t.guard(a)
		switch p.status.Tombstone.ScrubGuard(&guard, t.erasureKey) {
		case domain.RemainsPseudonymous:
			t.drop(a)
			t.remember(guard)
		case domain.RemainsNothing:
			t.horizon = t.horizon.Forget(guard)
			t.drop(a)
		}
	}
	return ended
}
