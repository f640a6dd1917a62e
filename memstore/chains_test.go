package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// TestChains compares chains with maps of sorted slices, with texts that have no id, few, and many, with two texts of one hash, and with
// records that are replaced.
func TestChains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.SampledFrom([]int{byUser, bySession}).Draw(t, "by")
		c, want := newChains(by, func(r *record) string { return r.userID }), map[uint64][]ulid.ULID{}
		apart := c.hash
		c.hash = func(text string) uint64 {
			if text == "text-2" {
				text = "text-1"
			}
			return apart(text)
		}
		records := map[string]*record{}
		most := map[uint64]int{} // how many a hash has had at once since it last had none
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			text := fmt.Sprint("text-", rapid.IntRange(0, 2).Draw(t, "text"))
			hash := c.hash(text)
			start := rapid.Uint16Range(0, 200).Draw(t, "start")
			stride := rapid.SampledFrom([]int{1, 3, -1}).Draw(t, "stride")
			act := rapid.SampledFrom([]string{"add", "remove", "replace"}).Draw(t, "act")
			for i := range rapid.IntRange(1, 2*fewIDs).Draw(t, "count") {
				id := testID(start + uint16(i*stride))
				key := text + id.String()
				at, there := slices.BinarySearchFunc(want[hash], id, ulid.ULID.Compare)
				found := records[key] != nil
				if len(want[hash]) == 0 {
					most[hash] = 0
				}
				switch {
				case found && act == "remove":
					c.remove(records[key])
					delete(records, key)
					want[hash] = slices.Delete(want[hash], at, at+1)
				case found && act == "replace":
					next := &record{id: id, userID: text}
					c.replace(records[key], next)
					records[key] = next
				case !there && act == "add":
					records[key] = &record{id: id, userID: text}
					c.add(records[key])
					want[hash] = slices.Insert(want[hash], at, id)
					most[hash] = max(most[hash], len(want[hash]))
				}
			}
			maps.DeleteFunc(want, func(_ uint64, ids []ulid.ULID) bool { return len(ids) == 0 })
			for hash, ids := range want {
				if most[hash] > fewIDs != (c.many[hash] != nil) {
					t.Logf("%d now, %d at most", len(ids), most[hash])
					t.Fatal("the records of a text must be chained as long as they are few, and no longer")
				}
			}
			after := testID(rapid.Uint16Range(0, 500).Draw(t, "after"))
			for i := range 3 {
				text := fmt.Sprint("text-", i)
				ids := want[c.hash(text)]
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
				t.Logf("got %d hashes, want %d", got, len(want))
				t.Fatal("a text without ids must leave nothing behind")
			}
			checkChains(t, &c, records)
		}
	})
}

// checkChains: each record of a chain is the latest of its token, and is counted; only those before all others don't know the one before.
func checkChains(t *rapid.T, c *chains, records map[string]*record) {
	t.Helper()
	for e := range c.heads.all() {
		n, above, known := 0, (*record)(nil), false
		for r := e.record.Load(); r != nil; r = r.links[c.by].next {
			if r != records[r.userID+r.id.String()] {
				t.Fatal("a chain must lead from record to record")
			}
			switch previous := r.links[c.by].previous; {
			case previous != nil && previous != above, previous == nil && known:
				t.Fatal("a record must know the one before it, or else those before it must not, either")
			case previous != nil:
				known = true
			}
			n, above = n+1, r
		}
		if e.number() != n {
			t.Logf("got %d, want %d", e.number(), n)
			t.Fatal("the records of a chain must be counted")
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

// TestTextsOfOneHash: users and sessions whose texts have the same hash are as far apart as others: in a list, under a cap, in a sweep.
func TestTextsOfOneHash(t *testing.T) {
	for _, of := range []struct {
		name string
		each uint16 // so many tokens each has; few or many
	}{{"few", 3}, {"many", fewIDs}} {
		t.Run(of.name, func(t *testing.T) {
			ctx, tn := context.Background(), newTenant()
			alike := func(string) uint64 { return 0 }
			tn.byUser.hash, tn.bySession.hash = alike, alike
			users := []string{"alice", "bob"}
			for i := range 2 * of.each {
				token := testToken(i, users[i%2])
				token.SessionID = domain.MustSessionID("session of " + token.UserID)
				insert(t, tn, store.Insertion{Token: token, Cap: store.Cap{Max: int(of.each), Refuse: true}})
			}
			count := func(q store.Query) (n int) {
				t.Helper()
				for q.Limit = 7; ; {
					page, err := tn.List(ctx, q)
					if err != nil {
						t.Fatal(err)
					}
					if n += len(page.Tokens); page.Next.IsZero() {
						return n
					}
					q.After = page.Next
				}
			}
			for _, user := range users {
				if n, m := count(store.Query{UserID: user}), count(store.Query{UserID: user, SessionID: "session of " + user}); n != int(of.each) || m != n {
					t.Errorf("%s has %d tokens, %d in the session; want %d", user, n, m, of.each)
				}
			}
			for i, target := range []domain.Target{{UserID: "alice"}, {SessionID: "session of bob"}} {
				id := testID(1000 + uint16(i))
				if _, err := tn.Revoke(ctx, store.Revocation{ID: id, Targets: []domain.Target{target}, Time: epoch}); err != nil {
					t.Fatal(err)
				}
				if _, err := tn.Apply(ctx, []ulid.ULID{id}, store.Bounds{Visit: 1000, Remove: 1000, Now: epoch}); err != nil {
					t.Fatal(err)
				}
				if n, want := tn.tokens.count, int(of.each)*(1-i); n != want {
					t.Errorf("%d tokens are left after the sweep of %v, want %d", n, target, want)
				}
			}
			for _, c := range []*chains{&tn.byUser, &tn.bySession} {
				if n := c.heads.count + len(c.many); n != 0 {
					t.Errorf("%d chains or sets are left", n)
				}
			}
		})
	}
}
