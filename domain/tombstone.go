package domain

import (
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// Tombstone is the durable record of one revocation. It never changes, but for the names that an erasure replaces by
// pseudonyms once nothing is left that they could reach. What is revoked is the set of tombstones: a token
// is revoked if any of them covers it, never by the most specific or the latest one, so the order, grouping and
// repetition of revocations can't matter.
type Tombstone struct {
	ID        ulid.ULID // ID names the revocation, and is its idempotency key.
	Targets   []Target  // Targets are what it names: 1..100, by any of them.
	Watermark uint64    // Watermark is the store's sequence at its commit: no later token is reached.
	Time      time.Time // Time is when it was asked for.
	// Through is Time, or the latest creation time of any token that the store has had until then, if that is later. No token that claims
	// to have been created at or before it can be imported past the tombstone, whatever clocks do.
	Through time.Time
	Reason  string // Reason is why, for people: up to 200 characters.
	Actor   string // Actor is who asked for it: up to 300 characters.
	// Erases says that the revocation, of one user or of everything, also erases: once nothing that it covers is left, the
	// names in what is remembered from before it are replaced by pseudonyms, or what is remembered goes ([Tombstone.Scrub]).
	Erases bool
}

// ReasonReuse is the reason of a revocation that the replay of an outdated secret caused (RFC 9700 §4.14.2).
const ReasonReuse = "reuse"

// Covers reports whether the revocation reaches the token: one of its targets matches, and the token was issued before it.
// It is the one definition of what is revoked.
func (t *Tombstone) Covers(token *RefreshToken) bool {
	if token.Sequence > t.Watermark {
		return false
	}
	for i := range t.Targets {
		if t.Targets[i].Matches(token) {
			return true
		}
	}
	return false
}

// Anchors returns the anchors of the targets, each once.
func (t *Tombstone) Anchors() []Anchor {
	anchors := make([]Anchor, 0, len(t.Targets))
	for i := range t.Targets {
		if a := t.Targets[i].Anchor(); !slices.Contains(anchors, a) {
			anchors = append(anchors, a)
		}
	}
	return anchors
}

// Anchored reports whether every target has an anchor, so that a token is compared with those alone that may cover it.
func (t *Tombstone) Anchored() bool { return !slices.Contains(t.Anchors(), Anchor{Kind: AnchorNone}) }

// Walks reports whether its sweep has to walk all tokens, because an anchor is a client or none: lists are of users and of sessions.
func (t *Tombstone) Walks() bool {
	return slices.ContainsFunc(t.Anchors(), func(a Anchor) bool { return a.Kind >= AnchorClient })
}

// SameTargets reports whether two revocations name the same targets in the same order.
func (t *Tombstone) SameTargets(targets []Target) bool {
	return (ErasureKey{}).SameTargets(t.Targets, targets)
}

// Guards returns what is to be remembered of the revocation once it has been swept: one guard for each target.
func (t *Tombstone) Guards() []Guard {
	guards := make([]Guard, len(t.Targets))
	for i := range t.Targets {
		guards[i] = t.guard(i)
	}
	return guards
}

func (t *Tombstone) guard(i int) Guard {
	return Guard{Target: t.Targets[i], Watermark: t.Watermark, Time: t.Time, Through: t.Through}
}

// Bars reports whether the revocation refuses a candidate that stems from the given point, as its guards will.
func (t *Tombstone) Bars(candidate *RefreshToken, asOf AsOf) bool {
	for i := range t.Targets {
		if g := t.guard(i); g.Bars(candidate, asOf) {
			return true
		}
	}
	return false
}

// Covers reports whether any of the tombstones covers the token. It is for tests and tools; stores look theirs up by
// anchor.
func Covers(tombstones []Tombstone, token *RefreshToken) bool {
	for i := range tombstones {
		if tombstones[i].Covers(token) {
			return true
		}
	}
	return false
}
