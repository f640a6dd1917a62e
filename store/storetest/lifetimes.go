package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// expire calls Expire until it says that nothing is due any more, and returns how many tokens it removed.
func (w *tenant) expire(t rapid.TB, now time.Time, bounds store.Bounds) (removed int) {
	t.Helper()
	bounds.Now = now
	for range sweepLimit {
		done, err := w.Expire(w.ctx, bounds)
		if err != nil {
			fail(t, "Expire must accept valid bounds", "got %v", err)
		}
		if done.Examined > bounds.Visit || done.Removed > bounds.Remove || done.Removed > done.Examined {
			fail(t, "Expire must keep to its bounds", "bounds %+v, done %+v", bounds, done)
		}
		removed += done.Removed
		if done.Next.IsZero() || done.Next.After(now) {
			return removed
		}
	}
	fail(t, "Expire must come to its end", "%d calls were not enough", sweepLimit)
	return removed
}

var oneRow = store.Bounds{Visit: 1, Remove: 1}

// checkExpire has tokens of every kind of lifetime, at the very instants of their ends.
func checkExpire(t testing.TB, e *env) {
	w := e.tenant(t)
	ending := func(expires, idle time.Duration) domain.RefreshToken {
		token := w.token("user", "client", "session")
		if expires != 0 {
			token.ExpiresAt = after(expires)
		}
		if idle != 0 {
			token.IdleLifetime, token.IdleExpiresAt = domain.Lifetime(idle), after(idle)
		}
		return w.insert(t, token)[0]
	}
	absolute, idle, never := ending(time.Hour, 0), ending(0, time.Hour), ending(0, 0)
	both, later := ending(time.Hour, 3*time.Hour), ending(2*time.Hour, 0)
	renewed := ending(0, time.Hour)
	err := w.Update(w.ctx, renewed.ID, func(v store.View) store.Decision {
		v.Token.IdleExpiresAt = after(90 * time.Minute)
		return store.Decision{Next: &v.Token}
	})
	if err != nil {
		t.Fatalf("an exchange must be able to renew the idle lifetime: got %v", err)
	}
	there := func(when string, want ...domain.RefreshToken) {
		t.Helper()
		found := w.all(t, store.Query{UserID: "user"})
		if state := w.state(t); len(found) != len(want) || state.Tokens != len(want) {
			t.Errorf("%s: %d tokens are listed and %d counted, want %d", when, len(found), state.Tokens, len(want))
		}
		for _, token := range want {
			if _, ok := found[token.ID]; !ok {
				t.Errorf("%s: a token that must be there is not", when)
			}
		}
	}
	for _, token := range []domain.RefreshToken{ending(0, 0), ending(3*time.Hour, 0)} {
		err := w.Update(w.ctx, token.ID, func(v store.View) store.Decision {
			v.Token.ExpiresAt = after(30 * time.Minute)
			return store.Decision{Next: &v.Token}
		})
		if err != nil {
			t.Fatalf("an exchange must be able to cut a life short: got %v", err)
		}
	}
	w.expire(t, after(30*time.Minute), oneRow)
	there("at the deadline of those that were cut short", absolute, idle, never, both, later, renewed)
	w.expire(t, after(time.Hour-1), oneRow)
	there("an instant before the first deadline", absolute, idle, never, both, later, renewed)
	w.expire(t, after(time.Hour), oneRow)
	there("at the first deadline", never, later, renewed)
	done, err := w.Expire(w.ctx, store.Bounds{Visit: 10, Remove: 10, Now: after(time.Hour)})
	if err != nil || done.Removed != 0 || done.Next.Before(after(time.Hour)) || done.Next.After(after(90*time.Minute+time.Second)) {
		t.Errorf("Next must be when the first of those left is due: got %+v, error %v", done, err)
	}
	w.expire(t, after(48*time.Hour), oneRow)
	there("at the end", never)
	if done, err := w.Expire(w.ctx, store.Bounds{Visit: 1, Remove: 1, Now: after(1000 * time.Hour)}); err != nil || done != (store.Expired{}) {
		t.Errorf("a token that never expires must not be looked at: got %+v, error %v", done, err)
	}
	for _, bad := range []store.Bounds{{Visit: 0, Remove: 1}, {Visit: 1, Remove: 0}} {
		_, err := w.Expire(w.ctx, bad)
		wantErr(t, "bounds without room must be refused", err, domain.ErrInvalid)
	}
	property(t, e, checkExpiring)
	checkEndsOfTime(t, e)
}

