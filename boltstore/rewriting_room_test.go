package boltstore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// A commit that is known not to have been made leaves what is known of the notes as it is: nobody has to look at them all.
func TestRewritesOfAFullFile(t *testing.T) {
	b, err := Open(filepath.Join(t.TempDir(), "tokens.db"), &Options{MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := &rewriter{backend: b, want: map[tokenKey]string{}}
	for _, key := range allKeys() {
		w.insert(t, key)
		w.use(t, key)
	}
	s := must(b.Tenant("acme"))
	for n := 100; ; n++ {
		token := domain.RefreshToken{ID: number(n), UserID: strings.Repeat("u", 300), ClientID: "client", CreatedAt: instant}
		if _, err = s.Insert(t.Context(), []store.Insertion{{Token: token}}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	b.db.MaxSize = 0
	before := b.Generations()
	err = b.update(t.Context(), func(x *txn) error {
		x.tx.DB().MaxSize = 1
		r := x.records("acme")
		found, _ := r.record(number(100))
		r.rewrite(found.token.ID, encode(&found, recordFields))
		return x.tx.Bucket(bucketAbout).Put([]byte("large"), make([]byte, 32<<20))
	})
	if after := b.Generations(); !errors.Is(err, ErrFull) || !slices.Equal(before, after) {
		t.Errorf("got %v; %v were noted, and %v before", err, after, before)
	}
}

// In a file that is near its limit nothing is noted that could take the room that others need: whoever rewrites, removes, revokes or issues
// goes on as long as the file has room for that itself. What was noted before comes into its place.
func TestNotesLeaveRoom(t *testing.T) {
	const tokens, uses = 20_000, 6000
	path := filepath.Join(t.TempDir(), "tokens.db")
	w := openRewriter(t, path)
	w.fill(t, tokens)
	for i := range 100 {
		w.useNth(t, i, tokens)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, percent := range []int64{6, 15, 40} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			b, err := Open(writeFile(t, readFile(t, path)), &Options{MaxSize: int(info.Size() * (100 + percent) / 100)})
			if err != nil {
				t.Fatal(err)
			}
			w := &rewriter{backend: b, want: maps.Clone(w.want), uses: w.uses}
			t.Cleanup(func() { _ = w.close() })
			b.db.NoSync = true
			for i := range uses {
				w.useNth(t, i, tokens)
			}
			if got := b.Generations(); len(got) != 1 || got[0] > 0 || b.rewrites.blocked {
				t.Errorf("%v are noted, and notes are blocked: %v", got, b.rewrites.blocked)
			}
			s := must(b.Tenant("acme"))
			for n := range 20 {
				w.remove(t, tokenKey{"acme", number(n + 1)})
				_, err := s.Revoke(t.Context(), store.Revocation{ID: number(100_000 + n), Targets: []domain.Target{{UserID: fmt.Sprint("user-", n)}}, Time: instant})
				if err != nil {
					t.Error(err)
				}
				w.insert(t, tokenKey{"acme", number(50_000 + n)})
			}
			w.showsNow(t)
		})
	}
}

// A commit for which there is no room with what it notes is made without.
func TestNoRoomForANote(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.fill(t, 1000)
	tries := 0
	err := w.backend.update(t.Context(), func(x *txn) error {
		if tries++; tries > 1 {
			x.tx.DB().MaxSize = 0
		} else { // nothing in the file is free for so much
			x.tx.DB().MaxSize = 1
			check(x.tx.Bucket(bucketAbout).Put([]byte("large"), make([]byte, 32<<20)))
		}
		r := x.records("acme")
		found, _ := r.record(number(7))
		found.token.Device.LastUserAgent = "used"
		r.rewrite(found.token.ID, encode(&found, recordFields))
		return nil
	})
	v, failed := must(w.backend.Tenant("acme")).Get(t.Context(), number(7))
	if err := errors.Join(err, failed); err != nil || v.Token.Device.LastUserAgent != "used" || w.backend.rewrites.blocked {
		t.Errorf("got %v, error %v; notes are blocked: %v", v, err, w.backend.rewrites.blocked)
	}
	w.update(t, func(x *txn) {
		if x.noting != noNotes {
			t.Error("the commits after it must not try what there was no room for")
		}
	})
}

// A file that is closed and opened again and again has its notes come into their places too.
func TestRewritesOfShortSessions(t *testing.T) {
	const tokens, each, generation = 2000, 20, 300
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.fill(t, tokens)
	for use := range 2 * tokens {
		if use%each == 0 {
			path := w.backend.db.Path()
			if err := w.close(); err != nil {
				t.Fatal(err)
			}
			w.backend, w.begun = openRewriter(t, path).backend, nil
			w.backend.PlaceEarly(generation)
			w.backend.db.NoSync = true
		}
		w.useNth(t, use, tokens)
		if got := slices.Max(w.backend.Generations()); got > generation+each {
			t.Fatalf("a generation has %d notes, want no more than %d", got, generation+each)
		}
	}
}

// Also one that makes a single commit each time: the generation that it has filled is followed by another when it is opened.
func TestRewritesOfSingleCommits(t *testing.T) {
	const each, sessions = 250, 12
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.fill(t, each*sessions)
	path := w.backend.db.Path()
	for session := range sessions {
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		w.backend, w.begun = openRewriter(t, path).backend, nil
		full := 0
		w.update(t, func(x *txn) {
			full = x.generationMax()
			r := x.records("acme")
			for i := range each {
				found, _ := r.record(number(session*each + i + 1))
				r.rewrite(found.token.ID, encode(&found, recordFields))
			}
		})
		if got := slices.Max(w.backend.Generations()); got > full+each {
			t.Errorf("a generation has %d notes, want no more than %d", got, full+each)
		}
	}
}
