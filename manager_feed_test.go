package tokenstore_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// feed returns all events after a cursor, page by page.
func (r *rig) feed(after uint64) (events []tokenstore.Event) {
	r.Helper()
	for {
		page, err := r.Feed(r.Context(), tokenstore.FeedRequest{After: after, Limit: 2})
		if err != nil {
			r.Fatal(err)
		}
		events = append(events, page.Events...)
		if after = page.Next; after == page.Last {
			return events
		}
	}
}

func (r *rig) wantKinds(what string, events []tokenstore.Event, want ...tokenstore.Kinds) {
	r.Helper()
	var got []tokenstore.Kinds
	for _, e := range events {
		got = append(got, e.Kind)
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// everything lives through what every kind reports.
func (r *rig) everything() (issued tokenstore.Issued, reused error) {
	r.Helper()
	issued = r.issue(request("ada"))
	r.exchange(issued.Secret)
	r.exchange(issued.Secret) // a retry
	r.wait(time.Hour)
	_, reused = r.try(issued.Secret)
	receipt := r.revoke(tokenstore.Target{UserID: "bob"})
	erasure, err := r.Erase(r.Context(), tokenstore.EraseRequest{UserID: "carl"})
	if err != nil {
		r.Fatal(err)
	}
	r.run(receipt, erasure)
	return issued, reused
}

func TestFeedByDefault(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	issued, err := r.everything()
	wantRefusal(t, err, tokenstore.ErrReused)
	events := r.feed(0)
	// The revocation that the erasure of carl was names him no more.
	r.wantKinds("by default", events, tokenstore.KindReused, tokenstore.KindRevoked, tokenstore.KindErased, tokenstore.KindErased)
	token := tokenstore.EventToken{ID: issued.Token.ID, UserID: "ada", ClientID: "app", SessionID: "session-ada"}
	if e := events[0]; !slices.Equal(e.Tokens, []tokenstore.EventToken{token}) || e.Reason != tokenstore.ReasonReuse || !e.Time.Equal(r.clock()) {
		t.Errorf("replay: got %+v", e)
	}
	if e := events[1]; len(e.Targets) != 1 || e.Targets[0].UserID != "bob" {
		t.Errorf("a revocation: got %+v", e)
	}
	if e := events[3]; !e.Erases || len(e.Targets) != 1 || e.Targets[0].UserID == "carl" {
		t.Errorf("an erasure: got %+v", e)
	}
}

func TestFeedOfAllKinds(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.AllKinds, Client: (&policies{policy: tokenstore.ClientPolicy{Cap: 1}}).of})
	r.issue(request("eve"))
	r.issue(request("eve"))
	r.wantKinds("a cap", r.feed(0), tokenstore.KindIssued, tokenstore.KindEvicted, tokenstore.KindIssued)
	last := r.state().LastEvent
	r.everything()
	r.wantKinds("all", r.feed(last)[:4], tokenstore.KindIssued, tokenstore.KindExchanged, tokenstore.KindRetried, tokenstore.KindReused)
	if r.state().Events != len(r.feed(0)) {
		t.Errorf("State counts %d events of %d", r.state().Events, len(r.feed(0)))
	}
}

func TestFeedOfNoKind(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.NoOutbox})
	r.everything()
	r.wantKinds("none but what an erasure left", r.feed(0))
}

// TestReplayIsARevocation: who asks for revocations alone gets those for replay as well.
func TestReplayIsARevocation(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.KindRevoked})
	_, err := r.everything()
	wantRefusal(t, err, tokenstore.ErrReused)
	if got := r.feed(0)[0]; got.Kind != tokenstore.KindRevoked || got.Reason != tokenstore.ReasonReuse {
		t.Errorf("got %+v", got)
	}
}

// TestUnnotedUseIsNoEvent: a use that need not be noted writes nothing, whatever kinds there are.
func TestUnnotedUseIsNoEvent(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.AllKinds, LastUsedEvery: time.Minute})
	req := request("ada")
	req.Static = true
	issued := r.issue(req)
	r.exchange(issued.Secret)
	r.wantNoWrite(func() { r.exchange(issued.Secret) })
	r.wantKinds("two uses at once", r.feed(0), tokenstore.KindIssued, tokenstore.KindExchanged)
}

// TestUnknownOutcomeIsOneEvent: what is tried again is told once.
func TestUnknownOutcomeIsOneEvent(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.AllKinds})
	r.spy.leaveUnknown(1)
	issued := r.issue(request("ada"))
	r.spy.leaveUnknown(1)
	r.exchange(issued.Secret)
	r.spy.leaveUnknown(1)
	r.revoke(tokenstore.Target{UserID: "ada"})
	r.wantKinds("three calls", r.feed(0), tokenstore.KindIssued, tokenstore.KindExchanged, tokenstore.KindRevoked)
}

func TestOutboxOption(t *testing.T) {
	for _, kinds := range []tokenstore.Kinds{tokenstore.AllKinds + 1, tokenstore.NoOutbox | tokenstore.KindIssued} {
		_, err := tokenstore.New(memstore.New(), &tokenstore.Options{Outbox: kinds})
		wantField(t, err, "outbox")
		_, err = revocation.New(memstore.New(), &revocation.Options{Outbox: kinds})
		wantField(t, err, "outbox")
	}
}

