package memstore

import (
	"cmp"
	"context"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

var _ store.Outbox = (*tenant)(nil)

// outbox holds the events of a tenant. Those up to the floor have been dropped, and no others.
type outbox struct {
	events    map[number]store.Event
	inOrder   sortedSet[number] // the same, oldest first
	lastEvent uint64
	floor     uint64
}

// number is that of an event.
type number uint64

// Compare orders by number.
func (n number) Compare(other number) int { return cmp.Compare(n, other) }

// emit writes an event, if its kind is asked for.
func (o *outbox) emit(asked store.Kinds, e store.Event) {
	if e.Kind == 0 || !asked.Has(e.Kind) {
		return
	}
	if o.events == nil {
		o.events = map[number]store.Event{}
	}
	o.lastEvent++
	e.Number = o.lastEvent
	o.events[number(e.Number)] = e
	o.inOrder.add(number(e.Number))
}

// emitToken writes the event of something that has happened to a token.
func (o *outbox) emitToken(asked, kind store.Kinds, at time.Time, token *domain.RefreshToken) {
	if asked.Has(kind) {
		o.emit(asked, store.TokenEvent(kind, at, token))
	}
}

// dropFirst drops the oldest event.
func (o *outbox) dropFirst(n number) {
	delete(o.events, n)
	o.inOrder.remove(n)
	o.floor = uint64(n)
}

// Gapless reports that numbers have no gaps.
func (t *tenant) Gapless() bool { return true }

// Feed reads one page of events.
func (t *tenant) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	if err := store.CheckPage(limit); err != nil {
		return store.FeedPage{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return store.FeedPage{}, err
	}
	if err := store.CheckCursor(after, t.floor, t.lastEvent); err != nil {
		return store.FeedPage{}, err
	}
	page := store.FeedPage{Next: after, Last: t.lastEvent}
	for n := range t.inOrder.after(number(after)) {
		if len(page.Events) == limit {
			break
		}
		e := t.events[n]
		page.Events = append(page.Events, e.Clone())
		page.Next = e.Number
	}
	return page, nil
}

// trimEvents drops events, oldest first, up to the first that has to stay, and returns how many.
func (o *outbox) trimEvents(trim store.Trim) int {
	var old []number
	for n := range o.inOrder.all() {
		if len(old) == trim.Limit || !o.events[n].Time.Before(trim.Events) {
			break
		}
		old = append(old, n)
	}
	for _, n := range old {
		o.dropFirst(n)
	}
	return len(old)
}

// tell writes events of what the slice has swept and not told yet.
func (s *slice) tell() {
	for _, p := range s.touched {
		s.tellOf(p, false)
	}
}

// tellOf writes an event of what the slice has swept for a tombstone since it last told, and of its end.
func (s *slice) tellOf(p *pendingTombstone, retired bool) {
	id, swept := p.status.Tombstone.ID, p.status.Swept
	if count := swept - s.told[id]; count > 0 || retired {
		s.tenant.emit(s.left.Emit, store.SweptEvent(&p.status, count, retired, s.left.Now))
	}
	s.told[id] = swept
}

// scrubEvents reports whether it came to the end of the events. What an erasure of the tenant removes is dropped, as long as
// nothing older has to stay; else it leaves a gap that readers can see.
func (s *slice) scrubEvents(p *pendingTombstone) bool {
	t := s.tenant
	numbers, ended := visit(s, t.inOrder.after(p.scrub.event))
	for _, n := range numbers {
		p.scrub.event = n
		e := t.events[n].Clone()
		switch e.Scrub(&p.status.Tombstone, t.erasureKey) {
		case domain.RemainsPseudonymous:
			t.events[n] = e
		case domain.RemainsNothing:
			if n == t.oldest() {
				t.dropFirst(n)
				continue
			}
			e.Erase(&p.status.Tombstone)
			t.events[n] = e
		}
	}
	return ended
}

// oldest is the number of the oldest event that there is.
func (o *outbox) oldest() number { return o.inOrder.chunks[0][0] }
