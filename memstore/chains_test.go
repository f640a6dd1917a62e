package memstore

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestChains compares chains with maps of sorted slices, with texts that have no id, few, and many, and records that are replaced.
func TestChains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.SampledFrom([]int{byUser, bySession}).Draw(t, "by")
		c, want := newChains(by, func(r *record) string { return r.userID }), map[string][]ulid.ULID{}
		records := map[string]*record{}
		most := map[string]int{} // how many a text has had at once since it last had none
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			text := fmt.Sprint("text-", rapid.IntRange(0, 2).Draw(t, "text"))
			start := rapid.Uint16Range(0, 200).Draw(t, "start")
			stride := rapid.SampledFrom([]int{1, 3, -1}).Draw(t, "stride")
			act := rapid.SampledFrom([]string{"add", "remove", "replace"}).Draw(t, "act")
			for i := range rapid.IntRange(1, 2*fewIDs).Draw(t, "count") {
				id := testID(start + uint16(i*stride))
				key := text + id.String()
				at, found := slices.BinarySearchFunc(want[text], id, ulid.ULID.Compare)
				if len(want[text]) == 0 {
					most[text] = 0
				}
				switch {
				case found && act == "remove":
					c.remove(records[key])
					want[text] = slices.Delete(want[text], at, at+1)
				case found && act == "replace":
					next := &record{id: id, userID: text}
					c.replace(records[key], next)
					records[key] = next
				case !found && act == "add":
					records[key] = &record{id: id, userID: text}
					c.add(records[key])
					want[text] = slices.Insert(want[text], at, id)
					most[text] = max(most[text], len(want[text]))
				}
			}
			maps.DeleteFunc(want, func(_ string, ids []ulid.ULID) bool { return len(ids) == 0 })
			for text, ids := range want {
				if most[text] > fewIDs != (c.many[text] != nil) {
					t.Logf("%d now, %d at most", len(ids), most[text])
					t.Fatal("the records of a text must be chained as long as they are few, and no longer")
				}
			}
			after := testID(rapid.Uint16Range(0, 500).Draw(t, "after"))
			for text, ids := range want {
				at, found := slices.BinarySearchFunc(ids, after, ulid.ULID.Compare)
				if found {
					at++
				}
				if got := slices.Collect(c.after(text, after)); !slices.Equal(got, ids[at:]) {
					t.Logf("%s after %v: got %d ids, want %d", text, after, len(got), len(ids[at:]))
					t.Fatal("after must walk the ids above the given one")
				}
			}
			if got := c.heads.count + len(c.many); got != len(want) {
				t.Logf("got %d texts, want %d", got, len(want))
				t.Fatal("a text without ids must leave nothing behind")
			}
			checkChains(t, &c, records)
		}
	})
}

// checkChains: each record of a chain is the latest of its token, is joined both ways, and only the first knows how many there are.
func checkChains(t *rapid.T, c *chains, records map[string]*record) {
	t.Helper()
	for head := range c.heads.all() {
		n, previous := 0, (*record)(nil)
		for r := head; r != nil; r = r.links[c.by].next {
			if r != records[r.userID+r.id.String()] || r.links[c.by].previous != previous {
				t.Fatal("a chain must lead from record to record and back")
			}
			n, previous = n+1, r
		}
		if int(head.chained[c.by]) != n {
			t.Logf("got %d, want %d", head.chained[c.by], n)
			t.Fatal("the first record of a chain must count it")
		}
	}
}

// TestChainsLetGo: a record that was removed, or moved into a set, keeps no other from being collected.
func TestChainsLetGo(t *testing.T) {
	c := newChains(byUser, func(r *record) string { return r.userID })
	var records []*record
	for i := range uint16(fewIDs) {
		records = append(records, &record{id: testID(i), userID: "user", sessionID: domain.MustSessionID("session")})
		c.add(records[i])
	}
	for _, r := range records[:fewIDs/2] {
		c.remove(r)
	}
	for i := range uint16(fewIDs) {
		c.add(&record{id: testID(fewIDs + i), userID: "user"})
	}
	for i, r := range records {
		if r.links[byUser] != (link{}) {
			t.Errorf("record %d still has links", i)
		}
	}
}
