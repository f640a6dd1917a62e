package boltstore_test

import (
	"slices"
	"testing"
	"unicode/utf8"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// texts that could be taken for one another if keys were put together carelessly.
var texts = []string{"a", "ab", "a\x01", "\x01a", "b", "\x02ab", "\u0080", "é", "aa", "a a", "\x7f", "tokens", "meta", "漢"}

// FuzzIsolation gives two names to tenants, users and sessions in turn, whatever their bytes are: nobody sees another's.
func FuzzIsolation(f *testing.F) {
	for i, a := range texts {
		f.Add(a, texts[(i+1)%len(texts)])
	}
	b := open(f, temporary(f), nil)
	n := 0
	f.Fuzz(func(t *testing.T, one, two string) {
		if one == two || domain.CheckTenant(one) != nil || domain.CheckTenant(two) != nil || utf8.RuneCountInString(one) > 50 || utf8.RuneCountInString(two) > 50 {
			return
		}
		n += 10
		s, other := tenant(t, b, one), tenant(t, b, two)
		insert(t, s, plain(n, one, two), plain(n+1, two, one))
		insert(t, other, plain(n, two, one))
		want := func(what string, s store.Store, q store.Query, ids ...ulid.ULID) {
			t.Helper()
			q.After, q.Limit = before(n), 100
			page, err := s.List(t.Context(), q)
			var got []ulid.ULID
			for _, token := range page.Tokens {
				got = append(got, token.ID)
			}
			if err != nil || !slices.Equal(got, ids) {
				t.Fatalf("%s: got %v, want %v, error %v", what, got, ids, err)
			}
		}
		want("a user", s, store.Query{UserID: one}, idOf(n))
		want("another user", s, store.Query{UserID: two}, idOf(n+1))
		want("a session", s, store.Query{SessionID: one}, idOf(n+1))
		want("another tenant's user", other, store.Query{UserID: one})
		revoke(t, s, n+5, domain.Target{UserID: one})
		revoke(t, s, n+6, domain.Target{SessionID: one, UserID: one})
		if err := sweep(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		want("who was revoked", s, store.Query{UserID: one})
		want("who was not", s, store.Query{UserID: two}, idOf(n+1))
		want("another tenant", other, store.Query{}, idOf(n))
	})
}

func before(n int) ulid.ULID { return idOf(n - 1) }

// TestIsolation draws many such names at once, and holds every list against a plain model.
func TestIsolation(t *testing.T) {
	b := open(t, temporary(t), nil)
	tenants := map[string]bool{}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(1, 20, 100).Filter(func(s string) bool { return domain.CheckTenant(s) == nil && !tenants[s] }).Draw(t, "tenant")
		tenants[name] = true
		s, err := b.Tenant(name)
		if err != nil {
			t.Fatal(err)
		}
		pick := rapid.SampledFrom(texts)
		var model []domain.RefreshToken
		for range rapid.IntRange(1, 12).Draw(t, "tokens") {
			n++
			token := plain(n, pick.Draw(t, "user"), pick.Draw(t, "session"))
			if _, err := s.Insert(t.Context(), []store.Insertion{{Token: token}}); err != nil {
				t.Fatal(err)
			}
			model = append(model, token)
		}
		for _, text := range texts {
			for _, q := range []store.Query{{UserID: text}, {SessionID: text}, {}} {
				want := 0
				for i := range model {
					if q.Matches(&model[i]) {
						want++
					}
				}
				got := 0
				if err := list(t.Context(), s, q, func(domain.RefreshToken) { got++ }); err != nil || got != want {
					t.Logf("query %+v: got %d, want %d, error %v", q, got, want, err)
					t.Fatal("a list must show its own rows")
				}
			}
		}
	})
	wantClean(t, b)
}
