package filetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/internal/crashtest"
	"go.etcd.io/bbolt"
)

// Check opens the file that is left and looks for everything that was acknowledged.
func Check(t testing.TB, heard *crashtest.Heard, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Errorf("S5: the file must open after a crash: got %v", err)
		return
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close must succeed: got %v", err)
		}
		boltAgrees(t, path)
	}()
	if !inOrder(ctx, t, b) {
		return
	}
	heard.Check(t, b)
	inOrder(ctx, t, b)
}

// inOrder looks at the structure of the file, and at its indexes and counts.
func inOrder(ctx context.Context, t testing.TB, b *boltstore.Backend) bool {
	t.Helper()
	findings, err := b.Check(ctx)
	if err != nil || len(findings) > 0 {
		t.Errorf("S5: the file must be in order after a crash: found %q, error %v", findings, err)
		return false
	}
	return true
}

// boltAgrees has bbolt alone look at the pages of the file.
func boltAgrees(t testing.TB, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Errorf("S5: bbolt must open the file after a crash: got %v", err)
		return
	}
	err = db.View(func(tx *bbolt.Tx) (err error) {
		for found := range tx.Check() {
			err = errors.Join(err, found)
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Errorf("S5: the pages of the file must be in order after a crash: %v", err)
	}
}
