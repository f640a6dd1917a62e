package boltstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// Stress: versions of tokens, monotonic reads, never older than acked.
func TestZStress(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Close() }()
	gen := 5
	if s := os.Getenv("ZGEN"); s != "" {
		gen, _ = strconv.Atoi(s)
	}
	b.PlaceEarly(gen)
	tenants := []string{"acme", "globex", "t漢é" + fmt.Sprintf("%040d", 1)}
	const nkeys = 60
	type slot struct {
		mu    sync.Mutex // serializes writers of a token
		acked atomic.Int64
		gone  atomic.Int64 // odd while removed or being changed in that respect
		ver   int64
		there bool
	}
	slots := map[tokenKey]*slot{}
	var keys []tokenKey
	for _, tn := range tenants {
		if domain.CheckTenant(tn) != nil {
			t.Fatal("bad tenant")
		}
		for i := range nkeys {
			k := tokenKey{tn, number(i + 1)}
			slots[k] = &slot{}
			keys = append(keys, k)
		}
	}
	ver := func(tok *domain.RefreshToken) int64 {
		n, err := strconv.ParseInt(tok.Device.LastUserAgent, 10, 64)
		if err != nil {
			t.Error("bad version", tok.Device.LastUserAgent)
		}
		return n
	}
	ctx := context.Background()
	dur := 25 * time.Second
	if s := os.Getenv("ZDUR"); s != "" {
		dur, _ = time.ParseDuration(s)
	}
	stop := time.Now().Add(dur)
	var wg sync.WaitGroup
	var ops [8]atomic.Int64
	for g := range 12 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 7))
			for time.Now().Before(stop) && !t.Failed() {
				k := keys[r.IntN(len(keys))]
				s := slots[k]
				st := must(b.Tenant(k.tenant))
				s.mu.Lock()
				switch {
				case !s.there:
					s.ver++
					tok := domain.RefreshToken{ID: k.id, UserID: "ann", ClientID: "client", CreatedAt: instant}
					tok.Device.LastUserAgent = fmt.Sprint(s.ver)
					res, err := st.Insert(ctx, []store.Insertion{{Token: tok}})
					if err != nil || res[0].Err != nil {
						t.Error(err, res)
					}
					s.there = true
					s.acked.Store(s.ver)
					s.gone.Add(1)
					ops[0].Add(1)
				case r.IntN(8) == 0:
					s.gone.Add(1)
					both := r.IntN(2) == 0
					s.ver++
					v := s.ver
					rew := r.IntN(2) == 0
					err := b.update(ctx, func(x *txn) error {
						rr := x.records(k.tenant)
						found, ok := rr.record(k.id)
						if !ok {
							return errors.New("not there")
						}
						rr.remove([]record{found})
						if _, ok := rr.record(k.id); ok {
							return errors.New("still there")
						}
						if both { // removed and reinserted in one
							tok := found.token
							tok.Device.LastUserAgent = fmt.Sprint(v)
							res := rr.insert(store.Insertion{Token: tok})
							if res.Err != nil {
								return res.Err
							}
							if rew {
								n, _ := rr.record(k.id)
								rr.rewrite(k.id, encode(&n, recordFields))
							}
						}
						rr.save()
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					if both {
						s.acked.Store(v)
						s.gone.Add(1)
					} else {
						s.there = false
					}
					ops[1].Add(1)
				default:
					s.ver++
					v := s.ver
					err := st.Update(ctx, k.id, func(view store.View) store.Decision {
						if got := ver(&view.Token); got != v-1 {
							t.Errorf("lost update: saw %d want %d", got, v-1)
						}
						view.Token.Device.LastUserAgent = fmt.Sprint(v)
						return store.Decision{Next: &view.Token}
					})
					if err != nil {
						t.Error(err)
					}
					s.acked.Store(v)
					ops[2].Add(1)
				}
				s.mu.Unlock()
			}
		})
	}
	for g := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 77))
			seen := map[tokenKey]int64{}
			for time.Now().Before(stop) && !t.Failed() {
				if g < 5 {
					k := keys[r.IntN(len(keys))]
					s := slots[k]
					st := must(b.Tenant(k.tenant))
					for range 3 {
						g0, a := s.gone.Load(), s.acked.Load()
						v, err := st.Get(ctx, k.id)
						g1 := s.gone.Load()
						ops[3].Add(1)
						if errors.Is(err, store.ErrNotFound) {
							if g0 == g1 && g0%2 == 1 {
								t.Errorf("gone %v", k)
							}
							continue
						}
						if err != nil {
							t.Error(err)
							continue
						}
						got := ver(&v.Token)
						if got < a {
							t.Errorf("stale: got %d acked %d", got, a)
						}
						if got < seen[k] {
							t.Errorf("not monotonic: got %d seen %d", got, seen[k])
						}
						if g0 == g1 && g0%2 == 0 {
							// may be inserted, unacked. fine
						}
						seen[k] = got
					}
				} else {
					tn := tenants[r.IntN(len(tenants))]
					acks := map[tokenKey][2]int64{}
					for k, s := range slots {
						if k.tenant == tn {
							g := s.gone.Load()
							acks[k] = [2]int64{s.acked.Load(), g}
						}
					}
					page, err := must(b.Tenant(tn)).List(ctx, store.Query{Limit: 100})
					if err != nil {
						t.Error(err)
					}
					found := map[ulid.ULID]bool{}
					for _, tok := range page.Tokens {
						k := tokenKey{tn, tok.ID}
						found[tok.ID] = true
						if got := ver(&tok); got < acks[k][0] || got < seen[k] {
							t.Errorf("list stale: got %d, acked %d, seen %d", got, acks[k][0], seen[k])
						} else {
							seen[k] = got
						}
					}
					for k, a := range acks {
						if a[1]%2 == 1 && slots[k].gone.Load() == a[1] && !found[k.id] {
							t.Errorf("list lacks %v", k)
						}
					}
					ops[4].Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		r := rand.New(rand.NewPCG(9, 9))
		for time.Now().Before(stop) && !t.Failed() {
			if os.Getenv("ZDOUBT") == "" {
				return
			}
			k := keys[r.IntN(len(keys))]
			mode := r.IntN(3)
			err := b.update(ctx, func(x *txn) error {
				rr := x.records(k.tenant)
				rec, ok := rr.record(k.id)
				if !ok {
					return nil
				}
				switch mode {
				case 0: // a fault after having written
					rec.token.Device.LastUserAgent = "999999999"
					rr.rewrite(k.id, encode(&rec, recordFields))
					check(errors.New("fault"))
				case 1:
					rr.remove([]record{rec})
					check(errors.New("fault"))
				case 2:
					b.rewrites.doubt()
					x.dirty = true
				}
				return nil
			})
			if mode == 2 && err != nil {
				t.Error(err)
			}
			ops[6].Add(1)
		}
	})
	wg.Go(func() {
		n := 0
		for time.Now().Before(stop) && !t.Failed() {
			n++
			if f, err := b.Check(ctx); err != nil || len(f) > 0 {
				t.Error(f, err)
			}
			p := filepath.Join(dir, fmt.Sprint("b", n))
			acks := map[tokenKey][2]int64{}
			for k, s := range slots {
				acks[k] = [2]int64{s.acked.Load(), s.gone.Load()}
			}
			if err := b.Backup(ctx, p); err != nil {
				t.Error(err)
				return
			}
			if n%3 == 0 {
				if _, err := Compact(ctx, p, nil); err != nil {
					t.Error(err)
				}
			}
			c, err := Open(p, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for k, a := range acks {
				v, err := must(c.Tenant(k.tenant)).Get(ctx, k.id)
				if err == nil && ver(&v.Token) < a[0] {
					t.Errorf("backup stale")
				}
			}
			c.Close()
			os.Remove(p)
			ops[5].Add(1)
		}
	})
	wg.Wait()
	for i := range ops {
		fmt.Print(ops[i].Load(), " ")
	}
	fmt.Println()
	// reopen and compare
	b.Close()
	if b, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	for k, s := range slots {
		v, err := must(b.Tenant(k.tenant)).Get(ctx, k.id)
		if s.there != (err == nil) || s.there && ver(&v.Token) != s.ver {
			t.Errorf("%v: there %v, err %v", k, s.there, err)
		}
	}
	if f, err := b.Check(ctx); err != nil || len(f) > 0 {
		t.Error(f, err)
	}
}

