package pgstore_test

import (
	"errors"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Numbers of events are drawn in one order and committed in another. A reader waits for those that are under way, or it would
// never see them.
func TestFeedWaitsForLowerNumbers(t *testing.T) {
	for _, c := range []struct {
		name, naive string
		misses      bool
	}{
		{"locks", "", false},
		{"naive: pages of what is committed", "no lock of the feed", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, pgstore.Options{}, c.naive)
			letGo := s.hold(`select from tokenstore.tallies for update`)
			row := store.Insertion{Emit: store.KindIssued}
			lower, read := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(lower)
				if _, err := s.add(2, "lower", row); err != nil {
					t.Error(err)
				}
			}()
			if !s.waiting(1, "transactionid", lower) {
				t.Fatal("the first must have drawn its number, and not have committed")
			}
			if _, err := s.add(3, "higher", row); err != nil { // by another connection
				t.Fatal(err)
			}
			var seen []string
			last := uint64(0)
			follow := func() {
				for {
					page, err := s.store.(store.Outbox).Feed(t.Context(), last, 1)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range page.Events {
						seen = append(seen, e.Tokens[0].UserID)
					}
					if last = page.Next; last == page.Last {
						return
					}
				}
			}
			go func() {
				defer close(read)
				follow()
			}()
			if waits := s.waiting(1, "advisory", read); waits == c.misses {
				t.Errorf("a reader must wait for a lower number: it waits %v", waits)
			}
			letGo()
			<-lower
			<-read
			follow()
			if missed := !slices.Equal(seen, []string{"lower", "higher"}); missed != c.misses {
				t.Errorf("a reader must miss nothing: it has seen %q", seen)
			}
		})
	}
}

// An update holds nothing while it is decided. What is written meanwhile has it decided again.
func TestMeanwhileIsDecidedAgain(t *testing.T) {
	s := newStage(t, pgstore.Options{}, "")
	if _, err := s.insert(2, "user"); err != nil {
		t.Fatal(err)
	}
	id := ulid.ULID{15: 2}
	var seen []store.View
	err := s.store.Update(t.Context(), id, func(v store.View) store.Decision {
		if seen = append(seen, v); len(seen) == 1 {
			if err := s.store.Update(t.Context(), id, func(v store.View) store.Decision { return generation(v, 5) }); err != nil {
				t.Error(err)
			}
		}
		return generation(v, v.Token.Generation+1)
	})
	if err != nil || len(seen) != 2 || seen[1].Token.Generation != 5 {
		t.Errorf("a record that was replaced meanwhile must be looked at again: %d times, %v", len(seen), err)
	}
}

// generation is the decision to give the token a generation.
func generation(v store.View, n uint32) store.Decision {
	next := v.Token
	next.Generation = n
	return store.Decision{Next: &next}
}

// What is revoked while an update is decided has it decided again, in either mode: it was acknowledged before the update commits.
func TestRevokedMeanwhileIsSeen(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) { revokedMeanwhile(t, newStage(t, mode.opts, "")) })
	}
}

func revokedMeanwhile(t *testing.T, s *stage) {
	if _, err := s.insert(2, "user"); err != nil {
		t.Fatal(err)
	}
	id := ulid.ULID{15: 2}
	revoked := errors.New("revoked")
	var seen []store.View
	err := s.store.Update(t.Context(), id, func(v store.View) store.Decision {
		if seen = append(seen, v); len(seen) == 1 {
			r := store.Revocation{ID: ulid.ULID{0: 1}, Targets: []domain.Target{{UserID: "user"}}, Time: base}
			if _, err := s.store.Revoke(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		if v.Revoked() {
			return store.Decision{Err: revoked}
		}
		return generation(v, 1)
	})
	if !errors.Is(err, revoked) || len(seen) != 2 {
		t.Errorf("a revocation that was acknowledged meanwhile must be seen: %d times, %v", len(seen), err)
	}
	if view, err := s.store.Get(t.Context(), id); err != nil || view.Token.Generation != 0 {
		t.Errorf("a covered record must not be replaced: generation %d, %v", view.Token.Generation, err)
	}
}
