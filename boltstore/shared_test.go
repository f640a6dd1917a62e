package boltstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
)

// What one token has and another too is found, and not mended: nobody knows whose it is.
func TestCheckFindsSharedSecret(t *testing.T) {
	path := wealthy(t)
	spoil(t, path, func(tx *bbolt.Tx, acme *bbolt.Bucket) error {
		b := acme.Bucket(bucketTokens)
		id := number(40)
		x, err := decode(b.Get(id[:]), recordFields)
		if err != nil {
			return err
		}
		was := underForeign(x.token.ForeignDigest).entry(id)
		x.token.ForeignDigest = domain.Digest{30, 1}
		is := underForeign(x.token.ForeignDigest).entry(id)
		m, err := decode(acme.Get(keyMeta), metaFields)
		if err != nil {
			return err
		}
		m.fresh += 2
		mark := was.mark()
		return errors.Join(
			b.Put(id[:], encode(&x, recordFields)), acme.Put(keyMeta, encode(&m, metaFields)),
			acme.Bucket(bucketFresh).Put(numberKey(1_000_000), codec.Sealed(append(mark[:], is[:]...))),
		)
	})
	want := fmt.Sprintf("tokens %s and %s have the same foreign secret", number(30), number(40))
	findings, err := CheckFile(t.Context(), path, nil)
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0], want) {
		t.Errorf("found %q, error %v, want %q", findings, err, want)
	}
	if _, err := Repair(t.Context(), path, nil); !errors.Is(err, ErrBeyondRepair) {
		t.Errorf("got %v, want ErrBeyondRepair", err)
	}
}

// Secrets whose digests begin alike are not the same.
func TestCheckTellsSecretsApart(t *testing.T) {
	b, s := rig(t)
	for n := range 2 {
		digest := domain.Digest{1, 2, 3, 4, 5, 6, 7, 8}
		digest[31] = byte(n)
		token := domain.RefreshToken{ID: number(n + 1), UserID: "ann", ClientID: "client-1", CreatedAt: instant, ForeignDigest: digest}
		if results, err := s.Insert(t.Context(), []store.Insertion{{Token: token}}); err != nil || results[0].Err != nil {
			t.Fatalf("got %v, %+v", err, results)
		}
		if id, err := s.Find(t.Context(), digest); err != nil || id != token.ID {
			t.Errorf("found %v, error %v, want %v", id, err, token.ID)
		}
	}
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Errorf("found %q, error %v", findings, err)
	}
}
