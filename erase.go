package tokenstore

import (
	"context"
	"io"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// EraseRequest asks for the erasure of a user, or of all that the tenant holds.
type EraseRequest struct {
	// ID names the erasure, which is a revocation as well, and is its idempotency key as in [RevokeRequest].
	ID         ulid.ULID
	UserID     string // UserID is the user to be erased: 1..300 characters.
	Everything bool   // Everything erases the tenant. It stands alone.
	Reason     string // Reason is for people: up to 200 characters. It goes with what is erased.
	Actor      string // Actor is who asks: up to 300 characters.
}

// Erase forgets a user, for whoever has a right to be forgotten, or a tenant that has left. It is more than a revocation,
// and begins as one: when Erase returns without error everything of the user, or of the tenant, is refused, durably, and the
// rest is done in the background while [Manager.Run] does, here or in another process, resumed after any crash. [Manager.Wait]
// returns when all of it is done.
//
// Of a user, the tokens are removed. In what is remembered of earlier revocations, pending, in the history, and as guards,
// a pseudonym takes the place of the name, as a target and as the actor, and the reasons of those that named the user are
// gone. The guards go on refusing what they refused: the pseudonym is a keyed digest, which admission compares. Session and
// token ids stay; they lead to nobody any more. Events of the feed that are about the user become such of [KindErased]. What
// the user does later, under the same name, is none of it.
//
// Of a tenant, nothing is left but its sequence and its horizon, so that nothing from before can come back; the receipt is
// all that tells of it, and its status can't be looked up afterwards. The tenant may be used again.
//
// Errors are those of [Manager.Revoke].
func (m *Manager) Erase(ctx context.Context, r EraseRequest) (Receipt, error) {
	revocation := store.Revocation{
		ID: r.ID, Targets: []Target{{UserID: r.UserID, Everything: r.Everything}}, Reason: r.Reason, Actor: r.Actor, Erase: true,
	}
	if r.UserID == "" && !r.Everything {
		return Receipt{}, domain.CheckUserID("")
	}
	// The tenant keeps the first key that it is given.
	if _, err := io.ReadFull(m.opts.Rand, revocation.Key[:]); err != nil {
		return Receipt{}, err
	}
	return m.record(ctx, revocation)
}
