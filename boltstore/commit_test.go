package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

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
