package boltstore

import (
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// A walk that comes to the end of the tokens within a slice may come by one twice, which is removed, and counted, once.
func TestWalkComesByTwice(t *testing.T) {
	b, s := rig(t)
	insertOne(t, s, 1, "ann")
	insertOne(t, s, 2, "bob")
	// One walk leaves off in the middle, so that the next begins there.
	first := ulid.ULID{15: 8}
	if _, err := s.Revoke(t.Context(), store.Revocation{ID: first, Targets: []domain.Target{{Audience: "elsewhere"}}, Time: instant}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), []ulid.ULID{first}, store.Bounds{Visit: 1, Remove: 1, Now: instant}); err != nil {
		t.Fatal(err)
	}
	id := ulid.ULID{15: 9}
	if _, err := s.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{{ClientID: "client"}}, Time: instant}); err != nil {
		t.Fatal(err)
	}
	retireAll(t, s, id)
	status, err := s.Revocation(t.Context(), id)
	if err != nil || status.Swept != 2 {
		t.Errorf("swept %d, error %v, want 2", status.Swept, err)
	}
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}
