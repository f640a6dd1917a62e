package boltstore

import (
	"errors"
	"fmt"
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
