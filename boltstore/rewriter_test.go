package boltstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// fill inserts tokens of acme, from 1 on.
func (w *rewriter) fill(t *testing.T, tokens int) {
	t.Helper()
	const each = 1000
	for n := 0; n < tokens; n += each {
		rows := make([]store.Insertion, min(each, tokens-n))
		for i := range rows {
			rows[i].Token = domain.RefreshToken{ID: number(n + i + 1), UserID: fmt.Sprint("user-", n+i), ClientID: "client", CreatedAt: instant}
			w.want[tokenKey{"acme", rows[i].Token.ID}] = ""
		}
		if _, err := must(w.backend.Tenant("acme")).Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
}

// useNth rewrites one of so many tokens of acme, in an order in which none is its neighbours' next.
func (w *rewriter) useNth(t *testing.T, n, tokens int) {
	t.Helper()
	w.use(t, tokenKey{"acme", number(n*7919%tokens + 1)})
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
		r.rewrite(key.id, encode(&found, recordFields))
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
		x.records(tenant).walk(ulid.ULID{}, func(x *record, _ []byte) bool {
			found[tokenKey{tenant, x.token.ID}] = x.token.Device.LastUserAgent
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
			x.generations, x.rewriting = known.generations, known.rewriting()
			change(x)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
