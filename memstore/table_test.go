package memstore

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestTable compares a table with a map, with keys that come, go and come again, as few as one part holds and as many as many do. Most
// hashes begin alike, so that parts are split unequally often.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		crowd := rapid.IntRange(0, 5).Draw(t, "crowd")
		crowded := func(seed maphash.Seed, id ulid.ULID) uint64 {
			hash := hashID(seed, id)
			if hash%2 == 0 {
				return hash
			}
			return hash>>crowd | 1<<63
		}
		table := newTable(crowded, func(r *record) ulid.ULID { return r.id })
		want := map[ulid.ULID]*record{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			start := rapid.Uint16Range(0, 4000).Draw(t, "start")
			remove := rapid.IntRange(0, 2).Draw(t, "remove") == 0
			for i := range rapid.SampledFrom([]int{1, 7, 1500}).Draw(t, "count") {
				id := testID(start + uint16(i))
				switch there := table.get(id); {
				case there != want[id]:
					t.Fatal("a table must find the record of a key, and no other")
				case remove:
					table.remove(id)
					delete(want, id)
				case there == nil:
					want[id] = &record{id: id}
					table.add(want[id])
				default:
					want[id] = &record{id: id}
					_, at := table.at(id)
					at.record.Store(want[id])
				}
			}
			checkTable(t, table, want)
		}
	})
}

func checkTable(t *rapid.T, table *table[ulid.ULID], want map[ulid.ULID]*record) {
	t.Helper()
	found := 0
	for r := range table.all() {
		found++
		if want[r.id] != r {
			t.Fatal("a table must hold no record that was removed or replaced")
		}
	}
	if found != len(want) || table.count != len(want) {
		t.Logf("got %d records, counted as %d, want %d", found, table.count, len(want))
		t.Fatal("a table must hold each record once, and count them")
	}
	all := table.parts.Load()
	for i := range all.list {
		p := all.list[i].Load()
		places := len(all.list) >> p.bits
		switch {
		case len(p.entries) > maxPart || p.used > len(p.entries)*3/4:
			t.Logf("%d of %d entries used", p.used, len(p.entries))
			t.Fatal("no part may be too large, or too full to be searched")
		case all.list[i-i%places].Load() != p:
			t.Fatal("a part must stand wherever hashes that begin as its own do are looked for")
		}
	}
}

// TestTableTellsKeysApart: hashes that are alike don't make keys so.
func TestTableTellsKeysApart(t *testing.T) {
	alike := func(maphash.Seed, ulid.ULID) uint64 { return 7 }
	table := newTable(alike, func(r *record) ulid.ULID { return r.id })
	const n = minPart / 2
	for i := range uint16(n) {
		table.add(&record{id: testID(i)})
	}
	table.remove(testID(1))
	for i := range uint16(n + 1) {
		if r := table.get(testID(i)); (r != nil) != (i < n && i != 1) || r != nil && r.id != testID(i) {
			t.Errorf("the record with the key %d: got %v", i, r)
		}
	}
	if table.get(ulid.ULID{}) != nil {
		t.Error("what stands where a record was must be found by no key")
	}
}

// TestTableBesideReaders: who looks for a record while others are added never reads what is being written, which the race detector tells.
func TestTableBesideReaders(t *testing.T) {
	table := newTable(hashID, func(r *record) ulid.ULID { return r.id })
	const n = 20_000
	var ended atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint16(0); !ended.Load(); i++ {
			if r := table.get(testID(i % n)); r != nil && r.id != testID(i%n) {
				t.Errorf("another record than that of the key %d", i%n)
				return
			}
		}
	})
	for i := range uint16(n) {
		table.add(&record{id: testID(i)})
	}
	ended.Store(true)
	wg.Wait()
}

// TestTableReusesRoom: what was removed leaves its room to what is added.
func TestTableReusesRoom(t *testing.T) {
	table := newTable(hashID, func(r *record) ulid.ULID { return r.id })
	var id ulid.ULID
	for i := range uint64(100_000) {
		binary.BigEndian.PutUint64(id[8:], i+1)
		table.add(&record{id: id})
		if i >= 5 {
			binary.BigEndian.PutUint64(id[8:], i-4)
			table.remove(id)
		}
	}
	entries := 0
	all := table.parts.Load()
	for i := range all.list {
		entries += len(all.list[i].Load().entries)
	}
	if entries > 8*minPart || len(slices.Collect(table.all())) != 5 {
		t.Errorf("%d entries for %d records", entries, table.count)
	}
}
