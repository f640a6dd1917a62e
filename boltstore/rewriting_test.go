package boltstore

import (
	"cmp"
	"context"
	"errors"
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
	"time"

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
	begun   []*bbolt.Tx // snapshots that may not have ended
}

// close ends what a failed test has left, for which bbolt would wait.
func (w *rewriter) close() error {
	for _, tx := range w.begun {
		_ = rollBack(tx)
	}
	return w.backend.Close()
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

// hasten rewrites a token, and has its life end sooner.
func (w *rewriter) hasten(t rapid.TB, key tokenKey) {
	w.uses++
	place := fmt.Sprint("place ", w.uses)
	err := must(w.backend.Tenant(key.tenant)).Update(context.Background(), key.id, func(v store.View) store.Decision {
		v.Token.Device.LastUserAgent = place
		v.Token.ExpiresAt = instant.Add(time.Duration(1_000_000-w.uses) * time.Second)
		return store.Decision{Next: &v.Token}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.want[key] = place
}

// remove removes a token, as a sweep does.
func (w *rewriter) remove(t rapid.TB, key tokenKey) {
	w.update(t, func(x *txn) {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		r.remove([]record{found})
		r.save()
	})
	delete(w.want, key)
}

// useAndRemove rewrites and removes a token in one commit, in which it may also come back.
func (w *rewriter) useAndRemove(t rapid.TB, key tokenKey, comesBack bool) {
	w.update(t, func(x *txn) {
		r := x.records(key.tenant)
		found, _ := r.record(key.id)
		used := found
		used.token.Device.LastUserAgent = "and removed"
		r.rewrite(key.id, encode(&used, recordFields))
		r.remove([]record{found})
		if comesBack {
			check(r.insert(store.Insertion{Token: found.token}).Err)
		}
		r.save()
	})
	if !comesBack {
		delete(w.want, key)
	}
}

func (w *rewriter) update(t rapid.TB, change func(*txn)) {
	if err := w.backend.update(context.Background(), func(x *txn) error { change(x); return nil }); err != nil {
		t.Fatal(err)
	}
}

// snapshot begins a transaction outside of what turns a failed test into an error.
func (w *rewriter) snapshot(t rapid.TB) *txn {
	x, err := w.backend.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	w.begun = append(w.begun, x.tx)
	return x
}

func (w *rewriter) showsNow(t rapid.TB) {
	x := w.snapshot(t)
	defer func() { _ = x.tx.Rollback() }()
	w.shows(t, x, w.want)
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

// event is something that happens to a token: by a number, of which the low ones mean what is rare.
type event struct {
	key  tokenKey
	what int
}

func events() *rapid.Generator[[]event] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		return event{rapid.SampledFrom(allKeys()).Draw(t, "token"), rapid.IntRange(0, 12).Draw(t, "what")}
	}), 0, 12)
}

// live has events happen.
func (w *rewriter) live(t rapid.TB, events []event) {
	for _, e := range events {
		_, there := w.want[e.key]
		switch {
		case !there:
			w.insert(t, e.key)
		case e.what < 2:
			w.remove(t, e.key)
		case e.what < 4:
			w.hasten(t, e.key)
		case e.what < 5:
			w.useAndRemove(t, e.key, false)
		case e.what < 6:
			w.useAndRemove(t, e.key, true)
		default:
			w.use(t, e.key)
		}
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

// settled checks what is in the file: two generations at most, no more than were noted since the one before, and of tokens that are there.
func (w *rewriter) settled(t rapid.TB) {
	x := w.snapshot(t)
	defer func() { _ = x.tx.Rollback() }()
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
			coming.noted[key] = cmp.Or(rewrites.latest().notes[key], rewrites.latest().last+uint64(i)+1)
		}
		before := len(rewrites.latest().notes)
		named := rewrites.name(&coming)
		w.showsNow(t)
		rewrites.failed(named, false)
		if after := len(rewrites.latest().notes); after != before {
			t.Errorf("%d notes are named after a commit that was not made, and before it %d", after, before)
		}
	}
}

// Who begins a snapshot asks how old what is known in memory is, and then begins: what goes from memory in between may be in it.
func TestRewritesAreAskedForTheirAgeFirst(t *testing.T) {
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
	known.epoch++
	known.mu.Unlock()
	snapshot := <-begun
	defer func() { _ = snapshot.tx.Rollback() }()
	t.Logf("%d had begun before %v came into its place", x, key)
	w.shows(t, snapshot, w.want)
}

// A snapshot that was begun before what is known in memory was learnt anew may have notes that are not known any more.
func TestRewritesLearntAnew(t *testing.T) {
	w, _ := olderGeneration(t)
	before := maps.Clone(w.want)
	x := w.snapshot(t)
	defer func() { _ = x.tx.Rollback() }()
	w.placeUnseen(t)
	w.backend.rewrites.failed(nil, true)
	w.use(t, allKeys()[3])
	w.shows(t, x, before)
	w.showsNow(t)
}

// olderGeneration returns a file with two generations, and a token with a note in the older one alone.
func olderGeneration(t *testing.T) (*rewriter, tokenKey) {
	t.Helper()
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	t.Cleanup(func() { _ = w.close() })
	w.backend.PlaceEarly(2)
	for _, key := range allKeys() {
		w.insert(t, key)
	}
	for i := range 3 {
		w.use(t, allKeys()[i])
	}
	if got := w.backend.Generations(); !slices.Equal(got, []int{2, 1}) {
		t.Fatal(got)
	}
	return w, allKeys()[0]
}

// placeUnseen puts all of the older generation into its places, in a commit that nobody is told of.
func (w *rewriter) placeUnseen(t *testing.T) {
	t.Helper()
	w.unseen(t, func(x *txn) {
		x.rewriting.owed = placedMax
		x.settleRewrites()
		if !x.rewriting.placed {
			t.Error("all of the older generation must be in its place")
		}
	})
}

// unseen makes a commit that nobody is told of.
func (w *rewriter) unseen(t *testing.T, change func(*txn)) {
	t.Helper()
	err := w.backend.db.Update(func(tx *bbolt.Tx) error {
		return protect(func() error {
			known := rewrites{max: w.backend.rewrites.max}
			x := &txn{tx: tx, fence: &w.backend.fence, rewrites: &known, tenants: map[string]*records{}}
			known.learn(x)
			x.rewriting = known.rewriting()
			change(x)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A commit that rewrites very many records is not held up until as many more are in their places. Those after it make up for that.
func TestRewritesComeIntoTheirPlacesByAndBy(t *testing.T) {
	const size = 1000
	b, s := rig(t)
	b.PlaceEarly(size)
	for n := 0; n < 3*size; n += size {
		rows := make([]store.Insertion, size)
		for i := range rows {
			rows[i].Token = domain.RefreshToken{ID: number(n + i + 1), UserID: "ann", ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
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
	if placed := rewrite(1+size, size); placed < placedMax || placed > 2*placedMax {
		t.Errorf("%d came into their places at once, want %d or a few more", placed, placedMax)
	}
	commits := 0
	for first := b.rewrites.generations[0].name; b.rewrites.generations[0].name == first; commits++ {
		rewrite(1+2*size+commits, 1)
	}
	if commits > size/placedMax {
		t.Errorf("it took %d commits after that until all were", commits)
	}
}

// Readers beside writers see each token as it was left by the last call that was acknowledged, or by a later one, and never go back;
// while generations come into their places, and other tokens come and go.
func TestRewritesBesideReaders(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer func() { _ = w.close() }()
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
