package boltstore

import (
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// TestCheckLooksAtTheOutbox damages an outbox in every way that can be told, and has Check tell it.
func TestCheckLooksAtTheOutbox(t *testing.T) {
	for _, c := range []struct {
		what, want string
		damage     func(outbox *bbolt.Bucket) error
	}{
		{"nothing", "", func(*bbolt.Bucket) error { return nil }},
		{"an event is gone", "event 3 comes where 2 should", func(b *bbolt.Bucket) error { return b.Delete(numberKey(2)) }},
		{"the latest is gone", "the latest event is 2, and should be 3", func(b *bbolt.Bucket) error { return b.Delete(numberKey(3)) }},
		{"one too many", "the latest event is 4, and should be 3", func(b *bbolt.Bucket) error {
			return b.Put(numberKey(4), encode(&store.Event{Number: 4}, codec.Event))
		}},
		{"another number", "event 9 is stored as", func(b *bbolt.Bucket) error {
			return b.Put(numberKey(2), encode(&store.Event{Number: 9}, codec.Event))
		}},
		{"not to be read", "checksum is wrong", func(b *bbolt.Bucket) error { return b.Put(numberKey(2), []byte("damaged")) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			b, err := Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			s, err := b.Tenant("tenant")
			if err != nil {
				t.Fatal(err)
			}
			for i := range byte(3) {
				r := store.Revocation{ID: ulid.ULID{15: i + 1}, Targets: []domain.Target{{UserID: "user"}}, Emit: store.KindRevoked}
				if _, err := s.Revoke(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			err = b.db.Update(func(tx *bbolt.Tx) error {
				return c.damage(tx.Bucket(bucketTenants).Bucket([]byte("tenant")).Bucket(bucketOutbox))
			})
			if err != nil {
				t.Fatal(err)
			}
			findings, err := b.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(findings, "\n"); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
