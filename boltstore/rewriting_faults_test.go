package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
)

// After a commit of which nobody knows whether it was made, whoever reads is shown what the file says; and so is who goes on writing.
func TestRewritesAfterDoubt(t *testing.T) {
	for what, doubtful := range map[string]func(w *rewriter, key tokenKey){
		"noted": func(w *rewriter, key tokenKey) {
			w.unseen(t, func(x *txn) {
				r := x.records(key.tenant)
				record, _ := r.record(key.id)
				record.token.Device.LastUserAgent = "made"
				r.rewrite(key.id, encode(&record, recordFields))
			})
			w.want[key] = "made"
			w.backend.rewrites.name(w.coming(key))
		},
		"placed":   func(w *rewriter, _ tokenKey) { w.placeUnseen(t) },
		"not made": func(w *rewriter, key tokenKey) { w.backend.rewrites.name(w.coming(key)) },
	} {
		t.Run(what, func(t *testing.T) {
			w, key := olderGeneration(t)
			before := maps.Clone(w.want)
			x := w.snapshot(t)
			doubtful(w, key)
			w.shows(t, x, before)
			w.showsNow(t)
			for _, other := range allKeys()[3:12] {
				w.use(t, other)
				w.showsNow(t)
			}
			w.shows(t, x, before)
			if findings, err := w.backend.Check(t.Context()); err != nil || len(findings) > 0 {
				t.Error(findings, err)
			}
			w.use(t, key)
			w.showsNow(t)
			if w.backend.rewrites.blocked {
				t.Error("notes come into their places after that as before")
			}
		})
	}
}

// coming is what a commit tells that is to note a token anew.
func (w *rewriter) coming(key tokenKey) *rewriting {
	number := w.backend.rewrites.last + 1
	return &rewriting{last: number, noted: map[tokenKey]uint64{key: number}}
}

// What a commit has noted that failed, and was made all the same, is there from then on.
func TestRewritesOfAFailedCommit(t *testing.T) {
	w, key := olderGeneration(t)
	err := w.backend.update(t.Context(), func(x *txn) error {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		found.token.Device.LastUserAgent = "made"
		r.rewrite(key.id, encode(&found, recordFields))
		x.tx.OnCommit(func() { panic("after the commit") })
		return nil
	})
	if !errors.Is(err, store.ErrUnknownOutcome) {
		t.Fatalf("got %v, want ErrUnknownOutcome", err)
	}
	w.want[key] = "made"
	for _, other := range allKeys()[3:9] {
		w.showsNow(t)
		w.use(t, other)
	}
	w.use(t, key)
	w.showsNow(t)
	if findings, err := w.backend.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

// A place that can't be read ends no call but those that ask for what is there. What is noted stays noted.
func TestDamagedPlaceBlocksNoWriter(t *testing.T) {
	w := placesOfGlobex(t)
	overwritePage(t, w.backend, tokensOf("globex"), 0, 16)
	w.backend.certainty.doubt.Store(true) // so that the first commit is nobody's
	w.backend.rewrites.owed = placedMax
	if failed := w.useAcme(t); failed > 0 {
		t.Errorf("%d calls have failed", failed)
	}
	globex := must(w.backend.Tenant("globex"))
	if _, err := globex.Get(t.Context(), number(120)); !errors.Is(err, ErrCorrupt) || !w.backend.rewrites.blocked {
		t.Errorf("got %v, and notes are blocked: %v; the damage must have been met", err, w.backend.rewrites.blocked)
	}
}

// Nor does one of which bbolt finds out only as it commits.
func TestPlaceDamagedAtCommit(t *testing.T) {
	w := placesOfGlobex(t)
	overwritePage(t, w.backend, tokensOf("globex"), 12, 2) // how many pages it takes
	if failed := w.useAcme(t); failed > 0 || !w.backend.rewrites.blocked {
		t.Errorf("%d calls have failed, and notes are blocked: %v", failed, w.backend.rewrites.blocked)
	}
}

// Where nothing can be noted any more, what tokens without notes become is written in their places.
func TestDamagedNotesBlockNoWriter(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.backend.PlaceEarly(1000)
	for n := range 60 {
		w.insert(t, tokenKey{"globex", number(n + 1)})
		w.use(t, tokenKey{"globex", number(n + 1)})
	}
	for n := range 12 {
		w.insert(t, tokenKey{"acme", number(n + 1)})
	}
	overwritePage(t, w.backend, func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket(bucketRewrites).Bucket(numberKey(1)) }, 0, 16)
	if failed := w.useAcme(t); failed > 0 || !w.backend.rewrites.blocked {
		t.Errorf("%d calls have failed, and notes are blocked: %v", failed, w.backend.rewrites.blocked)
	}
	if _, err := must(w.backend.Tenant("globex")).Get(t.Context(), number(1)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a token whose note can't be read is %v, want ErrCorrupt", err)
	}
}

