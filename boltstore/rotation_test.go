package boltstore_test

import (
	"fmt"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"go.etcd.io/bbolt"
)

// contents counts the keys of a file, and the bytes of all keys and values.
func contents(t *testing.T, path string) (keys, size int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var walk func(b *bbolt.Bucket) error
	walk = func(b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			keys, size = keys+1, size+len(k)+len(v)
			if v == nil && b.Bucket(k) != nil {
				return walk(b.Bucket(k))
			}
			return nil
		})
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return walk(b) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys, size
}

// However often a token rotates, it is one record of one size, with the same keys in the indexes.
func TestRotationIsConstantInSpace(t *testing.T) {
	path := temporary(t)
	var secret tokenstore.Secret
	rotate := func(n int) (keys, size int) {
		b, err := boltstore.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := tokenstore.New(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		if secret.Reveal() == "" {
			issued, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "u", ClientID: "c", SessionID: tokenstore.MustSessionID("s")})
			if err != nil {
				t.Fatal(err)
			}
			secret = issued.Secret
		}
		for range n {
			x, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "c"})
			if err != nil {
				t.Fatal(err)
			}
			secret = x.Secret
		}
		shut(t, b)
		return contents(t, path)
	}
	keys, size := rotate(200)
	moreKeys, moreSize := rotate(10_000)
	// A number grows by a byte when it needs one: generation, and the times' nanoseconds.
	if moreKeys != keys || moreSize > size+8 {
		t.Errorf("after 200 rotations %s, after 10,000 more %s", fmt.Sprint(keys, " keys of ", size, " bytes"), fmt.Sprint(moreKeys, " keys of ", moreSize, " bytes"))
	}
}
