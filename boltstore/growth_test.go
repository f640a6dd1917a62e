package boltstore

import (
	"fmt"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// While somebody reads an old state, pages that are replaced can't be used again: the file grows, by as much with each commit. A list
// of free pages that is written with every commit would have it grow exponentially.
func TestReaderGrowsTheFileLinearly(t *testing.T) {
	b, s := rig(t)
	b.db.NoSync = true // for the test's sake: it is about pages
	rows := make([]store.Insertion, 1000)
	for i := range rows {
		rows[i].Token = domain.RefreshToken{ID: ulid.ULID{14: byte(i >> 8), 15: byte(i) | 1, 13: byte(i & 1)}, UserID: fmt.Sprint(i), ClientID: "client", CreatedAt: instant}
	}
	if _, err := s.Insert(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	used := func() (pages int64) {
		err := b.view(t.Context(), func(x *txn) error { pages = x.tx.Size() / int64(b.db.Info().PageSize); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return pages
	}
	write := func(n int) {
		for i := range n {
			err := s.Update(t.Context(), rows[i%len(rows)].Token.ID, func(v store.View) store.Decision {
				v.Token.Generation++
				return store.Decision{Next: &v.Token}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	const commits = 1000
	write(commits)
	calm := used()
	write(commits)
	if grown := used() - calm; grown > calm/10 {
		t.Errorf("without a reader %d commits take %d pages more than %d", commits, grown, calm)
	}
	err := b.view(t.Context(), func(*txn) error { // as a backup would for as long as it takes
		before := used()
		write(commits)
		first := used() - before
		write(commits)
		second := used() - before - first
		t.Logf("with a reader %d commits take %d pages, as many again %d", commits, first, second)
		if first < commits || first > 12*commits {
			t.Errorf("%d commits take %d pages: expected a few each", commits, first)
		}
		if second > first+first/4 {
			t.Errorf("the file must grow linearly: %d pages, then %d", first, second)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	write(10) // what the reader held is free from now on
	after := used()
	write(commits)
	if grown := used() - after; grown != 0 {
		t.Errorf("after the reader has left, %d commits take %d pages", commits, grown)
	}
}
