package boltstore

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// TestCheckFindsForeignDigests: an entry of the index of foreign digests that is missing, too many or another token's is
// found.
func TestCheckFindsForeignDigests(t *testing.T) {
	digest, id := domain.Digest{1}, ulid.ULID{15: 1}
	held, held2 := underForeign(digest).entry(id), underForeign(digest).entry(ulid.ULID{15: 2})
	// replace puts other entries into the place of the token's own.
	replace := func(index *bbolt.Bucket, entries ...entry) error {
		key, note := index.Cursor().First()
		note = bytes.Clone(note[:len(note)-codec.SealSize])
		at := bytes.Index(note, held[:])
		note = append(note[:at:at], note[at+entrySize:]...)
		for _, e := range entries {
			note = append(note, e[:]...)
		}
		return index.Put(bytes.Clone(key), codec.Sealed(note))
	}
	for _, c := range []struct {
		name    string
		spoil   func(index *bbolt.Bucket) error
		finding string
	}{
		{"as it is", func(*bbolt.Bucket) error { return nil }, ""},
		{"missing", func(index *bbolt.Bucket) error { return replace(index) }, "is not in the index, as 03"},
		{"of another", func(index *bbolt.Bucket) error {
			return replace(index, underForeign(digest).entry(ulid.ULID{15: 2}))
		}, "is not in the index, as 03"},
		{"too many", func(index *bbolt.Bucket) error { return replace(index, held, held2) }, "4 entries of the index are fresh, and should be 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := Open(filepath.Join(t.TempDir(), "tokens"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			st, err := b.Tenant("acme")
			if err != nil {
				t.Fatal(err)
			}
			token := domain.RefreshToken{ID: id, UserID: "ann", ClientID: "app", CreatedAt: time.Unix(1, 0), ForeignDigest: digest}
			bare := domain.RefreshToken{ID: ulid.ULID{15: 2}, UserID: "ann", ClientID: "app", CreatedAt: time.Unix(1, 0)}
			if _, err := st.Insert(t.Context(), []store.Insertion{{Token: token}, {Token: bare}}); err != nil {
				t.Fatal(err)
			}
			err = b.db.Update(func(tx *bbolt.Tx) error {
				return c.spoil(tx.Bucket(bucketTenants).Bucket([]byte("acme")).Bucket(bucketFresh))
			})
			if err != nil {
				t.Fatal(err)
			}
			findings, err := b.Check(t.Context())
			if got := strings.Join(findings, "\n"); err != nil || (c.finding == "") != (got == "") || !strings.Contains(got, c.finding) {
				t.Errorf("found %q, error %v, want %q", findings, err, c.finding)
			}
		})
	}
}
