package tokenstoretest

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

var readOperation = operation{"read", 3, (*machine).read}

// reader follows a tenant's feed. It lags, and it crashes: then it goes on from the cursor that it kept.
type reader struct {
	cursor  uint64
	resumed uint64 // up to where it was told that events have been dropped
	seen    map[uint64]tokenstore.Event
	latest  uint64 // the number of the latest event that was there after the last step
	dropped bool   // events may have been dropped
	want    []wanted
}

// tells reports whether a store has a feed.
func tells(st store.Store) bool {
	_, ok := store.As[store.Outbox](st)
	return ok
}

// feedOf reads a page of the feed of a store that is wrapped, if it has one.
func feedOf(ctx context.Context, st store.Store, after uint64, limit int) (store.FeedPage, error) {
	outbox, ok := store.As[store.Outbox](st)
	if !ok {
		return store.FeedPage{}, errors.ErrUnsupported
	}
	return outbox.Feed(ctx, after, limit)
}

func newReader() reader { return reader{seen: map[uint64]tokenstore.Event{}} }

// wanted is an event that must be in the feed.
type wanted struct {
	kind  tokenstore.Kinds
	id    ulid.ULID // of the revocation, or of the token
	after uint64    // its number is above this one
}

// expectEvent notes that something was acknowledged of which there must be an event, if its kind is written.
func (m *machine) expectEvent(w *tenant, kind tokenstore.Kinds, id ulid.ULID) {
	if m.outbox()&kind != 0 {
		w.reader.want = append(w.reader.want, wanted{kind, id, w.reader.latest})
	}
}

// outbox are the kinds of events that are written.
func (m *machine) outbox() tokenstore.Kinds {
	if m.options.Outbox == 0 {
		return tokenstore.DefaultOutbox
	}
	return m.options.Outbox
}

// kindOf is the kind of a revocation's event.
func (m *machine) kindOf(reason string) tokenstore.Kinds {
	if reason == tokenstore.ReasonReuse && m.outbox().Has(tokenstore.KindReused) {
		return tokenstore.KindReused
	}
	return tokenstore.KindRevoked
}

// read reads a page of the feed, and perhaps forgets that it has.
func (m *machine) read(t *rapid.T) {
	w := m.tenant(t)
	if !tells(w.store) {
		t.Skip("the backend's stores have no feed")
	}
	next := m.readPage(t, w, rapid.IntRange(1, 5).Draw(t, "limit"))
	if !chance(t, "crash", 3) {
		w.reader.cursor = next
	}
}

// readPage takes in a page, and returns the cursor after it.
func (m *machine) readPage(t *rapid.T, w *tenant, limit int) uint64 {
	r := &w.reader
	page, err := w.Feed(m.ctx, tokenstore.FeedRequest{After: r.cursor, Limit: limit})
	if gone, ok := errors.AsType[*tokenstore.CursorGoneError](err); ok {
		return m.takeGone(t, w, gone)
	}
	if err != nil {
		fail(t, "F1 feed: a page must be read", "%s after %d: %v", w.name, r.cursor, err)
	}
	at := r.cursor
	for _, e := range page.Events {
		if e.Number <= at || e.Number > page.Last {
			fail(t, "F1 feed: numbers must rise", "%s: %d after %d", w.name, e.Number, at)
		}
		at = e.Number
		m.takeEvent(t, w, e)
	}
	if page.Next != at || len(page.Events) == 0 && page.Next != page.Last {
		fail(t, "F1 feed: a page must lead on to the next", "%s: %+v", w.name, page)
	}
	return page.Next
}

// takeGone takes in that events have been dropped, and returns the cursor to go on from.
func (m *machine) takeGone(t *rapid.T, w *tenant, gone *tokenstore.CursorGoneError) uint64 {
	r := &w.reader
	if !m.mayDrop(w) || gone.Resume <= r.cursor || gone.Resume > r.latest {
		fail(t, "F1 feed: no event must be dropped but what a trim or an erasure may", "%s: %v", w.name, gone)
	}
	r.resumed = max(r.resumed, gone.Resume)
	return gone.Resume
}

// mayDrop reports whether events of the tenant may have been dropped.
func (m *machine) mayDrop(w *tenant) bool {
	aged := m.bubble && max(m.clock.now().Sub(start), m.clock.latest.Sub(start)) > 7*24*time.Hour
	return w.reader.dropped || aged || slices.ContainsFunc(w.model.revocations, func(r *acknowledged) bool { return r.erases && r.targets[0].Everything })
}

// takeEvent compares an event with what happened, and with what was seen of it before.
func (m *machine) takeEvent(t *rapid.T, w *tenant, e tokenstore.Event) {
	if !m.outbox().Has(e.Kind) && e.Kind != tokenstore.KindErased {
		fail(t, "F1 feed: no event must be of a kind that was not asked for", "%s: %+v", w.name, e)
	}
	if was, ok := w.reader.seen[e.Number]; ok && was.Kind != e.Kind && e.Kind != tokenstore.KindErased {
		fail(t, "F1 feed: an event must stay what it is, unless it is erased", "%s: %+v became %+v", w.name, was, e)
	} else if !ok {
		w.reader.seen[e.Number] = e
	}
	switch e.Kind {
	case tokenstore.KindRevoked, tokenstore.KindReused:
		m.checkRevocationEvent(t, w, e)
	case tokenstore.KindIssued, tokenstore.KindExchanged, tokenstore.KindRetried, tokenstore.KindEvicted:
		known := len(e.Tokens) == 1 && slices.ContainsFunc(w.model.lives, func(l *life) bool {
			return l.id == e.Tokens[0].ID && l.sequence == e.Sequence && l.user == e.Tokens[0].UserID && l.client == e.Tokens[0].ClientID && l.session == e.Tokens[0].SessionID
		})
		if !known {
			fail(t, "F1 feed: an event must be of a token that was let in", "%s: %+v", w.name, e)
		}
	}
}

