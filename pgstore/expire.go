package pgstore

import (
	"context"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// lookAgain is when to look again for what is due and somebody else holds.
const lookAgain = time.Second

// Expire removes expired tokens. A token that is due but has been exchanged meanwhile is put off to its new deadline. Those that somebody
// else holds, to remove or to exchange them, are left to him: Next is a second later if nothing else is due, so that nobody asks for them
// over and over meanwhile.
func (s *tenant) Expire(ctx context.Context, bounds store.Bounds) (out store.Expired, err error) {
	if s.backend.closed.Load() {
		return store.Expired{}, store.ErrClosed
	}
	if err := bounds.Validate(); err != nil {
		return store.Expired{}, err
	}
	limit := min(bounds.Visit, bounds.Remove)
	err = s.write(ctx, lockShared, func(t *tx) error {
		out = store.Expired{}
		var tokens []domain.RefreshToken
		h := &head{}
		next := step{t.q.nextDue, []any{t.tenant}, func(row pgx.Rows) error {
			return row.Scan((*optional)(&out.Next))
		}}
		steps := append(t.totalSteps(h), step{t.q.due, []any{t.tenant, instantOf(bounds.Now).at, limit}, scanDue(&tokens)}, next)
		if err := t.fetch(ctx, steps...); err != nil || len(tokens) == 0 {
			return err
		}
		var gone []ulid.ULID
		for i := range tokens {
			token := &tokens[i]
			out.Examined++
			if token.Expired(bounds.Now) != "" {
				gone = append(gone, token.ID)
			} else {
				t.do(step{sql: t.q.putOff, args: []any{t.tenant, identity(token.ID), due(token)}})
			}
		}
		out.Next = time.Time{}
		if err := t.fetch(ctx, t.removeStep(gone, func(ulid.ULID) { out.Removed++ }), next); err != nil {
			return err
		}
		if out.Removed > 0 {
			e := store.Event{Kind: store.KindExpired, Time: bounds.Now, Sequence: uint64(h.sequence), Count: uint64(out.Removed)}
			if err := t.emit(bounds.Emit, e); err != nil {
				return err
			}
		}
		return t.commit(ctx)
	})
	if err != nil {
		return store.Expired{}, err
	}
	if left := !out.Next.IsZero() && !out.Next.After(bounds.Now); left && out.Examined < limit { // all that nobody holds has been seen
		out.Next = bounds.Now.Add(lookAgain).UTC()
	}
	return out, nil
}

// scanDue takes what a token's life depends on.
func scanDue(into *[]domain.RefreshToken) func(pgx.Rows) error {
	return func(row pgx.Rows) error {
		var t domain.RefreshToken
		var packed int64
		if err := row.Scan((*identity)(&t.ID), (*optional)(&t.ExpiresAt), (*optional)(&t.IdleExpiresAt), &packed); err != nil {
			return err
		}
		t.ExpiresAt = t.ExpiresAt.Add(time.Duration(packed >> 20 & 1023))
		t.IdleExpiresAt = t.IdleExpiresAt.Add(time.Duration(packed >> 30 & 1023))
		*into = append(*into, t)
		return nil
	}
}
