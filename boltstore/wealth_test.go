package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// wealthy makes a file with tenants that have something in every bucket, some of the index settled and some not, and closes it.
func wealthy(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens.db")
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.SettleEarly(16)
	b.PlaceEarly(3)
	for _, name := range []string{"acme", "globex"} {
		s, err := b.Tenant(name)
		if err != nil {
			t.Fatal(err)
		}
		enrich(t, s)
		if name == "globex" {
			_, err := s.(store.Restorer).Restore(t.Context(), store.Restoration{
				ID: number(109), Time: instant, Method: store.RestoreOverride, Reason: "a lost disk", Actor: "operator", Complete: true,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func number(n int) (id ulid.ULID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// enrich gives a tenant tokens 1 to 40, of which 8, 16, 24 and 32 are rewritten, and revocations 101 to 107: the first four of them retired, the second for the third; the
// others pending, of which two walk, one has no anchor, and one erases.
func enrich(t *testing.T, s store.Store) {
	t.Helper()
	row := func(n int) store.Insertion {
		token := domain.RefreshToken{ID: number(n), UserID: fmt.Sprint("user-", n%8), ClientID: fmt.Sprint("client-", n%3), CreatedAt: instant.Add(time.Duration(n))}
		if n%2 == 1 {
			token.SessionID = domain.MustSessionID(fmt.Sprint("session-", n%6))
		}
		if n%3 == 0 {
			token.ExpiresAt = instant.Add(time.Duration(n) * time.Hour)
		}
		if n%5 == 0 {
			token.ForeignDigest = domain.Digest{byte(n), 1}
		}
		return store.Insertion{Token: token, Emit: store.KindIssued}
	}
	for n := 1; n <= 37; n += 4 {
		rows := []store.Insertion{row(n), row(n + 1), row(n + 2), row(n + 3)}
		results, err := s.Insert(t.Context(), rows)
		for _, r := range results {
			err = errors.Join(err, r.Err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{8, 16, 24, 32} {
		if err := s.Update(t.Context(), number(n), usedAt("elsewhere")); err != nil {
			t.Fatal(err)
		}
	}
	revoke := func(n int, erase bool, target domain.Target) {
		t.Helper()
		r := store.Revocation{ID: number(n), Targets: []domain.Target{target}, Time: instant.Add(time.Minute * time.Duration(n)), Emit: store.KindRevoked, Reason: "why", Erase: erase}
		if erase {
			r.Key = domain.ErasureKey{1}
		}
		if _, err := s.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	revoke(101, false, domain.Target{UserID: "user-1"})
	revoke(102, false, domain.Target{SessionID: "session-3"})
	revoke(103, false, domain.Target{SessionID: "session-3"})
	revoke(104, false, domain.Target{ClientID: "elsewhere"})
	retireAll(t, s, number(101), number(103), number(104))
	revoke(105, false, domain.Target{UserID: "user-2"})
	revoke(106, false, domain.Target{ClientID: "client-1"})
	revoke(107, true, domain.Target{UserID: "user-3"})
	revoke(108, false, domain.Target{IssuedBefore: instant.Add(5)})
}

// contents tells all that is answered about a file, by every way that leads to it: what is remembered, and what is refused.
func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var all strings.Builder
	pending, err := b.Pending(t.Context(), "", 100)
	fmt.Fprintf(&all, "pending %q %v\n", pending, err)
	names, err := b.Tenants(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s, err := b.Tenant(name)
		if err != nil {
			t.Fatal(err)
		}
		tell(t, &all, s)
	}
	return all.String()
}

func tell(t *testing.T, all *strings.Builder, s store.Store) {
	t.Helper()
	ctx := t.Context()
	say := func(what string, value any, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		fmt.Fprintf(all, "%s %+v\n", what, value)
	}
	state, err := s.State(ctx)
	say("state", state, err)
	page, err := s.List(ctx, store.Query{Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range page.Tokens {
		v, err := s.Get(ctx, token.ID)
		say("token", v, err)
		err = s.Update(ctx, token.ID, func(v store.View) (d store.Decision) {
			if v.Revoked() {
				d.Next = &v.Token
			}
			return d
		})
		say("covered", errors.Is(err, store.ErrCovered), nil)
		if token.ForeignDigest != (domain.Digest{}) {
			found, err := s.Find(ctx, token.ForeignDigest)
			say("found", found, err)
		}
	}
	for n := range 8 {
		for _, q := range []store.Query{{UserID: fmt.Sprint("user-", n)}, {SessionID: fmt.Sprint("session-", n)}} {
			q.Limit = store.MaxPage
			page, err := s.List(ctx, q)
			for _, token := range page.Tokens {
				say("listed", token.ID, err)
			}
		}
	}
	for _, retired := range []bool{false, true} {
		page, err := s.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage, Retired: retired})
		for _, status := range page.Revocations {
			say("revocation", status, err)
		}
	}
	guards, err := s.(store.Mover).Guards(ctx, store.GuardQuery{Limit: store.MaxPage})
	say("guards", guards, err)
	feed, err := s.(store.Outbox).Feed(ctx, state.LastEvent-uint64(state.Events), store.MaxPage)
	say("feed", feed, err)
	restored, err := s.(store.Restorer).Restorations(ctx)
	say("restored", restored, err)
	expired, err := s.Expire(ctx, store.Bounds{Visit: 1, Remove: 1, Now: instant})
	say("due", expired, err)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// beside is what else lies in the folder of a file.
func beside(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != filepath.Base(path) {
			names = append(names, entry.Name())
		}
	}
	return names
}
