package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// errUndo rolls a test's transaction back.
var errUndo = errors.New("undo")

// indexRig is an index within a transaction, and what it should hold.
type indexRig struct {
	records *records
	want    map[entry]bool
	numbers uint64
}

func withIndex(t rapid.TB, b *Backend, f func(*indexRig)) {
	var failed any // what a failing test panics with is its own
	err := b.update(context.Background(), func(x *txn) error {
		x.tenants = map[string]*records{} // nothing of it is saved
		r := x.records("acme")
		r.save()
		func() {
			defer func() {
				if failed = recover(); failed != nil {
					panic(fault{errUndo})
				}
			}()
			f(&indexRig{records: r, want: map[entry]bool{}})
		}()
		panic(fault{errUndo})
	})
	if f, ok := failed.(fault); ok {
		t.Fatal(f.err)
	}
	if failed != nil {
		panic(failed)
	}
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
}

// add adds an entry of one of a few prefixes, with an id of its own.
func (x *indexRig) add(prefixes, salt uint64) {
	x.numbers++
	var id ulid.ULID
	binary.BigEndian.PutUint64(id[:], x.numbers*0x9E3779B97F4A7C15^salt)
	kind := byUser + byte(x.numbers%2) // the other is bySession
	x.put(underHash(kind, binary.BigEndian.AppendUint64(nil, (x.numbers*salt%prefixes)<<8)).entry(id))
}

func (x *indexRig) put(e entry) {
	x.want[e] = true
	x.records.index(e)
	x.records.settle()
}

func (x *indexRig) remove(e entry) {
	delete(x.want, e)
	x.records.unindex(e)
	x.records.settle()
}

// removeAlone removes all that stands alone, at once.
func (x *indexRig) removeAlone() {
	var gone []entry
	for e := range x.want {
		if e.alone() {
			gone = append(gone, e)
			delete(x.want, e)
		}
	}
	x.records.unindex(gone...)
	x.records.settle()
}

func (x *indexRig) sorted() []entry {
	var all []entry
	for e := range x.want {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b entry) int { return bytes.Compare(a[:], b[:]) })
	return all
}

func (x *indexRig) check(t rapid.TB) {
	want := x.sorted()
	var got []entry
	x.records.between(entry{}, prefix{0xFF}.last(), func(e *entry) bool { got = append(got, *e); return true })
	if !slices.Equal(got, want) {
		t.Logf("got %d entries, want %d", len(got), len(want))
		t.Fatal("the index must have each entry once, in order")
	}
}

// However many entries come and go, and wherever they have moved by then, each is found, in order, from any place on.
func TestIndex(t *testing.T) {
	b, _ := rig(t)
	rapid.Check(t, func(t *rapid.T) {
		b.SettleEarly(rapid.SampledFrom([]uint64{8, 200}).Draw(t, "settles"))
		withIndex(t, b, func(x *indexRig) {
			salt, prefixes := 2*rapid.Uint64().Draw(t, "salt")+1, rapid.Uint64Range(1, 5).Draw(t, "prefixes")
			for range rapid.IntRange(1, 12).Draw(t, "rounds") {
				for range rapid.IntRange(0, 200).Draw(t, "added") {
					x.add(prefixes, salt)
				}
				all := x.sorted()
				keep := rapid.IntRange(0, 4).Draw(t, "kept of four")
				back := rapid.IntRange(0, 8).Draw(t, "back of eight")
				for i, e := range all {
					if i%4 >= keep {
						x.remove(e)
						if i%8 < back {
							x.put(e)
						}
						if i%8 < back-4 {
							x.remove(e)
						}
					}
				}
				x.check(t)
				if all = x.sorted(); len(all) == 0 {
					continue
				}
				from := all[rapid.IntRange(0, len(all)-1).Draw(t, "from")]
				var want, got []ulid.ULID
				for _, e := range all {
					if bytes.Equal(e[:prefixSize], from[:prefixSize]) && bytes.Compare(e[:], from[:]) > 0 {
						want = append(want, e.id())
					}
				}
				ended := x.records.indexed(prefix(from[:prefixSize]), from.id(), func(id ulid.ULID) bool { got = append(got, id); return true })
				if !ended || !slices.Equal(got, want) {
					t.Fatal("a part of the index must be as it is in the whole")
				}
			}
		})
	})
}

