package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// commits counts the commits that f makes.
func commits(b *boltstore.Backend, f func()) uint64 {
	before := b.Stats().Commits
	f()
	return b.Stats().Commits - before
}

func TestRevokeIsOneCommit(t *testing.T) {
	b := open(t, temporary(t), nil)
	s := tenant(t, b, "acme")
	n, pages := 0, int64(0)
	revoke(t, s, 1_000_000, domain.Target{UserID: "the first, which makes buckets"})
	if err := sweep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 1000, 100_000} {
		tokens := make([]domain.RefreshToken, size)
		for i := range tokens {
			n++
			tokens[i] = plain(n, fmt.Sprint("user with ", size), "")
		}
		insert(t, s, tokens...)
		before := b.PagesWritten()
		got := commits(b, func() { revoke(t, s, 1_000_000+size, domain.Target{UserID: fmt.Sprint("user with ", size)}) })
		wrote := b.PagesWritten() - before
		if got != 1 {
			t.Errorf("a revocation must be one commit whatever it reaches: got %d for %d tokens", got, size)
		}
		if pages == 0 {
			pages = wrote
		}
		t.Logf("%d pages were written to revoke %d tokens", wrote, size)
		if wrote != pages {
			t.Errorf("a revocation must write as many pages whatever it reaches: got %d for %d tokens, %d for one", wrote, size, pages)
		}
	}
}

// A sweep of a user writes far fewer pages than it removes tokens that stand one after the other, and little more than the page that each
// stands in where they don't, though each token has a session of its own and their entries in the index lie wherever their hashes say.
func TestSweepWritesFewPages(t *testing.T) {
	const others, swept, size = 50_000, 5_000, 500
	for _, c := range []struct {
		name  string
		ann   func(i int) bool // whose the i-th token is
		pages int64            // at most
	}{
		{"tokens one after the other", func(i int) bool { return i < swept }, swept / 4},
		{"tokens between those of others", func(i int) bool { return i%(others/swept+1) == 0 }, swept * 4 / 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, temporary(t), nil)
			s := tenant(t, b, "acme")
			tokens := make([]domain.RefreshToken, 0, others+swept)
			for i := range cap(tokens) {
				user := fmt.Sprint("user ", i)
				if c.ann(i) {
					user = "ann"
				}
				tokens = append(tokens, plain(i, user, fmt.Sprint("session ", i)))
			}
			insert(t, s, tokens...)
			id := revoke(t, s, 1_000_000, domain.Target{UserID: "ann"}).Tombstone.ID
			before := b.PagesWritten()
			for range swept / size {
				slice(t, s, size, id)
			}
			wrote := b.PagesWritten() - before
			t.Logf("%d pages were written to remove %d tokens", wrote, swept)
			if state, err := s.State(t.Context()); err != nil || state.Tokens != others {
				t.Fatalf("%d tokens, error %v: want the %d others", state.Tokens, err, others)
			}
			if wrote > c.pages {
				t.Errorf("a sweep wrote more pages than it may: %d", c.pages)
			}
		})
	}
}

// What a slice removes, how far it came and what it retires are in one commit: a crash finds all of it or nothing.
func TestSliceIsOneCommit(t *testing.T) {
	b := open(t, temporary(t), nil)
	s := tenant(t, b, "acme")
	fill(t, s, 100)
	for i, target := range []domain.Target{{UserID: "user-1"}, {ClientID: "client"}} { // by index, and by the walk
		status := revoke(t, s, 1_000_000+i, target)
		for !status.Retired {
			before := status.Swept
			got := commits(b, func() {
				statuses, err := s.Apply(t.Context(), ids(status), store.Bounds{Visit: 7, Remove: 7, Now: base})
				if err != nil || len(statuses) != 1 {
					t.Fatalf("a slice must tell how far it came: got %+v, error %v", statuses, err)
				}
				status = statuses[0]
			})
			if got != 1 {
				t.Fatalf("a slice must be one commit: got %d, for %d tokens of %+v", got, status.Swept-before, target)
			}
		}
		if status.Swept == 0 {
			t.Errorf("something must have been swept of %+v", target)
		}
	}
}

func TestLoneWriter(t *testing.T) {
	b := open(t, temporary(t), nil)
	s := tenant(t, b, "acme")
	for n := range 20 {
		if got := commits(b, func() { insert(t, s, plain(n, "user", "")) }); got != 1 {
			t.Fatalf("a lone writer must commit at once, and once: got %d commits", got)
		}
	}
}

func TestWritersShareCommits(t *testing.T) {
	path := temporary(t)
	b := open(t, path, nil)
	s := tenant(t, b, "acme")
	const callers, each = 64, 20
	start := make(chan struct{})
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			<-start
			for i := range each {
				insert(t, s, plain(c*each+i, fmt.Sprint("user-", c), "session"))
			}
		})
	}
	close(start)
	wg.Wait()
	stats := b.Stats()
	t.Logf("%d calls shared %d commits", stats.Calls, stats.Commits)
	if stats.Calls != callers*each || stats.Commits >= stats.Calls {
		t.Errorf("concurrent writers must share commits: %d calls, %d commits", stats.Calls, stats.Commits)
	}
	wantClean(t, b)
	shut(t, b)
	state, err := tenant(t, open(t, path, nil), "acme").State(t.Context())
	if err != nil || state.Tokens != callers*each {
		t.Errorf("what was acknowledged must be there: got %d of %d, error %v", state.Tokens, callers*each, err)
	}
}

