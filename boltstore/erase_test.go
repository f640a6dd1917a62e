package boltstore_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func erase(t *testing.T, s store.Store, id int, user string) ulid.ULID {
	t.Helper()
	r := revocation(id, domain.Target{UserID: user})
	r.Erase, r.Key = true, domain.ErasureKey{1}
	status, err := s.Revoke(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return status.Tombstone.ID
}

func slice(t *testing.T, s store.Store, size int, ids ...ulid.ULID) {
	t.Helper()
	bounds := store.Bounds{Visit: size, Remove: size, Now: time.Date(2024, 5, 2, 0, 0, 0, 0, time.UTC)}
	if _, err := s.Apply(t.Context(), ids, bounds); err != nil {
		t.Fatal(err)
	}
}

// An erasure that comes first in every slice gets on, however much a walk behind it could look at.
func TestErasureIsNotStarved(t *testing.T) {
	s := tenant(t, open(t, temporary(t), nil), "acme")
	fill(t, s, 1000)
	for i := range 20 {
		revoke(t, s, 2000+i, domain.Target{UserID: fmt.Sprint("nobody-", i)})
	}
	erasure := erase(t, s, 5000, "ann")
	slice(t, s, 1, erasure)
	walk := revoke(t, s, 6000, domain.Target{Audience: "elsewhere"}).Tombstone.ID
	for range 80 {
		slice(t, s, 10, erasure, walk)
		if status, err := s.Revocation(t.Context(), erasure); err != nil || status.Retired {
			return
		}
	}
	t.Error("the erasure has not got on")
}

// An erasure comes to its end in slices of one row too.
func TestErasureRowByRow(t *testing.T) {
	s := tenant(t, open(t, temporary(t), nil), "acme")
	insert(t, s, plain(1, "ann", ""), plain(2, "ann", ""))
	for i := range 3 {
		slice(t, s, 10, revoke(t, s, 100+i, domain.Target{UserID: "ann", ClientID: fmt.Sprint("client ", i)}).Tombstone.ID)
	}
	erasure := erase(t, s, 200, "ann")
	for range 20 {
		slice(t, s, 1, erasure)
	}
	if status, err := s.Revocation(t.Context(), erasure); err != nil || !status.Retired {
		t.Errorf("got %+v, error %v: want that it has ended", status, err)
	}
}

// What was superseded leads on though an erasure has taken a name out of it and not yet, or never, out of its successor.
func TestErasureLeavesWhatLeadsOn(t *testing.T) {
	s := tenant(t, open(t, temporary(t), nil), "acme")
	insert(t, s, plain(1, "bob", ""), plain(2, "bob", ""))
	targets := []domain.Target{{UserID: "ann"}, {UserID: "bob"}}
	first := revoke(t, s, 100, targets...).Tombstone.ID
	erasure := erase(t, s, 101, "ann")
	revoke(t, s, 102, targets...) // supersedes the first
	for range 20 {
		slice(t, s, 10, erasure)
	}
	if _, err := s.Trim(t.Context(), store.Trim{History: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Limit: 100}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revocation(t.Context(), first); err != nil {
		t.Errorf("forgotten while it leads to what is pending: %v", err)
	}
}
