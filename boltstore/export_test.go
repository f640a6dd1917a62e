package boltstore

import (
	"context"
	"fmt"
)

// PagesWritten is how many times a page, or several in a row, have been written.
func (b *Backend) PagesWritten() int64 { s := b.db.Stats(); return s.TxStats.GetWrite() }

// SettleEarly has the index settle after so many entries, and generations of rewritten records be full with a quarter as many, so that a test
// sees many levels of runs, and many generations, with few tokens. It is for a file that nobody uses yet.
func (b *Backend) SettleEarly(entries uint64) {
	b.freshMax = entries
	b.PlaceEarly(int(max(entries/4, 1)))
}

// PlaceEarly has generations of rewritten records be full with so many.
func (b *Backend) PlaceEarly(rewrites int) { b.rewrites.max = rewrites }

// Generations is how many records have been rewritten, in each generation that is there.
func (b *Backend) Generations() (rewritten []int) {
	for _, g := range b.rewrites.generations {
		rewritten = append(rewritten, len(g.notes))
	}
	return rewritten
}

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