// Merges are counted by commits: of runs of one entry each fourth moves on, and the sixteenth commit moves runs of two levels.
func TestMergesAreCounted(t *testing.T) {
	b := open(t, temporary(t), nil)
	b.SettleEarly(1)
	s := tenant(t, b, "acme")
	for n := range 16 {
		insert(t, s, plain(n, "user", ""))
		if got, want := b.Stats().Merges, uint64(n+1)/4; got != want {
			t.Errorf("after %d commits %d merges are counted, not %d", n+1, got, want)
		}
	}
}

// What is refused, and what changes nothing, costs no commit.
func TestRefusalsCostNoCommit(t *testing.T) {
	b := open(t, temporary(t), nil)
	m, err := tokenstore.New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	issued, err := m.Issue(ctx, tokenstore.IssueRequest{UserID: "u", ClientID: "c", SessionID: tokenstore.MustSessionID("s")})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := domain.NewCredential(issued.Token.ID, fixed{})
	if err != nil {
		t.Fatal(err)
	}
	s := tenant(t, b, "default")
	for name, call := range map[string]func() error{
		"forged secret": func() error {
			_, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: forged.Secret(), ClientID: "c"})
			return err
		},
		"wrong client": func() error {
			_, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: issued.Secret, ClientID: "d"})
			return err
		},
		"taken id": func() error {
			results, err := s.Insert(ctx, []store.Insertion{{Token: issued.Token}})
			return errors.Join(err, results[0].Err)
		},
		"ids that are not there": func() error {
			_, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{TokenID: ulid.ULID{15: 1}}}})
			return errors.Join(err, errors.New("nothing to do"))
		},
	} {
		if got := commits(b, func() { err = call() }); got != 0 || err == nil {
			t.Errorf("%s: must be refused without a commit: got %d commits, error %v", name, got, err)
		}
	}
}

// fixed is randomness that everybody knows.
type fixed struct{}

func (fixed) Read(p []byte) (int, error) { return len(p), nil }

// One call that fails, panics or ends its goroutine does no harm to those that it shares a commit with.
func TestNeighbours(t *testing.T) {
	b := open(t, temporary(t), nil)
	s := tenant(t, b, "acme")
	fill(t, s, 100)
	ctx := t.Context()
	bad := []func(){
		func() {
			err := s.Update(ctx, idOf(0), func(v store.View) store.Decision {
				v.Token.UserID = "somebody else"
				return store.Decision{Next: &v.Token}
			})
			if !errors.Is(err, store.ErrImmutable) {
				t.Errorf("a change of identity must be refused: got %v", err)
			}
		},
		func() {
			defer func() {
				if p := recover(); p != "on purpose" {
					t.Errorf("the caller of a decide that panics must get its panic: got %v", p)
				}
			}()
			_ = s.Update(ctx, idOf(1), panicsWhenCommitting(t, s, idOf(1)))
		},
		func() {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = s.Update(ctx, idOf(2), func(store.View) store.Decision { runtime.Goexit(); return store.Decision{} })
				t.Error("the goroutine of a decide that ends it must end")
			}()
			<-ended
		},
		func() {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if err := s.Update(gone, idOf(3), mark("never")); !errors.Is(err, context.Canceled) {
				t.Errorf("a context that has ended must end the call: got %v", err)
			}
		},
	}
	var wg sync.WaitGroup
	for round := range 10 {
		for _, call := range bad {
			wg.Go(call)
		}
		for n := 10; n < 60; n++ {
			wg.Go(func() {
				if err := s.Update(ctx, idOf(n), mark(fmt.Sprint(round))); err != nil {
					t.Errorf("a good call must not suffer from its neighbours: got %v", err)
				}
			})
		}
		wg.Wait()
	}
	for n := 10; n < 60; n++ {
		v, err := s.Get(ctx, idOf(n))
		if note, _ := v.Token.Metadata.Get("note"); err != nil || note != "9" {
			t.Errorf("a good call must have its effect: got %q, error %v", note, err)
		}
	}
	wantClean(t, b)
}

// panicsWhenCommitting decides to write at first, and panics when it is asked again in the commit, as the token has changed meanwhile.
func panicsWhenCommitting(t *testing.T, s store.Store, id ulid.ULID) func(store.View) store.Decision {
	runs := 0
	return func(v store.View) store.Decision {
		if runs++; runs > 1 {
			panic("on purpose")
		}
		err := s.Update(t.Context(), id, func(v store.View) store.Decision {
			v.Token.Retries++
			return store.Decision{Next: &v.Token}
		})
		if err != nil {
			t.Error(err)
		}
		return store.Decision{Next: &v.Token}
	}
}

// Close waits for what is in flight; what comes later is told so; nothing that was acknowledged is lost.
func TestCloseUnderLoad(t *testing.T) {
	for range 10 {
		path := temporary(t)
		b, err := boltstore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := tenant(t, b, "acme")
		var mu sync.Mutex
		var acked []ulid.ULID
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for c := range 16 {
			wg.Go(func() {
				for i := 0; ; i++ {
					token := plain(c*1_000_000+i, "user", "")
					results, err := s.Insert(context.Background(), []store.Insertion{{Token: token}})
					if err != nil {
						if !errors.Is(err, store.ErrClosed) {
							t.Errorf("a call on a closed backend must be ErrClosed: got %v", err)
						}
						return
					}
					mu.Lock()
					if results[0].Err == nil {
						acked = append(acked, token.ID)
					}
					if len(acked) == 50 {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(time.Minute):
			t.Fatal("the writers do not get on")
		}
		shut(t, b)
		wg.Wait()
		shut(t, b)
		again := open(t, path, nil)
		s = tenant(t, again, "acme")
		for _, id := range acked {
			if _, err := s.Get(t.Context(), id); err != nil {
				t.Fatalf("what was acknowledged must be there: got %v", err)
			}
		}
		wantClean(t, again)
	}
}
