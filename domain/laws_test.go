package domain_test

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

// TestMemoryIsUnion: what is remembered of a set of tombstones, and what bounds it once it is forgotten, is the same however the
// tombstones are ordered, repeated, taken apart or put together, and bars what any of them bars.
func TestMemoryIsUnion(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		var set, rearranged []domain.Tombstone
		for range rapid.IntRange(1, 5).Draw(t, "tombstones") {
			set = append(set, drawTombstone(t))
		}
		for _, tombstone := range set {
			cut := rapid.IntRange(0, len(tombstone.Targets)).Draw(t, "cut")
			for _, targets := range [][]domain.Target{tombstone.Targets[:cut], reversedTargets(tombstone.Targets[cut:]), tombstone.Targets[:cut]} {
				part := tombstone
				part.Targets = targets
				rearranged = append(rearranged, part)
			}
		}
		rearranged = rapid.Permutation(rearranged).Draw(t, "order")

		memory, horizon := remembered(set)
		otherMemory, otherHorizon := remembered(rearranged)
		if !maps.Equal(memory, otherMemory) {
			t.Fatalf("order, grouping or repetition changes what is remembered")
		}
		if horizon != otherHorizon {
			t.Fatalf("order, grouping or repetition changes what bounds the forgotten")
		}
		candidate, asOf := drawToken(t), drawAsOf(t)
		barred, want := false, slices.ContainsFunc(set, func(t domain.Tombstone) bool { return t.Bars(&candidate, asOf) })
		for _, g := range memory {
			barred = barred || g.Bars(&candidate, asOf)
		}
		if barred != want {
			t.Fatalf("what is remembered bars something else than the tombstones do")
		}
	})
}

// remembered joins the guards of all tombstones, by the key of the target, and forgets them as well.
func remembered(set []domain.Tombstone) (map[string]domain.Guard, domain.Horizon) {
	memory, horizon := map[string]domain.Guard{}, domain.Horizon{}
	for _, tombstone := range set {
		for _, g := range tombstone.Guards() {
			horizon = horizon.Forget(g)
			if there, ok := memory[g.Target.Key()]; ok {
				g = there.Join(g)
			}
			memory[g.Target.Key()] = g
		}
	}
	return memory, horizon
}

// checkLaw checks a property as rapid.Check does, and reports how many cases ran to their end.
func checkLaw(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	cases := 0
	rapid.Check(t, func(rt *rapid.T) {
		property(rt)
		cases++
	})
	t.Attr("cases", strconv.Itoa(cases))
}
