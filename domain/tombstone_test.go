package domain_test

import (
	"math"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func TestTombstoneWatermark(t *testing.T) {
	for _, c := range []struct {
		sequence, watermark uint64
		want                bool
	}{
		{0, 0, true}, {1, 0, false},
		{4, 5, true}, {5, 5, true}, {6, 5, false},
		{math.MaxUint64 - 1, math.MaxUint64 - 1, true}, {math.MaxUint64, math.MaxUint64 - 1, false},
		{math.MaxUint64, math.MaxUint64, true},
	} {
		token := full()
		token.Sequence = c.sequence
		for _, target := range []domain.Target{{Everything: true}, {UserID: "user"}, {TokenID: token.ID}} {
			tombstone := domain.Tombstone{Targets: []domain.Target{target}, Watermark: c.watermark}
			if got := tombstone.Covers(&token); got != c.want {
				t.Errorf("sequence %d, watermark %d: got %t, want %t", c.sequence, c.watermark, got, c.want)
			}
		}
	}
}

func TestTombstoneIgnoresClocks(t *testing.T) {
	// Sequences alone say what is later. A token with a clock far ahead is reached, one with a clock far behind is not.
	tombstone := domain.Tombstone{Targets: []domain.Target{{UserID: "user"}}, Watermark: 5, Time: noon, Through: noon}
	ahead, behind := full(), full()
	ahead.CreatedAt, ahead.Sequence = noon.AddDate(1, 0, 0), 5
	behind.CreatedAt, behind.Sequence = noon.AddDate(-1, 0, 0), 6
	if !tombstone.Covers(&ahead) || tombstone.Covers(&behind) {
		t.Error("a clock decides what is covered")
	}
}

func TestTombstoneAnyTarget(t *testing.T) {
	token := full()
	hit, miss := domain.Target{UserID: "user"}, domain.Target{UserID: "other"}
	for _, c := range []struct {
		targets []domain.Target
		want    bool
	}{
		{nil, false},
		{[]domain.Target{{}}, false},
		{[]domain.Target{miss}, false},
		{[]domain.Target{hit}, true},
		{[]domain.Target{hit, miss, miss}, true},
		{[]domain.Target{miss, hit, miss}, true},
		{[]domain.Target{miss, miss, hit}, true},
		{[]domain.Target{miss, {ClientID: "other"}, {UserID: "user", ClientID: "other"}}, false},
	} {
		tombstone := domain.Tombstone{Targets: c.targets, Watermark: 5}
		if got := tombstone.Covers(&token); got != c.want {
			t.Errorf("%+v: got %t, want %t", c.targets, got, c.want)
		}
	}
}

// wantCover checks what a set of tombstones covers of tokens of client at sequences 1, 2, 3 ...
func wantCover(t *testing.T, tombstones []domain.Tombstone, user, client string, want ...bool) {
	t.Helper()
	for i, w := range want {
		token := domain.RefreshToken{ID: ulid.ULID{1}, UserID: user, ClientID: client, CreatedAt: noon, Sequence: uint64(i) + 1}
		for _, order := range [][]domain.Tombstone{tombstones, reversed(tombstones)} {
			if got := domain.Covers(order, &token); got != w {
				t.Errorf("token %d of user %s, client %s: got %t, want %t", i+1, user, client, got, w)
			}
		}
	}
}

func reversed(tombstones []domain.Tombstone) []domain.Tombstone {
	tombstones = slices.Clone(tombstones)
	slices.Reverse(tombstones)
	return tombstones
}

// TestCoversCVE202608922RealmNotMaskedByClient: in CVE-2026-8922, Keycloak's introspection did not honour the cut-off of
// a realm once the client had one of its own.
func TestCoversCVE202608922RealmNotMaskedByClient(t *testing.T) {
	realm := domain.Tombstone{Targets: []domain.Target{{Everything: true}}, Watermark: 4}
	narrow := domain.Tombstone{Targets: []domain.Target{{ClientID: client}}, Watermark: 2}
	both := []domain.Tombstone{realm, narrow}
	wantCover(t, both, "user", client, true, true, true, true, false)
	wantCover(t, both, "user", "other", true, true, true, true, false)

	byUser := domain.Tombstone{Targets: []domain.Target{{UserID: "user"}}, Watermark: 1}
	wantCover(t, []domain.Tombstone{realm, narrow, byUser}, "user", client, true, true, true, true, false)
}

// TestCoversCVE202618218ClientNotMaskedByRealm: CVE-2026-18218 was the reverse. Keycloak ignored the cut-off of a client
// as long as its realm had an older one.
func TestCoversCVE202618218ClientNotMaskedByRealm(t *testing.T) {
	realm := domain.Tombstone{Targets: []domain.Target{{Everything: true}}, Watermark: 2}
	narrow := domain.Tombstone{Targets: []domain.Target{{ClientID: client}}, Watermark: 4}
	both := []domain.Tombstone{realm, narrow}
	wantCover(t, both, "user", client, true, true, true, true, false)
	wantCover(t, both, "user", "other", true, true, false, false, false)

	byUser := domain.Tombstone{Targets: []domain.Target{{UserID: "user"}}, Watermark: 3}
	wantCover(t, []domain.Tombstone{realm, narrow, byUser}, "user", "other", true, true, true, false, false)
	wantCover(t, []domain.Tombstone{realm, narrow, byUser}, "user", client, true, true, true, true, false)
}

// TestCoversIsUnion: what is covered is the union over all tombstones and targets, however these are ordered, repeated,
// taken apart or put together.
func TestCoversIsUnion(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		var set []domain.Tombstone
		for range rapid.IntRange(0, 5).Draw(t, "tombstones") {
			set = append(set, drawTombstone(t))
		}
		token := drawToken(t)
		want := false
		for _, tombstone := range set {
			for _, target := range tombstone.Targets {
				want = want || naively(target, token) && token.Sequence <= tombstone.Watermark
			}
		}
		t.Logf("want %t of %+v", want, token)
		if domain.Covers(set, &token) != want {
			t.Fatalf("Covers is not the union")
		}

		var split, doubled []domain.Tombstone
		for _, tombstone := range set {
			for _, target := range tombstone.Targets {
				one := tombstone
				one.Targets = []domain.Target{target}
				split = append(split, one)
			}
			twice := tombstone
			twice.Targets = slices.Concat(tombstone.Targets, reversedTargets(tombstone.Targets))
			doubled = append(doubled, twice, tombstone)
		}
		if domain.Covers(split, &token) != want {
			t.Fatalf("splitting tombstones changes what is covered")
		}
		if domain.Covers(doubled, &token) != want {
			t.Fatalf("repetition changes what is covered")
		}
		if len(set) > 0 && domain.Covers(rapid.Permutation(set).Draw(t, "order"), &token) != want {
			t.Fatalf("order changes what is covered")
		}

		more := append(slices.Clone(set), drawTombstone(t))
		if want && !domain.Covers(more, &token) {
			t.Fatalf("one more revocation brings a token back")
		}
		for i := range set {
			single := set[i].Covers(&token)
			if single && !want {
				t.Fatalf("one tombstone covers what the set does not")
			}
			token := token
			token.Sequence = 0
			if single && !set[i].Covers(&token) {
				t.Fatalf("a token is covered, and an earlier one is not")
			}
		}
	})
}

