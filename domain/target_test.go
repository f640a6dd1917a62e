package domain_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

var (
	east = time.FixedZone("", 14*3600)
	west = time.FixedZone("", -11*3600)
)

// full is a token that has something for every constraint. Its session keeps it from being legacy.
func full() domain.RefreshToken {
	return domain.RefreshToken{
		ID: ulid.ULID{15: 1}, UserID: "user", ClientID: "client", SessionID: must(domain.NewSessionID("session")),
		CreatedAt: noon, Sequence: 5,
		ResourceServers: must(domain.NewResourceServers(
			domain.ResourceServer{Audience: "first"}, domain.ResourceServer{Audience: "second", Scopes: "read"},
		)),
	}
}

func legacy() domain.RefreshToken {
	token := full()
	token.SessionID = domain.SessionID{}
	return token
}

func offline() domain.RefreshToken {
	token := full()
	token.Offline = true
	return token
}

func TestTargetMatches(t *testing.T) {
	for _, c := range []struct {
		name   string
		target domain.Target
		token  domain.RefreshToken
		want   bool
	}{
		{"everything", domain.Target{Everything: true}, full(), true},
		{"everything, of a zero token", domain.Target{Everything: true}, domain.RefreshToken{}, true},
		{"nothing", domain.Target{}, full(), false},
		{"id", domain.Target{TokenID: ulid.ULID{15: 1}}, full(), true},
		{"another id", domain.Target{TokenID: ulid.ULID{15: 2}}, full(), false},
		{"user", domain.Target{UserID: "user"}, full(), true},
		{"another user", domain.Target{UserID: "User"}, full(), false},
		{"user's prefix", domain.Target{UserID: "use"}, full(), false},
		{"client", domain.Target{ClientID: "client"}, full(), true},
		{"another client", domain.Target{ClientID: "user"}, full(), false},
		{"session", domain.Target{SessionID: "session"}, full(), true},
		{"another session", domain.Target{SessionID: "other"}, full(), false},
		{"session, of a null session", domain.Target{SessionID: "session"}, legacy(), false},
		{"session by the name of null", domain.Target{SessionID: "null"}, legacy(), false},
		{"first audience", domain.Target{Audience: "first"}, full(), true},
		{"second audience", domain.Target{Audience: "second"}, full(), true},
		{"another audience", domain.Target{Audience: "third"}, full(), false},
		{"audience by the name of a scope", domain.Target{Audience: "read"}, full(), false},
		{"audience, of no resource server", domain.Target{Audience: "first"}, domain.RefreshToken{}, false},
		{"issued before", domain.Target{IssuedBefore: noon.Add(1)}, full(), true},
		{"issued at", domain.Target{IssuedBefore: noon}, full(), false},
		{"issued after", domain.Target{IssuedBefore: noon.Add(-1)}, full(), false},
		{"issued before, in another zone", domain.Target{IssuedBefore: noon.Add(1).In(east)}, full(), true},
		{"issued at, in another zone", domain.Target{IssuedBefore: noon.In(west)}, full(), false},
		{"legacy", domain.Target{LegacyBefore: noon.Add(1)}, legacy(), true},
		{"legacy at the cut-off", domain.Target{LegacyBefore: noon}, legacy(), false},
		{"legacy, of one with a session", domain.Target{LegacyBefore: noon.Add(1)}, full(), false},
		{"legacy, in another zone", domain.Target{LegacyBefore: noon.Add(1).In(west)}, legacy(), true},
		{"offline", domain.Target{Offline: domain.OfflineYes}, offline(), true},
		{"offline, of one that is not", domain.Target{Offline: domain.OfflineYes}, full(), false},
		{"not offline", domain.Target{Offline: domain.OfflineNo}, full(), true},
		{"not offline, of one that is", domain.Target{Offline: domain.OfflineNo}, offline(), false},
		{"logout spares offline access", domain.Target{SessionID: "session", Offline: domain.OfflineNo}, offline(), false},
		{"logout", domain.Target{SessionID: "session", Offline: domain.OfflineNo}, full(), true},
		{"user and client", domain.Target{UserID: "user", ClientID: "client"}, full(), true},
		{"user and another client", domain.Target{UserID: "user", ClientID: "other"}, full(), false},
		{"another user and client", domain.Target{UserID: "other", ClientID: "client"}, full(), false},
		{"session and legacy", domain.Target{SessionID: "session", LegacyBefore: noon.Add(1)}, legacy(), false},
		{"zero time in a zone beside a user", domain.Target{UserID: "user", IssuedBefore: time.Time{}.In(east)}, full(), true},
	} {
		if got := c.target.Matches(&c.token); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
		if err := c.target.Validate(); (err == nil) != (c.target != domain.Target{}) {
			t.Errorf("%s: Validate: %v", c.name, err)
		}
	}
}

