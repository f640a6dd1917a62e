package tokenstoretest

import (
	"fmt"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

func drawRevokeSecret(t *rapid.T) action {
	c := drawChoice(t)
	other := chance(t, "other", 4)
	return action{fmt.Sprintf("revokeSecret %v %t", c, other), func(t *rapid.T, w *world) string {
		id, secret, ok := w.secret(c)
		if !ok {
			return "no such secret"
		}
		client := w.granted[id].ClientID
		if other {
			client = "another"
		}
		before := w.look(t, id)
		got, err := w.manager.RevokeSecret(w.ctx, client, tokenstore.NewSecret(secret))
		switch {
		case err != nil:
			return refusal(err)
		case before.dead: // one that is expired is revoked, if it is there
			w.skip(got.Receipt.ID(), []tokenstore.Target{{TokenID: id}})
			return "dead"
		case got.Cause != "":
			return refusal(got.Cause)
		}
		return w.take(got.Receipt)
	}}
}

// take makes a revocation known that was recorded.
func (w *world) take(r tokenstore.Receipt) string {
	w.asked = append(w.asked, asked{r.ID(), r.Status.Tombstone.Targets})
	return w.describeTombstone(r.Status.Tombstone)
}

// skip leaves a revocation out of account that need not have been recorded, as there was nothing live to be revoked.
func (w *world) skip(id ulid.ULID, targets []tokenstore.Target) {
	if !id.IsZero() {
		w.skipped[id] = true
	}
	w.optionally(targets)
	for _, target := range targets {
		w.doubted[target.TokenID] = true
	}
}

// ofToken is the id that a target has in place of that of a token that is known.
func ofToken(i int) ulid.ULID { return ulid.ULID{0: 0xff, 15: byte(i)} }

func drawActionTargets(t *rapid.T) []tokenstore.Target {
	var targets []tokenstore.Target
	for range pick(t, "targets", 1, 1, 2, 3) {
		targets = append(targets, drawTarget(t, cutOff, func() ulid.ULID {
			if chance(t, "fixed", 4) {
				return pick(t, "id", fixedIDs...)
			}
			return ofToken(rapid.IntRange(0, 9).Draw(t, "token"))
		}, func() time.Time {
			return start.Add(pick(t, "at", 0, -idle, time.Millisecond, 9*time.Second, time.Minute, idle, absolute))
		}))
	}
	return targets
}

// meant puts the ids of tokens into targets. onlyDead says that they name nothing but ids, and nothing live by them.
func (w *world) meant(t *rapid.T, drawn []tokenstore.Target) (targets []tokenstore.Target, onlyDead bool) {
	onlyDead = true
	for _, target := range drawn {
		if id := target.TokenID; id[0] == 0xff {
			target.TokenID = fixedIDs[0]
			if len(w.known) > 0 {
				target.TokenID = w.known[int(id[15])%len(w.known)]
			}
		}
		targets = append(targets, target)
		s := standing{dead: true}
		if !target.TokenID.IsZero() {
			s = w.look(t, target.TokenID)
		}
		onlyDead = onlyDead && !target.TokenID.IsZero() && (s.dead || !target.Matches(&s.view.Token))
	}
	return targets, onlyDead
}

func drawRevoke(t *rapid.T) action {
	return revokes(drawActionTargets(t), pick(t, "reason", "", "test"))
}

// revokes revokes targets, in which ids may stand for those of tokens ([ofToken]).
func revokes(drawn []tokenstore.Target, reason string) action {
	return action{fmt.Sprintf("revoke %s %s", describeTargets(drawn), reason), func(t *rapid.T, w *world) string {
		targets, onlyDead := w.meant(t, drawn)
		receipt, err := w.manager.Revoke(w.ctx, tokenstore.RevokeRequest{Targets: targets, Reason: reason, Actor: "host"})
		switch {
		case err != nil:
			return refusal(err)
		case onlyDead:
			w.skip(receipt.ID(), targets)
			return "nothing live to be revoked"
		}
		return w.take(receipt)
	}}
}

// drawAgain repeats a revocation, by its id, with the same targets or with others.
func drawAgain(t *rapid.T) action {
	which, others := rapid.IntRange(0, 9).Draw(t, "revocation"), []tokenstore.Target(nil)
	if chance(t, "others", 3) {
		others = drawActionTargets(t)
	}
	return action{fmt.Sprintf("revoke again %d %s", which, describeTargets(others)), func(t *rapid.T, w *world) string {
		if len(w.asked) == 0 {
			return "no such revocation"
		}
		first := w.asked[which%len(w.asked)]
		targets := first.targets
		if others != nil {
			targets, _ = w.meant(t, others)
		}
		receipt, err := w.manager.Revoke(w.ctx, tokenstore.RevokeRequest{ID: first.id, Targets: targets})
		if err != nil {
			return refusal(err)
		}
		return w.describeTombstone(receipt.Status.Tombstone)
	}}
}

func drawRevocation(t *rapid.T) action {
	which := rapid.IntRange(0, 9).Draw(t, "revocation")
	return action{fmt.Sprint("revocation ", which), func(t *rapid.T, w *world) string {
		if len(w.asked) == 0 {
			return "no such revocation"
		}
		status, err := w.manager.Revocation(w.ctx, w.asked[which%len(w.asked)].id)
		if err != nil {
			return refusal(err)
		}
		return w.describeTombstone(status.Tombstone)
	}}
}

// drawPreview counts what would be revoked. A token that is expired counts as long as it is there, so that the count is compared
// only while no token can have expired.
func drawPreview(t *rapid.T) action {
	drawn := drawActionTargets(t)
	return action{fmt.Sprintf("preview %s", describeTargets(drawn)), func(t *rapid.T, w *world) string {
		targets, _ := w.meant(t, drawn)
		got, err := w.manager.Preview(w.ctx, targets, 1000)
		if err != nil {
			return refusal(err)
		}
		if w.mortal {
			return "some may be expired"
		}
		return fmt.Sprintf("%d, %t", got.Matched, got.Complete)
	}}
}