// Where a call's own token is damaged, no other is concerned, and notes come into their places as before.
func TestDamageElsewhereBlocksNoNotes(t *testing.T) {
	w := placesOfGlobex(t)
	err := w.backend.update(t.Context(), func(x *txn) error {
		r := x.records("acme")
		for n := range 5 { // enough to come to the places
			found, _ := r.record(number(n + 1))
			found.token.Retries++
			r.rewrite(found.token.ID, encode(&found, recordFields))
		}
		x.tenants["damaged"] = &records{txn: x, name: "damaged", unsaved: true} // which can't be saved
		return nil
	})
	if err == nil || w.backend.rewrites.blocked {
		t.Errorf("got %v, and notes are blocked: %v", err, w.backend.rewrites.blocked)
	}
}

// placesOfGlobex returns a file in which records of globex are to be put into their places next.
func placesOfGlobex(t *testing.T) *rewriter {
	t.Helper()
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.backend.PlaceEarly(4)
	for _, key := range allKeys() {
		w.insert(t, key)
	}
	for n := range 40 { // so that its tokens have pages of their own
		w.insert(t, tokenKey{"globex", number(100 + n)})
	}
	for i := 1; len(w.backend.rewrites.generations) < 2; i += 2 {
		w.use(t, allKeys()[i])
	}
	return w
}

// useAcme rewrites the tokens of acme, and returns how often it failed.
func (w *rewriter) useAcme(t *testing.T) (failed int) {
	t.Helper()
	acme := must(w.backend.Tenant("acme"))
	for use := range 48 {
		if err := acme.Update(t.Context(), number(use%12+1), usedAt(fmt.Sprint("use ", use))); err != nil {
			t.Log(err)
			failed++
		}
	}
	for n := range 12 {
		v, err := acme.Get(t.Context(), number(n+1))
		if want := fmt.Sprint("use ", 36+n); err != nil || v.Token.Device.LastUserAgent != want {
			t.Errorf("got %+v, %v, want %s", v, err, want)
		}
	}
	return failed
}

func tokensOf(tenant string) func(*bbolt.Tx) *bbolt.Bucket {
	return func(tx *bbolt.Tx) *bbolt.Bucket {
		return tx.Bucket(bucketTenants).Bucket([]byte(tenant)).Bucket(bucketTokens)
	}
}

// overwritePage damages a part of the first page of a bucket, in a file that is open.
func overwritePage(t *testing.T, b *Backend, bucket func(*bbolt.Tx) *bbolt.Bucket, at, n int) {
	t.Helper()
	var page int
	err := b.db.View(func(tx *bbolt.Tx) error { page = int(bucket(tx).Root()); return nil })
	if err != nil || page == 0 {
		t.Fatal("the bucket has no page of its own", page, err)
	}
	overwrite(t, b, page, at, n)
}

