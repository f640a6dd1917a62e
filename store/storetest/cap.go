package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// checkCap fills a user's cap, and more.
func checkCap(t testing.TB, e *env) {
	w := e.tenant(t)
	insert := func(limit store.Cap, token domain.RefreshToken) store.Inserted {
		t.Helper()
		results, err := w.Insert(w.ctx, []store.Insertion{{Token: token, Cap: limit}})
		if err != nil || len(results) != 1 {
			t.Fatalf("Insert must return a result for each row: got %d of 1, error %v", len(results), err)
		}
		return results[0]
	}
	made := func(minute int) domain.RefreshToken {
		token := w.token("user", "client", "")
		token.CreatedAt = after(time.Duration(minute) * time.Minute)
		return token
	}
	evicted := func(what string, in store.Inserted, want ...domain.RefreshToken) {
		t.Helper()
		if in.Err != nil {
			t.Fatalf("%s: the insertion must go through: got %v", what, in.Err)
		}
		got := slices.Collect(func(yield func(ulid.ULID) bool) {
			for _, token := range in.Evicted {
				yield(token.ID)
			}
		})
		if len(got) != len(want) {
			t.Fatalf("%s: got %d evicted, want %d", what, len(got), len(want))
		}
		for i, token := range want {
			if got[i] != token.ID || w.has(t, token.ID) {
				t.Errorf("%s: the oldest must go, in order, and at once", what)
			}
		}
	}
	three := store.Cap{Max: 3}
	b, a, c := made(2), made(1), made(3)
	others := []domain.RefreshToken{w.token("user", "other client", ""), w.token("other user", "client", "")}
	w.insert(t, others...)
	for i, token := range []domain.RefreshToken{b, a, c} {
		evicted("below the cap", insert(store.Cap{Max: 3, Refuse: i > 0}, token))
	}
	if in := insert(store.Cap{Max: 3, Refuse: true}, made(4)); in.Err == nil {
		t.Errorf("a cap that refuses must refuse")
	} else {
		wantErr(t, "a cap that refuses must say so", in.Err, store.ErrCap)
	}
	if n := len(w.all(t, store.Query{UserID: "user", ClientID: "client"})); n != 3 {
		t.Errorf("a refused insertion must write nothing: %d tokens, want 3", n)
	}
	d := made(4)
	evicted("over the cap", insert(three, d), a)
	wantErr(t, "an evicted token must not come back", w.admit(t, a, domain.AsOfTime(a.CreatedAt, 0)), domain.ErrRevoked)

	expired := made(0)
	expired.ExpiresAt = after(5 * time.Minute)
	covered := made(0)
	w.insert(t, expired, covered)
	w.revoke(t, domain.Target{TokenID: covered.ID})
	f := made(6)
	evicted("expired and covered ones don't count", insert(three, f), b)
	evicted("a lower cap", insert(store.Cap{Max: 1}, made(7)), c, d, f)
	for _, token := range append(others, expired) {
		if !w.has(t, token.ID) {
			t.Errorf("what does not count must stay")
		}
	}
	twins := []domain.RefreshToken{w.token("twin", "client", ""), w.token("twin", "client", "")}
	w.insert(t, twins...)
	slices.SortFunc(twins, func(a, b domain.RefreshToken) int { return a.ID.Compare(b.ID) })
	evicted("of two of one instant", insert(store.Cap{Max: 2}, w.token("twin", "client", "")), twins[0])
	_, err := w.Insert(w.ctx, []store.Insertion{{Token: made(8), Cap: store.Cap{Max: -1}}})
	wantErr(t, "a negative cap must be refused", err, domain.ErrInvalid)
	checkCapMemory(t, e)
	checkCapAtOnce(t, e)
}

// checkCapMemory evicts a token that was created after the eviction, as a clock that stepped back has it, and lets the
// eviction be forgotten: what is beyond memory must then reach as far as the token.
func checkCapMemory(t testing.TB, e *env) {
	w := e.tenant(t)
	early, late := w.token("user", "client", ""), w.token("user", "client", "")
	late.CreatedAt = early.CreatedAt.Add(time.Hour)
	w.insert(t, late)
	results, err := w.Insert(w.ctx, []store.Insertion{{Token: early, Cap: store.Cap{Max: 1}}})
	if err != nil || results[0].Err != nil || len(results[0].Evicted) != 1 {
		t.Fatalf("the one over the cap must go: got %+v, error %v", results, err)
	}
	if _, err := w.Trim(w.ctx, store.Trim{Guards: after(1000 * time.Hour), Limit: 10}); err != nil {
		t.Fatalf("Trim must succeed: got %v", err)
	}
	wantErr(t, "an evicted token must not come back when its eviction is forgotten",
		w.admit(t, late, domain.AsOfTime(late.CreatedAt, 0)), domain.ErrBeyondMemory)
}

const capCallers = 24

// checkCapAtOnce has many insertions at once, none of which may slip past the others.
func checkCapAtOnce(t testing.TB, e *env) {
	w := e.tenant(t)
	const limit = 5
	tokens := make([]domain.RefreshToken, capCallers)
	for i := range tokens {
		tokens[i] = w.token("user", "client", "")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	gone := 0
	for _, token := range tokens {
		wg.Go(func() {
			results, err := w.Insert(w.ctx, []store.Insertion{{Token: token, Cap: store.Cap{Max: limit}}})
			page, listErr := w.List(w.ctx, store.Query{UserID: "user", Limit: store.MaxPage})
			mu.Lock()
			defer mu.Unlock()
			if listErr != nil || len(page.Tokens) > limit {
				t.Errorf("a cap must hold at every moment: %d tokens of a cap of %d, error %v", len(page.Tokens), limit, listErr)
			}
			if err != nil || len(results) != 1 || results[0].Err != nil {
				t.Errorf("an insertion under a cap that evicts must go through: got error %v", err)
				return
			}
			gone += len(results[0].Evicted)
		})
	}
	wg.Wait()
	if left := len(w.all(t, store.Query{UserID: "user"})); left != limit || gone != capCallers-limit {
		t.Errorf("a cap must hold whatever happens at once: %d left of a cap of %d, %d evicted", left, limit, gone)
	}
}