// A get that goes by its own look shows a commit that is under way; the get after it, by the map, does not.
func TestZNotMonotonic(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer w.backend.Close()
	a, z := allKeys()[0], allKeys()[2]
	w.insert(t, a)
	w.insert(t, z)
	w.use(t, z)
	stale := w.backend.rewrites.now()
	w.remove(t, z) // epoch rises
	b := w.backend
	// the commit under way: as attempt does up to tell
	err := b.db.Update(func(tx *bbolt.Tx) error {
		x := &txn{tx: tx, fence: &b.fence, rewrites: &b.rewrites, tenants: map[string]*records{}}
		r := x.records(a.tenant)
		rec, _ := r.record(a.id)
		rec.token.Device.LastUserAgent = "new"
		r.rewrite(a.id, encode(&rec, recordFields))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(epoch uint64) (place string) {
		_ = b.db.View(func(tx *bbolt.Tx) error {
			x := &txn{tx: tx, fence: &b.fence, rewrites: &b.rewrites, begunRewrites: epoch}
			tok, _ := x.records(a.tenant).token(a.id)
			place = tok.Device.LastUserAgent
			return nil
		})
		return
	}
	first, second := get(stale), get(b.rewrites.now())
	t.Logf("first %q then %q", first, second)
	if first == "new" && second != "new" {
		t.Error("a later Get shows an older record")
	}
}

// A stray note: shown as a token, and put into its place as one.
func TestZStray(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	w := openRewriter(t, path)
	w.backend.PlaceEarly(1)
	key, other := allKeys()[0], allKeys()[2]
	w.insert(t, key)
	w.insert(t, other)
	w.use(t, key)
	w.backend.Close()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTenants).Bucket([]byte(key.tenant)).Bucket(bucketTokens).Delete(key.id[:])
	})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.PlaceEarly(1)
	f, err := b.Check(t.Context())
	t.Log("check before:", f, err)
	s := must(b.Tenant(key.tenant))
	v, err := s.Get(t.Context(), key.id)
	t.Log("get of a token that is not in its place:", v.Token.ID, err)
	for range 4 {
		if err := s.Update(t.Context(), other.id, usedAt("x")); err != nil {
			t.Log("update", err)
		}
	}
	page, _ := s.List(t.Context(), store.Query{Limit: 10})
	t.Log("listed:", len(page.Tokens), b.Generations())
	f, err = b.Check(t.Context())
	t.Log("check after:", f, err)
}

