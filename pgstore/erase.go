package pgstore

import (
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// scrub is where an erasure stands: in which of the things that a tenant remembers, and after which of them.
type scrub struct {
	stage scrubStage
	after ulid.ULID // of the tombstones
	guard guardAge  // of the guards
	event uint64
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
func (s *slice) erase(r *revocation) error {
	s.touch(r)
	if err := s.tell(); err != nil { // before what it tells of is erased
		return err
	}
	for ; r.scrub.stage < scrubbed; r.scrub.stage++ {
		ended, err := false, error(nil)
		switch r.scrub.stage {
		case scrubPending:
			ended, err = s.scrubTombstones(r, s.q.pendingPage)
		case scrubHistory:
			ended, err = s.scrubTombstones(r, s.q.retiredPage)
		case scrubGuards:
			ended, err = s.scrubGuards(r)
		case scrubEvents:
			ended, err = s.scrubEvents(r)
		}
		if err != nil || !ended {
			return err
		}
		r.scrub.after = ulid.ULID{}
	}
	return s.retire(s.ctx, s.head, r, s.left)
}

// page is how many rows of what is remembered are read, one more than may be looked at.
func (s *slice) page() int {
	if s.exhausted() {
		return 1
	}
	return min(s.left.Visit, chunk) + 1
}

// scrubTombstones reports whether it came to the end of the pending, or the retired, tombstones.
func (s *slice) scrubTombstones(by *revocation, sql string) (ended bool, err error) {
	for {
		var page []*revocation
		limit := s.page()
		if err := s.fetch(s.ctx, step{sql, []any{s.tenant, [16]byte(by.scrub.after), limit}, scanRevocations(&page)}); err != nil {
			return false, err
		}
		for i, r := range page {
			if s.exhausted() || i == limit-1 {
				break
			}
			s.left.Visit--
			by.scrub.after = r.id()
			if r.id() == by.id() {
				continue
			}
			if loaded := s.loaded[r.id()]; loaded != nil {
				r = loaded
			}
			s.scrubTombstone(by, r)
		}
		switch {
		case len(page) == 0 || len(page) < limit && by.scrub.after == page[len(page)-1].id():
			return true, nil
		case s.exhausted():
			return false, nil
		}
	}
}

// scrubTombstone is, of the pending ones, for a tombstone that covers nothing any more: the erasing one has swept it all.
func (s *slice) scrubTombstone(by, r *revocation) {
	clean := r.status.Tombstone
	switch by.status.Tombstone.Scrub(&clean, s.head.erasureKey) {
	case domain.RemainsPseudonymous:
		r.status.Tombstone = clean
		s.relabel(&clean, !r.status.Retired)
	case domain.RemainsNothing:
		if r.status.Retired {
			s.forget(r)
			return
		}
		r.status.Retired, r.status.RetiredAt = true, s.left.Now
		if s.gone == nil {
			s.gone = map[ulid.ULID]bool{}
		}
		s.gone[r.id()] = true
		s.do(step{sql: s.q.forget, args: []any{s.tenant, ids([]ulid.ULID{r.id()})}})
		for _, guard := range clean.Guards() {
			s.head.horizon = s.head.horizon.Forget(guard)
		}
		s.save(s.head)
	}
}

func (s *slice) scrubGuards(by *revocation) (ended bool, err error) {
	for {
		var page []agedGuard
		limit := s.page()
		if err := s.fetch(s.ctx, s.guardStep(by.scrub.guard, limit, &page)); err != nil {
			return false, err
		}
		for i := range page {
			if s.exhausted() || i == limit-1 {
				break
			}
			s.left.Visit--
			g := page[i]
			by.scrub.guard = g.age
			switch by.status.Tombstone.ScrubGuard(&g.Guard, s.head.erasureKey) {
			case domain.RemainsPseudonymous:
				s.drop(g.age)
				if err := s.remember(s.ctx, g.Guard); err != nil {
					return false, err
				}
			case domain.RemainsNothing:
				s.head.horizon = s.head.horizon.Forget(g.Guard)
				s.drop(g.age)
				s.save(s.head)
			}
		}
		switch {
		case len(page) < limit && (len(page) == 0 || same(by.scrub.guard, page[len(page)-1].age)):
			return true, nil
		case s.exhausted():
			return false, nil
		}
	}
}

func same(a, b guardAge) bool {
	return a.time().Equal(b.time()) && string(a.digest) == string(b.digest)
}

// scrubEvents reports whether it came to the end of the events. What an erasure of the tenant removes is dropped, as long as
// nothing older has to stay; else it leaves a gap that readers can see.
func (s *slice) scrubEvents(by *revocation) (ended bool, err error) {
	s.lockFeed()
	for {
		var page, oldest []store.Event
		limit := s.page()
		err := s.fetch(s.ctx,
			step{s.q.feed, []any{s.tenant, number(0), 1}, scanEvents(&oldest)},
			step{s.q.feed, []any{s.tenant, number(by.scrub.event), limit}, scanEvents(&page)})
		if err != nil {
			return false, err
		}
		first := uint64(0) // the oldest event, as long as it is on this page
		if len(oldest) > 0 {
			first = oldest[0].Number
		}
		for i := range page {
			if s.exhausted() || i == limit-1 {
				break
			}
			s.left.Visit--
			e := page[i]
			by.scrub.event = e.Number
			switch e.Scrub(&by.status.Tombstone, s.head.erasureKey) {
			case domain.RemainsPseudonymous:
				err = s.rewrite(&e)
			case domain.RemainsNothing:
				if e.Number == first {
					s.dropEvent(s.head, e.Number)
					s.save(s.head)
					if i+1 < len(page) {
						first = page[i+1].Number
					}
					continue
				}
				e.Erase(&by.status.Tombstone)
				err = s.rewrite(&e)
			}
			if err != nil {
				return false, err
			}
		}
		switch {
		case len(page) < limit && (len(page) == 0 || by.scrub.event == page[len(page)-1].Number):
			return true, nil
		case s.exhausted():
			return false, nil
		}
	}
}

// rewrite writes what an erasure has left of an event.
func (s *slice) rewrite(e *store.Event) error {
	args, err := eventArgs(e)
	if err != nil {
		return err
	}
	s.do(step{sql: s.q.scrubEvent, args: append([]any{s.tenant, number(e.Number), int32(e.Kind)}, args...)})
	return nil
}
