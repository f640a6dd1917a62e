package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// noOutbox ends a rule that is about the outbox of a store that has none.
func noOutbox(t testing.TB, w *tenant) {
	t.Helper()
	if _, ok := store.As[store.Outbox](w.Store); !ok {
		t.Skip("the store is no store.Outbox")
	}
}

// feed calls the outbox of the store.
func (w *tenant) feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	outbox, ok := store.As[store.Outbox](w.Store)
	if !ok {
		return store.FeedPage{}, errors.ErrUnsupported
	}
	return outbox.Feed(ctx, after, limit)
}

// page reads one page of the feed.
func (w *tenant) page(t testing.TB, after uint64, limit int) store.FeedPage {
	t.Helper()
	page, err := w.feed(w.ctx, after, limit)
	if err != nil {
		t.Fatalf("Feed must return a page: got %v", err)
	}
	if len(page.Events) > limit || len(page.Events) == 0 && page.Next != page.Last || page.Next > page.Last {
		t.Fatalf("a page that is not the last must have at least one event, and no more than asked for: %d events of %d, next %d, last %d",
			len(page.Events), limit, page.Next, page.Last)
	}
	return page
}

// events reads the feed to its end, in pages of the given size.
func (w *tenant) events(t testing.TB, after uint64, limit int) []store.Event {
	t.Helper()
	var all []store.Event
	for range sweepLimit {
		page := w.page(t, after, limit)
		for _, e := range page.Events {
			if e.Number <= after {
				t.Fatalf("events must come by ascending number, each once: %d after %d", e.Number, after)
			}
			after = e.Number
			all = append(all, e)
		}
		if page.Next != after {
			t.Fatalf("the cursor of the next page must be the number of the last event: got %d, want %d", page.Next, after)
		}
		if page.Next == page.Last {
			return all
		}
	}
	t.Fatalf("a feed must come to its end: %d pages were not enough", sweepLimit)
	return nil
}

// reader is one who follows a feed.
type reader struct {
	*tenant
	cursor uint64
}

// news returns what is new.
func (r *reader) news(t testing.TB) []store.Event {
	t.Helper()
	events := r.events(t, r.cursor, 7)
	if n := len(events); n > 0 {
		r.cursor = events[n-1].Number
	}
	return events
}

// want expects exactly these kinds of events to be new, in this order, and returns them.
func (r *reader) want(t testing.TB, what string, kinds ...store.Kinds) []store.Event {
	t.Helper()
	events := r.news(t)
	var got []store.Kinds
	for _, e := range events {
		got = append(got, e.Kind)
	}
	if !slices.Equal(got, kinds) {
		t.Fatalf("%s: the feed must show exactly what was committed: got %v, want %v", what, got, kinds)
	}
	return events
}

// emitting are insertions that emit everything.
func emitting(tokens ...domain.RefreshToken) []store.Insertion {
	list := rows(tokens...)
	for i := range list {
		list[i].Emit = store.AllKinds
	}
	return list
}

func tokenOf(token domain.RefreshToken) store.EventToken {
	session, _ := token.SessionID.Get()
	return store.EventToken{ID: token.ID, UserID: token.UserID, ClientID: token.ClientID, SessionID: session}
}

// about expects an event to be about a token.
func about(t testing.TB, e store.Event, at time.Time, token domain.RefreshToken) {
	t.Helper()
	if !e.Time.Equal(at) || e.Sequence != token.Sequence || !slices.Equal(e.Tokens, []store.EventToken{tokenOf(token)}) {
		t.Errorf("an event must say which token it is about, and when it was: got %+v", e)
	}
}

var amply = store.Bounds{Visit: 1000, Remove: 1000, Now: base.Add(2 * time.Hour), Emit: store.AllKinds}

// checkOutbox has every verb emit, and fail to.
func checkOutbox(t testing.TB, e *env) {
	w := e.tenant(t)
	noOutbox(t, w)
	r := &reader{tenant: w}
	outboxOfTokens(t, r)
	outboxOfRevocations(t, r)
	outboxOfSweeps(t, r)
	outboxAtOnce(t, e.tenant(t))
}