// overwrite damages a part of a page.
func overwrite(t *testing.T, b *Backend, page, at, n int) {
	t.Helper()
	file, err := os.OpenFile(b.db.Path(), os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt(bytes.Repeat([]byte{0xFF}, n), int64(page*b.db.Info().PageSize+at))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// What is noted is put into a place only if it can be read there, and only over the record that it is of. Else it stays a note: it is
// told to who asks for it, and found by a check, and all others come into their places.
func TestBadNotesAreNotPlaced(t *testing.T) {
	for what, c := range map[string]struct {
		damage func(place, notes *bbolt.Bucket, note []byte) error
		inSum  string
	}{
		"damaged": {func(_, notes *bbolt.Bucket, note []byte) error { return notes.Put(note, []byte("damaged")) }, "checksum is wrong"},
		"another's": {func(place, notes *bbolt.Bucket, note []byte) error {
			return notes.Put(note, bytes.Clone(place.Get(allKeys()[2].id.Bytes())))
		}, "is stored as"},
		"without place": {func(place, _ *bbolt.Bucket, _ []byte) error { return place.Delete(allKeys()[0].id.Bytes()) }, "and is not there"},
	} {
		t.Run(what, func(t *testing.T) {
			w, key := olderGeneration(t)
			b, acme := w.backend, must(w.backend.Tenant("acme"))
			var before []byte // what is in the token's place, or nil
			place := func(tx *bbolt.Tx) *bbolt.Bucket {
				return tx.Bucket(bucketTenants).Bucket([]byte("acme")).Bucket(bucketTokens)
			}
			err := b.db.Update(func(tx *bbolt.Tx) error {
				older := b.rewrites.generations[0]
				err := c.damage(place(tx), tx.Bucket(bucketRewrites).Bucket(numberKey(older.name)), key.note(older.notes[key]))
				before = bytes.Clone(place(tx).Get(key.id[:]))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for last := b.rewrites.latest().name + 5; b.rewrites.latest().name < last; {
				for n := 1; n < 12; n++ {
					if err := acme.Update(t.Context(), number(n+1), usedAt("now")); err != nil {
						t.Fatal(err)
					}
				}
			}
			var after []byte
			_ = b.db.View(func(tx *bbolt.Tx) error { after = bytes.Clone(place(tx).Get(key.id[:])); return nil })
			if !bytes.Equal(before, after) {
				t.Errorf("in its place is %q, want what was there, %q", after, before)
			}
			if _, err := acme.Get(t.Context(), key.id); before != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("who asks for it gets %v, want ErrCorrupt", err)
			}
			findings, err := b.Check(t.Context())
			if got := strings.Join(findings, "\n"); err != nil || !strings.Contains(got, c.inSum) {
				t.Errorf("found %q, %v, want %q", got, err, c.inSum)
			}
		})
	}
}

// What a check finds is in the file, whatever is known in memory.
func TestCheckReadsTheNotes(t *testing.T) {
	w, _ := olderGeneration(t)
	stray := tokenKey{"acme", number(999)}
	err := w.backend.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRewrites).Bucket(numberKey(w.backend.rewrites.generations[0].name)).Put(stray.note(1<<40), []byte("x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if findings, err := w.backend.Check(t.Context()); err != nil || len(findings) != 1 {
		t.Errorf("found %q, %v, want the stray", findings, err)
	}
}

// What is missing in the index is named by what a record has become.
func TestCheckNamesWhatARewrittenRecordLacks(t *testing.T) {
	w, key := olderGeneration(t)
	w.hasten(t, key)
	var lacks entry
	w.update(t, func(x *txn) {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		lacks = underSecond(found.due).entry(key.id)
		r.unindex(lacks)
		r.settle()
		r.save()
	})
	want := fmt.Sprintf("token %s is not in the index, as %x", key.id, lacks[:prefixSize])
	if findings, err := w.backend.Check(t.Context()); err != nil || !strings.Contains(strings.Join(findings, "\n"), want) {
		t.Errorf("found %q, %v, want %q", findings, err, want)
	}
}

// A repair changes a record where it is: what it became is not hidden by what it was, nor the other way round.
func TestRepairOfARewrittenRecord(t *testing.T) {
	path := wealthy(t)
	spoil(t, path, func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
		x := &txn{tx: tx}
		for _, g := range x.look() {
			for key, at := range g.notes {
				record, err := decode(x.noteAt(&key, noted{g.name, at}), recordFields)
				if err != nil {
					return err
				}
				if record.due > 0 {
					record.due = 0
					return x.notes(g.name).Put(key.note(at), encode(&record, recordFields))
				}
			}
		}
		return errors.New("no token that is due has a note")
	})
	done, err := Repair(t.Context(), path, nil)
	if err != nil || !strings.Contains(strings.Join(done.Findings, "\n"), "not looked at when it is due") {
		t.Errorf("found %q, %v", done.Findings, err)
	}
	if findings, err := CheckFile(t.Context(), path, nil); err != nil || len(findings) > 0 {
		t.Errorf("after it found %q, %v", findings, err)
	}
}

// In a file, what was rewritten for nobody, or can't be read, is found, and refused by a repair.
func TestCheckFindsBadRewrites(t *testing.T) {
	none := tokenKey{"acme", number(999)}
	stranger := tokenKey{"nobody", number(8)}
	data := readFile(t, wealthy(t))
	for what, c := range map[string]struct {
		want   string
		damage func(all, notes *bbolt.Bucket) error
		opens  error
	}{
		"of a token that is not there":  {"token 000000000000000000000000Z7 was rewritten, and is not there", func(_, notes *bbolt.Bucket) error { return notes.Put(none.note(1<<40), []byte("x")) }, nil},
		"of a tenant that is not there": {`tenant "nobody": a record was rewritten, and the tenant is not there`, func(_, notes *bbolt.Bucket) error { return notes.Put(stranger.note(1<<40), []byte("x")) }, ErrCorrupt},
		"under the id of another": {"is stored as 000000000000000000000000Z7", func(_, notes *bbolt.Bucket) error {
			k, v := notes.Cursor().First()
			return errors.Join(notes.Put(none.note(binary.BigEndian.Uint64(k)), bytes.Clone(v)), notes.Delete(bytes.Clone(k)))
		}, ErrCorrupt},
		"without a number": {"a record was rewritten for nobody", func(_, notes *bbolt.Bucket) error { return notes.Put(none.note(0), []byte("x")) }, ErrCorrupt},
		"that can't be read": {"a record's checksum is wrong", func(_, notes *bbolt.Bucket) error {
			k, _ := notes.Cursor().First()
			return notes.Put(bytes.Clone(k), []byte("damaged"))
		}, nil},
		"for nobody": {"a record was rewritten for nobody", func(_, notes *bbolt.Bucket) error { return notes.Put([]byte("short"), nil) }, ErrCorrupt},
		"twice in one generation": {"rewritten twice in one generation", func(_, notes *bbolt.Bucket) error {
			k, v := notes.Cursor().First()
			return notes.Put(append(numberKey(1<<40), k[8:]...), bytes.Clone(v))
		}, ErrCorrupt},
		"of no generation":         {"of a wrong generation", func(all, _ *bbolt.Bucket) error { return all.Put(numberKey(1<<40), nil) }, ErrCorrupt},
		"of a generation too many": {"of a wrong generation", func(all, _ *bbolt.Bucket) error { return errors.Join(makeBucket(all, 1<<40), makeBucket(all, 1<<41)) }, ErrCorrupt},
	} {
		t.Run(what, func(t *testing.T) {
			path := writeFile(t, data)
			spoil(t, path, func(tx *bbolt.Tx, _ *bbolt.Bucket) error {
				all := tx.Bucket(bucketRewrites)
				name, _ := all.Cursor().First()
				return c.damage(all, all.Bucket(name))
			})
			findings, err := CheckFile(t.Context(), path, nil)
			if got := strings.Join(findings, "\n"); err != nil || !strings.Contains(got, c.want) {
				t.Errorf("found %q, error %v, want %q", got, err, c.want)
			}
			if _, err := Repair(t.Context(), path, nil); !errors.Is(err, ErrBeyondRepair) {
				t.Errorf("a repair must refuse it: got %v", err)
			}
			b, err := Open(path, nil)
			if !errors.Is(err, c.opens) {
				t.Errorf("opened: got %v, want %v", err, c.opens)
			}
			if err == nil {
				_ = b.Close()
			}
		})
	}
}

func makeBucket(in *bbolt.Bucket, n uint64) error {
	_, err := in.CreateBucket(numberKey(n))
	return err
}

// What is written over a note, because there is damage somewhere, stays also when that commit is in doubt, and when the file is opened anew.
func TestOverANoteInDoubt(t *testing.T) {
	w, key := olderGeneration(t)
	w.backend.rewrites.left = nil // the token was dealt with
	tries := 0
	err := w.backend.update(t.Context(), func(x *txn) error {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		found.token.Device.LastUserAgent = "new"
		r.rewrite(key.id, encode(&found, recordFields))
		if tries++; tries == 1 {
			x.rewriting.placing = true
			check(ErrCorrupt)
		}
		x.tx.OnCommit(func() { panic("after the commit") })
		return nil
	})
	if !errors.Is(err, store.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	w.want[key] = "new"
	path := w.backend.db.Path()
	for range 2 {
		for _, other := range allKeys()[3:12] {
			w.showsNow(t)
			w.use(t, other)
		}
		w.showsNow(t)
		w.reopen(t, path, path+".copy")
	}
}