func TestKindsHaveNames(t *testing.T) {
	for i, name := range []string{"revoked", "reused", "erased", "issued", "exchanged", "retried", "swept", "expired", "evicted"} {
		kind := tokenstore.Kinds(1) << i
		var back tokenstore.Kinds
		if err := back.UnmarshalText([]byte(name)); err != nil || back != kind || kind.String() != name {
			t.Errorf("%s: %v, %v, %v", name, kind, back, err)
		}
	}
	var some tokenstore.Kinds
	if err := some.UnmarshalText([]byte("issued,revoked")); err != nil || some != tokenstore.KindIssued|tokenstore.KindRevoked || some.String() != "revoked,issued" {
		t.Errorf("%v, %v", some, err)
	}
	if err := some.UnmarshalText(nil); err != nil || some != 0 {
		t.Errorf("%v, %v", some, err)
	}
	wantField(t, some.UnmarshalText([]byte("revoked,unheard")), "kind")
}

func TestFeedBadCursors(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	r.revoke(tokenstore.Target{UserID: "ada"})
	_, err := r.Feed(t.Context(), tokenstore.FeedRequest{After: 2})
	wantField(t, err, "after")
	_, err = r.Feed(t.Context(), tokenstore.FeedRequest{Limit: 101})
	wantField(t, err, "limit")
}

// noFeed is a backend without an outbox.
type noFeed struct{ store.Backend }

func (b noFeed) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return struct{ store.Store }{st}, err
}

func TestBackendWithoutOutbox(t *testing.T) {
	m, err := tokenstore.New(noFeed{memstore.New()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ada"}}}); err != nil {
		t.Errorf("a revocation needs no outbox: %v", err)
	}
	if _, err := m.Feed(t.Context(), tokenstore.FeedRequest{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

// follower follows a feed until it is stopped.
type follower struct {
	events chan tokenstore.Event
	ended  chan error
	stop   context.CancelFunc
}

func follow(t *testing.T, m *tokenstore.Manager, after uint64) *follower {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &follower{events: make(chan tokenstore.Event, 100), ended: make(chan error, 1), stop: stop}
	go func() {
		for e, err := range m.Follow(ctx, after) {
			if err != nil {
				f.ended <- err
				return
			}
			f.events <- e
		}
		f.ended <- nil
	}()
	return f
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memstore.New()
		mine, err := tokenstore.New(backend, &tokenstore.Options{Outbox: tokenstore.AllKinds})
		if err != nil {
			t.Fatal(err)
		}
		another, err := tokenstore.New(backend, nil) // another process, as it were
		if err != nil {
			t.Fatal(err)
		}
		bystander, err := mine.Tenant("bystander", nil)
		if err != nil {
			t.Fatal(err)
		}
		f, aside := follow(t, mine, 0), follow(t, bystander, 0)
		next := func(what string, within time.Duration) tokenstore.Event {
			t.Helper()
			began := time.Now()
			e := <-f.events
			if took := time.Since(began); took > within {
				t.Errorf("%s was told after %v, want within %v", what, took, within)
			}
			return e
		}
		revoke := func(m *tokenstore.Manager) ulid.ULID {
			t.Helper()
			receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ada"}}})
			if err != nil {
				t.Fatal(err)
			}
			return receipt.ID()
		}
		synctest.Wait()
		if id, e := revoke(mine), next("a revocation", 0); e.Revocation != id {
			t.Errorf("got %+v", e)
		}
		synctest.Wait()
		issued, err := mine.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ada", ClientID: "web"})
		if err != nil {
			t.Fatal(err)
		}
		next("an issue", 0)
		synctest.Wait()
		if _, err := mine.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: "web"}); err != nil {
			t.Fatal(err)
		}
		next("an exchange", 0)
		synctest.Wait()
		if id, e := revoke(another), next("another process's revocation", 5*time.Second); e.Revocation != id {
			t.Errorf("got %+v", e)
		}
		f.stop()
		if err := <-f.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the error of the context", err)
		}
		aside.stop()
		<-aside.ended
		if len(aside.events) > 0 {
			t.Error("a follower was told of another tenant's events")
		}
	})
}

// TestSlowFollowerHoldsUpNobody: who does not read on is no concern of who writes, and finds everything later.
func TestSlowFollowerHoldsUpNobody(t *testing.T) {
	r := newRig(t, tokenstore.Options{Outbox: tokenstore.AllKinds})
	r.revoke(tokenstore.Target{UserID: "ada"})
	seen := 0
	for _, err := range r.Follow(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 1 {
			for range 150 { // more than a page, while the reader is in the middle of one
				r.issue(request("bob"))
			}
		}
		if seen == 151 {
			break
		}
	}
}

// TestFeedForgets: the engine drops events that are older than OutboxFor, and a reader that comes too late is told so.
func TestFeedForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := tokenstore.New(memstore.New(), &tokenstore.Options{Engine: revocation.Options{OutboxFor: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		revoke := func() {
			t.Helper()
			if _, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ada"}}}); err != nil {
				t.Fatal(err)
			}
		}
		revoke()
		time.Sleep(59 * time.Minute)
		if page, err := m.Feed(ctx, tokenstore.FeedRequest{}); err != nil || len(page.Events) != 1 {
			t.Errorf("before OutboxFor is over: %+v, %v", page, err)
		}
		time.Sleep(3 * time.Hour)
		revoke()
		_, err = m.Feed(ctx, tokenstore.FeedRequest{})
		gone, ok := errors.AsType[*tokenstore.CursorGoneError](err)
		if !ok || !errors.Is(err, tokenstore.ErrCursorGone) {
			t.Fatalf("after OutboxFor: got %v, want a CursorGoneError", err)
		}
		if page, err := m.Feed(ctx, tokenstore.FeedRequest{After: gone.Resume}); err != nil || len(page.Events) != 1 {
			t.Errorf("from where it says: %+v, %v", page, err)
		}
		for _, err := range m.Follow(ctx, 0) {
			if !errors.Is(err, tokenstore.ErrCursorGone) {
				t.Errorf("a follower that comes too late: got %v", err)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