func outboxOfTokens(t testing.TB, r *reader) {
	t.Helper()
	w := r.tenant
	w.add(t, "silent", "web", "")
	first := w.token("ann", "web", "session")
	before := w.state(t).Tokens
	results, err := w.Insert(w.ctx, emitting(first, first))
	if err != nil || w.state(t).Tokens != before+1 {
		t.Fatalf("Insert must admit one of two rows of an id: %+v, %v", results, err)
	}
	first = stored(first, results[0])
	about(t, r.want(t, "Insert of one row twice", store.KindIssued)[0], first.CreatedAt, first)

	second := w.token("ann", "web", "")
	row := emitting(second)
	row[0].Cap = store.Cap{Max: 1, Refuse: true}
	results, err = w.Insert(w.ctx, row)
	if err != nil || !errors.Is(results[0].Err, store.ErrCap) {
		t.Fatalf("a cap that refuses must refuse: %+v, %v", results, err)
	}
	r.want(t, "an insertion that a cap refuses")
	row[0].Cap.Refuse = false
	if results, err = w.Insert(w.ctx, row); err != nil || results[0].Err != nil {
		t.Fatalf("a cap that evicts must admit: %+v, %v", results, err)
	}
	second = stored(second, results[0])
	about(t, r.want(t, "an eviction", store.KindEvicted, store.KindIssued)[0], second.CreatedAt, first)

	// Whatever an Update does, its event is there if the rest is.
	verdict := errors.New("verdict")
	exchanged := func(change func(*store.Decision)) error {
		return w.Update(w.ctx, second.ID, func(view store.View) store.Decision {
			d := write("exchanged")(view)
			d.Emit, d.Time = store.KindExchanged, after(time.Minute)
			change(&d)
			return d
		})
	}
	for _, c := range []struct {
		what   string
		err    error
		change func(*store.Decision)
		want   []store.Kinds
	}{
		{"an exchange", nil, func(d *store.Decision) {}, []store.Kinds{store.KindExchanged}},
		{"an exchange with a verdict", verdict, func(d *store.Decision) { d.Err = verdict }, []store.Kinds{store.KindExchanged}},
		{"a retry", nil, func(d *store.Decision) { d.Next, d.Emit = nil, store.KindRetried }, []store.Kinds{store.KindRetried}},
		{"an exchange that is refused", store.ErrImmutable, func(d *store.Decision) { d.Next.UserID = "bob" }, nil},
		{"an event of another kind", domain.ErrInvalid, func(d *store.Decision) { d.Emit = store.KindExchanged | store.KindRetried }, nil},
		{"an event of another kind", domain.ErrInvalid, func(d *store.Decision) { d.Next, d.Emit = nil, store.KindIssued }, nil},
		{"an exchange that decides nothing", verdict, func(d *store.Decision) { *d = store.Decision{Err: verdict} }, nil},
	} {
		err := exchanged(c.change)
		if err == nil && errors.Is(c.err, store.ErrImmutable) { // another rule's affair: here it has to be told of
			c.want = []store.Kinds{store.KindExchanged}
		} else if !errors.Is(err, c.err) {
			t.Fatalf("%s: got error %v, want %v", c.what, err, c.err)
		}
		for _, e := range r.want(t, c.what, c.want...) {
			about(t, e, after(time.Minute), second)
		}
	}
	reuse := w.revocation(domain.Target{UserID: "ann"})
	reuse.Emit = store.KindReused
	err = w.Update(w.ctx, second.ID, func(store.View) store.Decision { return store.Decision{Revoke: &reuse, Err: verdict} })
	wantErr(t, "a verdict must be returned", err, verdict)
	status, err := w.Revocation(w.ctx, reuse.ID)
	if err != nil { // not recorded, so there is nothing to tell
		r.want(t, "a refusal that revokes nothing")
		return
	}
	e := r.want(t, "a refusal that revokes", store.KindReused)[0]
	if !slices.Equal(e.Tokens, []store.EventToken{tokenOf(second)}) || e.Revocation != reuse.ID || e.Sequence != status.Tombstone.Watermark {
		t.Errorf("the event of a replay must say which token was replayed: got %+v", e)
	}
	_ = exchanged(func(d *store.Decision) { d.Next.Metadata = note("covered") })
	if view, _ := w.get(t, second.ID); noteOf(view.Token) == "covered" {
		r.want(t, "an exchange of a covered token that is not refused", store.KindExchanged)
	} else {
		r.want(t, "an exchange of a covered token that is refused")
	}
}

func outboxOfRevocations(t testing.TB, r *reader) {
	t.Helper()
	w := r.tenant
	token, other := w.add(t, "bob", "web", "session"), w.add(t, "carl", "app", "")
	var recorded []store.Event
	revoke := func(what string, want error, change func(*store.Revocation), targets ...domain.Target) store.Revocation {
		t.Helper()
		rev := w.revocation(targets...)
		rev.Emit = store.KindRevoked
		change(&rev)
		before := w.state(t).Sequence
		if _, err := w.Revoke(w.ctx, rev); err != nil && !errors.Is(err, want) {
			t.Fatalf("%s: got error %v, want %v", what, err, want)
		}
		if recorded = nil; w.state(t).Sequence > before {
			recorded = r.want(t, what, store.KindRevoked)
		} else {
			r.want(t, what)
		}
		return rev
	}
	same := func(*store.Revocation) {}
	rev := revoke("a revocation", nil, same, domain.Target{TokenID: token.ID}, domain.Target{TokenID: w.id()}, domain.Target{TokenID: other.ID, UserID: "dora"}, domain.Target{UserID: "bob"})
	if len(recorded) != 1 {
		t.Fatalf("a revocation must be recorded")
	}
	got, tombstone := recorded[0], w.status(t, rev.ID).Tombstone
	if got.Revocation != rev.ID || !got.Time.Equal(rev.Time) || got.Sequence != tombstone.Watermark || got.Reason != tombstone.Reason || got.Actor != tombstone.Actor || got.Erases {
		t.Errorf("the event of a revocation must show it as it was recorded: got %+v", got)
	}
	if !slices.Equal(got.Targets, rev.Targets) || !slices.Equal(got.Tokens, []store.EventToken{tokenOf(token)}) {
		t.Errorf("the event of a revocation must show its targets, and the tokens that it names by id: got %+v", got)
	}
	revoke("a revocation that is repeated", nil, func(again *store.Revocation) { *again = rev })
	revoke("a conflict", store.ErrConflict, func(again *store.Revocation) { again.ID = rev.ID }, domain.Target{UserID: "dora"})
	revoke("an event of another kind", domain.ErrInvalid, func(again *store.Revocation) { again.Emit = store.KindIssued }, domain.Target{UserID: "dora"})
	revoke("a revocation of nothing", nil, same, domain.Target{TokenID: w.id()})
	if revoke("a revocation that supersedes", nil, same, rev.Targets...); len(recorded) != 1 {
		t.Errorf("a revocation that supersedes must be recorded")
	}
}

