package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// trickyNames are names that a careless encoding of keys takes for one another.
var trickyNames = []string{
	"a", "A", "a ", "aa", "ab", "a/", "a/b", "a\x01", "a\x01b", "a\x7f", "a:b", "a|b", "a.b", "a%2Fb", ".", "..", "ä", "\u0061\u0308",
	"tokens", "\U0010FFFF", strings.Repeat("x", domain.MaxTenant), strings.Repeat("x", domain.MaxTenant-1),
	strings.Repeat("\U0001F511", domain.MaxTenant),
}

// checkTenants fills all tenants with the same ids, users and sessions, which are named like the tenants, and then
// acts on one of them.
func checkTenants(t testing.TB, e *env) {
	plan := e.tenant(t)
	var tokens []domain.RefreshToken
	for _, name := range trickyNames {
		token := plan.token(name, "client", "")
		if len([]rune(name)) <= domain.MaxSessionID {
			token.SessionID = must(domain.NewSessionID(name))
		}
		tokens = append(tokens, token)
	}
	one := plan.revocation(domain.Target{UserID: trickyNames[0]}, domain.Target{SessionID: trickyNames[1]})
	all := plan.revocation(domain.Target{Everything: true})

	stores := make([]*tenant, len(trickyNames))
	own := make([][]domain.RefreshToken, len(trickyNames))
	for i, name := range trickyNames {
		stores[i] = e.named(t, name)
		if got := stores[i].state(t); got.Tokens != 0 || got.Pending != 0 || got.Guards != 0 {
			t.Fatalf("a new tenant must be empty: %q has %+v", name, got)
		}
		mine := slices.Clone(tokens)
		for j := range mine {
			mine[j].Metadata = note(name)
		}
		own[i] = stores[i].insert(t, mine...)
	}
	states := make([]store.State, len(stores))
	for i, w := range stores {
		states[i] = w.state(t)
	}
	untouched := func(what string, but ...int) {
		t.Helper()
		for i, w := range stores {
			if slices.Contains(but, i) {
				continue
			}
			if got := w.state(t); got != states[i] {
				t.Fatalf("%s in one tenant must not touch another: %q went from %+v to %+v", what, w.name, states[i], got)
			}
			for _, fenced := range []bool{false, true} { // a fenced list shows that none is covered
				found := w.all(t, store.Query{Fenced: fenced})
				for _, token := range own[i] {
					got := found[token.ID]
					if !got.SameIdentity(&token) || got.Metadata.Len() != 1 || noteOf(got) != w.name {
						t.Fatalf("%s in one tenant must not touch another: a token of %q has changed or is revoked", what, w.name)
					}
				}
				if len(found) != len(own[i]) {
					t.Fatalf("a list must show one tenant's tokens only: %q has %d of %d", w.name, len(found), len(own[i]))
				}
			}
			for _, id := range []ulid.ULID{one.ID, all.ID} {
				_, err := w.Revocation(w.ctx, id)
				wantErr(t, what+" in one tenant must not be seen in another", err, store.ErrNotFound)
			}
		}
	}
	const first, last = 0, 7
	untouched("Insert")
	for i, w := range stores {
		for j, token := range own[i] {
			got := w.all(t, store.Query{UserID: trickyNames[j]})
			if len(got) != 1 || len(differences(got[token.ID], token)) > 0 {
				t.Fatalf("a list must show one tenant's tokens only: %q has %d of user %q", w.name, len(got), trickyNames[j])
			}
		}
	}
	alone := stores[first].add(t, "alone", "client", "")
	for _, w := range stores[1:] {
		if w.has(t, alone.ID) {
			t.Fatalf("Get must not see a token of another tenant: %q", w.name)
		}
		err := w.Update(w.ctx, alone.ID, write("reached"))
		wantErr(t, "Update must not reach a token of another tenant", err, store.ErrNotFound)
	}
	if err := stores[first].Update(e.ctx, tokens[3].ID, write("updated")); err != nil {
		t.Fatalf("Update must succeed: got %v", err)
	}
	untouched("Update", first)
	stores[first].record(t, one)
	stores[last].record(t, all)
	untouched("Revoke", first, last)
	stores[first].sweep(t, one.ID)
	stores[last].sweep(t, all.ID)
	untouched("Apply", first, last)
	if err := stores[1].admit(t, plan.token(trickyNames[0], "client", ""), domain.AsOfSequence(0)); err != nil {
		t.Fatalf("a guard of one tenant must not bar another's tokens: got %v", err)
	}
	stores[first].forget(t, ages, ages)
	stores[last].forget(t, ages, ages)
	untouched("Trim", first, 1, last)
}

