package domain_test

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

var now domain.AsOf // the zero value

func TestGuardBars(t *testing.T) {
	const watermark = 5
	through := noon.Add(time.Second)
	id := ulid.ULID{15: 1}
	for _, c := range []struct {
		name   string
		target domain.Target
		asOf   domain.AsOf
		want   bool
	}{
		{"user, now", domain.Target{UserID: "user"}, now, false},
		{"user, sequence before", domain.Target{UserID: "user"}, domain.AsOfSequence(watermark - 1), true},
		{"user, sequence of the revocation", domain.Target{UserID: "user"}, domain.AsOfSequence(watermark), false},
		{"user, sequence after", domain.Target{UserID: "user"}, domain.AsOfSequence(watermark + 1), false},
		{"user, sequence 0", domain.Target{UserID: "user"}, domain.AsOfSequence(0), true},
		{"user, time before", domain.Target{UserID: "user"}, domain.AsOfTime(through.Add(-1), 0), true},
		{"user, between its time and through", domain.Target{UserID: "user"}, domain.AsOfTime(noon.Add(1), 0), true},
		{"user, time of the revocation", domain.Target{UserID: "user"}, domain.AsOfTime(through, 0), true},
		{"user, the same in a zone", domain.Target{UserID: "user"}, domain.AsOfTime(through.In(east), 0), true},
		{"user, time after", domain.Target{UserID: "user"}, domain.AsOfTime(through.Add(1), 0), false},
		{"user, time after, within the skew", domain.Target{UserID: "user"}, domain.AsOfTime(through.Add(time.Minute-1), time.Minute), true},
		{"user, time after, at the skew", domain.Target{UserID: "user"}, domain.AsOfTime(through.Add(time.Minute), time.Minute), true},
		{"user, time after the skew", domain.Target{UserID: "user"}, domain.AsOfTime(through.Add(time.Minute+1), time.Minute), false},
		{"user, zero time", domain.Target{UserID: "user"}, domain.AsOfTime(time.Time{}, 0), true},
		{"another user, sequence before", domain.Target{UserID: "other"}, domain.AsOfSequence(0), false},
		{"another user, time before", domain.Target{UserID: "other"}, domain.AsOfTime(time.Time{}, 0), false},
		{"everything, now", domain.Target{Everything: true}, now, false},
		{"everything, sequence before", domain.Target{Everything: true}, domain.AsOfSequence(4), true},

		{"session, now", domain.Target{SessionID: "session"}, now, true},
		{"session, sequence after", domain.Target{SessionID: "session"}, domain.AsOfSequence(99), true},
		{"session, time after", domain.Target{SessionID: "session"}, domain.AsOfTime(endOfTime, 0), true},
		{"session but offline, now", domain.Target{SessionID: "session", Offline: domain.OfflineNo}, now, true},
		{"session, offline only, now", domain.Target{SessionID: "session", Offline: domain.OfflineYes}, now, false},
		{"session with zero times in a zone, now", domain.Target{SessionID: "session", IssuedBefore: time.Time{}.In(east)}, now, true},
		{"another session, now", domain.Target{SessionID: "other"}, now, false},
		{"session and client, now", domain.Target{SessionID: "session", ClientID: "client"}, now, false},
		{"session and client, sequence after", domain.Target{SessionID: "session", ClientID: "client"}, domain.AsOfSequence(watermark), false},
		{"session and client, sequence before", domain.Target{SessionID: "session", ClientID: "client"}, domain.AsOfSequence(4), true},
		{"session and user, now", domain.Target{SessionID: "session", UserID: "user"}, now, false},
		{"session and audience, now", domain.Target{SessionID: "session", Audience: "first"}, now, false},
		{"session and a time, now", domain.Target{SessionID: "session", IssuedBefore: endOfTime}, now, false},

		{"id, now", domain.Target{TokenID: id}, now, true},
		{"id, sequence after", domain.Target{TokenID: id}, domain.AsOfSequence(99), true},
		{"id, time after", domain.Target{TokenID: id}, domain.AsOfTime(endOfTime, 0), true},
		{"id and user, now", domain.Target{TokenID: id, UserID: "user"}, now, true},
		{"id and another user, now", domain.Target{TokenID: id, UserID: "other"}, now, false},
		{"another id, now", domain.Target{TokenID: ulid.ULID{15: 2}}, now, false},
		{"empty, sequence before", domain.Target{}, domain.AsOfSequence(0), false},
	} {
		candidate := full()
		guard := domain.Guard{Target: c.target, Watermark: watermark, Time: noon, Through: through}
		if got := guard.Bars(&candidate, c.asOf); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
		if c.want && c.target.Anchor().Kind > c.asOf.Reach() {
			t.Errorf("%s: out of reach, and bars nevertheless", c.name)
		}
		tombstone := domain.Tombstone{
			Targets: []domain.Target{{UserID: "nobody"}, c.target}, Watermark: watermark, Time: noon, Through: through,
		}
		if got := tombstone.Bars(&candidate, c.asOf); got != c.want {
			t.Errorf("tombstone, %s: got %t, want %t", c.name, got, c.want)
		}
	}
}

