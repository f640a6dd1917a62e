package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
)

var _ store.Outbox = (*tenant)(nil)

// numberKey is a number as a key, in its order.
func numberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// emit writes an event, if its kind is asked for. The caller saves.
func (r *records) emit(asked store.Kinds, e store.Event) {
	if e.Kind == 0 || !asked.Has(e.Kind) {
		return
	}
	r.meta.lastEvent++
	r.meta.events++
	e.Number = r.meta.lastEvent
	r.putEvent(&e)
}

// emitToken writes the event of something that has happened to a token. The caller saves.
func (r *records) emitToken(asked, kind store.Kinds, at time.Time, token *domain.RefreshToken) {
	if asked.Has(kind) {
		r.emit(asked, store.TokenEvent(kind, at, token))
	}
}

func (r *records) putEvent(e *store.Event) {
	b := r.made(bucketOutbox)
	b.FillPercent = fillTokens // the numbers ascend
	check(b.Put(numberKey(e.Number), encode(e, codec.Event)))
}

// dropFirst drops the oldest event.
func (r *records) dropFirst(key []byte) {
	r.delete(bucketOutbox, key)
	r.meta.events--
	r.meta.floor = binary.BigEndian.Uint64(key)
}

// Gapless reports that numbers have no gaps.
func (t *tenant) Gapless() bool { return true }

// Feed reads one page of events.
func (t *tenant) Feed(ctx context.Context, after uint64, limit int) (page store.FeedPage, err error) {
	if err := store.CheckPage(limit); err != nil {
		return store.FeedPage{}, err
	}
	err = t.view(ctx, func(r *records) error {
		if err := store.CheckCursor(after, r.meta.floor, r.meta.lastEvent); err != nil {
			return err
		}
		page = store.FeedPage{Next: after, Last: r.meta.lastEvent}
		r.after(bucketOutbox, nil, numberKey(after), func(_, v []byte) bool {
			e := must(decode(v, codec.Event))
			page.Events = append(page.Events, e)
			page.Next = e.Number
			return len(page.Events) < limit
		})
		return nil
	})
	return page, err
}

// droppable are the keys of the events that a trim may drop: the oldest, up to the first that has to stay.
func (r *records) droppable(trim store.Trim) (keys [][]byte) {
	r.after(bucketOutbox, nil, nil, func(k, v []byte) bool {
		if len(keys) == trim.Limit || !must(decode(v, codec.Event)).Time.Before(trim.Events) {
			return false
		}
		keys = append(keys, bytes.Clone(k))
		return true
	})
	return keys
}

// scrubEvent is for an event that an erasure has come to. What an erasure of the tenant removes is dropped, as long as
// nothing older has to stay; else it leaves a gap that readers can see.
func (r *records) scrubEvent(by *domain.Tombstone, key []byte) {
	e := must(decode(r.get(bucketOutbox, key), codec.Event))
	switch e.Scrub(by, r.meta.erasureKey) {
	case domain.RemainsPseudonymous:
		r.putEvent(&e)
	case domain.RemainsNothing:
		if first, _ := r.bucket(bucketOutbox).Cursor().First(); bytes.Equal(first, key) {
			r.dropFirst(key)
			return
		}
		e.Erase(by)
		r.putEvent(&e)
	}
}

// events checks the outbox: the numbers are those from the floor on, without a gap.
func (c *checker) events() bool {
	m := c.records.meta
	next := m.floor
	return c.each(bucketOutbox, func(k, v []byte) bool {
		next++
		e, err := decode(v, codec.Event)
		c.found.events++
		return c.say(err == nil, "event %x: %v", k, err) &&
			c.say(err != nil || bytes.Equal(k, numberKey(e.Number)), "event %d is stored as %x", e.Number, k) &&
			c.say(err != nil || e.Number == next, "event %d comes where %d should", e.Number, next)
	}) && c.say(next == m.lastEvent, "the latest event is %d, and should be %d", next, m.lastEvent) &&
		c.say(m.events == c.found.events, "it counts %d events, and has %d", m.events, c.found.events)
}