// naively is the rule once more, written down as a list of what must hold.
func naively(target domain.Target, token domain.RefreshToken) bool {
	session, hasSession := token.SessionID.Get()
	var audiences []string
	for rs := range token.ResourceServers.All() {
		audiences = append(audiences, rs.Audience)
	}
	constraints := []struct{ set, holds bool }{
		{target.Everything, true},
		{target.TokenID != ulid.ULID{}, target.TokenID == token.ID},
		{target.UserID != "", target.UserID == token.UserID},
		{target.ClientID != "", target.ClientID == token.ClientID},
		{target.SessionID != "", hasSession && target.SessionID == session},
		{target.Audience != "", slices.Contains(audiences, target.Audience)},
		{!target.IssuedBefore.IsZero(), target.IssuedBefore.UnixNano() > token.CreatedAt.UnixNano()},
		{!target.LegacyBefore.IsZero(), !hasSession && target.LegacyBefore.UnixNano() > token.CreatedAt.UnixNano()},
		{target.Offline == domain.OfflineYes, token.Offline},
		{target.Offline == domain.OfflineNo, !token.Offline},
	}
	constrained := false
	for _, c := range constraints {
		if c.set && !c.holds {
			return false
		}
		constrained = constrained || c.set
	}
	return constrained
}

func TestTargetMatchesNaively(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target, token := drawTarget(t), drawToken(t)
		if err := target.Validate(); err != nil {
			t.Fatalf("a target of at least one constraint is refused")
		}
		want := naively(target, token)
		t.Logf("want %t", want)
		if target.Matches(&token) != want {
			t.Fatalf("Matches is not the conjunction of what is set")
		}
		if target.SessionID != "" && token.SessionID.IsNull() && target.Matches(&token) {
			t.Fatalf("a session's target matches a null session")
		}
	})
}

func TestTargetAnchor(t *testing.T) {
	id := ulid.ULID{15: 1}
	for _, c := range []struct {
		target domain.Target
		want   domain.Anchor
	}{
		{domain.Target{TokenID: id, SessionID: "s", UserID: "u", ClientID: "c"}, domain.Anchor{Kind: domain.AnchorToken, Value: string(id[:])}},
		{domain.Target{SessionID: "s", UserID: "u", ClientID: "c"}, domain.Anchor{Kind: domain.AnchorSession, Value: "s"}},
		{domain.Target{UserID: "u", ClientID: "c", Audience: "a"}, domain.Anchor{Kind: domain.AnchorUser, Value: "u"}},
		{domain.Target{ClientID: "c", IssuedBefore: noon}, domain.Anchor{Kind: domain.AnchorClient, Value: "c"}},
		{domain.Target{Audience: "a", LegacyBefore: noon, Offline: domain.OfflineNo}, domain.Anchor{Kind: domain.AnchorNone}},
		{domain.Target{Everything: true}, domain.Anchor{Kind: domain.AnchorNone}},
	} {
		if got := c.target.Anchor(); got != c.want {
			t.Errorf("anchor of %+v is %+v, want %+v", c.target, got, c.want)
		}
	}
}

