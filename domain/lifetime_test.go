package domain_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/tokenstore/domain"
)

var endOfTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)

func TestDeadline(t *testing.T) {
	east := time.FixedZone("", 14*3600)
	for _, c := range []struct {
		name     string
		lifetime domain.Lifetime
		start    time.Time
		want     time.Time
	}{
		{"an hour", domain.Lifetime(time.Hour), noon, noon.Add(time.Hour)},
		{"a nanosecond", 1, noon, noon.Add(1)},
		{"another zone", domain.Lifetime(time.Hour), noon.In(east), noon.Add(time.Hour)},
		{"never", domain.Never, noon, time.Time{}},
		{"zero", 0, noon, time.Time{}},
		{"negative", -5, noon, time.Time{}},
		{"longest", math.MaxInt64, noon, noon.Add(math.MaxInt64)},
		{"longest from the start of time", math.MaxInt64, time.Time{}, time.Time{}.Add(math.MaxInt64)},
		{"exactly to the end", domain.Lifetime(time.Hour), endOfTime.Add(-time.Hour), endOfTime},
		{"one too many", domain.Lifetime(time.Hour), endOfTime.Add(1 - time.Hour), endOfTime},
		{"one left", domain.Lifetime(time.Hour), endOfTime.Add(-1 - time.Hour), endOfTime.Add(-1)},
		{"over the end", math.MaxInt64, endOfTime.Add(-1), endOfTime},
		{"at the end", 1, endOfTime, endOfTime},
		{"after the end", 1, endOfTime.Add(time.Hour), endOfTime},
		{"never at the end", domain.Never, endOfTime, time.Time{}},
	} {
		got := c.lifetime.Deadline(c.start)
		if !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if got.Location() != time.UTC {
			t.Errorf("%s: the deadline is in %s, want UTC", c.name, got.Location())
		}
	}
}

func TestDeadlineDoesNotOverflow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(rapid.Int64Range(time.Time{}.Unix(), endOfTime.Unix()).Draw(t, "start"), 0)
		lifetime := domain.Lifetime(rapid.Int64().Draw(t, "lifetime"))
		end := lifetime.Deadline(start)
		if lifetime <= 0 {
			if !end.IsZero() {
				t.Fatalf("a lifetime that is not positive ends")
			}
			return
		}
		if !end.After(start) || end.After(endOfTime) {
			t.Logf("start %s, end %s", start, end)
			t.Fatalf("the end is not after the start, or after all time")
		}
		if end.Before(endOfTime) && end.Sub(start) != time.Duration(lifetime) {
			t.Fatalf("the lifetime is not kept")
		}
	})
}

func TestExpired(t *testing.T) {
	west := time.FixedZone("", -11*3600)
	for _, c := range []struct {
		name           string
		absolute, idle time.Time
		now            time.Time
		want           domain.Refusal
	}{
		{"never", time.Time{}, time.Time{}, endOfTime, ""},
		{"before", noon, time.Time{}, noon.Add(-1), ""},
		{"at the instant", noon, time.Time{}, noon, domain.ErrExpired},
		{"after", noon, time.Time{}, noon.Add(1), domain.ErrExpired},
		{"before, in another zone", noon.In(west), time.Time{}, noon.Add(-1), ""},
		{"at the instant, in another zone", noon.In(west), time.Time{}, noon, domain.ErrExpired},
		{"idle before", time.Time{}, noon, noon.Add(-1), ""},
		{"idle at the instant", time.Time{}, noon, noon, domain.ErrIdleExpired},
		{"idle after", time.Time{}, noon, noon.Add(1), domain.ErrIdleExpired},
		{"both, neither over", noon, noon, noon.Add(-1), ""},
		{"both at once", noon, noon, noon, domain.ErrExpired},
		{"idle first", noon.Add(1), noon, noon, domain.ErrIdleExpired},
		{"absolute first", noon, noon.Add(1), noon, domain.ErrExpired},
		{"idle long over, absolute too", noon, noon.Add(-1), noon, domain.ErrExpired},
		{"zero in a zone is never", time.Time{}.In(west), time.Time{}.In(west), noon, ""},
	} {
		token := domain.RefreshToken{ExpiresAt: c.absolute, IdleExpiresAt: c.idle}
		if got := token.Expired(c.now); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A token's deadline is the first of its ends, and never if it has none.
func TestTokenDeadline(t *testing.T) {
	never := time.Time{}
	for _, c := range []struct {
		name                 string
		absolute, idle, want time.Time
	}{
		{"neither", never, never, never},
		{"absolute only", noon, never, noon},
		{"idle only", never, noon, noon},
		{"absolute first", noon, noon.Add(1), noon},
		{"idle first", noon.Add(1), noon, noon},
	} {
		token := domain.RefreshToken{ExpiresAt: c.absolute, IdleExpiresAt: c.idle}
		if got := token.Deadline(); !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestDeadlineExpires(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lifetime := domain.Lifetime(rapid.Int64Range(1, math.MaxInt64).Draw(t, "lifetime"))
		end := lifetime.Deadline(noon)
		token := domain.RefreshToken{ExpiresAt: end}
		if token.Expired(end.Add(-1)) != "" || token.Expired(end) != domain.ErrExpired {
			t.Fatalf("a token does not live to its deadline, or lives longer")
		}
	})
}