// checkPending compares with the tenants of which the test knows that something is pending.
func checkPending(t testing.TB, e *env) {
	want := func(when string, names ...string) {
		t.Helper()
		slices.Sort(names)
		for _, limit := range []int{1, 2, 1000} {
			var got []string
			for last := ""; len(got) <= len(names); {
				page, err := e.backend.Pending(e.ctx, last, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("Pending must return a page (%s): got %d of %d, error %v", when, len(page), limit, err)
				}
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				last = page[len(page)-1]
			}
			if !slices.Equal(got, names) {
				t.Fatalf("Pending must name the tenants with pending revocations, in order (%s): got %q, want %q", when, got, names)
			}
		}
	}
	want("in an empty backend")
	var pending []string
	ids := map[string]ulid.ULID{}
	for i, name := range trickyNames {
		w := e.named(t, name)
		w.add(t, "user", "client", "")
		if i%3 == 0 {
			ids[name] = w.revoke(t, domain.Target{UserID: "user"}).Tombstone.ID
			pending = append(pending, name)
		}
	}
	want("after some have revoked", pending...)
	done := pending[1]
	w := e.named(t, done)
	w.sweep(t, ids[done])
	want("after one has swept", slices.DeleteFunc(slices.Clone(pending), func(name string) bool { return name == done })...)
	w.add(t, "user", "client", "")
	w.revoke(t, domain.Target{UserID: "user"})
	want("after it has revoked again", pending...)
}

// checkState counts along.
func checkState(t testing.TB, e *env) {
	w := e.tenant(t)
	want := store.State{}
	check := func(when string) {
		t.Helper()
		got := w.state(t)
		if !got.OldestPending.Equal(want.OldestPending) {
			t.Fatalf("State must say how old the oldest pending revocation is (%s): got %v, want %v", when, got.OldestPending, want.OldestPending)
		}
		got.OldestPending, got.Sequence, got.Horizon = want.OldestPending, 0, domain.Horizon{}
		if got != want {
			t.Fatalf("State must count what is there (%s): got %+v, want %+v", when, got, want)
		}
	}
	check("at first")
	first := w.add(t, "user-1", "client", "")
	w.insert(t, w.token("user-1", "client", "session"), w.token("user-2", "client", ""), w.token("user-3", "client", ""))
	want.Tokens, want.Sessionless = 4, 3
	check("after Insert")
	if _, err := w.Insert(w.ctx, rows(first)); err != nil {
		t.Fatalf("Insert must succeed: got %v", err)
	}
	check("after an Insert that was refused")

	late, early := w.revocation(domain.Target{UserID: "user-1"}), w.revocation(domain.Target{UserID: "user-2"}, domain.Target{UserID: "user-4"})
	early.Time = late.Time.Add(-time.Hour)
	w.record(t, late)
	want.Pending, want.OldestPending = 1, late.Time
	check("after Revoke")
	w.record(t, early)
	want.Pending, want.OldestPending = 2, early.Time
	check("after another Revoke")
	w.sweep(t, early.ID)
	want.Pending, want.OldestPending, want.Tokens, want.Sessionless, want.Guards, want.History = 1, late.Time, 3, 2, 2, 1
	check("after a sweep")
	w.sweep(t, late.ID)
	want.Pending, want.OldestPending, want.Tokens, want.Sessionless, want.Guards, want.History = 0, time.Time{}, 1, 1, 3, 2
	check("after all sweeps")
	w.forget(t, ages, ages)
	want.Guards, want.History = 0, 0
	check("after Trim")
}

// checkNames looks for tenants by page.
func checkNames(t testing.TB, e *env) {
	want := []string{"name-a", "name-b", "name-b2", "name-created", "name-ü"}
	e.named(t, "name-never")
	for _, name := range want {
		if name == "name-created" {
			continue
		}
		w := e.named(t, name)
		w.add(t, "user", "client", "")
	}
	if err := e.backend.Create(e.ctx, "name-created"); err != nil {
		t.Errorf("Create must record a tenant: got %v", err)
	}
	for _, name := range []string{"name-created", "name-a"} {
		wantErr(t, "a tenant that is there must not be created", e.backend.Create(e.ctx, name), store.ErrExists)
	}
	if err := e.backend.Create(e.ctx, ""); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("a name without characters must be refused: got %v", err)
	}
	if got := e.named(t, "name-created").state(t); got != (store.State{}) {
		t.Errorf("a tenant that was created must be empty: got %+v", got)
	}
	w := e.named(t, "name-b")
	w.sweep(t, w.revoke(t, domain.Target{UserID: "user"}).Tombstone.ID)
	w.forget(t, ages, ages)
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		after := ""
		for range sweepLimit {
			names, err := e.backend.Tenants(e.ctx, after, limit)
			if err != nil || len(names) > limit {
				t.Fatalf("Tenants must return at most %d names: got %d, error %v", limit, len(names), err)
			}
			if len(names) == 0 {
				break
			}
			got, after = append(got, names...), names[len(names)-1]
		}
		if !slices.Equal(got, want) {
			t.Errorf("Tenants must name those that were created or written to, each once, in order: got %q, want %q", got, want)
		}
	}
	_, err := e.backend.Tenants(e.ctx, "", 0)
	wantErr(t, "a limit below 1 must be refused", err, domain.ErrInvalid)
}