func TestGuardBarsWhateverTheCandidatesSequence(t *testing.T) {
	// A candidate has no sequence yet; what it was given by mistake must not matter.
	guard := domain.Guard{Target: domain.Target{UserID: "user"}, Watermark: 5}
	for _, sequence := range []uint64{0, 5, 6} {
		candidate := full()
		candidate.Sequence = sequence
		if !guard.Bars(&candidate, domain.AsOfSequence(4)) || guard.Bars(&candidate, domain.AsOfSequence(5)) {
			t.Errorf("sequence %d of the candidate changes the answer", sequence)
		}
	}
}

func drawAsOf(t *rapid.T) domain.AsOf {
	switch rapid.IntRange(0, 2).Draw(t, "as of") {
	case 1:
		return domain.AsOfSequence(rapid.Uint64Range(0, 6).Draw(t, "as of sequence"))
	case 2:
		return domain.AsOfTime(drawTime(t, "as of time"), time.Duration(rapid.IntRange(0, 2).Draw(t, "skew")))
	}
	return now
}

func drawGuard(t *rapid.T, target domain.Target) domain.Guard {
	g := domain.Guard{Target: target, Watermark: rapid.Uint64Range(0, 6).Draw(t, "watermark"), Time: drawTime(t, "time")}
	g.Through = g.Time.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "through")))
	return g
}

func TestGuardJoin(t *testing.T) {
	checkLaw(t, func(t *rapid.T) {
		target := drawTarget(t)
		a, b, c := drawGuard(t, target), drawGuard(t, target), drawGuard(t, target)
		if a.Join(b) != b.Join(a) {
			t.Fatalf("Join is not commutative")
		}
		if a.Join(b).Join(c) != a.Join(b.Join(c)) {
			t.Fatalf("Join is not associative")
		}
		if a.Join(a) != a {
			t.Fatalf("Join is not idempotent")
		}
		joined := a.Join(b)
		if joined.Join(a) != joined {
			t.Fatalf("Join is no maximum")
		}
		candidate, asOf := drawToken(t), drawAsOf(t)
		if joined.Bars(&candidate, asOf) != (a.Bars(&candidate, asOf) || b.Bars(&candidate, asOf)) {
			t.Fatalf("joined guards bar something else than the two do")
		}
	})
}

