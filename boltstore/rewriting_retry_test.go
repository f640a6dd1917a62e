package boltstore

import (
	"errors"
	"path/filepath"
	"testing"

	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
)

// A commit in doubt is not made again: it may have been made.
func TestInDoubtIsNotTriedAgain(t *testing.T) {
	w, key := olderGeneration(t)
	runs := 0
	err := w.backend.update(t.Context(), func(x *txn) error {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		r.rewrite(key.id, encode(&found, recordFields))
		if runs++; runs == 1 {
			x.tx.OnCommit(func() { panic("after the commit") })
		}
		return nil
	})
	if !errors.Is(err, store.ErrUnknownOutcome) || runs != 1 {
		t.Errorf("got %v after %d tries, want ErrUnknownOutcome after one", err, runs)
	}
}

// Where nothing comes into its place any more, what a token becomes is written over the later of two notes.
func TestOverTheLaterNote(t *testing.T) {
	w, key := olderGeneration(t)
	w.backend.PlaceEarly(1000)
	w.use(t, key)
	w.backend.rewrites.blocked = true
	w.use(t, key)
	w.showsNow(t)
}

// Notes that are deleted, while none are made, may lie beside damage: the commit is made without.
func TestDamageBesideANoteThatGoes(t *testing.T) {
	const tokens = 300
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.backend.PlaceEarly(1 << 20)
	w.fill(t, tokens)
	for i := range tokens {
		w.useNth(t, i, tokens)
	}
	var beside []tokenKey // whose notes lie in a page before the one that is damaged
	notes := func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketRewrites).Bucket(numberKey(1)) }
	p := pages(readFile(t, w.backend.db.Path()))
	_ = w.backend.db.View(func(tx *bbolt.Tx) error {
		root := int(notes(tx).Root())
		first, second := p.get64(root, element(0)+8), p.get64(root, element(1)+8)
		numbers := map[uint64]tokenKey{}
		for key, number := range w.backend.rewrites.latest().notes {
			numbers[number] = key
		}
		for i := range p.count(first) {
			beside = append(beside, numbers[uint64(i+1)])
		}
		overwrite(t, w.backend, second, 0, 16)
		return nil
	})
	w.backend.rewrites.resting = restFor
	for _, key := range beside {
		w.use(t, key)
	}
	if len(beside) < 4 {
		t.Errorf("%d notes lie in a page", len(beside))
	}
}
