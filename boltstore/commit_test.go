package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"example.com/tokenstore/store"
)

// A disk, a quota or a limit that is full is told from other trouble, also where bbolt has kept the text of the cause alone.
func TestCauseOfFailure(t *testing.T) {
	for cause, full := range map[error]bool{syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EFBIG: true, syscall.EIO: false} {
		for _, err := range []error{fmt.Errorf("%w, at a page", cause), fmt.Errorf("file resize error: %s", cause)} {
			if got := notCommitted(err); !errors.Is(got, store.ErrNotCommitted) || errors.Is(got, ErrFull) != full {
				t.Errorf("%v is %v, want that it is full: %t", err, got, full)
			}
		}
	}
}

// A commit that fails in the ordinary way, without a panic of bbolt, leaves no doubt about the free pages: Close notes them.
func TestCloseAfterAFailedCommit(t *testing.T) {
	b, s := rig(t)
	insertOne(t, s, 1, "ann")
	b.db.MaxSize = 1 // so that the file can't grow
	err := b.update(t.Context(), func(x *txn) error {
		x.dirty = true
		return x.tx.Bucket(bucketAbout).Put([]byte("large"), make([]byte, 32<<20))
	})
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	b.db.MaxSize = 0
	path := b.db.Path()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if binary.LittleEndian.Uint64(newer(data)[32:]) == noFreelist {
		t.Error("the file does not say which pages are free")
	}
}

// An Update that does not find its token in a commit, for a neighbour has removed it, decides anew when the commit is repeated without
// that neighbour: what was decided before is not to be taken for done.
func TestUpdateFindsItsTokenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := rig(t)
		token := insertOne(t, s, 1, "ann")
		release := make(chan struct{})
		removals := 0
		broken := fmt.Errorf("%w: on purpose", ErrCorrupt)
		var calls sync.WaitGroup
		for what, call := range []func() error{
			func() error { return b.update(t.Context(), func(*txn) error { <-release; return nil }) }, // the others share the next commit
			func() error {
				return b.update(t.Context(), func(x *txn) error {
					if removals++; removals > 1 {
						check(broken)
					}
					r := x.records("acme")
					r.remove([]record{must(decode(r.get(bucketTokens, token.ID[:]), recordFields))})
					r.save()
					return nil
				})
			},
			func() error {
				return s.Update(t.Context(), token.ID, func(v store.View) store.Decision {
					v.Token.Retries++
					return store.Decision{Next: &v.Token}
				})
			},
			func() error { return b.update(t.Context(), func(*txn) error { check(broken); return nil }) },
		} {
			calls.Go(func() {
				if err := call(); errors.Is(err, broken) != (what%2 == 1) || what%2 == 0 && err != nil {
					t.Errorf("call %d: got error %v", what, err)
				}
			})
			synctest.Wait()
		}
		close(release)
		calls.Wait()
		v, err := s.Get(t.Context(), token.ID)
		if err != nil || v.Token.Retries != 1 || removals != 2 {
			t.Errorf("got %d changes, %d removals that were tried, error %v; want what was acknowledged", v.Token.Retries, removals, err)
		}
	})
}
