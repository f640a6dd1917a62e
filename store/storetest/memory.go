package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// checkMemory spoils everything that was handed in or out as soon as it may, and looks whether anybody notices. It uses
// hundreds of rows, because a buffer that is shared shows only when it is used again.
func checkMemory(t testing.TB, e *env) {
	w := e.tenant(t)
	const n = 400
	given := make([]domain.RefreshToken, n)
	for i := range given {
		given[i] = w.token(fmt.Sprint("user-", i%10), "client", "session")
		given[i].Metadata = note(fmt.Sprint(i))
	}
	insert := func(given []domain.RefreshToken) {
		batch := rows(given...)
		results, err := w.Insert(w.ctx, batch)
		if err != nil {
			t.Errorf("Insert must succeed: got %v", err)
			return
		}
		for i := range batch {
			given[i].Sequence = results[i].Sequence
			batch[i].Token = domain.RefreshToken{UserID: "spoiled"}
			results[i] = store.Inserted{}
		}
	}
	const single = 50 // so many come one by one, at the same time, so that a store may write some of them together
	insert(given[single:])
	var group sync.WaitGroup
	for i := range single {
		group.Go(func() { insert(given[i : i+1]) })
	}
	if group.Wait(); t.Failed() {
		t.FailNow()
	}
	intact := func(when string) {
		t.Helper()
		for _, token := range given {
			w.wantRecord(t, "a record must not change through "+when, token)
		}
	}
	intact("the rows of Insert or its results")
	spoilUpdates(t, w, given)
	intact("what decide was given, or has returned")
	spoilPages(t, w)
	intact("a page")
	spoilRevocations(t, e)
}

func spoilUpdates(t testing.TB, w *tenant, given []domain.RefreshToken) {
	t.Helper()
	for i := range given {
		given[i].Metadata = note(fmt.Sprint("updated ", i))
		var next *domain.RefreshToken
		err := w.Update(w.ctx, given[i].ID, func(view store.View) store.Decision {
			fresh := view.Token
			fresh.Metadata = given[i].Metadata
			next = &fresh
			return store.Decision{Next: next}
		})
		if err != nil {
			t.Fatalf("Update must succeed: got %v", err)
		}
		*next = domain.RefreshToken{UserID: "spoiled"}
	}
}

// spoilPages holds many pages at once, so that one that shares its memory with a later one is overwritten by it.
func spoilPages(t testing.TB, w *tenant) {
	t.Helper()
	var pages, copies [][]domain.RefreshToken
	q := store.Query{Limit: 50}
	for range sweepLimit {
		page, err := w.List(w.ctx, q)
		if err != nil {
			t.Fatalf("List must succeed: got %v", err)
		}
		pages, copies = append(pages, page.Tokens), append(copies, slices.Clone(page.Tokens))
		if q.After = page.Next; q.After.IsZero() {
			break
		}
	}
	for i, page := range pages {
		for j, token := range page {
			if names := differences(token, copies[i][j]); len(names) > 0 {
				t.Fatalf("a page must not change once it was handed out: it differs in %v", names)
			}
		}
	}
	for _, page := range pages {
		for i := range page {
			page[i] = domain.RefreshToken{UserID: "spoiled"}
		}
	}
}

// spoilRevocations changes the targets of everything that shows them.
func spoilRevocations(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	spoil := func(targets []domain.Target) {
		for i := range targets {
			targets[i] = domain.Target{UserID: "spoiled"}
		}
	}
	const n = 100
	want := map[ulid.ULID][]domain.Target{}
	intact := func(when string) {
		t.Helper()
		for id, targets := range want {
			got := w.status(t, id).Tombstone.Targets
			if !slices.Equal(got, targets) {
				t.Fatalf("a revocation must not change through %s", when)
			}
			spoil(got)
		}
	}
	var ids []ulid.ULID
	var tokens []domain.RefreshToken
	for i := range n {
		targets := []domain.Target{{UserID: fmt.Sprint("user-", i)}, {ClientID: fmt.Sprint("client-", i)}}
		r := w.revocation(slices.Clone(targets)...)
		tokens = append(tokens, w.add(t, fmt.Sprint("user-", i), "client", ""))
		want[r.ID] = targets
		ids = append(ids, r.ID)
		if i%2 == 0 {
			status := w.record(t, r)
			spoil(status.Tombstone.Targets)
		} else {
			err := w.Update(w.ctx, tokens[i].ID, func(store.View) store.Decision { return store.Decision{Revoke: &r} })
			if err != nil {
				t.Fatalf("Update must record the revocation of a decision: got %v", err)
			}
		}
		spoil(r.Targets)
	}
	intact("the targets of Revoke, of a decision or of a status")
	intact("the targets of Revocation")
	for _, token := range tokens {
		if w.live(t, token.ID) {
			t.Fatalf("what is covered must not change through the caller's memory")
		}
	}
	page, err := w.Revocations(w.ctx, store.RevocationQuery{Limit: store.MaxPage})
	if err != nil {
		t.Fatalf("Revocations must succeed: got %v", err)
	}
	for _, status := range page.Revocations {
		spoil(status.Tombstone.Targets)
	}
	intact("the targets of Revocations")
	for len(ids) > 0 {
		given := slices.Clone(ids)
		for _, status := range w.apply(t, store.Bounds{Visit: 7, Remove: 7, Now: base}, given...) {
			spoil(status.Tombstone.Targets)
		}
		clear(given)
		ids = slices.DeleteFunc(ids, func(id ulid.ULID) bool { return w.status(t, id).Retired })
	}
	intact("the targets or ids of Apply")
}