func TestTokenAnchors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target, token := drawTarget(t), drawToken(t)
		anchors := token.Anchors()
		if target.Matches(&token) && !slices.Contains(anchors[:], target.Anchor()) {
			t.Fatalf("a target that matches is not found from the token")
		}
		for i, a := range anchors {
			if a.Kind != domain.AnchorKind(i) {
				t.Fatalf("there is not one anchor of each kind, narrowest first")
			}
		}
	})
}

func TestTargetValidate(t *testing.T) {
	everything := func(also domain.Target) domain.Target {
		also.Everything = true
		return also
	}
	for name, c := range map[string]struct {
		target domain.Target
		field  string
	}{
		"empty":                             {domain.Target{}, "target"},
		"only a zero time in a zone":        {domain.Target{IssuedBefore: time.Time{}.In(east)}, "target"},
		"only a zero legacy time in a zone": {domain.Target{LegacyBefore: time.Time{}.In(west)}, "target"},
		"everything and an id":              {everything(domain.Target{TokenID: ulid.ULID{1}}), "target"},
		"everything and a user":             {everything(domain.Target{UserID: "u"}), "target"},
		"everything and a client":           {everything(domain.Target{ClientID: "c"}), "target"},
		"everything and a session":          {everything(domain.Target{SessionID: "s"}), "target"},
		"everything and an audience":        {everything(domain.Target{Audience: "a"}), "target"},
		"everything and a time":             {everything(domain.Target{IssuedBefore: noon}), "target"},
		"everything and legacy":             {everything(domain.Target{LegacyBefore: noon}), "target"},
		"everything and offline":            {everything(domain.Target{Offline: domain.OfflineNo}), "target"},
		"unknown offline":                   {domain.Target{UserID: "u", Offline: 3}, "offline"},
		"unknown offline alone":             {domain.Target{Offline: 255}, "offline"},
		"long user":                         {domain.Target{UserID: strings.Repeat("é", 301)}, "user_id"},
		"long client":                       {domain.Target{ClientID: strings.Repeat("é", 65)}, "client_id"},
		"long session":                      {domain.Target{SessionID: strings.Repeat("é", 51)}, "session_id"},
		"long audience":                     {domain.Target{Audience: strings.Repeat("é", 601)}, "audience"},
		"NUL in a user":                     {domain.Target{UserID: "u\x00"}, "user_id"},
		"invalid UTF-8 in an audience":      {domain.Target{Audience: "\xff"}, "audience"},
		"year 10000":                        {domain.Target{IssuedBefore: endOfTime.Add(1)}, "issued_before"},
		"year 0":                            {domain.Target{LegacyBefore: time.Time{}.Add(-1)}, "legacy_before"},
	} {
		t.Run(name, func(t *testing.T) { wantField(t, c.target.Validate(), c.field) })
	}
	for name, target := range map[string]domain.Target{
		"everything":                             {Everything: true},
		"longest user":                           {UserID: strings.Repeat("é", 300)},
		"all at limits":                          {ClientID: strings.Repeat("é", 64), SessionID: strings.Repeat("é", 50), Audience: strings.Repeat("é", 600)},
		"end of time":                            {IssuedBefore: endOfTime, LegacyBefore: endOfTime},
		"everything, with a zero time in a zone": {Everything: true, IssuedBefore: time.Time{}.In(east)},
	} {
		if err := target.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTargetOfZeroTimes: a zero time does not constrain, in whichever zone it comes, so a target of nothing else must
// not name all tokens.
func TestTargetOfZeroTimes(t *testing.T) {
	token := full()
	for _, zone := range []*time.Location{time.UTC, time.Local, east, west} {
		zero := time.Time{}.In(zone)
		for _, target := range []domain.Target{{IssuedBefore: zero}, {LegacyBefore: zero}, {IssuedBefore: zero, LegacyBefore: zero}} {
			if target.Matches(&token) {
				t.Errorf("a target of a zero time in %s matches", zone)
			}
			if target.Validate() == nil {
				t.Errorf("a target of a zero time in %s is valid", zone)
			}
		}
	}
}

// drawTricky draws targets whose texts look like the lengths and the texts of their neighbours.
func drawTricky(t *rapid.T) domain.Target {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', 0, 1, 2}), 0, 3, -1)
	at := func(label string) time.Time {
		zone := rapid.SampledFrom([]*time.Location{time.UTC, east, west}).Draw(t, label+" zone")
		return drawTimeOrNone(t, label).In(zone)
	}
	target := domain.Target{
		UserID: text.Draw(t, "user"), ClientID: text.Draw(t, "client"),
		SessionID: text.Draw(t, "session"), Audience: text.Draw(t, "audience"),
		IssuedBefore: at("issued"), LegacyBefore: at("legacy"),
		Offline:    domain.Offline(rapid.ByteRange(0, 2).Draw(t, "offline")),
		Everything: rapid.Bool().Draw(t, "everything"),
	}
	if rapid.Bool().Draw(t, "has id") {
		target.TokenID = drawID(t, "id")
	}
	return target
}

func sameTarget(a, b domain.Target) bool {
	return a.TokenID == b.TokenID && a.UserID == b.UserID && a.ClientID == b.ClientID && a.SessionID == b.SessionID &&
		a.Audience == b.Audience && a.IssuedBefore.Equal(b.IssuedBefore) && a.LegacyBefore.Equal(b.LegacyBefore) &&
		a.Offline == b.Offline && a.Everything == b.Everything
}

func TestTargetKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTricky(t), drawTricky(t)
		// Two that are drawn apart differ in too much; take over most of the one.
		for field := range 9 {
			if rapid.IntRange(0, 5).Draw(t, "differ") != 0 {
				copyField(&b, a, field)
			}
		}
		if (a.Key() == b.Key()) != sameTarget(a, b) {
			t.Logf("%+v and %+v", a, b)
			t.Fatalf("keys and targets are not equal together")
		}
	})
}

