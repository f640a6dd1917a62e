package boltstore

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// awaitQueue waits until so many calls wait for a commit.
func awaitQueue(b *Backend, n int) {
	for waiting := 0; waiting < n; runtime.Gosched() {
		b.group.mu.Lock()
		waiting = len(b.group.queue)
		b.group.mu.Unlock()
	}
}

// What a caller does to its record once it has decided is not what is checked, or written.
func TestNextIsCopied(t *testing.T) {
	b, s := rig(t)
	token := insertOne(t, s, 1, "ann")
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // so that the other waits with what it has decided
		if err := b.update(t.Context(), func(*txn) error { close(held); <-hold; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	var next *domain.RefreshToken
	wg.Go(func() {
		err := s.Update(t.Context(), token.ID, func(v store.View) store.Decision {
			next = &v.Token
			next.UserID = "somebody else"
			return store.Decision{Next: next}
		})
		if !errors.Is(err, store.ErrImmutable) {
			t.Errorf("a change of identity must be refused, though it is taken back: got %v", err)
		}
	})
	awaitQueue(b, 1)
	next.UserID = "ann"
	close(hold)
	wg.Wait()
	if v, err := s.Get(t.Context(), token.ID); err != nil || v.Token.UserID != "ann" {
		t.Errorf("got %q, %v", v.Token.UserID, err)
	}
}

// A file whose first pages are gone while it is open is told of in an error, and not by the end of the process, whoever makes the commit.
func TestFirstPagesGone(t *testing.T) {
	b, s := rig(t)
	token := insertOne(t, s, 1, "ann")
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.update(t.Context(), func(*txn) error { close(held); <-hold; return errors.New("on purpose") })
	})
	<-held
	file, err := os.OpenFile(b.db.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pages := make([]byte, 2*b.db.Info().PageSize)
	if _, err := file.ReadAt(pages, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wg.Go(func() {
			if err := b.update(t.Context(), func(*txn) error { return nil }); !errors.Is(err, ErrUnusable) {
				t.Errorf("a commit into a file without its first pages: got %v", err)
			}
		})
	}
	awaitQueue(b, 3)
	if _, err := file.WriteAt(make([]byte, len(pages)), 0); err != nil {
		t.Fatal(err)
	}
	close(hold)
	wg.Wait()
	if _, err := file.WriteAt(pages, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.update(t.Context(), func(*txn) error { return nil }); !errors.Is(err, ErrUnusable) {
		t.Errorf("nobody may wait for a lock that stays taken: got %v", err)
	}
	if _, err := s.Get(t.Context(), token.ID); err != nil {
		t.Errorf("what is there must be read once its pages are back: got %v", err)
	}
	if err := b.Close(); !errors.Is(err, ErrUnusable) {
		t.Errorf("Close must say that it could not: got %v", err)
	}
}

// A call that ends the goroutine which commits leaves those that come later no worse off.
func TestGoroutineOfACommitEnds(t *testing.T) {
	b, _ := rig(t)
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.update(t.Context(), func(*txn) error { close(held); <-hold; return nil })
	})
	<-held
	wg.Go(func() {
		err := b.update(t.Context(), func(*txn) error { runtime.Goexit(); return nil })
		if !errors.Is(err, store.ErrUnknownOutcome) {
			t.Errorf("a commit that was broken off: got %v", err)
		}
	})
	awaitQueue(b, 1)
	close(hold)
	wg.Wait()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := b.update(ctx, func(*txn) error { return nil }); err != nil {
		t.Errorf("a later call must be served: got %v", err)
	}
}
