package memstore

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestTable compares a table with a map, with ids that come, go and come again, as few as one part holds and as many as many do. Most
// hashes begin alike, so that parts are split unequally often.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		crowd := rapid.IntRange(0, 5).Draw(t, "crowd")
		table := newTable()
		crowded := func(id ulid.ULID) uint64 {
			hash := table.ofID(&id)
			if bits.OnesCount64(hash)%2 == 0 {
				return hash
			}
			return (hash>>crowd | 1<<63) &^ numberMask
		}
		want := map[ulid.ULID]*record{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			start := rapid.Uint16Range(0, 4000).Draw(t, "start")
			remove := rapid.IntRange(0, 2).Draw(t, "remove") == 0
			for i := range rapid.SampledFrom([]int{1, 7, 1500}).Draw(t, "count") {
				id := testID(start + uint16(i))
				hash := crowded(id)
				switch there, e := table.at(hash, &id); {
				case there != want[id]:
					t.Fatal("a table must find the record of an id, and no other")
				case there != nil && e.number() != int(id[7]):
					t.Logf("got %d, want %d", e.number(), id[7])
					t.Fatal("an entry must keep its number")
				case there != nil && remove:
					table.remove(e)
					delete(want, id)
				case there == nil && !remove:
					want[id] = &record{id: id}
					table.add(e, hash|uint64(id[7]), want[id])
				case there != nil:
					want[id] = &record{id: id}
					e.record.Store(want[id])
				}
			}
			checkTable(t, table, want)
		}
	})
}

func checkTable(t *rapid.T, table *table, want map[ulid.ULID]*record) {
	t.Helper()
	found := 0
	for e := range table.all() {
		found++
		if r := e.record.Load(); want[r.id] != r {
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

// TestTableTellsIDsApart: hashes that are alike don't make ids so.
func TestTableTellsIDsApart(t *testing.T) {
	table := newTable()
	const n, hash = minPart / 2, 7 << numberBits
	for i := range uint16(n) {
		id := testID(i)
		_, e := table.at(hash, &id)
		table.add(e, hash, &record{id: id})
	}
	gone := testID(1)
	_, e := table.at(hash, &gone)
	table.remove(e)
	for i := range uint16(n + 1) {
		id := testID(i)
		if r, _ := table.at(hash, &id); (r != nil) != (i < n && i != 1) || r != nil && r.id != id {
			t.Errorf("the record with the id %d: got %v", i, r)
		}
	}
	if r, _ := table.at(hash, &ulid.ULID{}); r != nil {
		t.Error("what stands where a record was must be found by no id")
	}
}

// put adds a record of an id that is not there.
func put(table *table, id ulid.ULID) {
	hash := table.ofID(&id)
	_, e := table.at(hash, &id)
	table.add(e, hash, &record{id: id})
}

// TestTableBesideReaders: who looks for a record while others are added never reads what is being written, which the race detector tells.
func TestTableBesideReaders(t *testing.T) {
	table := newTable()
	const n = 20_000
	var ended atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint16(0); !ended.Load(); i++ {
			if r := table.get(testID(i % n)); r != nil && r.id != testID(i%n) {
				t.Errorf("another record than that of the id %d", i%n)
				return
			}
		}
	})
	for i := range uint16(n) {
		put(table, testID(i))
	}
	ended.Store(true)
	wg.Wait()
}

// TestTableReusesRoom: what was removed leaves its room to what is added.
func TestTableReusesRoom(t *testing.T) {
	table := newTable()
	var id ulid.ULID
	for i := range uint64(100_000) {
		binary.BigEndian.PutUint64(id[8:], i+1)
		put(table, id)
		if i >= 5 {
			binary.BigEndian.PutUint64(id[8:], i-4)
			_, e := table.at(table.ofID(&id), &id)
			table.remove(e)
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