func copyField(to *domain.Target, from domain.Target, field int) {
	switch field {
	case 0:
		to.TokenID = from.TokenID
	case 1:
		to.UserID = from.UserID
	case 2:
		to.ClientID = from.ClientID
	case 3:
		to.SessionID = from.SessionID
	case 4:
		to.Audience = from.Audience
	case 5:
		to.IssuedBefore = from.IssuedBefore.In(west)
	case 6:
		to.LegacyBefore = from.LegacyBefore.In(east)
	case 7:
		to.Offline = from.Offline
	case 8:
		to.Everything = from.Everything
	}
}

func TestTargetKeyKeepsFieldsApart(t *testing.T) {
	long := strings.Repeat("x", 300) // a length of two bytes
	targets := []domain.Target{
		{}, {Everything: true}, {Offline: domain.OfflineNo}, {Offline: domain.OfflineYes},
		{UserID: "a"}, {ClientID: "a"}, {SessionID: "a"}, {Audience: "a"},
		{UserID: "\x01a"}, {UserID: "a\x01", ClientID: "a"}, {UserID: "a", ClientID: "\x01a"}, {UserID: "a\x01a"},
		{UserID: "ab"}, {UserID: "a", ClientID: "b"}, {UserID: "a\x00\x00\x00"}, {UserID: "\x00"}, {UserID: "\x00\x00"},
		{UserID: long}, {ClientID: long}, {UserID: long[:172]}, {UserID: long[:44] + "\x02"},
		{TokenID: ulid.ULID{15: 1}}, {TokenID: ulid.ULID{0: 1}},
		{IssuedBefore: noon}, {LegacyBefore: noon}, {IssuedBefore: noon.Add(1)}, {IssuedBefore: noon.Add(time.Second)},
	}
	seen := map[string]int{}
	for i, target := range targets {
		if first, ok := seen[target.Key()]; ok {
			t.Errorf("%+v and %+v share a key", targets[first], target)
		}
		seen[target.Key()] = i
	}
}
