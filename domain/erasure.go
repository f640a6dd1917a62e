package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"
)

// ErasureKey keys the pseudonyms of a tenant's erased users. It is drawn once for a tenant and stays in its store. Whoever
// has it can find out whether a user that he can name was erased, and nothing else. The zero value is no key.
type ErasureKey [32]byte

// Pseudonym is what stands for a user that was erased: always the same under one key, and of no use without it.
func (k ErasureKey) Pseudonym(userID string) string {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("tokenstore erased user\x00" + userID))
	return "erased-" + strings.ToLower(crockford.EncodeToString(mac.Sum(nil)[:20]))
}

// Alias returns the candidate under the name by which the guards of an erased user know it.
func (k ErasureKey) Alias(candidate RefreshToken) RefreshToken {
	candidate.UserID = k.Pseudonym(candidate.UserID)
	return candidate
}

// SameTargets reports whether stored targets are those asked for, in their order, users that were erased since included.
func (k ErasureKey) SameTargets(stored, asked []Target) bool {
	return slices.EqualFunc(stored, asked, func(stored, asked Target) bool {
		if stored.Key() == asked.Key() {
			return true
		}
		asked = k.scrub(asked, asked.UserID)
		return k != ErasureKey{} && stored.Key() == asked.Key()
	})
}

// scrub returns the target with a user's name replaced.
func (k ErasureKey) scrub(t Target, userID string) Target {
	if userID != "" && t.UserID == userID {
		t.UserID = k.Pseudonym(userID)
	}
	return t
}

// Remains is what an erasure leaves of a record.
type Remains uint8

// What an erasure leaves.
const (
	RemainsAsIs         Remains = iota // RemainsAsIs: the record is none of the erasure's.
	RemainsPseudonymous                // RemainsPseudonymous: the erased user's pseudonym has taken the name's place.
	RemainsNothing                     // RemainsNothing: the record is to be removed.
)

// CheckErasure checks what a revocation that erases names: one user, or the whole tenant.
func CheckErasure(targets []Target) error {
	if len(targets) == 1 {
		if only := targets[0].plain(); only == (Target{Everything: true}) || only.UserID != "" && only == (Target{UserID: only.UserID}) {
			return nil
		}
	}
	return &FieldError{Field: "targets", Limit: "one user or everything, for an erasure", Size: len(targets)}
}

// ErasesTenant reports whether the revocation erases all that the tenant held when it was recorded.
func (t *Tombstone) ErasesTenant() bool { return t.Erases && t.Targets[0].Everything }

// Scrub makes of a revocation, itself perhaps, what the erasing one leaves of it. Where a user is erased, the name is replaced
// among the targets and as the actor, and the reason of a revocation that named the user is gone. Where the tenant is, nothing is
// left but its erasures, without reason and actor. What was recorded later is none of the erasure's.
func (t *Tombstone) Scrub(other *Tombstone, key ErasureKey) Remains {
	switch {
	case other.Watermark > t.Watermark:
		return RemainsAsIs
	case t.ErasesTenant() && !other.ErasesTenant():
		return RemainsNothing
	case t.ErasesTenant():
		other.Reason, other.Actor = "", ""
		return RemainsPseudonymous
	}
	user := t.Targets[0].UserID
	remains := RemainsAsIs
	if other.Actor == user {
		other.Actor = key.Pseudonym(user)
		remains = RemainsPseudonymous
	}
	if slices.ContainsFunc(other.Targets, func(target Target) bool { return target.UserID == user }) {
		other.Targets = slices.Clone(other.Targets)
		for i, target := range other.Targets {
			other.Targets[i] = key.scrub(target, user)
		}
		other.Reason = ""
		remains = RemainsPseudonymous
	}
	return remains
}

// ScrubGuard makes of a guard what the erasing revocation leaves of it, as [Tombstone.Scrub] does of a revocation. One that
// is to be removed raises the horizon.
func (t *Tombstone) ScrubGuard(g *Guard, key ErasureKey) Remains {
	switch {
	case g.Watermark > t.Watermark:
		return RemainsAsIs
	case t.ErasesTenant():
		return RemainsNothing
	case g.Target.UserID != t.Targets[0].UserID:
		return RemainsAsIs
	}
	g.Target = key.scrub(g.Target, g.Target.UserID)
	return RemainsPseudonymous
}