func TestGuardJoinTakesEachMaximum(t *testing.T) {
	target := domain.Target{UserID: "user"}
	a := domain.Guard{Target: target, Watermark: 1, Time: noon.Add(2), Through: noon.Add(3)}
	b := domain.Guard{Target: target, Watermark: 2, Time: noon.Add(1), Through: noon.Add(4)}
	want := domain.Guard{Target: target, Watermark: 2, Time: noon.Add(2), Through: noon.Add(4)}
	if got := a.Join(b); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestCoveredIsBarred: what a tombstone covers could not have been inserted after it, had it stemmed from before it.
func TestCoveredIsBarred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tombstone, token := drawTombstone(t), drawToken(t)
		tombstone.Watermark++ // at least 1, as there is a sequence before every revocation's
		if !tombstone.Covers(&token) {
			return
		}
		if !tombstone.Bars(&token, domain.AsOfSequence(tombstone.Watermark-1)) {
			t.Fatalf("what stems from before the revocation is let in by sequence")
		}
		if !tombstone.Bars(&token, domain.AsOfTime(tombstone.Through, 0)) {
			t.Fatalf("what stems from before the revocation is let in by time")
		}
	})
}

func TestHorizonBeyond(t *testing.T) {
	empty := domain.Horizon{}
	set := domain.Horizon{Sequence: 5, Time: noon}
	for _, c := range []struct {
		name    string
		horizon domain.Horizon
		asOf    domain.AsOf
		want    bool
	}{
		{"nothing forgotten, now", empty, now, false},
		{"nothing forgotten, sequence 0", empty, domain.AsOfSequence(0), false},
		{"nothing forgotten, zero time", empty, domain.AsOfTime(time.Time{}, 0), false},
		{"nothing forgotten, long skew", empty, domain.AsOfTime(noon, 1<<62), false},
		{"now", set, now, false},
		{"sequence below", set, domain.AsOfSequence(4), true},
		{"sequence at", set, domain.AsOfSequence(5), false},
		{"sequence above", set, domain.AsOfSequence(6), false},
		{"time before", set, domain.AsOfTime(noon.Add(-1), 0), true},
		{"time at", set, domain.AsOfTime(noon, 0), true},
		{"time at, in a zone", set, domain.AsOfTime(noon.In(west), 0), true},
		{"time after", set, domain.AsOfTime(noon.Add(1), 0), false},
		{"time after, at the skew", set, domain.AsOfTime(noon.Add(time.Minute), time.Minute), true},
		{"time after the skew", set, domain.AsOfTime(noon.Add(time.Minute+1), time.Minute), false},
	} {
		if got := c.horizon.Beyond(c.asOf); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}

func TestHorizonForget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		horizon := domain.Horizon{}
		asOf, candidate := drawAsOf(t), drawToken(t)
		for range rapid.IntRange(1, 5).Draw(t, "guards") {
			guard := drawGuard(t, drawTarget(t))
			after := horizon.Forget(guard)
			if after.Sequence < horizon.Sequence || after.Time.Before(horizon.Time) {
				t.Fatalf("the horizon goes back")
			}
			if after.Sequence < guard.Watermark || after.Time.Before(guard.Through) {
				t.Fatalf("the horizon is before what has been forgotten")
			}
			if horizon.Beyond(asOf) && !after.Beyond(asOf) {
				t.Fatalf("forgetting lets in what was refused")
			}
			if after.Forget(guard) != after {
				t.Fatalf("forgetting twice is not the same as once")
			}
			// A guard that bars now does so for what it names, not for where the candidate stems from.
			if guard.Bars(&candidate, asOf) && !guard.Bars(&candidate, now) && !after.Beyond(asOf) {
				t.Fatalf("what a forgotten guard would have barred is not beyond the horizon")
			}
			horizon = after
		}
	})
}

// TestHorizonStandsForForgottenPoints is the same for guards of any target: what they would have barred by its point
// alone is beyond the horizon, though they named a session or an id.
func TestHorizonStandsForForgottenPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		guard, asOf := drawGuard(t, drawTarget(t)), drawAsOf(t)
		plain := guard
		plain.Target = domain.Target{Everything: true}
		candidate := drawToken(t)
		if (domain.Horizon{}).Forget(guard).Beyond(asOf) != plain.Bars(&candidate, asOf) {
			t.Fatalf("the horizon is not that of a guard for everything")
		}
	})
}
