package domain_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

var erasureKey = domain.ErasureKey{1, 2, 3}

func TestPseudonym(t *testing.T) {
	p := erasureKey.Pseudonym("ann")
	switch {
	case p != erasureKey.Pseudonym("ann"):
		t.Error("a pseudonym is not always the same")
	case p == erasureKey.Pseudonym("Ann"), p == (domain.ErasureKey{}).Pseudonym("ann"):
		t.Error("a pseudonym does not depend on the name and the key")
	case strings.Contains(p, "ann"), domain.CheckUserID(p) != nil:
		t.Errorf("no pseudonym: %s", p)
	}
	longest := strings.Repeat("x", domain.MaxUserID)
	if domain.CheckUserID(erasureKey.Pseudonym(longest)) != nil {
		t.Error("the pseudonym of the longest name is not a name")
	}
}

func TestCheckErasure(t *testing.T) {
	for what, c := range map[string]struct {
		targets []domain.Target
		fine    bool
	}{
		"a user":             {[]domain.Target{{UserID: "ann"}}, true},
		"everything":         {[]domain.Target{{Everything: true}}, true},
		"nothing":            {nil, false},
		"an empty target":    {[]domain.Target{{}}, false},
		"a user's client":    {[]domain.Target{{UserID: "ann", ClientID: "c"}}, false},
		"a client":           {[]domain.Target{{ClientID: "c"}}, false},
		"a user, offline":    {[]domain.Target{{UserID: "ann", Offline: domain.OfflineNo}}, false},
		"two users":          {[]domain.Target{{UserID: "ann"}, {UserID: "bob"}}, false},
		"a user, everything": {[]domain.Target{{UserID: "ann", Everything: true}}, false},
	} {
		if err := domain.CheckErasure(c.targets); (err == nil) != c.fine || err != nil && !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func erasing(target domain.Target) domain.Tombstone {
	return domain.Tombstone{ID: ulid.ULID{15: 9}, Targets: []domain.Target{target}, Watermark: 10, Erases: true}
}

func TestScrub(t *testing.T) {
	ann := erasureKey.Pseudonym("ann")
	user, all := erasing(domain.Target{UserID: "ann"}), erasing(domain.Target{Everything: true})
	for _, c := range []struct {
		what  string
		by    domain.Tombstone
		given domain.Tombstone
		left  domain.Remains
		want  domain.Tombstone
	}{
		{"a target", user,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "bob"}, {UserID: "ann", ClientID: "c"}}, Reason: "r", Actor: "a"}, domain.RemainsPseudonymous,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "bob"}, {UserID: ann, ClientID: "c"}}, Actor: "a"}},
		{"the actor", user,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "bob"}}, Reason: "r", Actor: "ann"}, domain.RemainsPseudonymous,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "bob"}}, Reason: "r", Actor: ann}},
		{"another's", user,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "bob"}, {SessionID: "ann"}}, Reason: "ann"}, domain.RemainsAsIs,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "bob"}, {SessionID: "ann"}}, Reason: "ann"}},
		{"a later one", user,
			domain.Tombstone{Watermark: 11, Targets: []domain.Target{{UserID: "ann"}}, Actor: "ann"}, domain.RemainsAsIs,
			domain.Tombstone{Watermark: 11, Targets: []domain.Target{{UserID: "ann"}}, Actor: "ann"}},
		{"another erasure", user,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: "ann"}}, Reason: "r", Erases: true}, domain.RemainsPseudonymous,
			domain.Tombstone{Watermark: 9, Targets: []domain.Target{{UserID: ann}}, Erases: true}},
		{"itself", user, user, domain.RemainsPseudonymous,
			domain.Tombstone{ID: user.ID, Watermark: 10, Targets: []domain.Target{{UserID: ann}}, Erases: true}},
		{"of the tenant", all,
			domain.Tombstone{Watermark: 10, Targets: []domain.Target{{UserID: "bob"}}}, domain.RemainsNothing,
			domain.Tombstone{Watermark: 10, Targets: []domain.Target{{UserID: "bob"}}}},
		{"of the tenant, another erasure of it", all,
			domain.Tombstone{Watermark: 10, Targets: []domain.Target{{Everything: true}}, Erases: true, Reason: "r", Actor: "a"}, domain.RemainsPseudonymous,
			domain.Tombstone{Watermark: 10, Targets: []domain.Target{{Everything: true}}, Erases: true}},
		{"of the tenant, a later one", all,
			domain.Tombstone{Watermark: 11, Targets: []domain.Target{{UserID: "bob"}}}, domain.RemainsAsIs,
			domain.Tombstone{Watermark: 11, Targets: []domain.Target{{UserID: "bob"}}}},
	} {
		got := c.given
		left := c.by.Scrub(&got, erasureKey)
		if left != c.left || !got.SameTargets(c.want.Targets) || got.Reason != c.want.Reason || got.Actor != c.want.Actor {
			t.Errorf("%s: %d, %+v\nwant %d, %+v", c.what, left, got, c.left, c.want)
		}
		if left == domain.RemainsPseudonymous && !erasureKey.SameTargets(got.Targets, c.given.Targets) {
			t.Errorf("%s: the targets are not known any more", c.what)
		}
	}
	given := []domain.Target{{UserID: "ann"}}
	user.Scrub(&domain.Tombstone{Targets: given}, erasureKey)
	if given[0].UserID != "ann" {
		t.Error("a scrub writes into the memory that it was given")
	}
}

func TestScrubGuard(t *testing.T) {
	user, all := erasing(domain.Target{UserID: "ann"}), erasing(domain.Target{Everything: true})
	for _, c := range []struct {
		by    domain.Tombstone
		given domain.Guard
		left  domain.Remains
		user  string
	}{
		{user, domain.Guard{Watermark: 10, Target: domain.Target{UserID: "ann", SessionID: "s"}}, domain.RemainsPseudonymous, erasureKey.Pseudonym("ann")},
		{user, domain.Guard{Watermark: 11, Target: domain.Target{UserID: "ann"}}, domain.RemainsAsIs, "ann"},
		{user, domain.Guard{Watermark: 3, Target: domain.Target{UserID: "bob"}}, domain.RemainsAsIs, "bob"},
		{user, domain.Guard{Watermark: 3, Target: domain.Target{SessionID: "s"}}, domain.RemainsAsIs, ""},
		{all, domain.Guard{Watermark: 10, Target: domain.Target{UserID: "bob"}}, domain.RemainsNothing, "bob"},
		{all, domain.Guard{Watermark: 11, Target: domain.Target{UserID: "bob"}}, domain.RemainsAsIs, "bob"},
	} {
		got := c.given
		if left := c.by.ScrubGuard(&got, erasureKey); left != c.left || got.Target.UserID != c.user || got.Watermark != c.given.Watermark {
			t.Errorf("%+v: %d, %+v", c.given, left, got)
		}
	}
}

// A guard that names the pseudonym bars the user under the own name, and nobody else.
func TestAliasIsBarred(t *testing.T) {
	guard := domain.Guard{Watermark: 5, Target: domain.Target{UserID: erasureKey.Pseudonym("ann"), ClientID: "c"}}
	for user, want := range map[string]bool{"ann": true, "bob": false} {
		candidate := domain.RefreshToken{UserID: user, ClientID: "c"}
		alias := erasureKey.Alias(candidate)
		if guard.Bars(&alias, domain.AsOfSequence(4)) != want || candidate.UserID != user {
			t.Errorf("%s: barred: %v", user, !want)
		}
	}
}