// lastInstant is the last that records can hold.
var lastInstant = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)

// checkEndsOfTime has lives that end as early and as late as records can say, and a clock that leaps there and back.
func checkEndsOfTime(t testing.TB, e *env) {
	w := e.tenant(t)
	ending := func(expires, idle time.Time) domain.RefreshToken {
		token := w.token("user", "client", "session")
		token.ExpiresAt, token.IdleExpiresAt = expires, idle
		return w.insert(t, token)[0]
	}
	ancient := ending(time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Time{})
	last := []domain.RefreshToken{ending(lastInstant, time.Time{}), ending(time.Time{}, lastInstant), ending(time.Time{}, time.Time{})}
	mortal := ending(after(time.Hour), time.Time{})
	for _, now := range []time.Time{base, after(-time.Hour), base} {
		if w.expire(t, now, oneRow); w.has(t, ancient.ID) || !w.has(t, mortal.ID) {
			t.Errorf("what ended long ago must go, and nothing else")
		}
	}
	w.expire(t, lastInstant.Add(-1), oneRow)
	w.expire(t, base, oneRow) // back again
	if w.has(t, mortal.ID) {
		t.Errorf("a leap of the clock must remove what it ends")
	}
	for _, token := range last {
		w.wantRecord(t, "a life to the end of time must not be over before", token)
	}
	w.expire(t, lastInstant, oneRow)
	if !w.has(t, last[2].ID) {
		t.Errorf("a token that never expires must outlive all time")
	}
}

// checkExpiring lets tokens with random lifetimes be renewed and swept in random order.
func checkExpiring(t *rapid.T, w *tenant) {
	var ids []ulid.ULID
	minutes := rapid.IntRange(0, 20)
	for range rapid.IntRange(1, 12).Draw(t, "tokens") {
		token := w.token(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "user"), "client", "")
		if n := minutes.Draw(t, "expires"); n > 0 {
			token.ExpiresAt = after(time.Duration(n)*time.Minute + time.Duration(n)*time.Millisecond)
		}
		if n := minutes.Draw(t, "idle"); n > 0 {
			token.IdleExpiresAt = after(time.Duration(n) * time.Minute)
		}
		ids = append(ids, w.insert(t, token)[0].ID)
	}
	now := base
	for range rapid.IntRange(1, 8).Draw(t, "steps") {
		now = now.Add(time.Duration(minutes.Draw(t, "pass")) * time.Minute)
		views := map[ulid.ULID]store.View{}
		for _, id := range ids {
			if v, ok := w.get(t, id); ok {
				views[id] = v
			}
		}
		if id := rapid.SampledFrom(ids).Draw(t, "renew"); rapid.Bool().Draw(t, "renewed") {
			_ = w.Update(w.ctx, id, func(v store.View) store.Decision {
				if !v.Token.IdleExpiresAt.IsZero() && v.Token.Expired(now) == "" {
					v.Token.IdleExpiresAt = now.Add(5 * time.Minute)
				}
				return store.Decision{Next: &v.Token}
			})
			if v, ok := w.get(t, id); ok {
				views[id] = v
			}
		}
		visit, remove := rapid.IntRange(1, 3).Draw(t, "visit"), rapid.IntRange(1, 3).Draw(t, "remove")
		w.expire(t, now, store.Bounds{Visit: visit, Remove: remove})
		for id, v := range views {
			there := w.has(t, id)
			if !there && v.Token.Expired(now) == "" {
				t.Fatal("Expire removed a token that is not expired")
			}
			if there && v.Token.Expired(now.Add(-time.Second)) != "" {
				t.Fatal("Expire left a token that has been expired for a second")
			}
		}
	}
}

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
