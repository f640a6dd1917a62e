package etcdstore

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The number of an event is known only with the revision of its commit, so its key can't be its number. Yet a reader has to
// find events by number, and in that order. So they are kept by epoch. An epoch is a revision of the tenant's key for it; whoever
// emits has his commit fail if the epoch is over. So all events of an epoch have higher numbers than all of the one before,
// and only those within one have to be sorted: few enough.

const (
	epochRevisions = 256 // an epoch is ended by who emits so many revisions after its beginning
	epochEvents    = 64  // or so many events in one commit
)

var _ store.Outbox = (*tenant)(nil)

// epoch returns the present epoch, and the base of the numbers of events. The commit fails if the epoch ends.
func (t *txn) epoch() (epoch int64, base uint64) {
	i := t.get(t.below(keyEvents))
	if i.there() {
		base = must(decode(i.value, numberFields))
	}
	return i.mod, base
}

// emit writes an event, if its kind is asked for.
func (t *txn) emit(asked store.Kinds, e store.Event) {
	if e.Kind == 0 || !asked.Has(e.Kind) {
		return
	}
	if t.events == 0 {
		var base uint64
		t.events++
		t.epochOf, base = t.epoch()
		t.firstEvent = base + t.next()
		t.writer = rand.Uint64()
		if t.backend.latest.Load()-t.epochOf > epochRevisions {
			t.endEpoch(base)
		}
	} else if t.events++; t.events == epochEvents {
		t.endEpoch(t.firstEvent - t.next())
	}
	e.Number = t.firstEvent + t.events
	key := t.below(keyOutbox, numberKey(uint64(t.epochOf)), numberKey(t.writer), numberKey(t.events))
	if t.events == 1 {
		t.others = append(t.others, clientv3.Compare(clientv3.CreateRevision(key), "=", 0)) // the writer's number is nobody else's
	}
	t.put(key, t.encodeEvent(e))
	last := t.firstEvent + t.events - t.next()
	t.put(t.below(keyLastEvent), encode(&last, numberFields))
}

func (t *txn) endEpoch(base uint64) { t.put(t.below(keyEvents), encode(&base, numberFields)) }

// emitToken writes the event of something that has happened to a token.
func (t *txn) emitToken(asked, kind store.Kinds, at time.Time, token *domain.RefreshToken) {
	if asked.Has(kind) {
		t.emit(asked, store.TokenEvent(kind, at, token))
	}
}

// floor is up to which number events have been dropped.
func (t *txn) floor() uint64 {
	i := t.peek(t.below(keyFloor))
	if !i.there() {
		return 0
	}
	return must(decode(i.value, numberFields))
}

func (t *txn) raiseFloor(number uint64) {
	t.get(t.below(keyFloor))
	t.put(t.below(keyFloor), encode(&number, numberFields))
}

// lastEvent is the number of the latest event there was.
func (t *txn) lastEvent() uint64 {
	last := t.floor()
	if i := t.peek(t.below(keyLastEvent)); i.there() {
		last = max(last, must(decode(i.value, numberFields))+i.revision())
	}
	return last
}

// raiseEvents raises the number of the latest event while there is no event.
func (t *txn) raiseEvents(number uint64) {
	if number <= t.lastEvent() || t.any(keyOutbox) {
		return
	}
	t.get(t.below(keyLastEvent))
	t.raiseFloor(number)
	_, base := t.epoch()
	if number >= base+t.next() {
		base = number
	}
	t.endEpoch(base)
}

// eventItem is an event and its key.
type eventItem struct {
	key string
	store.Event
}

// feed calls f with the events after a number, ascending, until it returns false. It reports whether it came to the end.
func (t *txn) feed(after uint64, f func(*eventItem) bool) (ended bool) {
	all := under(t.below(keyOutbox))
	s := all
	if _, base := t.epochNow(); after > base {
		// The last epoch that began before the revision of the number is the first to have events after it.
		last := all.start + numberKey((after-base)>>placeBits)
		r := t.fetch(clientv3.OpGet(all.start, clientv3.WithRange(last), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1), clientv3.WithKeysOnly()))[0]
		if len(r.Kvs) > 0 {
			s.start = string(r.Kvs[0].Key)[:len(all.start)+sizeOfEpoch]
		}
	}
	var epoch string
	var events []eventItem
	flush := func() bool {
		slices.SortFunc(events, func(a, b eventItem) int { return int(int64(a.Number - b.Number)) })
		for i := range events {
			if events[i].Number > after && !f(&events[i]) {
				return false
			}
		}
		events = nil
		return true
	}
	ended = t.scan(s, func(i item) bool {
		if of := i.key[len(all.start):][:sizeOfEpoch]; of != epoch {
			if !flush() {
				return false
			}
			epoch = of
		}
		events = append(events, eventItem{i.key, eventOf(&i)})
		return true
	})
	return ended && flush()
}

// epochNow is epoch for what the commit does not depend on.
func (t *txn) epochNow() (epoch int64, base uint64) {
	i := t.peek(t.below(keyEvents))
	if i.there() {
		base = must(decode(i.value, numberFields))
	}
	return i.mod, base
}

// Feed reads one page of events.
func (t *tenant) Feed(ctx context.Context, after uint64, limit int) (page store.FeedPage, err error) {
	if err := store.CheckPage(limit); err != nil {
		return store.FeedPage{}, err
	}
	err = t.view(ctx, func(x *txn) error {
		x.prefetch([]string{x.below(keyEvents), x.below(keyFloor), x.below(keyLastEvent)})
		floor, last := x.floor(), x.lastEvent()
		if err := store.CheckCursor(after, floor, last); err != nil {
			return err
		}
		page = store.FeedPage{Next: after, Last: last}
		if after == last {
			return nil
		}
		x.feed(after, func(e *eventItem) bool {
			page.Events = append(page.Events, e.Event)
			page.Next = e.Number
			return len(page.Events) < limit
		})
		return nil
	})
	return page, err
}

// trimEvents drops events, oldest first, up to the first that has to stay, and returns how many.
func (t *txn) trimEvents(trim store.Trim) int {
	var old []eventItem
	t.feed(0, func(e *eventItem) bool {
		if len(old) == trim.Limit || !e.Time.Before(trim.Events) {
			return false
		}
		old = append(old, *e)
		return true
	})
	if len(old) == 0 {
		return 0
	}
	keys := make([]string, len(old))
	for i := range old {
		keys[i] = old[i].key
	}
	t.prefetch(keys)
	for _, key := range keys {
		t.get(key)
		t.delete(key)
	}
	t.raiseFloor(old[len(old)-1].Number)
	return len(old)
}
