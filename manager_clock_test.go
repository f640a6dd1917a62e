package tokenstore_test

import (
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

var endOfTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)

// TestClockStepsBackWithinTheLeeway: the leeway does not end early for a clock that is behind the one that rotated.
func TestClockStepsBackWithinTheLeeway(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	out := r.issue(request("ann"))
	next := r.exchange(out.Secret)
	r.wait(-time.Hour)
	if again := r.exchange(out.Secret); !again.Retried || again.Secret.Reveal() != next.Secret.Reveal() {
		t.Errorf("%+v", again)
	}
	r.exchange(next.Secret)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

// TestClockStepsBackBetweenUses: a use at an earlier time than the one that is noted is noted, so that a token is never
// kept alive by a time that has yet to come.
func TestClockStepsBackBetweenUses(t *testing.T) {
	r := newRig(t, tokenstore.Options{IdleLifetime: hour, LastUsedEvery: time.Minute})
	out := r.issue(static("ann"))
	r.exchange(out.Secret)
	r.wait(-24 * time.Hour)
	before := r.spy.count()
	token := r.exchange(out.Secret).Token
	if r.spy.count() != before+1 || !token.IdleExpiresAt.Equal(r.now.Add(time.Hour)) {
		t.Errorf("%d writes, idle until %v", r.spy.count()-before, token.IdleExpiresAt)
	}
	r.wait(time.Hour)
	if r.expire() != 1 {
		t.Error("not removed an hour after the last use")
	}
}

// TestClockStepsBackAfterExpiry: what has been removed stays so, what has only been refused may live on.
func TestClockStepsBackAfterExpiry(t *testing.T) {
	r := newRig(t, tokenstore.Options{Lifetime: hour})
	swept := r.issue(request("ann"))
	r.wait(30 * time.Minute)
	refused := r.issue(request("ann"))
	r.wait(45 * time.Minute)
	if r.expire() != 1 {
		t.Fatal("not removed")
	}
	r.wait(time.Hour)
	_, err := r.try(refused.Secret)
	wantRefusal(t, err, tokenstore.ErrExpired)
	r.wait(-90 * time.Minute)
	r.exchange(refused.Secret)
	_, err = r.try(swept.Secret)
	wantRefusal(t, err, tokenstore.ErrUnknownToken)
}

// TestClockStepsBackUnderCap: the oldest by their own times go, and can't be imported again, whatever is forgotten.
func TestClockStepsBackUnderCap(t *testing.T) {
	r, _, evicted := capRig(t, 1)
	future := r.issue(request("ann")).Token
	r.wait(-24 * time.Hour)
	r.issue(request("ann"))
	if gone := evicted(); len(gone) != 1 || gone[0] != future.ID {
		t.Fatalf("%v evicted", gone)
	}
	future.Sequence = 0
	r.wait(48 * time.Hour)
	wantRefusal(t, r.bring(future)[0].Err, tokenstore.ErrRevoked)
	st, _ := r.spy.Tenant("default")
	if done, err := st.Trim(t.Context(), store.Trim{Guards: r.now, Limit: 10}); err != nil || done.Guards != 1 {
		t.Fatal(done, err)
	}
	wantRefusal(t, r.bring(future)[0].Err, tokenstore.ErrBeyondMemory)
}

// TestClockStandsStillSwitchedOff: in one instant a token rotates, stops rotating, and is used. The parent is replay.
func TestClockStandsStillSwitchedOff(t *testing.T) {
	var p policies
	r := newRig(t, tokenstore.Options{Client: p.of})
	out := r.issue(request("ann"))
	next := r.exchange(out.Secret)
	p.set(rotationOff)
	r.exchange(next.Secret)
	_, err := r.try(out.Secret)
	wantRefusal(t, err, tokenstore.ErrReused)
}

// TestClockStandsStillForAll: issue, exchange, revocation, eviction and expiry in one instant.
func TestClockStandsStillForAll(t *testing.T) {
	r, _, evicted := capRig(t, 1)
	first := r.issue(request("ann"))
	secret := r.exchange(first.Secret).Secret
	second := r.issue(request("ann"))
	if gone := evicted(); len(gone) != 1 || gone[0] != first.Token.ID {
		t.Errorf("%v evicted, want the first", gone)
	}
	_, err := r.try(secret)
	wantRefusal(t, err, tokenstore.ErrUnknownToken)
	r.revoke(tokenstore.Target{UserID: "ann"})
	third := r.issue(request("ann"))
	if len(evicted()) > 0 {
		t.Error("a covered token counts")
	}
	_, err = r.try(second.Secret)
	wantRefusal(t, err, tokenstore.ErrRevoked)
	r.exchange(third.Secret)
	if r.expire() != 0 {
		t.Error("removed what is not expired")
	}
}

// TestClockFarFuture: a leap ends every life that has an end, and no other; what is issued there works there.
func TestClockFarFuture(t *testing.T) {
	r := newRig(t, tokenstore.Options{})
	mortal := r.issue(request("ann"))
	req := request("ann")
	req.Lifetime, req.IdleLifetime = tokenstore.Never, tokenstore.Never
	immortal := r.issue(req)
	r.now = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
	there := r.issue(request("ann"))
	r.exchange(there.Secret)
	_, err := r.try(mortal.Secret)
	wantRefusal(t, err, tokenstore.ErrExpired)
	secret := r.exchange(immortal.Secret).Secret
	if r.expire() != 1 {
		t.Error("not removed")
	}
	r.now = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	r.exchange(secret)
	r.revoke(tokenstore.Target{UserID: "ann"})
	r.issue(request("ann"))
}

// TestClockEndOfTime: lifetimes that would end after the year 9999 end with it.
func TestClockEndOfTime(t *testing.T) {
	const longest = tokenstore.Lifetime(1<<63 - 1)
	for _, lifetime := range []tokenstore.Lifetime{hour, day, 365 * day, longest} {
		for _, static := range []bool{false, true} {
			r := newRig(t, tokenstore.Options{Lifetime: lifetime, IdleLifetime: lifetime, LastUsedEvery: time.Hour})
			r.now = endOfTime.Add(-time.Minute)
			req := request("ann")
			req.Static = static
			out := r.issue(req)
			if !out.Token.ExpiresAt.Equal(endOfTime) || !out.Token.IdleExpiresAt.Equal(endOfTime) {
				t.Fatalf("until %v and %v", out.Token.ExpiresAt, out.Token.IdleExpiresAt)
			}
			r.wait(time.Minute - 1)
			answer := r.exchange(out.Secret)
			if !answer.Token.IdleExpiresAt.Equal(endOfTime) {
				t.Errorf("idle until %v", answer.Token.IdleExpiresAt)
			}
			if r.expire() != 0 {
				t.Error("removed an instant before its end")
			}
			r.wait(1)
			_, err := r.try(answer.Secret)
			wantRefusal(t, err, tokenstore.ErrExpired)
			if r.expire() != 0 { // due in the second after the end, which never comes
				t.Error("removed")
			}
		}
	}
	r := newRig(t, tokenstore.Options{Lifetime: longest, IdleLifetime: longest})
	if token := r.issue(request("ann")).Token; !token.ExpiresAt.Equal(r.now.Add(1<<63 - 1)) {
		t.Errorf("until %v", token.ExpiresAt)
	}
}
