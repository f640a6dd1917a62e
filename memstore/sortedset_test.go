package memstore

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestIDSet compares the set with a sorted slice, with ids from a range small enough that they come back, and enough of
// them to fill several chunks.
func TestIDSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set idSet
		var want []ulid.ULID
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			start := rapid.Uint16Range(0, 4000).Draw(t, "start")
			stride := rapid.SampledFrom([]int{1, 2, 7, -1, -3, 1009}).Draw(t, "stride") // ascending, descending, scattered
			remove := rapid.IntRange(0, 2).Draw(t, "remove") == 0
			for i := range rapid.IntRange(1, 1500).Draw(t, "count") {
				id := testID(start + uint16(i*stride))
				at, found := slices.BinarySearchFunc(want, id, ulid.ULID.Compare)
				switch {
				case remove:
					set.remove(id)
					if found {
						want = slices.Delete(want, at, at+1)
					}
				default:
					set.add(id)
					if !found {
						want = slices.Insert(want, at, id)
					}
				}
			}
			checkSet(t, &set, want)
			after := testID(rapid.Uint16().Draw(t, "after"))
			at, found := slices.BinarySearchFunc(want, after, ulid.ULID.Compare)
			if found {
				at++
			}
			if got := slices.Collect(set.after(after)); !slices.Equal(got, want[at:]) {
				t.Logf("after %v: got %d ids, want %d", after, len(got), len(want[at:]))
				t.Fatal("after must walk the ids above the given one")
			}
		}
	})
}

// testID is never the zero id, above which the walks of these tests start.
func testID(n uint16) (id ulid.ULID) {
	binary.BigEndian.PutUint16(id[6:], n)
	id[0] = 1
	return id
}

func checkSet(t *rapid.T, set *idSet, want []ulid.ULID) {
	t.Helper()
	if got := slices.Collect(set.after(ulid.ULID{})); !slices.Equal(got, want) {
		t.Logf("got %d ids, want %d", len(got), len(want))
		t.Fatal("a set must hold each id once, in order")
	}
	if set.empty() != (len(want) == 0) {
		t.Fatal("a set must know whether it is empty")
	}
	for _, chunk := range set.chunks {
		if len(chunk) == 0 || len(chunk) > chunkSize {
			t.Logf("a chunk of %d", len(chunk))
			t.Fatal("a chunk must be neither empty nor too large")
		}
	}
}

// TestIDSetChunksAreApart splits a chunk and then changes one half: the other must not notice.
func TestIDSetChunksAreApart(t *testing.T) {
	var set idSet
	for i := range uint16(chunkSize) {
		set.add(testID(2 * i))
	}
	set.add(testID(chunkSize - 1)) // in the middle of a full chunk
	for i := range uint16(chunkSize / 2) {
		set.add(testID(2*i + 1))
	}
	want := slices.Collect(set.after(ulid.ULID{}))
	if !slices.IsSortedFunc(want, ulid.ULID.Compare) || len(slices.Compact(want)) != chunkSize+chunkSize/2 {
		t.Errorf("a split must lose and repeat nothing: got %d ids", len(want))
	}
}

// TestIDSetBetweenChunks adds an id between a chunk that is full and the next one.
func TestIDSetBetweenChunks(t *testing.T) {
	var set idSet
	for i := range uint16(3 * chunkSize) {
		set.add(testID(3 * i))
	}
	for i := uint16(1); len(set.chunks[0]) < chunkSize; i += 3 {
		set.add(testID(i))
	}
	last := set.chunks[0][chunkSize-1]
	before := len(slices.Collect(set.after(ulid.ULID{})))
	set.add(testID(binary.BigEndian.Uint16(last[6:]) + 1))
	got := slices.Collect(set.after(ulid.ULID{}))
	if !slices.IsSortedFunc(got, ulid.ULID.Compare) || len(slices.Compact(got)) != before+1 {
		t.Errorf("a set must hold each id once, in order: got %d ids, want %d", len(got), before+1)
	}
}
