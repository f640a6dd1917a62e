package domain

import "time"

// Lifetime is how long a token lives, or how long it may lie idle. Zero takes a default where one is offered.
type Lifetime time.Duration

// Never is the lifetime of what does not expire.
const Never Lifetime = -1

// Deadline returns the instant at which a lifetime that starts at the given one ends: the zero time for [Never] (and for
// any lifetime that is not positive), and at the latest the end of the year 9999, where time has its end in RFC 3339.
func (l Lifetime) Deadline(start time.Time) time.Time {
	if l <= 0 {
		return time.Time{}
	}
	end := time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	if start.After(end) || end.Sub(start) < time.Duration(l) {
		return end
	}
	return start.Add(time.Duration(l)).UTC()
}

// Expired returns the refusal for a token whose life is over at the given instant, or "" while it lasts. A token is
// expired from the very instant of its deadline on.
func (t *RefreshToken) Expired(now time.Time) Refusal {
	switch {
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return ErrExpired
	case !t.IdleExpiresAt.IsZero() && !now.Before(t.IdleExpiresAt):
		return ErrIdleExpired
	}
	return ""
}

// Deadline returns the instant from which the token is expired if it is not exchanged before, or the zero time if that is
// never. An exchange may move it, either way.
func (t *RefreshToken) Deadline() time.Time {
	if t.ExpiresAt.IsZero() || !t.IdleExpiresAt.IsZero() && t.IdleExpiresAt.Before(t.ExpiresAt) {
		return t.IdleExpiresAt
	}
	return t.ExpiresAt
}

// DueSecond is the first whole second, in Unix time, in which the token's life is over, or 0 if it never is: what backends order
// tokens by that are to be removed.
func (t *RefreshToken) DueSecond() int64 {
	deadline := t.Deadline()
	if deadline.IsZero() {
		return 0
	}
	return max(1, deadline.Add(time.Second-1).Unix())
}
