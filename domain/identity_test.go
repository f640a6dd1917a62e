package domain_test

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

func TestForeignTokenID(t *testing.T) {
	created := noon.Add(123*time.Millisecond + 456)
	id := must(domain.ForeignTokenID("acme", "rt_1", created))
	for name, other := range map[string]ulid.ULID{
		"again":           must(domain.ForeignTokenID("acme", "rt_1", created)),
		"another zone":    must(domain.ForeignTokenID("acme", "rt_1", created.In(east))),
		"a nanosecond on": must(domain.ForeignTokenID("acme", "rt_1", created.Add(1))),
	} {
		if other != id {
			t.Errorf("%s: got %s, want %s", name, other, id)
		}
	}
	for name, other := range map[string]ulid.ULID{
		"another tenant":     must(domain.ForeignTokenID("other", "rt_1", created)),
		"another foreign id": must(domain.ForeignTokenID("acme", "rt_2", created)),
		"another time":       must(domain.ForeignTokenID("acme", "rt_1", created.Add(time.Millisecond))),
		"texts moved":        must(domain.ForeignTokenID("acmer", "t_1", created)),
	} {
		if other == id {
			t.Errorf("%s has the same id", name)
		}
	}
	if got := ulid.Time(id.Time()); !got.Equal(created.Truncate(time.Millisecond)) {
		t.Errorf("the time of the id is %s, want %s", got, created)
	}
	// Importing again must find what an earlier release has imported.
	if want := "01JWNNSVKVVR610F89ENXJ58NP"; id.String() != want {
		t.Errorf("the id is %s, want %s", id, want)
	}
}

func TestForeignTokenIDTimes(t *testing.T) {
	for _, good := range []time.Time{time.Unix(0, 0), noon, endOfTime} {
		if _, err := domain.ForeignTokenID("acme", "rt_1", good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []time.Time{{}, time.Unix(0, -1), endOfTime.Add(1), time.UnixMilli(int64(ulid.MaxTime()) + 1)} {
		_, err := domain.ForeignTokenID("acme", "rt_1", bad)
		wantField(t, err, "created_at")
	}
}

func TestSameIdentity(t *testing.T) {
	token := full()
	token.ForeignID = "foreign"
	servers := func(list ...domain.ResourceServer) domain.ResourceServers {
		return must(domain.NewResourceServers(list...))
	}
	first, second := domain.ResourceServer{Audience: "first"}, domain.ResourceServer{Audience: "second", Scopes: "read"}
	for name, c := range map[string]struct {
		change func(*domain.RefreshToken)
		same   bool
	}{
		"nothing":      {func(*domain.RefreshToken) {}, true},
		"zone":         {func(t *domain.RefreshToken) { t.CreatedAt = t.CreatedAt.In(east) }, true},
		"same servers": {func(t *domain.RefreshToken) { t.ResourceServers = servers(first, second) }, true},
		"what may change": {func(t *domain.RefreshToken) {
			t.Generation, t.Retries, t.Salt, t.RotatedAt, t.LastExchangedAt = 1, 1, domain.Salt{1}, noon, noon
			t.Metadata = must(domain.NewMetadata(map[string]string{"a": "b"}))
			t.Device.LastIP, t.IdleExpiresAt, t.SecretDigest = "192.0.2.1", noon, domain.Digest{1}
		}, true},
		"id":               {func(t *domain.RefreshToken) { t.ID = ulid.ULID{15: 2} }, false},
		"foreign id":       {func(t *domain.RefreshToken) { t.ForeignID = "other" }, false},
		"user":             {func(t *domain.RefreshToken) { t.UserID = "other" }, false},
		"client":           {func(t *domain.RefreshToken) { t.ClientID = "other" }, false},
		"session":          {func(t *domain.RefreshToken) { t.SessionID = must(domain.NewSessionID("other")) }, false},
		"no session":       {func(t *domain.RefreshToken) { t.SessionID = domain.SessionID{} }, false},
		"created":          {func(t *domain.RefreshToken) { t.CreatedAt = t.CreatedAt.Add(1) }, false},
		"sequence":         {func(t *domain.RefreshToken) { t.Sequence++ }, false},
		"fewer servers":    {func(t *domain.RefreshToken) { t.ResourceServers = servers(first) }, false},
		"no servers":       {func(t *domain.RefreshToken) { t.ResourceServers = servers() }, false},
		"order of servers": {func(t *domain.RefreshToken) { t.ResourceServers = servers(second, first) }, false},
		"scopes": {func(t *domain.RefreshToken) {
			t.ResourceServers = servers(first, domain.ResourceServer{Audience: "second"})
		}, false},
	} {
		other := token
		c.change(&other)
		if token.SameIdentity(&other) != c.same || other.SameIdentity(&token) != c.same {
			t.Errorf("%s: SameIdentity is not %t both ways", name, c.same)
		}
	}
}

// TestExchangeKeepsIdentity: no exchange asks for a record that a store would refuse.
func TestExchangeKeepsIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCredential()
		token := drawToken(t)
		made := newToken(c)
		token.FamilyDigest, token.SecretDigest = made.FamilyDigest, made.SecretDigest
		token.Rotating = rapid.Bool().Draw(t, "rotating")
		e := exchange(c, noon.Add(time.Hour), 1)
		e.ClientID = token.ClientID
		if got := e.Apply(token, false); got.Next == nil || !got.Next.SameIdentity(&token) {
			t.Fatalf("an exchange changes what never changes")
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav", "00000000000000000000000000", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := domain.ParseID(text)
		if ok && (id.String() != text || id.IsZero()) || !ok && !id.IsZero() {
			t.Errorf("ParseID of %q is %s, %t", text, id, ok)
		}
	})
}
