package boltstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

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