// A damaged note is put over the good record in its place.
func TestZDamagedNotePlaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	w := openRewriter(t, path)
	w.backend.PlaceEarly(1)
	key, other := allKeys()[0], allKeys()[2]
	w.insert(t, key)
	w.insert(t, other)
	w.use(t, key)
	w.backend.Close()
	db, _ := bbolt.Open(path, 0o600, nil)
	_ = db.Update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRewrites).Cursor()
		name, _ := c.First()
		n := tx.Bucket(bucketRewrites).Bucket(name)
		k, _ := n.Cursor().First()
		return n.Put(append([]byte{}, k...), []byte("damaged"))
	})
	db.Close()
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.PlaceEarly(1)
	s := must(b.Tenant(key.tenant))
	for range 4 {
		if err := s.Update(t.Context(), other.id, usedAt("x")); err != nil {
			t.Log("update", err)
		}
	}
	_ = b.db.View(func(tx *bbolt.Tx) error {
		t.Logf("in its place: %q", tx.Bucket(bucketTenants).Bucket([]byte(key.tenant)).Bucket(bucketTokens).Get(key.id[:]))
		return nil
	})
	t.Log("blocked:", b.rewrites.blocked)
}

// A fault while settling fails all of a group's calls, which have nothing to do with it.
func big(t *testing.T, n, max int) (*Backend, store.Store) {
	b, s := rig(t)
	for i := 0; i < n; i += 1000 {
		rows := make([]store.Insertion, 1000)
		for j := range rows {
			rows[j].Token = domain.RefreshToken{ID: number(i + j + 1), UserID: fmt.Sprint("user-", i+j), ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	b.PlaceEarly(max)
	rewriteMany(t, b, 0, n, 1000)
	return b, s
}

func rewriteMany(t *testing.T, b *Backend, from, to, at int) {
	for i := from; i < to; i += at {
		start := time.Now()
		err := b.update(t.Context(), func(x *txn) error {
			r := x.records("acme")
			for j := range at {
				rec, _ := r.record(number((i+j)*7919%to + 1))
				rec.token.Device.LastUserAgent = fmt.Sprint(i)
				r.rewrite(rec.token.ID, encode(&rec, recordFields))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Logf("a commit of %d took %v; %v", at, d, b.Generations())
		}
	}
}

func TestZLookCost(t *testing.T) {
	b, s := big(t, 64_000, 32<<10)
	t.Log(b.Generations(), len(b.rewrites.left))
	g := func() time.Duration {
		st := time.Now()
		if _, err := s.Get(t.Context(), number(77)); err != nil {
			t.Fatal(err)
		}
		return time.Since(st)
	}
	g()
	var known, unknown time.Duration
	for range 20 {
		known += g()
	}
	b.rewrites.doubt()
	for range 20 {
		unknown += g()
	}
	t.Logf("get known %v, by a look %v", known/20, unknown/20)
	var allocs = testing.AllocsPerRun(5, func() { g() })
	t.Log("allocs", allocs)
}

// Gets while a sweep removes rewritten tokens, each commit.
func TestZGetsWhileRemoving(t *testing.T) {
	for _, n := range []int{64, 32 << 10} {
		b, s := big(t, 64_000, n)
		t.Log(b.Generations())
		var done atomic.Bool
		var wg sync.WaitGroup
		var commits int
		for _, remove := range []bool{false, true} {
			done.Store(false)
			commits = 0
			wg.Go(func() {
				r := rand.New(rand.NewPCG(1, 1))
				for i := 0; !done.Load(); i++ {
					id := number(1000 + r.IntN(60000))
					err := b.update(context.Background(), func(x *txn) error {
						rr := x.records("acme")
						rec, ok := rr.record(id)
						if !ok {
							return nil
						}
						if remove {
							rr.remove([]record{rec})
						} else {
							rr.rewrite(id, encode(&rec, recordFields))
						}
						rr.save()
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					commits++
				}
			})
			var worst, total time.Duration
			gets, slow := 0, 0
			start := time.Now()
			for time.Since(start) < 3*time.Second {
				st := time.Now()
				if _, err := s.List(t.Context(), store.Query{Limit: 50}); err != nil {
					t.Error(err)
				}
				d := time.Since(st)
				total += d
				worst = max(worst, d)
				if d > 3*time.Millisecond {
					slow++
				}
				gets++
			}
			done.Store(true)
			wg.Wait()
			t.Logf("gen %d remove %v: %d lists, mean %v, worst %v, %d over 3ms; %d commits", n, remove, gets, total/time.Duration(gets), worst, slow, commits)
		}
	}
}

// After a commit that failed for want of room every read looks at all notes.
func TestZFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := must(b.Tenant("acme"))
	for i := 0; i < 64000; i += 1000 {
		rows := make([]store.Insertion, 1000)
		for j := range rows {
			rows[j].Token = domain.RefreshToken{ID: number(i + j + 1), UserID: fmt.Sprint("user-", i+j), ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	b.PlaceEarly(32 << 10)
	rewriteMany(t, b, 0, 64000, 1000)
	b.Close()
	info, _ := os.Stat(path)
	if b, err = Open(path, &Options{MaxSize: int(info.Size())}); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s = must(b.Tenant("acme"))
	mean := func() time.Duration {
		st := time.Now()
		for i := range 50 {
			if _, err := s.Get(t.Context(), number(77+i)); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(st) / 50
	}
	t.Log("before:", mean())
	for i := 0; ; i++ {
		rows := make([]store.Insertion, 1000)
		for j := range rows {
			rows[j].Token = domain.RefreshToken{ID: number(100000 + i*1000 + j), UserID: fmt.Sprint("user-", i+j), ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Log(err)
			break
		}
	}
	t.Log("after a commit that was not made:", mean(), "known", b.rewrites.known)
}

func TestZFormat1Damaged(t *testing.T) {
	data, err := os.ReadFile("testdata/format1.db")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f.db")
	_ = os.WriteFile(path, data, 0o600)
	f, err := CheckFile(t.Context(), path, nil)
	t.Log("check of a sound one:", f, err)
	// a page of an index, of a file that was closed
	db, _ := bbolt.Open(path, 0o600, nil)
	var root uint64
	_ = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTenants).ForEach(func(name, _ []byte) error {
			b := tx.Bucket(bucketTenants).Bucket(name).Bucket(bucketRuns)
			if b == nil { return nil }
			if r := uint64(b.Root()); r > 0 && root == 0 {
				root = r
			}
			return nil
		})
	})
	size := int64(db.Info().PageSize)
	db.Close()
	t.Log("root of runs", root)
	if root > 0 {
		file, _ := os.OpenFile(path, os.O_RDWR, 0)
		_, _ = file.WriteAt([]byte{0xFF, 0xFF}, int64(root)*size+8)
		file.Close()
	}
	_, err = Open(path, nil)
	t.Log("open:", err)
	r, err := Repair(t.Context(), path, nil)
	t.Log("repair:", r, err)
	_, err = Compact(t.Context(), path, nil)
	t.Log("compact:", err)
}

func TestZGroupFault(t *testing.T) {
	w := openRewriter(t, filepath.Join(t.TempDir(), "tokens.db"))
	defer w.backend.Close()
	w.backend.PlaceEarly(4)
	for _, key := range allKeys() {
		w.insert(t, key)
	}
	for i := 0; len(w.backend.rewrites.generations) < 2; i++ {
		w.use(t, allKeys()[i])
	}
	w.backend.rewrites.generations[0].notes[w.backend.rewrites.left[0]] = 1 << 40
	b := w.backend
	var calls []*call
	for _, key := range allKeys()[14:] {
		calls = append(calls, &call{done: make(chan struct{}, 1), run: func(x *txn) error {
			r := x.records(key.tenant)
			rec, _ := r.record(key.id)
			r.rewrite(key.id, encode(&rec, recordFields))
			return nil
		}})
	}
	b.commit(calls)
	n := 0
	for _, c := range calls {
		if c.err != nil { n++ }
	}
	t.Logf("%d of %d calls failed: %v", n, len(calls), calls[0].err)
	// later: the latest generation grows without bound
	for i := range 400 {
		w.insert(t, tokenKey{"acme", number(1000 + i)})
		w.use(t, tokenKey{"acme", number(1000 + i)})
	}
	t.Log("generations of at most 4:", b.Generations())
	b.rewrites.doubt()
	w.use(t, allKeys()[20])
	t.Log("after what the map says wrongly was learnt anew; blocked:", b.rewrites.blocked, b.Generations())
}
