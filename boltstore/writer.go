package boltstore

import (
	"errors"
	"sync"

	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// writer is whoever writes: one at a time. bbolt has a lock for that, which stays taken where it can't end a transaction because
// the file can't be read any more; nobody may wait for it then.
type writer struct {
	mu    sync.Mutex
	stuck bool // bbolt's own lock stays taken
	leaky bool // bbolt panicked in a commit: some pages may be neither in use nor in its list of free ones
}

// errStuck is wrapped in [ErrUnusable] as long as the process runs.
var errStuck = errors.New("bbolt could not end a transaction")

func (w *writer) isStuck() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stuck
}

// begin begins a transaction. It can't once the file has been closed, and where bbolt could not map it anew as it grew: what was
// mapped before is gone then.
func (b *Backend) begin(writable bool) (*bbolt.Tx, error) {
	tx, err := b.db.Begin(writable)
	switch {
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return nil, store.ErrClosed
	case err != nil:
		return nil, unusable(err)
	}
	return tx, nil
}

// beginWriting begins a writing transaction, which must be ended by endWriting.
func (b *Backend) beginWriting() (*bbolt.Tx, error) {
	b.writer.mu.Lock()
	if b.writer.stuck {
		b.writer.mu.Unlock()
		return nil, unusable(errStuck)
	}
	var tx *bbolt.Tx
	var err error
	if panicked := protect(func() error { tx, err = b.begin(true); return nil }); panicked != nil { // its lock taken: no page says any more where the data is
		b.writer.stuck, err = true, unusable(panicked)
	}
	if err != nil {
		b.writer.mu.Unlock()
	}
	return tx, err
}

// endWriting ends a writing transaction that may have been committed.
func (b *Backend) endWriting(tx *bbolt.Tx) {
	b.writer.stuck = !rollBack(tx)
	b.writer.mu.Unlock()
}

// giveUp ends a writing transaction whose commit has failed. It is over already, unless bbolt panicked halfway.
func (b *Backend) giveUp(tx *bbolt.Tx) {
	if tx.DB() != nil {
		b.writer.leaky = true
		rollBack(tx)
	}
}

// rollBack ends a transaction, if it has not ended. It reports whether bbolt could.
func rollBack(tx *bbolt.Tx) bool {
	if tx.DB() != nil {
		_ = protect(tx.Rollback)
	}
	return tx.DB() == nil
}
