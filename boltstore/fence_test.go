package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// rig is an open file with one tenant.
func rig(t *testing.T) (*Backend, store.Store) {
	t.Helper()
	b, err := Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	s, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

var instant = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func insertOne(t *testing.T, s store.Store, n byte, user string) domain.RefreshToken {
	t.Helper()
	token := domain.RefreshToken{ID: ulid.ULID{15: n}, UserID: user, ClientID: "client", CreatedAt: instant}
	results, err := s.Insert(t.Context(), []store.Insertion{{Token: token}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	token.Sequence = results[0].Sequence
	return token
}

func retireAll(t *testing.T, s store.Store, ids ...ulid.ULID) {
	t.Helper()
	for range 1000 {
		statuses, err := s.Apply(t.Context(), ids, store.Bounds{Visit: 100, Remove: 100, Now: instant})
		if err != nil {
			t.Fatal(err)
		}
		if len(statuses) == 0 {
			return
		}
	}
	t.Fatal("the sweep does not end")
}

// A snapshot from before a tombstone was retired still holds what it covers, whatever is known in memory by then.
func TestFenceInAnOlderSnapshot(t *testing.T) {
	b, s := rig(t)
	token := insertOne(t, s, 1, "ann")
	id := ulid.ULID{15: 9}
	if _, err := s.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{{UserID: "ann"}}, Time: instant}); err != nil {
		t.Fatal(err)
	}
	err := b.view(t.Context(), func(x *txn) error {
		retireAll(t, s, id)
		r := x.records("acme")
		if there, ok := r.token(token.ID); !ok || r.revokedBy(&there).IsZero() {
			t.Errorf("the token is there: %v, and not covered", ok)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.fence.anchors); n != 0 {
		t.Errorf("%d anchors are named when nothing is pending", n)
	}
}

// A commit that fails leaves nothing named, and what shares it still finds what is pending.
func TestFenceOfACommitThatFails(t *testing.T) {
	b, s := rig(t)
	insertOne(t, s, 1, "ann")
	broken := errors.New("broken")
	err := b.update(t.Context(), func(x *txn) error {
		r := x.records("acme")
		if _, err := r.revoke(store.Revocation{ID: ulid.ULID{15: 9}, Targets: []domain.Target{{UserID: "ann"}}, Time: instant}, nil); err != nil {
			return err
		}
		if there, _ := r.token(ulid.ULID{15: 1}); r.revokedBy(&there).IsZero() {
			t.Error("a transaction does not see what it has revoked itself")
		}
		panic(fault{broken})
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if n := len(b.fence.anchors); n != 0 {
		t.Errorf("%d anchors are named after a commit that was not made", n)
	}
}

// A call may be refused for what its neighbour in the commit has written. If that commit fails, the refusal is not true either.
func TestRefusalInACommitThatFails(t *testing.T) {
	b, s := rig(t)
	insertOne(t, s, 1, "ann")
	b.db.MaxSize = 1 // so that the file can't grow
	calls := []*call{
		{run: func(x *txn) error {
			junk, err := x.tx.CreateBucket([]byte("junk"))
			if err == nil {
				err = junk.Put([]byte("large"), make([]byte, 1<<20))
			}
			if err != nil {
				return err
			}
			_, err = x.records("acme").revoke(store.Revocation{ID: ulid.ULID{15: 9}, Targets: []domain.Target{{UserID: "ann"}}, Time: instant}, nil)
			return err
		}},
		{run: func(x *txn) error {
			r := x.records("acme")
			if there, _ := r.token(ulid.ULID{15: 1}); r.revokedBy(&there).IsZero() {
				t.Error("a call does not see what its neighbour has revoked")
			}
			return domain.ErrRevoked
		}},
	}
	b.commit(calls)
	for i, c := range calls {
		if !errors.Is(c.err, store.ErrNotCommitted) {
			t.Errorf("call %d: got %v, want ErrNotCommitted", i, c.err)
		}
	}
	if v, err := s.Get(t.Context(), ulid.ULID{15: 1}); err != nil || v.Revoked() {
		t.Errorf("a commit that was not made has an effect: %+v, %v", v, err)
	}
}

// What is reachable in the file, once an erasure is done, does not hold the user's name.
func TestErasedNameIsNotInTheFile(t *testing.T) {
	const name = "erased-person@example.com"
	b, s := rig(t)
	insertOne(t, s, 1, name)
	insertOne(t, s, 2, "bob")
	for i, r := range []store.Revocation{
		{Targets: []domain.Target{{UserID: name, ClientID: "one"}}},
		{Targets: []domain.Target{{UserID: "bob"}, {UserID: name, Audience: "api"}}, Reason: "asked by " + name},
		{Targets: []domain.Target{{UserID: "carl"}}, Actor: name},
		{Targets: []domain.Target{{SessionID: "session", UserID: name}}},
	} {
		r.ID, r.Time = ulid.ULID{14: 1, 15: byte(i)}, instant
		if _, err := s.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			retireAll(t, s, r.ID)
		}
	}
	if found := reachable(t, b, name); found == 0 {
		t.Fatal("the name is not even there before")
	}
	id := ulid.ULID{14: 2}
	r := store.Revocation{ID: id, Targets: []domain.Target{{UserID: name}}, Time: instant, Actor: name, Erase: true, Key: domain.ErasureKey{1}}
	if _, err := s.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	retireAll(t, s, id)
	if found := reachable(t, b, name); found != 0 {
		t.Errorf("the name is still there, %d times", found)
	}
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

// Nor does it hold the hash by which the index found the user, which whoever guesses the name could compare.
func TestErasedHashIsNotInTheFile(t *testing.T) {
	const name = "erased-person@example.com"
	b, s := rig(t)
	under := underUser(name)
	rows := []store.Insertion{{Token: domain.RefreshToken{ID: ulid.ULID{15: 1}, UserID: name, ClientID: "client", CreatedAt: instant}}}
	for n := byte(2); n < 12; n++ {
		user := fmt.Sprint("user-", n)
		if other := underUser(user); bytes.Compare(other[:], under[:]) < 0 { // so that the erased user is at the end
			rows = append(rows, store.Insertion{Token: domain.RefreshToken{ID: ulid.ULID{15: n}, UserID: user, ClientID: "client", CreatedAt: instant}})
		}
	}
	b.freshMax = uint64(len(rows)) // they settle in a run
	if _, err := s.Insert(t.Context(), rows); err != nil || len(rows) == 1 {
		t.Fatal(err, len(rows))
	}
	if found := reachable(t, b, string(under[:])); found == 0 {
		t.Fatal("the hash is not even there before")
	}
	id := ulid.ULID{14: 2}
	r := store.Revocation{ID: id, Targets: []domain.Target{{UserID: name}}, Time: instant, Erase: true, Key: domain.ErasureKey{1}}
	if _, err := s.Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	retireAll(t, s, id)
	if found := reachable(t, b, string(under[:])); found != 0 {
		t.Errorf("the hash is still there, %d times", found)
	}
	if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

// reachable counts the keys and values that hold a text.
func reachable(t *testing.T, b *Backend, text string) (n int) {
	t.Helper()
	var walk func(bucket *bbolt.Bucket) error
	walk = func(bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(k, v []byte) error {
			if strings.Contains(string(k), text) || strings.Contains(string(v), text) {
				n++
			}
			if v == nil && bucket.Bucket(k) != nil {
				return walk(bucket.Bucket(k))
			}
			return nil
		})
	}
	err := b.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error { return walk(bucket) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