// outboxOfSweeps adds up what the events of slices say.
func outboxOfSweeps(t testing.TB, r *reader) {
	t.Helper()
	w := r.tenant
	for range 5 { // so that a slice that looks at one token may remove none
		w.insert(t, w.token("eve", "app", ""))
	}
	for range 5 {
		token := w.token("eve", "web", "")
		w.insert(t, token)
		token = w.token("fay", "web", "")
		token.ExpiresAt = after(time.Minute)
		w.insert(t, token)
	}
	status := w.revoke(t, domain.Target{UserID: "eve", ClientID: "web"})
	bounds := amply
	var count, slices uint64
	for retired := false; !retired; {
		bounds.Visit, bounds.Remove = 1+bounds.Visit%2, 2 // one token and two, in turns
		before := w.status(t, status.Tombstone.ID)
		w.apply(t, bounds, status.Tombstone.ID)
		now := w.status(t, status.Tombstone.ID)
		retired = now.Retired
		if now.Swept == before.Swept && !retired {
			r.want(t, "a slice without effect")
			continue
		}
		e := r.want(t, "a slice of a sweep", store.KindSwept)[0]
		if e.Revocation != status.Tombstone.ID || e.Count != now.Swept-before.Swept || e.Retired != retired || !e.Time.Equal(bounds.Now) {
			t.Errorf("the event of a slice must say what it has done: got %+v, from %+v to %+v", e, before, now)
		}
		count += e.Count
		if slices++; slices > sweepLimit {
			t.Fatalf("a sweep must come to its end")
		}
	}
	w.apply(t, bounds, status.Tombstone.ID)
	r.want(t, "a slice of what is retired")
	if count != 5 {
		t.Errorf("the events of a sweep must add up to what it removed: %d of 5", count)
	}
	for range sweepLimit {
		done, err := w.Expire(w.ctx, bounds)
		if err != nil {
			t.Fatalf("Expire must succeed: got %v", err)
		}
		if done.Removed == 0 {
			r.want(t, "an expiry that removes nothing")
			break
		}
		if e := r.want(t, "a slice of expiry", store.KindExpired)[0]; int(e.Count) != done.Removed || !e.Time.Equal(bounds.Now) {
			t.Errorf("the event of a slice must say what it has done: got %+v, done %+v", e, done)
		}
	}
	renewed := w.token("fay", "web", "")
	renewed.IdleExpiresAt = after(time.Minute)
	w.insert(t, renewed)
	err := w.Update(w.ctx, renewed.ID, func(v store.View) store.Decision {
		v.Token.IdleExpiresAt = after(48 * time.Hour)
		return store.Decision{Next: &v.Token}
	})
	if err != nil {
		t.Fatalf("an exchange must be able to renew the idle lifetime: got %v", err)
	}
	if done, err := w.Expire(w.ctx, bounds); err != nil || done.Removed > 0 {
		t.Fatalf("Expire must leave what was renewed: got %+v, error %v", done, err)
	}
	r.want(t, "an expiry that looks at what was renewed")
}

// outboxAtOnce looks, from beside the writers, for an effect whose event is not there yet, and counts the events.
func outboxAtOnce(t testing.TB, w *tenant) {
	t.Helper()
	const n = 40
	var tokens []domain.RefreshToken
	for range n {
		tokens = append(tokens, w.token("user", "client", ""))
	}
	var group sync.WaitGroup
	for _, token := range tokens {
		group.Go(func() {
			if _, err := w.Insert(w.ctx, emitting(token)); err != nil {
				t.Errorf("Insert must succeed: got %v", err)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		state := w.state(t)
		if state.Tokens > 0 && len(w.events(t, 0, store.MaxPage)) < state.Tokens {
			t.Errorf("an event must be in the feed from the moment on that its effect can be seen")
			<-done
			break
		}
	}
	if got := w.events(t, 0, 3); len(got) != n || w.state(t).Events != n || w.state(t).LastEvent != got[n-1].Number {
		t.Errorf("there must be as many events as there were changes: %d of %d, state %+v", len(got), n, w.state(t))
	}
}