func (m *machine) checkRevocationEvent(t *rapid.T, w *tenant, e tokenstore.Event) {
	scrubbed := slices.ContainsFunc(w.model.revocations, func(other *acknowledged) bool { return other.erases })
	var named []*acknowledged // more than one if what was forgotten has been asked for again under the same id
	for _, r := range w.model.revocations {
		sequence := e.Sequence
		if r.receipt != nil {
			sequence = r.receipt.Status.Tombstone.Watermark
		}
		if r.id == e.Revocation && sequence == e.Sequence && (len(r.targets) == len(e.Targets) || scrubbed && len(r.targets) > len(e.Targets)) {
			named = append(named, r)
		}
	}
	if len(named) == 0 {
		fail(t, "F1 feed: no event must be of a revocation that was never acknowledged", "%s: %+v", w.name, e)
	}
	shown := slices.ContainsFunc(named, func(r *acknowledged) bool {
		return (scrubbed || sameTargets(e.Targets, r.targets) && e.Kind == m.kindOf(e.Reason)) && e.Time.Equal(r.at) && e.Erases == r.erases
	})
	if !shown {
		fail(t, "F1 feed: an event must show the revocation as it was asked for", "%s: %+v, want %#v", w.name, e, named)
	}
	for number, other := range w.reader.seen {
		if other.Kind&(tokenstore.KindRevoked|tokenstore.KindReused) != 0 && number < e.Number && other.Sequence >= e.Sequence {
			fail(t, "F1 feed: events must come in the order of the commits", "%s: %+v before %+v", w.name, other, e)
		}
	}
}

// noteEvents notes how far the feed has come, after every step.
func (m *machine) noteEvents(t *rapid.T, w *tenant) {
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	if state.LastEvent < w.reader.latest {
		fail(t, "F1 feed: numbers must rise", "%s: %d after %d", w.name, state.LastEvent, w.reader.latest)
	}
	w.reader.latest = state.LastEvent
}

// checkFeed reads to the end, at rest: nothing that was acknowledged may be missing, and nobody named who was erased.
func (m *machine) checkFeed(t *rapid.T, w *tenant) {
	if !tells(w.store) {
		return
	}
	r := &w.reader
	for r.cursor < r.latest {
		r.cursor = m.readPage(t, w, 3)
	}
	seen := map[wanted]bool{}
	swept := map[ulid.ULID]uint64{}
	placeholders := 0 // each stands for one that was there before
	for _, e := range r.seen {
		switch {
		case e.Kind == tokenstore.KindSwept:
			swept[e.Revocation] += e.Count
		case len(e.Tokens) == 1 && e.Revocation.IsZero():
			seen[wanted{kind: e.Kind, id: e.Tokens[0].ID}] = true
		case e.Kind == tokenstore.KindErased && len(e.Targets) == 0:
			placeholders++
		default:
			seen[wanted{kind: e.Kind, id: e.Revocation}] = true
		}
	}
	for _, want := range r.want {
		if seen[wanted{kind: want.kind, id: want.id}] || want.after < r.resumed {
			continue
		}
		if placeholders--; placeholders < 0 {
			fail(t, "F1 feed: an event of whatever was acknowledged must be there", "%s: %v of %s, after %d", w.name, want.kind, want.id, want.after)
		}
	}
	if m.outbox().Has(tokenstore.KindSwept) && r.resumed == 0 && !w.model.trimmed {
		for _, status := range w.revocations(t, m, true) {
			if got := swept[status.Tombstone.ID]; got != status.Swept {
				fail(t, "F1 feed: the events of a sweep must add up to what it removed", "%s: %d, want %+v", w.name, got, status)
			}
		}
	}
	m.checkErasedEvents(t, w)
}

// checkErasedEvents looks through all that is in the feed, from the oldest event on.
func (m *machine) checkErasedEvents(t *rapid.T, w *tenant) {
	after := uint64(0)
	for {
		page, err := w.Feed(m.ctx, tokenstore.FeedRequest{After: after, Limit: store.MaxPage})
		if gone, ok := errors.AsType[*tokenstore.CursorGoneError](err); ok {
			after = gone.Resume
			continue
		}
		if err != nil {
			fail(t, "F1 feed: a page must be read", "%v", err)
		}
		for _, e := range page.Events {
			for _, r := range w.model.revocations {
				if !r.erases || e.Sequence == 0 || e.Sequence > r.receipt.Status.Tombstone.Watermark {
					continue
				}
				user := r.targets[0].UserID
				if user == "" || e.Actor == user ||
					slices.ContainsFunc(e.Targets, func(t tokenstore.Target) bool { return t.UserID == user }) ||
					slices.ContainsFunc(e.Tokens, func(t tokenstore.EventToken) bool { return t.UserID == user }) {
					fail(t, "F1 feed: an erased user must not be named", "%s: %+v", w.name, e)
				}
			}
		}
		if after = page.Next; after == page.Last {
			return
		}
	}
}

// drawOutbox draws which kinds of events are written: mostly the default, sometimes all.
func drawOutbox(t *rapid.T) tokenstore.Kinds {
	return pick(t, "outbox", 0, 0, tokenstore.AllKinds, tokenstore.AllKinds, tokenstore.KindRevoked, tokenstore.NoOutbox)
}
