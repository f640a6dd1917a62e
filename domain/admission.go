package domain

import "time"

// AsOf is the point that an issue or an import claims to stem from. The zero value is "now": the user has authenticated
// just now, so that only what is dead for good refuses it.
type AsOf struct {
	kind     asOfKind
	sequence uint64
	time     time.Time
	skew     time.Duration
	cleared  uint64 // what was recorded up to this sequence is known not to cover the candidate
}

type asOfKind uint8

const (
	asOfNow asOfKind = iota
	asOfSequence
	asOfTime
)

// AsOfSequence is the store's sequence as it was when the user authenticated. It is exact: every revocation committed
// since refuses the issue, and none committed before does.
func AsOfSequence(sequence uint64) AsOf { return AsOf{kind: asOfSequence, sequence: sequence} }

// AsOfTime is the time at which the user authenticated, or an imported token was created. It is as good as the clocks: a
// revocation refuses what stems from up to skew after it. A negative skew is none.
func AsOfTime(t time.Time, skew time.Duration) AsOf {
	return AsOf{kind: asOfTime, time: t, skew: max(skew, 0)}
}

// Cleared returns the point, of a candidate that is known to be covered by nothing that was recorded up to the given sequence:
// that some of it has been forgotten does not refuse the candidate. What is remembered refuses it nevertheless.
func (a AsOf) Cleared(sequence uint64) AsOf {
	a.cleared = sequence
	return a
}

// Reach is the widest kind of anchor under which anything can refuse what stems from the point. For what stems from now, only
// a target that names its session, or its id, can.
func (a AsOf) Reach() AnchorKind {
	if a.kind == asOfNow {
		return AnchorSession
	}
	return AnchorNone
}

// Guard is what is remembered of a revocation's target after the sweep, so that admission can refuse what stems from
// before it. Guards of identical targets are joined by their maximum.
type Guard struct {
	Target    Target
	Watermark uint64
	Time      time.Time // Time is when the revocation was asked for; the guard is kept for a stated while after it.
	Through   time.Time // Through is the tombstone's.
}

// EvictionGuard is what remembers the id of a token that has had to go for another one, so that it can't be imported again. When that is
// forgotten the horizon has to bar it, so Through is not before its own creation.
func EvictionGuard(token *RefreshToken, now time.Time) Guard {
	g := Guard{Target: Target{TokenID: token.ID}, Watermark: token.Sequence, Time: now, Through: now}
	if token.CreatedAt.After(now) {
		g.Through = token.CreatedAt
	}
	return g
}

// Join returns the guard that remembers both, which must have identical targets.
func (g Guard) Join(other Guard) Guard {
	g.Watermark = max(g.Watermark, other.Watermark)
	if other.Time.After(g.Time) {
		g.Time = other.Time
	}
	if other.Through.After(g.Through) {
		g.Through = other.Through
	}
	return g
}

// Bars reports whether the guard refuses a candidate that stems from the given point. A target that names exactly the
// candidate's session, or its id, refuses whatever the point: a dead session can't issue, a revoked token can't return.
func (g *Guard) Bars(candidate *RefreshToken, asOf AsOf) bool {
	if !g.Target.Matches(candidate) {
		return false
	}
	if !g.Target.TokenID.IsZero() || g.Target.endsSession() {
		return true
	}
	switch asOf.kind {
	case asOfSequence:
		return asOf.sequence < g.Watermark
	case asOfTime:
		return !asOf.time.After(g.Through.Add(asOf.skew))
	}
	return false
}

// endsSession reports whether the target is a session as such, perhaps sparing one side of offline access.
func (t Target) endsSession() bool {
	return t.SessionID != "" && t.plain() == Target{SessionID: t.SessionID, Offline: t.Offline}
}

// Horizon bounds what has been forgotten: every guard that was dropped had a watermark and a time not above it. The zero
// value says that nothing has.
type Horizon struct {
	Sequence uint64
	Time     time.Time
}

// Forget returns the horizon after the guard is dropped.
func (h Horizon) Forget(g Guard) Horizon {
	h.Sequence = max(h.Sequence, g.Watermark)
	if g.Through.After(h.Time) {
		h.Time = g.Through
	}
	return h
}

// Join returns the horizon that bounds what either has forgotten.
func (h Horizon) Join(other Horizon) Horizon {
	h.Sequence = max(h.Sequence, other.Sequence)
	if other.Time.After(h.Time) {
		h.Time = other.Time
	}
	return h
}

// Beyond reports whether what stems from the given point may have been revoked by something that is forgotten.
func (h Horizon) Beyond(asOf AsOf) bool {
	if asOf.cleared > 0 && h.Sequence <= asOf.cleared {
		return false
	}
	switch asOf.kind {
	case asOfSequence:
		return asOf.sequence < h.Sequence
	case asOfTime:
		return !h.Time.IsZero() && !asOf.time.After(h.Time.Add(asOf.skew))
	}
	return false
}

// Admit is the one rule by which tokens come in: nothing that is pending or remembered bars the candidate, under its name or, if its
// user was erased, under the pseudonym that the key gives, and what it stems from is not forgotten. barred asks that of one name. It
// returns [ErrRevoked], [ErrBeyondMemory] or nil.
func Admit(candidate *RefreshToken, asOf AsOf, horizon Horizon, key ErasureKey, barred func(*RefreshToken) bool) error {
	is := barred(candidate)
	if !is && key != (ErasureKey{}) {
		alias := key.Alias(*candidate)
		is = barred(&alias)
	}
	switch {
	case is:
		return ErrRevoked
	case horizon.Beyond(asOf):
		return ErrBeyondMemory
	}
	return nil
}
