package boltstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// However rewritten records come into their places, whoever reads sees each token as it was in the commit that the transaction sees,
// also when it has been rewritten, has come into its place, or has gone and come back since; and so does who opens the file.
func TestRewrites(t *testing.T) {
	dir := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		files++
		path := filepath.Join(dir, strconv.Itoa(files))
		w := openRewriter(t, path)
		defer func() { _ = w.close() }()
		w.backend.PlaceEarly(rapid.SampledFrom([]int{1, 2, 3, 5, 8}).Draw(t, "a generation"))
		for range rapid.IntRange(1, 5).Draw(t, "snapshots") {
			w.live(t, events().Draw(t, "before"))
			before := maps.Clone(w.want)
			x := w.snapshot(t)
			if rapid.Bool().Draw(t, "asked before") {
				w.shows(t, x, before)
			}
			w.live(t, events().Draw(t, "meanwhile"))
			w.shows(t, x, before)
			_ = x.tx.Rollback()
			w.settled(t)
			if rapid.Bool().Draw(t, "crash") {
				w.reopen(t, path, filepath.Join(dir, "copy"))
			}
			w.showsNow(t)
		}
		if findings, err := w.backend.Check(context.Background()); err != nil || len(findings) > 0 {
			t.Log(findings, err)
			t.Fatal("the file must be in order")
		}
		_ = os.Remove(path)
	})
}

// A note that is named, and is not in a snapshot, because its commit comes later or is never made, says nothing: who reads is shown what
// was there before. Where it was not made, nothing is left of it.
func TestRewritesAreNamedBefore(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer func() { _ = w.close() }()
	w.backend.PlaceEarly(4)
	for _, key := range allKeys() {
		w.insert(t, key)
	}
	for round := range 60 {
		w.use(t, allKeys()[round%7])
		rewrites := &w.backend.rewrites
		coming := rewriting{noted: map[tokenKey]uint64{}}
		for i, key := range allKeys() {
			coming.noted[key] = cmp.Or(rewrites.latest().notes[key], rewrites.last+uint64(i)+1)
		}
		before := len(rewrites.latest().notes)
		named := rewrites.name(&coming)
		w.showsNow(t)
		rewrites.unname(named)
		if after := len(rewrites.latest().notes); after != before {
			t.Errorf("%d notes are named after a commit that was not made, and before it %d", after, before)
		}
	}
}

// A snapshot that may have notes of a generation that has begun since the others were asked for is not gone by.
func TestRewritesOfAGenerationThatBegins(t *testing.T) {
	w, _ := olderGeneration(t)
	b := w.backend
	for latest := b.rewrites.latest().name; b.rewrites.latest().name < latest+2; {
		reading, before := b.reading(), b.rewrites.latest().name
		w.use(t, allKeys()[w.uses%12])
		shows, err := b.beginReading(reading)
		if shows {
			_ = reading.tx.Rollback()
		}
		if began := b.rewrites.latest().name > before; err != nil || shows == began {
			t.Errorf("got %v, error %v; another generation has begun: %v", shows, err, began)
		}
	}
}

// Who begins a snapshot asks which generations there are, and then begins: one that goes in between may be in it.
func TestRewritesAreAskedForFirst(t *testing.T) {
	w, key := olderGeneration(t)
	known := &w.backend.rewrites
	known.mu.Lock()
	begun := make(chan *txn)
	go func() { begun <- w.snapshot(t) }()
	for range 100_000 { // who begins first does so meanwhile
		if w.backend.db.Stats().OpenTxN > 0 {
			break
		}
		runtime.Gosched()
	}
	w.placeUnseen(t)
	x := w.backend.db.Stats().OpenTxN
	known.generations = slices.Clone(known.generations[1:])
	known.mu.Unlock()
	snapshot := <-begun
	defer func() { _ = snapshot.tx.Rollback() }()
	t.Logf("%d had begun before %v came into its place", x, key)
	w.shows(t, snapshot, w.want)
}

// A commit puts an eighth more records into their places than it rewrites itself. Of those that are owed from before it makes up for some.
// Where there is little room it puts some there also if it rewrites few, and makes up for none.
func TestRewritesComeIntoTheirPlacesByAndBy(t *testing.T) {
	const size = 1000
	b, _ := rig(t)
	b.PlaceEarly(size)
	(&rewriter{backend: b, want: map[tokenKey]string{}}).fill(t, 3*size)
	rewrite := func(from, n int) (placed int) {
		t.Helper()
		before := len(b.rewrites.left)
		err := b.update(t.Context(), func(x *txn) error {
			r := x.records("acme")
			for i := range n {
				found, _ := r.record(number(from + i))
				found.token.Retries++
				r.rewrite(found.token.ID, encode(&found, recordFields))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return before - len(b.rewrites.left)
	}
	rewrite(1, size)
	b.rewrites.owed = size // as after commits for which there was no room
	if placed := rewrite(1+size, 1); placed < placedMax || placed > 2*placedMax {
		t.Errorf("%d came into their places at once, want %d or a few more", placed, placedMax)
	}
	hasRoom := b.db.MaxSize
	b.db.MaxSize = 1
	if placed := rewrite(1+size, 1); placed != placedMin+placedMin/8+1 {
		t.Errorf("%d came into their places where there is little room, want an eighth more than %d", placed, placedMin)
	}
	if placed := rewrite(2+size, placedMin+8); placed != placedMin+8+placedMin/8+1+1 {
		t.Errorf("%d came into their places where there is little room, want an eighth more than %d", placed, placedMin+8)
	}
	b.db.MaxSize = hasRoom
	b.rewrites.owed = 0
	if placed := rewrite(1+2*size, size/2); placed != size/2+size/16+1 {
		t.Errorf("%d came into their places, want an eighth more than %d", placed, size/2)
	}
}

// Readers beside writers see each token as it was left by the last call that was acknowledged, or by a later one, and never go back;
// while generations come into their places, and other tokens come and go.
func TestRewritesBesideReaders(t *testing.T) {
	for _, generation := range []int{1, 5} {
		t.Run(fmt.Sprint(generation), func(t *testing.T) { rewritesBesideReaders(t, generation) })
	}
}

func rewritesBesideReaders(t *testing.T, generation int) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer func() { _ = w.close() }()
	w.backend.PlaceEarly(generation)
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

// Exchanges in groups, of tokens that are nobody's neighbours, write fewer pages than records that are written in their places, also
// while generations come into theirs.
func TestRewritesShareTheirPages(t *testing.T) {
	const tokens, groups, size = 20_000, 500, 32
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
