package storetest

import (
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

func checkGet(t testing.TB, e *env) {
	w := e.tenant(t)
	token := w.add(t, "user", "client", "session")
	other := w.add(t, "other", "client", "session")
	_, err := w.Get(w.ctx, w.id())
	wantErr(t, "an id that is not there must be ErrNotFound", err, store.ErrNotFound)
	if err := w.Update(w.ctx, token.ID, write("new")); err != nil {
		t.Fatalf("Update must succeed: got %v", err)
	}
	token.Metadata = note("new")
	w.wantRecord(t, "Get must return what was committed last", token)
	if !w.live(t, token.ID) {
		t.Errorf("a token that no revocation covers must not be shown as revoked")
	}

	names := map[ulid.ULID]bool{}
	for _, target := range []domain.Target{{UserID: "user"}, {TokenID: token.ID}, {Audience: "none"}} {
		r := w.revoke(t, target)
		names[r.Tombstone.ID] = target.Audience == "" // that one covers nothing
	}
	w.wantRecord(t, "Get must return a covered record too", token)
	if view, _ := w.get(t, token.ID); !names[view.RevokedBy] {
		t.Errorf("Get must name a tombstone that covers the token: got %v", view.RevokedBy)
	}
	if !w.live(t, other.ID) {
		t.Errorf("a token that no revocation covers must not be shown as revoked")
	}
	anyCovers(t, e, func(w *tenant, h holder) {
		if w.live(t, h.id) {
			t.Errorf("a token is revoked if any tombstone covers it: a narrower one that does not was asked instead")
		}
	})
}

// anyCovers makes tokens that a wide revocation covers, while a narrower one that names them too is too old to cover
// them. Looking only at the narrower one is a mistake that well-known servers have made.
func anyCovers(t testing.TB, e *env, check func(w *tenant, h holder)) {
	t.Helper()
	type pair struct{ narrow, wide domain.Target }
	for _, p := range []pair{
		{domain.Target{SessionID: "session", ClientID: "client"}, domain.Target{UserID: "user"}},
		{domain.Target{UserID: "user"}, domain.Target{ClientID: "client"}},
		{domain.Target{ClientID: "client"}, domain.Target{Everything: true}},
		{domain.Target{UserID: "user", ClientID: "client"}, domain.Target{UserID: "user"}},
	} {
		w := e.tenant(t)
		w.add(t, "user", "client", "session")
		w.revoke(t, p.narrow)
		h := w.issue(t, w.token("user", "client", "session"))
		if !w.live(t, h.id) {
			t.Fatalf("a token inserted after a revocation must not be covered by it")
		}
		w.revoke(t, p.wide)
		check(w, h)
	}
}

func checkList(t testing.TB, e *env) {
	similarNames(t, e)
	sweptIsGone(t, e)
	property(t, e, func(t *rapid.T, w *tenant) {
		l := listing{t: t, w: w, fate: map[ulid.ULID]*fate{}}
		for range rapid.IntRange(0, 25).Draw(t, "tokens") {
			l.add()
		}
		if rapid.Bool().Draw(t, "revoked") {
			target := rapid.SampledFrom([]domain.Target{
				{UserID: "u1"}, {SessionID: "s1", IssuedBefore: after(1)}, {ClientID: "c1"}, {Audience: "a1"}, {UserID: "u2", ClientID: "c2"},
			}).Draw(t, "target")
			l.cover(w.revoke(t, target).Tombstone.Targets)
		}
		if rapid.Bool().Draw(t, "issued since") { // not covered, though it may look alike
			l.add()
		}
		l.walk(rapid.SampledFrom(queries).Draw(t, "query"), rapid.Bool().Draw(t, "fenced"))
	})
}

// queries are all shapes of a query.
var queries = []store.Query{
	{}, {UserID: "u1"}, {SessionID: "s1"}, {UserID: "u1", ClientID: "c1"}, {SessionID: "s1", ClientID: "c1"},
	{SessionID: "s1", UserID: "u1"}, {SessionID: "s1", UserID: "u1", ClientID: "c1"}, {UserID: "nobody"},
}

// listing is a naive model of a walk over pages: what became of each token while the walk was under way.
type listing struct {
	t    *rapid.T
	w    *tenant
	fate map[ulid.ULID]*fate
	ids  []ulid.ULID
}

type fate struct {
	token   domain.RefreshToken
	covered bool
	touched bool // inserted or removed during the walk, so it may be seen or not
	seen    bool
}

func (l *listing) add() *fate {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(l.t, label) }
	token := l.w.token(pick("user", "u1", "u2"), pick("client", "c1", "c2"), pick("session", "", "s1", "s2"))
	token.ResourceServers = must(domain.NewResourceServers(domain.ResourceServer{Audience: pick("audience", "a1", "a2")}))
	token.Metadata = note(token.ID.String())
	f := &fate{token: l.w.insert(l.t, token)[0]}
	l.fate[token.ID] = f
	l.ids = append(l.ids, token.ID)
	return f
}