// Runs are merged as fast as they come, also behind a slice that cancels far more at once than settles: their number grows with the
// logarithm of the entries.
func TestIndexHasFewRuns(t *testing.T) {
	b, _ := rig(t)
	const limit, entries = 16, 60_000
	b.SettleEarly(limit)
	withIndex(t, b, func(x *indexRig) {
		most := 0
		salt := 2*rand.Uint64() + 1
		for n := range entries {
			x.add(1_000_003, salt)
			if n == entries/2 {
				x.removeAlone()
			}
			if x.records.meta.fresh > 0 {
				continue
			}
			levels := 1
			for runs := (n + 1) / limit; runs > 0; runs >>= levelBits {
				levels++
			}
			if got := len(x.records.runs()); got > 4*levels+3 {
				t.Fatalf("%d runs after %d entries: more than four for each of %d levels, and three", got, n+1, levels)
			}
			most = max(most, len(x.records.runs()))
		}
		x.check(t)
		t.Logf("at most %d runs of %d entries that settle by %d", most, entries, limit)
	})
}

// However large the levels are, a commit moves no more to each of them than so much.
func TestCommitMovesFew(t *testing.T) {
	b, _ := rig(t)
	const limit, entries = 16, 6_000
	b.SettleEarly(limit)
	withIndex(t, b, func(x *indexRig) {
		salt := 2*rand.Uint64() + 1
		var before [256]int // by level
		for n := range entries {
			x.add(1_000_003, salt)
			if x.records.meta.fresh > 0 {
				continue
			}
			var held [256]int
			x.records.after(bucketRuns, nil, nil, func(k, block []byte) bool { held[k[0]] += len(block) / entrySize; return true })
			for level, now := range held {
				if came := now - before[level]; level > 0 && came > movedAtOnce(limit) {
					t.Fatalf("%d entries have come to level %d at once, after %d", came, level, n+1)
				}
			}
			before = held
		}
	})
}

// That is twice as many entries as have come, in whole blocks.
func TestMovedAtOnce(t *testing.T) {
	for come := range 5 * blockMax {
		if moved := movedAtOnce(come); moved%blockMax != 0 || moved < 2*come || moved >= 2*come+blockMax {
			t.Errorf("%d are moved when %d come", moved, come)
		}
	}
}

