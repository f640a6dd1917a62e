package pgstore_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Calls that share a transaction do not share its failure: one that the server refuses is alone with its error.
func TestNeighboursOfAFailure(t *testing.T) {
	s := newStage(t, pgstore.Options{}, "")
	if _, err := s.admin.Exec(t.Context(), `alter table tokenstore.tokens add check (user_id <> 'poison')`); err != nil {
		t.Fatal(err)
	}
	letGo := s.hold(`lock table tokenstore.tokens in share mode`)
	const n = 20
	const bad = n - 1
	var done sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		if i == bad { // it comes last, and so not alone
			for s.backend.Gathered("tenant", false) < n-4 {
				runtime.Gosched()
			}
		}
		done.Go(func() {
			user := fmt.Sprint("user-", i)
			if i == bad {
				user = "poison"
			}
			result, err := s.add(byte(10+i), user, store.Insertion{})
			errs[i] = errors.Join(err, result.Err)
		})
	}
	for s.backend.Gathered("tenant", false) < n-3 {
		runtime.Gosched()
	}
	letGo()
	done.Wait()
	for i, err := range errs {
		_, found := s.store.Get(t.Context(), ulid.ULID{15: byte(10 + i)})
		switch {
		case i == bad && (!errors.Is(err, store.ErrNotCommitted) || !errors.Is(found, store.ErrNotFound)):
			t.Errorf("what the server refuses must not be committed: got %v, %v", err, found)
		case i != bad && (err != nil || found != nil):
			t.Errorf("what was committed with others must be there: got %v, %v", err, found)
		}
	}
}

// An exchange finds room for the new version in the page of the old one, and leaves the indexes alone (a heap-only tuple).
func TestExchangeTouchesNoIndex(t *testing.T) {
	s := newStage(t, pgstore.Options{}, "")
	const n = 50
	for i := range n {
		err := s.store.Update(t.Context(), ulid.ULID{15: 1}, func(v store.View) store.Decision {
			next := v.Token
			next.IdleExpiresAt = base.Add(time.Duration(n+i) * time.Hour)
			next.SecretDigest[0] = byte(i + 1)
			return store.Decision{Next: &next}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.backend.Close(); err != nil { // a connection that ends leaves its counts
		t.Fatal(err)
	}
	all, inPlace := 0, 0
	for all < n { // they come a little later
		err := s.admin.QueryRow(t.Context(), `select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'tokens'`).Scan(&all, &inPlace)
		if err != nil {
			t.Fatal(err)
		}
	}
	if all != n || inPlace < n-2 { // the first has made the token due
		t.Errorf("%d of %d exchanges have left the indexes alone", inPlace, all)
	}
}

// A guard is never weakened by an earlier revocation of the same target that is swept, or taken over, later.
func TestGuardsJoinByTheirMaximum(t *testing.T) {
	s := newStage(t, pgstore.Options{}, "")
	st, err := s.backend.Tenant("another")
	if err != nil {
		t.Fatal(err)
	}
	mover := st.(store.Mover)
	at := func(ns int) time.Time { return base.Add(time.Duration(ns)) }
	for _, g := range []domain.Guard{
		{Watermark: 5, Time: at(1001), Through: at(2001)}, {Watermark: 3, Time: at(1002), Through: at(2002)}, {Watermark: 4, Time: at(999), Through: at(1)},
	} {
		g.Target = domain.Target{UserID: "user"}
		if err := mover.Remember(t.Context(), store.Memory{Origin: ulid.ULID{1}, Sequence: 9, Guards: []domain.Guard{g}}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := mover.Guards(t.Context(), store.GuardQuery{Limit: 2})
	if err != nil || len(page.Guards) != 1 {
		t.Fatalf("there must be one guard: got %d, %v", len(page.Guards), err)
	}
	if g := page.Guards[0]; g.Watermark != 5 || !g.Time.Equal(at(1002)) || !g.Through.Equal(at(2002)) {
		t.Errorf("guards must be joined by their maximum: got %+v", g)
	}
}
