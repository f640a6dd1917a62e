package storetest

import (
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