// What a sweep cancels settles with it, and does not wait for another token to come.
func TestSweepSettles(t *testing.T) {
	b, s := rig(t)
	const limit = 8
	b.SettleEarly(limit)
	rows := make([]store.Insertion, 20)
	for i := range rows {
		rows[i].Token = domain.RefreshToken{
			ID: ulid.ULID{15: byte(i + 1)}, UserID: "ann", ClientID: "client", CreatedAt: instant, SessionID: domain.MustSessionID(string(rune('a' + i))),
		}
	}
	if _, err := s.Insert(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	id := ulid.ULID{1}
	_, err := s.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{{UserID: "ann"}}, Time: instant, Reason: "test"})
	if err == nil {
		_, err = s.Apply(t.Context(), []ulid.ULID{id}, store.Bounds{Visit: 100, Remove: 100, Now: instant})
	}
	if err != nil {
		t.Fatal(err)
	}
	err = b.view(t.Context(), func(x *txn) error {
		if m := x.records("acme").meta; m.tokens > 0 || m.fresh >= limit {
			t.Errorf("%d tokens and %d fresh entries are left, want none and fewer than %d", m.tokens, m.fresh, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What comes and goes leaves little behind: a run has no more than what was there when it began, as marks, and what was there when it
// ended.
func TestIndexOfWhatComesAndGoes(t *testing.T) {
	b, _ := rig(t)
	const limit, live, lives = 16, 100, 30_000
	b.SettleEarly(limit)
	withIndex(t, b, func(x *indexRig) {
		var there []entry
		most := 0
		for n := range uint64(lives) {
			hash := binary.BigEndian.AppendUint64(nil, (n+1)*0x9E3779B97F4A7C15)
			e := underHash(bySession, hash).entry(ulid.ULID(append(hash, hash...)))
			x.put(e)
			if there = append(there, e); len(there) <= live {
				continue
			}
			x.remove(there[0])
			there = there[1:]
			held := 0
			x.records.after(bucketRuns, nil, nil, func(_, block []byte) bool { held += len(block) / entrySize; return true })
			if runs := len(x.records.runs()); held > runs*2*(live+1) {
				t.Logf("%d entries and marks in %d runs, after %d", held, runs, n)
				t.Fatal("a run must not have more entries or marks than two for each that was there")
			}
			most = max(most, held)
		}
		x.check(t)
		t.Logf("at most %d entries and marks for %d", most, live)
	})
}

// A block that is damaged, a key that is none, or an entry that can't be, is an error and never an answer.
func TestIndexDamaged(t *testing.T) {
	for name, spoil := range map[string]func(runs, fresh *bbolt.Bucket) error{
		"a block": func(runs, _ *bbolt.Bucket) error {
			k, v := runs.Cursor().First()
			v = bytes.Clone(v)
			v[3]++
			return runs.Put(bytes.Clone(k), v)
		},
		"a block that ends early": func(runs, _ *bbolt.Bucket) error {
			k, v := runs.Cursor().First()
			return runs.Put(bytes.Clone(k), bytes.Clone(v[:len(v)-1]))
		},
		"no entries": func(runs, _ *bbolt.Bucket) error {
			k, _ := runs.Cursor().First()
			return runs.Put(bytes.Clone(k), codec.Sealed(nil))
		},
		"an entry and a half": func(runs, _ *bbolt.Bucket) error {
			k, v := runs.Cursor().First()
			return runs.Put(bytes.Clone(k), codec.Sealed(bytes.Clone(v[:entrySize+entrySize/2])))
		},
		"the last entry of a block": func(runs, _ *bbolt.Bucket) error { // which is in order all the same
			k, v := runs.Cursor().First()
			v = bytes.Clone(v)
			v[len(v)-codec.SealSize-1]++
			return runs.Put(bytes.Clone(k), v)
		},
		"an entry twice in a block": func(runs, _ *bbolt.Bucket) error {
			k, v := runs.Cursor().First()
			return runs.Put(bytes.Clone(k), codec.Sealed(slices.Concat(v[:entrySize], v[:len(v)-codec.SealSize])))
		},
		"entries in another order": func(runs, _ *bbolt.Bucket) error {
			k, v := runs.Cursor().First()
			block := slices.Concat(v[:entrySize], v[2*entrySize:3*entrySize], v[entrySize:2*entrySize], v[3*entrySize:len(v)-codec.SealSize])
			return runs.Put(bytes.Clone(k), codec.Sealed(block))
		},
		"a run's key": func(runs, _ *bbolt.Bucket) error { return runs.Put([]byte{0, 1}, []byte{1}) },
		"a note":      func(_, fresh *bbolt.Bucket) error { return fresh.Put([]byte{byUser}, []byte{1}) },
		"an entry twice": func(runs, fresh *bbolt.Bucket) error {
			_, v := runs.Cursor().First()
			return fresh.Put(numberKey(1_000_000), codec.Sealed(bytes.Clone(v[:entrySize])))
		},
		"a mark of nothing": func(_, fresh *bbolt.Bucket) error {
			mark := underSession("nobody's").entry(ulid.ULID{1}).mark()
			return fresh.Put(numberKey(1_000_000), codec.Sealed(mark[:]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := rig(t)
			b.SettleEarly(8)
			withIndex(t, b, func(x *indexRig) {
				for range 20 {
					x.add(1, 1)
				}
				if err := spoil(x.records.bucket(bucketRuns), x.records.bucket(bucketFresh)); err != nil {
					t.Fatal(err)
				}
				x.records.known = nil
				err := protect(func() error {
					x.records.between(entry{}, prefix{0xFF}.last(), func(*entry) bool { return true })
					return nil
				})
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("got error %v, want ErrCorrupt", err)
				}
			})
		})
	}
}
