package memstore

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestIDIndex compares the index with maps of sorted slices, with texts that have no id, few, and many.
func TestIDIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		index, want := newIDIndex(), map[string][]ulid.ULID{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			text := fmt.Sprint("text-", rapid.IntRange(0, 2).Draw(t, "text"))
			start := rapid.Uint16Range(0, 200).Draw(t, "start")
			stride := rapid.SampledFrom([]int{1, 3, -1}).Draw(t, "stride")
			remove := rapid.Bool().Draw(t, "remove")
			for i := range rapid.IntRange(1, 2*fewIDs).Draw(t, "count") {
				id := testID(start + uint16(i*stride))
				at, found := slices.BinarySearchFunc(want[text], id, ulid.ULID.Compare)
				switch {
				case remove:
					index.remove(text, id)
					if found {
						want[text] = slices.Delete(want[text], at, at+1)
					}
				default:
					index.add(text, id)
					if !found {
						want[text] = slices.Insert(want[text], at, id)
					}
				}
			}
			after := testID(rapid.Uint16Range(0, 500).Draw(t, "after"))
			for text, ids := range want {
				at, found := slices.BinarySearchFunc(ids, after, ulid.ULID.Compare)
				if found {
					at++
				}
				if got := slices.Collect(index.after(text, after)); !slices.Equal(got, ids[at:]) {
					t.Logf("%s after %v: got %d ids, want %d", text, after, len(got), len(ids[at:]))
					t.Fatal("after must walk the ids above the given one")
				}
			}
			maps.DeleteFunc(want, func(_ string, ids []ulid.ULID) bool { return len(ids) == 0 })
			if got := len(index.few) + len(index.many); got != len(want) {
				t.Logf("got %d texts, want %d", got, len(want))
				t.Fatal("a text without ids must leave nothing behind")
			}
		}
	})
}
