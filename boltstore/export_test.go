package boltstore

import (
	"context"
	"fmt"
)

// PagesWritten is how many times a page, or several in a row, have been written.
func (b *Backend) PagesWritten() int64 { s := b.db.Stats(); return s.TxStats.GetWrite() }

// SettleEarly has the index settle after so many entries, so that a test sees many levels of runs with few tokens.
func (b *Backend) SettleEarly(entries uint64) { b.freshMax = entries }

// Known is all that a tenant's part of the file says of itself, beside its records.
func (b *Backend) Known(name string) (known string, err error) {
	_, err = b.peek(context.Background(), func(t *txn) error {
		r := t.records(name)
		origin, complete := r.origin()
		known = fmt.Sprintf("%+v, from %v, complete %v", r.meta, origin, complete)
		return nil
	})
	return known, err
}
