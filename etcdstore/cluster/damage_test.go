package cluster_test

import (
	"errors"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/etcdstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// What an index names and is not there is reported, and not looked for again and again. Nothing is written.
func TestMissingRecord(t *testing.T) {
	bounds := store.Bounds{Visit: 10, Remove: 10, Now: base.Add(2 * time.Hour)}
	apply := func(b *between, id ulid.ULID) error {
		_, err := b.quick.Apply(b.t.Context(), []ulid.ULID{id}, bounds)
		return err
	}
	for name, c := range map[string]struct {
		gone  string // the kind of keys that are deleted
		there func(*between) ulid.ULID
		verb  func(*between, ulid.ULID) error
	}{
		"token that is due": {
			"T", func(b *between) ulid.ULID {
				token := b.token("user")
				token.ExpiresAt = base.Add(time.Hour)
				b.insert(b.quick, rows(domain.AsOf{}, token))
				return token.ID
			},
			func(b *between, _ ulid.ULID) error {
				_, err := b.quick.Expire(b.t.Context(), bounds)
				return err
			},
		},
		"walker": {
			"W", func(b *between) ulid.ULID {
				b.insert(b.quick, rows(domain.AsOf{}, b.token("user")))
				return b.revoke(b.quick, domain.Target{ClientID: "client"}).Tombstone.ID
			}, apply,
		},
		"retired revocation": {
			"R", func(b *between) ulid.ULID {
				r := b.revoke(b.quick, domain.Target{UserID: "user"})
				b.sweep(b.quick, r.Tombstone.ID)
				return r.Tombstone.ID
			},
			func(b *between, _ ulid.ULID) error {
				_, err := b.quick.Trim(b.t.Context(), store.Trim{History: base.Add(24 * time.Hour), Limit: 10})
				return err
			},
		},
		"guard": {
			"G", func(b *between) ulid.ULID {
				r := b.revoke(b.quick, domain.Target{UserID: "user"})
				b.sweep(b.quick, r.Tombstone.ID)
				return r.Tombstone.ID
			},
			func(b *between, _ ulid.ULID) error {
				_, err := b.quick.Trim(b.t.Context(), store.Trim{Guards: base.Add(24 * time.Hour), Limit: 10})
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBetween(t)
			id := c.there(b)
			r, err := shared.client.Delete(t.Context(), b.backend.(*spread).prefix+"t\x00\x06tenant"+c.gone, clientv3.WithPrefix())
			must(t, err)
			if r.Deleted == 0 {
				t.Fatal("nothing was deleted")
			}
			before, err := shared.client.Get(t.Context(), "no key")
			must(t, err)
			if err := c.verb(b, id); !errors.Is(err, etcdstore.ErrCorrupt) {
				t.Errorf("got %v, want corrupt", err)
			}
			after, err := shared.client.Get(t.Context(), "no key")
			must(t, err)
			if before.Header.Revision != after.Header.Revision {
				t.Error("what is damaged must not be written to")
			}
		})
	}
}
