package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// dueKey is when a token is to be looked at for expiry, in whole seconds of Unix time, and its id.
type dueKey struct {
	second int64
	id     ulid.ULID
}

// Compare orders by time, then by id.
func (k dueKey) Compare(other dueKey) int {
	return cmp.Or(cmp.Compare(k.second, other.second), k.id.Compare(other.id))
}

// schedule notes when the token is to be looked at for expiry.
func (t *tenant) schedule(r *record, due int64) {
	if r.due != 0 {
		t.byDue.remove(dueKey{r.due, r.id})
	}
	if r.due = due; due != 0 {
		t.byDue.add(dueKey{due, r.id})
	}
}

// Expire removes expired tokens. A token that is due but has been exchanged meanwhile is put off to its new deadline.
func (t *tenant) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	if err := bounds.Validate(); err != nil {
		return store.Expired{}, err
	}
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return store.Expired{}, err
	}
	var out store.Expired
	var due []ulid.ULID
	for k := range t.byDue.after(dueKey{}) {
		if k.second > bounds.Now.Unix() || len(due) == min(bounds.Visit, bounds.Remove) {
			break
		}
		due = append(due, k.id)
	}
	for _, id := range due {
		out.Examined++
		r := t.tokens.get(id)
		if token := r.token(); token.Expired(bounds.Now) != "" {
			t.remove(&token)
			out.Removed++
		} else {
			t.schedule(r, token.DueSecond())
		}
	}
	if out.Removed > 0 {
		t.emit(bounds.Emit, store.Event{Kind: store.KindExpired, Time: bounds.Now, Sequence: t.sequence, Count: uint64(out.Removed)})
	}
	for k := range t.byDue.after(dueKey{}) {
		out.Next = time.Unix(k.second, 0).UTC()
		break
	}
	return out, nil
}

// surplus returns the tokens that have to go for one more of the candidate's user and client, oldest first.
func (t *tenant) surplus(candidate *domain.RefreshToken, limit store.Cap) []domain.RefreshToken {
	if limit.Max == 0 {
		return nil
	}
	var live []domain.RefreshToken
	for id := range t.byUser.after(candidate.UserID, ulid.ULID{}) {
		token := t.tokens.get(id).token()
		if token.UserID == candidate.UserID && token.ClientID == candidate.ClientID && token.Expired(candidate.CreatedAt) == "" && t.revokedBy(&token).IsZero() {
			live = append(live, token)
		}
	}
	slices.SortFunc(live, func(a, b domain.RefreshToken) int { return store.Older(&a, &b) })
	return live[:limit.Over(len(live))]
}

// evict removes a token, and remembers its id, so that it can't be imported again.
func (t *tenant) evict(token *domain.RefreshToken, now time.Time) {
	t.remove(token)
	t.remember(domain.EvictionGuard(token, now))
}
