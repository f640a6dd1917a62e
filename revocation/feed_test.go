package revocation_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
)

// reads is a backend whose feeds count how often they are read.
type reads struct {
	*memstore.Backend
	times atomic.Int64
	err   error // what tenants are refused with, if it is set
}

type readsStore struct {
	store.Store
	reads *reads
}

func (r *reads) Tenant(name string) (store.Store, error) {
	if r.err != nil {
		return nil, r.err
	}
	st, err := r.Backend.Tenant(name)
	return readsStore{st, r}, err
}

func (s readsStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	s.reads.times.Add(1)
	return s.Store.(store.Outbox).Feed(ctx, after, limit)
}

// Follow shows each event once, at once if it is written by way of the engine, and at the next poll otherwise; it reads no more often
// than that, and ends with its context.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &reads{Backend: memstore.New()}
		engine, err := revocation.New(backend, &revocation.Options{PollEvery: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		revocationOf := func(n byte) store.Revocation {
			return store.Revocation{ID: number(n), Targets: []domain.Target{{UserID: "ann"}}, Time: time.Now(), Emit: store.KindRevoked}
		}
		ctx, cancel := context.WithCancel(t.Context())
		type follower struct {
			tenant string
			seen   []uint64
			ended  error
		}
		// Two of one tenant, who are both told, and one of another, who is told nothing.
		followers := []*follower{{tenant: "a"}, {tenant: "a"}, {tenant: "b"}}
		for _, f := range followers {
			go func() {
				for event, err := range engine.Follow(ctx, f.tenant, 0) {
					if err != nil {
						f.ended = err
						return
					}
					f.seen = append(f.seen, event.Number)
				}
			}()
		}
		n := byte(0)
		want := func(when string, numbers ...uint64) {
			t.Helper()
			synctest.Wait()
			for _, f := range followers[:2] {
				if !slices.Equal(f.seen, numbers) {
					t.Errorf("%s: events %v, want %v", when, f.seen, numbers)
				}
			}
			if len(followers[2].seen) > 0 {
				t.Errorf("%s: an event of another tenant", when)
			}
		}
		want("at first")
		n++
		if _, err := engine.Revoke(ctx, "a", revocationOf(n)); err != nil {
			t.Fatal(err)
		}
		want("by way of the engine, at once", 1)
		n++
		st, err := backend.Tenant("a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Revoke(ctx, revocationOf(n)); err != nil {
			t.Fatal(err)
		}
		want("by other means, not yet", 1)
		engine.Emitted("a")
		want("by other means that were told", 1, 2)
		n++
		if _, err := st.Revoke(ctx, revocationOf(n)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		want("by other means, at the next poll", 1, 2, 3)
		var all []uint64
		for i := range uint64(3 + 2*store.MaxPage) {
			if i >= 3 {
				n++
				if _, err := st.Revoke(ctx, revocationOf(n)); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, i+1)
		}
		engine.Emitted("a")
		want("more than a page", all...)
		if times := backend.times.Load(); times > 30 {
			t.Errorf("the feed was read %d times", times)
		}
		cancel()
		synctest.Wait()
		for _, f := range followers {
			if !errors.Is(f.ended, context.Canceled) {
				t.Errorf("it ended with %v, want the error of its context", f.ended)
			}
		}
	})
}

// Follow ends after the first error of the backend.
func TestFollowEndsWithAnError(t *testing.T) {
	for _, c := range []struct {
		backend store.Backend
		want    error
	}{
		{&reads{err: errFault}, errFault},
		{&faulty{Backend: memstore.New(), calls: map[string]int{}}, errors.ErrUnsupported},
	} {
		engine, err := revocation.New(c.backend, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []error
		for _, err := range engine.Follow(t.Context(), "a", 0) {
			got = append(got, err)
		}
		if len(got) != 1 || !errors.Is(got[0], c.want) {
			t.Errorf("got %v, want %v and nothing else", got, c.want)
		}
	}
}