func reversedTargets(targets []domain.Target) []domain.Target {
	targets = slices.Clone(targets)
	slices.Reverse(targets)
	return targets
}

func TestTombstoneAnchors(t *testing.T) {
	user, session := domain.Target{UserID: "u"}, domain.Target{SessionID: "s", UserID: "u"}
	none := domain.Target{Audience: "a"}
	anchors := func(targets ...domain.Target) (all []domain.Anchor) {
		for _, target := range targets {
			all = append(all, target.Anchor())
		}
		return all
	}
	for _, c := range []struct {
		targets  []domain.Target
		want     []domain.Anchor
		anchored bool
	}{
		{[]domain.Target{user}, anchors(user), true},
		{[]domain.Target{user, session}, anchors(user, session), true},
		{[]domain.Target{user, {UserID: "u", ClientID: "c"}, user}, anchors(user), true},
		{[]domain.Target{none}, anchors(none), false},
		{[]domain.Target{user, none, {Everything: true}}, anchors(user, none), false},
	} {
		tombstone := domain.Tombstone{Targets: c.targets}
		if got := tombstone.Anchors(); !slices.Equal(got, c.want) {
			t.Errorf("anchors of %+v are %+v, want %+v", c.targets, got, c.want)
		}
		if got := tombstone.Anchored(); got != c.anchored {
			t.Errorf("Anchored of %+v is %t, want %t", c.targets, got, c.anchored)
		}
	}
}

// TestTombstoneFoundByAnchors: whoever looks up tombstones by a token's anchors finds all that cover it.
func TestTombstoneFoundByAnchors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tombstone, token := drawTombstone(t), drawToken(t)
		anchors := token.Anchors()
		shared := slices.ContainsFunc(tombstone.Anchors(), func(a domain.Anchor) bool { return slices.Contains(anchors[:], a) })
		if tombstone.Covers(&token) && !shared {
			t.Fatalf("a tombstone covers a token that shares no anchor with it")
		}
	})
}

func TestTombstoneSameTargets(t *testing.T) {
	a, b := domain.Target{UserID: "a", IssuedBefore: noon}, domain.Target{UserID: "b"}
	zoned := a
	zoned.IssuedBefore = noon.In(east)
	tombstone := domain.Tombstone{Targets: []domain.Target{a, b}}
	for _, c := range []struct {
		name    string
		targets []domain.Target
		want    bool
	}{
		{"the same", []domain.Target{a, b}, true},
		{"the same instant in another zone", []domain.Target{zoned, b}, true},
		{"another order", []domain.Target{b, a}, false},
		{"fewer", []domain.Target{a}, false},
		{"more", []domain.Target{a, b, b}, false},
		{"none", nil, false},
		{"another", []domain.Target{a, a}, false},
	} {
		if got := tombstone.SameTargets(c.targets); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}

func TestTombstoneGuards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tombstone := drawTombstone(t)
		guards := tombstone.Guards()
		if len(guards) != len(tombstone.Targets) {
			t.Fatalf("there is not one guard for each target")
		}
		candidate, asOf := drawToken(t), drawAsOf(t)
		barred := false
		for i, g := range guards {
			want := domain.Guard{
				Target: tombstone.Targets[i], Watermark: tombstone.Watermark, Time: tombstone.Time, Through: tombstone.Through,
			}
			if g != want {
				t.Fatalf("a guard does not remember its tombstone")
			}
			barred = barred || g.Bars(&candidate, asOf)
		}
		if tombstone.Bars(&candidate, asOf) != barred {
			t.Fatalf("the tombstone and its guards disagree")
		}
	})
}
