package boltstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// What has nothing to write waits for nobody who does.
func TestNothingToWriteWaitsForNobody(t *testing.T) {
	expire := func(ctx context.Context, s store.Store) error {
		_, err := s.Expire(ctx, store.Bounds{Visit: 1, Remove: 1, Now: instant})
		return err
	}
	for what, call := range map[string]func(context.Context, store.Store) error{
		"Expire, of nothing":           expire,
		"Expire, of what is due later": expire,
		"Trim": func(ctx context.Context, s store.Store) error {
			_, err := s.Trim(ctx, store.Trim{Limit: 1, Guards: instant, History: instant, Events: instant})
			return err
		},
		"Apply, of what is not there": func(ctx context.Context, s store.Store) error {
			_, err := s.Apply(ctx, []ulid.ULID{{15: 99}}, store.Bounds{Visit: 1, Remove: 1, Now: instant})
			return err
		},
		"Update": func(ctx context.Context, s store.Store) error {
			return s.Update(ctx, ulid.ULID{15: 1}, func(store.View) store.Decision { return store.Decision{} })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, s := rig(t)
			token := domain.RefreshToken{ID: ulid.ULID{15: 1}, UserID: "ann", ClientID: "client", CreatedAt: instant}
			if what == "Expire, of what is due later" {
				token.ExpiresAt = instant.Add(time.Hour)
			}
			if _, err := s.Insert(t.Context(), []store.Insertion{{Token: token}}); err != nil {
				t.Fatal(err)
			}
			release := make(chan struct{})
			var calls sync.WaitGroup
			calls.Go(func() {
				if err := b.update(t.Context(), func(*txn) error { <-release; return nil }); err != nil {
					t.Errorf("the call under way: %v", err)
				}
			})
			synctest.Wait()
			done := false
			calls.Go(func() {
				if err := call(t.Context(), s); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				done = true
			})
			synctest.Wait()
			if !done {
				t.Errorf("%s waits for a commit", what)
			}
			close(release)
			calls.Wait()
		})
	}
}

// A call that waits for a commit under way leaves when its context ends, wherever it stands among those that wait: it is never
// run, and each of the others is, once.
func TestWaitingCallIsWithdrawn(t *testing.T) {
	const waiting = 4
	for gone := range waiting {
		synctest.Test(t, func(t *testing.T) {
			b, _ := rig(t)
			release := make(chan struct{})
			var ran [waiting]int
			var errs [waiting]error
			var calls sync.WaitGroup
			calls.Go(func() {
				if err := b.update(t.Context(), func(*txn) error { <-release; return nil }); err != nil {
					t.Errorf("the call under way: %v", err)
				}
			})
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for i := range waiting {
				mine := t.Context()
				if i == gone {
					mine = ctx
				}
				calls.Go(func() { errs[i] = b.update(mine, func(*txn) error { ran[i]++; return nil }) })
				synctest.Wait()
			}
			cancel()
			synctest.Wait()
			if !errors.Is(errs[gone], context.Canceled) {
				t.Errorf("call %d, which left: got %v before the commit under way had ended", gone, errs[gone])
			}
			close(release)
			calls.Wait()
			for i := range waiting {
				if left := i == gone; left && ran[i] != 0 || !left && (ran[i] != 1 || errs[i] != nil) {
					t.Errorf("call %d of those that waited, of which %d left, has run %d times: %v", i, gone, ran[i], errs[i])
				}
			}
		})
	}
}