func (l *listing) cover(targets []domain.Target) {
	for _, f := range l.fate {
		f.covered = f.covered || targets[0].Matches(&f.token)
	}
}

// meanwhile changes something that the walk may or may not see.
func (l *listing) meanwhile() {
	switch {
	case rapid.IntRange(0, 3).Draw(l.t, "insert") == 0:
		l.add().touched = true
	case len(l.ids) > 0 && rapid.IntRange(0, 3).Draw(l.t, "remove") == 0:
		i := rapid.IntRange(0, len(l.ids)-1).Draw(l.t, "row")
		id := l.ids[i]
		l.ids = slices.Delete(l.ids, i, i+1)
		l.fate[id].touched = true
		l.w.sweep(l.t, l.w.revoke(l.t, domain.Target{TokenID: id}).Tombstone.ID)
	}
}

func (l *listing) walk(q store.Query, fenced bool) {
	t := l.t
	q.Fenced = fenced
	last := ulid.ULID{}
	for {
		q.Limit = rapid.IntRange(1, 5).Draw(t, "limit")
		page, err := l.w.List(l.w.ctx, q)
		if err != nil {
			fail(t, "List must return a page", "got %v", err)
		}
		if len(page.Tokens) > q.Limit {
			fail(t, "a page must have at most Limit rows", "got %d of %d", len(page.Tokens), q.Limit)
		}
		if len(page.Tokens) == 0 && !page.Next.IsZero() {
			fail(t, "a page that is not the last must have a row", "after %v", q.After)
		}
		for _, token := range page.Tokens {
			if token.ID.Compare(last) <= 0 {
				fail(t, "ids must ascend within and across pages", "%v after %v", token.ID, last)
			}
			last = token.ID
			f := l.fate[token.ID]
			if f == nil || !q.Matches(&f.token) {
				fail(t, "a list must show tokens of the query only", "got %v", token.ID)
			}
			if names := differences(token, f.token); len(names) > 0 {
				fail(t, "a list must show the records as they are", "%v differs in %v", token.ID, names)
			}
			if fenced && f.covered {
				fail(t, "a fenced list must leave out what a tombstone covers", "got %v", token.ID)
			}
			f.seen = true
		}
		if page.Next.IsZero() {
			break
		}
		q.After = page.Next
		l.meanwhile()
	}
	for id, f := range l.fate {
		if q.Matches(&f.token) && !f.touched && !f.seen && !(fenced && f.covered) {
			fail(t, "a list must show every token of the query that is there throughout", "missed %v", id)
		}
	}
}

// similarNames lists users and sessions whose names are prefixes of each other, or contain what keys may be made of.
func similarNames(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	names := []string{"a", "ab", "a/", "a/b", "a\x01", "a\x01b", "A", "a ", " a", "a%", "a:", "a|b", "ä", "\U0010FFFF"}
	want := map[string]ulid.ULID{}
	for _, name := range names {
		want[name] = w.add(t, name, "client", name).ID
	}
	for _, name := range names {
		for _, q := range []store.Query{{UserID: name}, {SessionID: name}, {UserID: name, ClientID: "client"}} {
			found := w.all(t, q)
			if _, ok := found[want[name]]; !ok || len(found) != 1 {
				t.Errorf("a list must show tokens of the query only: %q gave %d tokens", name, len(found))
			}
		}
	}
	many := make([]domain.RefreshToken, 250)
	for i := range many {
		many[i] = w.token("many", "client", "")
		many[i].CreatedAt = after(time.Duration(i) * time.Second)
	}
	w.insert(t, many...)
	if got := len(w.all(t, store.Query{UserID: "many"})); got != len(many) {
		t.Errorf("a list must show every token of the query: got %d of %d", got, len(many))
	}
}

// sweptIsGone lists what is left, by every index, after one token has been swept.
func sweptIsGone(t testing.TB, e *env) {
	t.Helper()
	w := e.tenant(t)
	swept, left := w.add(t, "u1", "c1", "s1"), w.add(t, "u1", "c1", "s1")
	w.sweep(t, w.revoke(t, domain.Target{TokenID: swept.ID}).Tombstone.ID)
	for _, q := range queries {
		found := w.all(t, q)
		if _, ok := found[left.ID]; ok != q.Matches(&left) || len(found) > 1 {
			t.Errorf("a list must show what is left after a sweep, and nothing else: got %d tokens", len(found))
		}
	}
}
