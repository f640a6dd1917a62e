package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// rewriter has tokens of two tenants rewritten, and knows what each has become.
type rewriter struct {
	backend *Backend
	want    map[tokenKey]string // where it was used last
	uses    int
}

func openRewriter(t rapid.TB, path string) *rewriter {
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &rewriter{backend: b, want: map[tokenKey]string{}}
}

func (w *rewriter) insert(t rapid.TB, key tokenKey) {
	s := must(w.backend.Tenant(key.tenant))
	token := domain.RefreshToken{ID: key.id, UserID: "ann", ClientID: "client", CreatedAt: instant}
	if results, err := s.Insert(context.Background(), []store.Insertion{{Token: token}}); err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
	w.want[key] = ""
}

// use rewrites a token.
func (w *rewriter) use(t rapid.TB, key tokenKey) {
	w.uses++
	place := fmt.Sprint("place ", w.uses)
	err := must(w.backend.Tenant(key.tenant)).Update(context.Background(), key.id, usedAt(place))
	if err != nil {
		t.Fatal(err)
	}
	w.want[key] = place
}

func usedAt(place string) func(store.View) store.Decision {
	return func(v store.View) store.Decision {
		v.Token.Device.LastUserAgent = place
		return store.Decision{Next: &v.Token}
	}
}

// remove removes a token, as a sweep does.
func (w *rewriter) remove(t rapid.TB, key tokenKey) {
	err := w.backend.update(context.Background(), func(x *txn) error {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		r.remove([]record{found})
		r.save()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(w.want, key)
}

// shows checks what a transaction shows, by each way that leads to a record.
func (w *rewriter) shows(t rapid.TB, x *txn, want map[tokenKey]string) {
	found := map[tokenKey]string{}
	for _, tenant := range []string{"acme", "globex"} {
		x.records(tenant).walk(ulid.ULID{}, func(token *domain.RefreshToken) bool {
			found[tokenKey{tenant, token.ID}] = token.Device.LastUserAgent
			return true
		})
	}
	if !maps.Equal(found, want) {
		t.Logf("walked past %v, want %v", found, want)
		t.Fatal("a walk must show each token as it was when the transaction began")
	}
	for _, key := range allKeys() {
		token, there := x.records(key.tenant).token(key.id)
		place, should := want[key]
		if there != should || token.Device.LastUserAgent != place {
			t.Logf("%v: got %v %q, want %v %q", key, there, token.Device.LastUserAgent, should, place)
			t.Fatal("a token must be as it was when the transaction began")
		}
	}
}

func allKeys() (keys []tokenKey) {
	for n := range 12 {
		keys = append(keys, tokenKey{"acme", number(n + 1)}, tokenKey{"globex", number(n + 1)})
	}
	return keys
}

// live has something happen.
func (w *rewriter) live(t *rapid.T) {
	key := rapid.SampledFrom(allKeys()).Draw(t, "token")
	_, there := w.want[key]
	switch {
	case !there:
		w.insert(t, key)
	case rapid.IntRange(0, 5).Draw(t, "goes") == 0:
		w.remove(t, key)
	default:
		w.use(t, key)
	}
}

// However rewritten records come into their places, whoever reads sees each token as it was in the commit that the transaction sees,
// also when it has been rewritten, has come into its place, or has gone and come back since; and so does who opens the file.
func TestRewrites(t *testing.T) {
	dir := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		files++
		path := filepath.Join(dir, strconv.Itoa(files))
		w := openRewriter(t, path)
		defer func() { w.backend.Close() }()
		w.backend.PlaceEarly(rapid.SampledFrom([]int{1, 2, 3, 5, 8}).Draw(t, "a generation"))
		for range rapid.IntRange(1, 5).Draw(t, "snapshots") {
			for range rapid.IntRange(0, 12).Draw(t, "before") {
				w.live(t)
			}
			before := maps.Clone(w.want)
			asked := rapid.Bool().Draw(t, "asked before")
			err := w.backend.view(context.Background(), func(x *txn) error {
				if asked {
					w.shows(t, x, before)
				}
				for range rapid.IntRange(0, 12).Draw(t, "meanwhile") {
					w.live(t)
				}
				w.shows(t, x, before)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			w.settled(t)
			if rapid.Bool().Draw(t, "crash") {
				w.reopen(t, path, filepath.Join(dir, "copy"))
			}
			if err := w.backend.view(context.Background(), func(x *txn) error { w.shows(t, x, w.want); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if findings, err := w.backend.Check(context.Background()); err != nil || len(findings) > 0 {
			t.Fatal(findings, err)
		}
		_ = os.Remove(path)
	})
}

// settled checks what is in the file: two generations at most, no more than were noted since the one before, and of tokens that are there.
func (w *rewriter) settled(t rapid.TB) {
	err := w.backend.view(context.Background(), func(x *txn) error {
		generations := x.look()
		if n := len(generations); n > 2 || n == 2 && len(generations[1].notes) > 2*w.backend.rewrites.max+len(allKeys())/2 {
			t.Logf("%d generations: %+v", n, generations)
			t.Fatal("generations must come into their places before the next is full")
		}
		for _, g := range generations {
			for key := range g.notes {
				if _, there := w.want[key]; !there {
					t.Fatal("what is rewritten must go with its token")
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reopen goes on with a copy of the file as it is now, as after a crash.
func (w *rewriter) reopen(t rapid.TB, path, copied string) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(copied, data, 0o600)
	}
	max := w.backend.rewrites.max
	if err := errors.Join(err, w.backend.Close(), os.Rename(copied, path)); err != nil {
		t.Fatal(err)
	}
	w.backend = openRewriter(t, path).backend
	w.backend.PlaceEarly(max)
}

// A note that is named, and is not in a snapshot, because its commit comes later or is never made, says nothing: who reads is shown what
// was there before. Where it was not made, nothing is left of it.
func TestRewritesAreNamedBefore(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer w.backend.Close()
	w.backend.PlaceEarly(4)
	for _, key := range allKeys() {
		w.insert(t, key)
	}
	for round := range 60 {
		w.use(t, allKeys()[round%7])
		rewrites := &w.backend.rewrites
		coming := rewriting{noted: map[tokenKey]uint64{}}
		for i, key := range allKeys() {
			coming.noted[key] = cmp.Or(rewrites.latest().notes[key], rewrites.latest().last+uint64(i)+1)
		}
		before := len(rewrites.latest().notes)
		named := rewrites.name(&coming)
		if err := w.backend.view(t.Context(), func(x *txn) error { w.shows(t, x, w.want); return nil }); err != nil {
			t.Fatal(err)
		}
		rewrites.unname(named)
		if after := len(rewrites.latest().notes); after != before {
			t.Errorf("%d notes are named after a commit that was not made, and before it %d", after, before)
		}
	}
}

// Readers beside writers see each token as it was left by the last call that was acknowledged, or by a later one, and never go back;
// while generations come into their places, and other tokens come and go.
func TestRewritesBesideReaders(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer w.backend.Close()
	w.backend.PlaceEarly(5)
	const tokens, writers, readers, rounds = 16, 4, 4, 30
	for n := range tokens {
		w.insert(t, tokenKey{"acme", number(n + 1)})
	}
	s := must(w.backend.Tenant("acme"))
	var acknowledged [tokens]atomic.Int64
	var done atomic.Bool
	var writing, reading sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			for use := range int64(rounds) {
				for n := i; n < tokens; n += writers {
					err := s.Update(t.Context(), number(n+1), func(v store.View) store.Decision {
						v.Token.Retries = uint32(use + 1)
						return store.Decision{Next: &v.Token}
					})
					if err != nil {
						t.Error(err)
					}
					acknowledged[n].Store(use + 1)
				}
			}
		})
	}
	writing.Go(func() { // what comes and goes
		key := tokenKey{"globex", number(1)}
		for range rounds {
			w.insert(t, key)
			w.use(t, key)
			w.remove(t, key)
		}
	})
	for i := range readers {
		reading.Go(func() {
			var seen [tokens]int64
			for n := i; !done.Load(); n = (n + 1) % tokens {
				least := max(seen[n], acknowledged[n].Load())
				v, err := s.Get(t.Context(), number(n+1))
				if seen[n] = int64(v.Token.Retries); err != nil || seen[n] < least {
					t.Errorf("token %d: read use %d, %v, after %d was acknowledged or read", n, seen[n], err, least)
					return
				}
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
	if findings, err := w.backend.Check(t.Context()); err != nil || len(findings) > 0 {
		t.Error(findings, err)
	}
}

// After a commit of which nobody knows whether it was made, what the file says is right.
func TestRewritesAfterDoubt(t *testing.T) {
	for _, made := range []bool{false, true} {
		w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
		defer w.backend.Close()
		key := allKeys()[0]
		w.insert(t, allKeys()[1])
		w.insert(t, key)
		w.use(t, allKeys()[1])
		if made { // by a commit that nobody has been told of
			err := w.backend.db.Update(func(tx *bbolt.Tx) error {
				known := rewrites{}
				x := &txn{tx: tx, fence: &w.backend.fence, rewrites: &known, tenants: map[string]*records{}}
				known.learn(x)
				r := x.records(key.tenant)
				record, _ := r.record(key.id)
				record.token.Device.LastUserAgent = "made"
				r.rewrite(key.id, encode(&record, recordFields))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			w.want[key] = "made"
		}
		w.backend.rewrites.doubt()
		for range 3 { // before and after a commit that ends the doubt
			if err := w.backend.view(t.Context(), func(x *txn) error { w.shows(t, x, w.want); return nil }); err != nil {
				t.Fatal(err)
			}
			w.use(t, key)
		}
	}
}

// Damage to what is to be put into its place is told once, to those whose commit comes to it. All others go on.
func TestDamageBlocksNoWriter(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer w.backend.Close()
	w.backend.PlaceEarly(4)
	for _, key := range allKeys() {
		w.insert(t, key)
	}
	for i := 1; len(w.backend.rewrites.generations) < 2; i += 2 {
		w.use(t, allKeys()[i]) // of globex
	}
	err := w.backend.db.Update(func(tx *bbolt.Tx) error { // its tokens have no place any more
		globex := tx.Bucket(bucketTenants).Bucket([]byte("globex"))
		return errors.Join(globex.DeleteBucket(bucketTokens), globex.Put(bucketTokens, []byte("damaged")))
	})
	if err != nil {
		t.Fatal(err)
	}
	acme := must(w.backend.Tenant("acme"))
	failed := 0
	for n := range 40 {
		switch err := acme.Update(t.Context(), number(n%12+1), usedAt("now")); {
		case errors.Is(err, ErrCorrupt), errors.Is(err, store.ErrNotCommitted):
			failed++
		case err != nil:
			t.Fatal(err)
		}
	}
	if failed != 1 {
		t.Errorf("%d calls have failed, want one", failed)
	}
	for n := range 12 {
		v, err := acme.Get(t.Context(), number(n+1))
		if err != nil || v.Token.Device.LastUserAgent != "now" {
			t.Errorf("got %+v, %v", v, err)
		}
	}
}

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
	if !errors.Is(err, ErrFull) || !b.rewrites.known {
		t.Errorf("got %v; the notes are known: %v", err, b.rewrites.known)
	}
}

// Exchanges in groups, of tokens that are nobody's neighbours, write fewer pages than records that are written in their places, also
// while generations come into theirs.
func TestRewritesShareTheirPages(t *testing.T) {
	const tokens, groups, size = 20_000, 200, 32
	pages := func(write func(r *records, id ulid.ULID, record []byte)) (each float64, generations uint64) {
		b, s := rig(t)
		for n := 0; n < tokens; n += 1000 {
			rows := make([]store.Insertion, 1000)
			for i := range rows {
				rows[i].Token = domain.RefreshToken{ID: number(n + i + 1), UserID: fmt.Sprint("user-", n+i), ClientID: "client", CreatedAt: instant}
				rows[i].Token.Device.LastUserAgent = strings.Repeat("x", 200)
			}
			if _, err := s.Insert(t.Context(), rows); err != nil {
				t.Fatal(err)
			}
		}
		before, first := b.PagesWritten(), b.rewrites.generations[0].name
		for g := range groups {
			err := b.update(t.Context(), func(x *txn) error {
				r := x.records("acme")
				for i := range size {
					record, _ := r.record(number((g*size+i)*7919%tokens + 1))
					record.token.Device.LastUserAgent = strings.Repeat("y", 200)
					write(r, record.token.ID, encode(&record, recordFields))
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return float64(b.PagesWritten()-before) / (groups * size), b.rewrites.generations[0].name - first
	}
	noted, generations := pages((*records).rewrite)
	inPlace, _ := pages((*records).putEncoded)
	t.Logf("%.2f pages for each exchange, and %.2f in place; %d generations came into their places", noted, inPlace, generations)
	if noted > 0.8*inPlace || generations < 3 {
		t.Error("exchanges must share their pages, also while generations come into their places")
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
		"of a tenant that is not there": {`tenant "nobody": token 00000000000000000000000008 was rewritten`, func(_, notes *bbolt.Bucket) error { return notes.Put(stranger.note(1<<40), []byte("x")) }, nil},
		"that can't be read": {"a record's checksum is wrong", func(_, notes *bbolt.Bucket) error {
			k, _ := notes.Cursor().First()
			return notes.Put(bytes.Clone(k), []byte("damaged"))
		}, nil},
		"for nobody":               {"a record was rewritten for nobody", func(_, notes *bbolt.Bucket) error { return notes.Put([]byte("short"), nil) }, ErrCorrupt},
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
