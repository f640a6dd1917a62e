package pgstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Update changes one token, by the short way if it can. The long way takes two round trips, too: one locks the tenant and the record
// and reads what covers it, the other writes and commits. A decision that revokes is made again alone.
func (s *tenant) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	s.backend.deciding.RLock()
	defer s.backend.deciding.RUnlock()
	verdict, ok, err := s.updateFast(ctx, id, decide)
	if ok {
		return verdict
	}
	if err != nil {
		return err
	}
	err = s.write(ctx, lockShared, func(t *tx) error {
		verdict = nil
		var v view
		if err := t.fetch(ctx, v.steps(t, t.q.getLocked, id)...); err != nil {
			return err
		}
		view, err := v.view()
		if err != nil {
			return err
		}
		decision := decide(view)
		if err := decision.Check(&view); err != nil {
			return err
		}
		if !decision.Writes() {
			verdict = decision.Err
			return nil
		}
		if decision.Revoke != nil {
			if err := decision.Revoke.Validate(); err != nil {
				return err
			}
			if t.lock != lockExclusive {
				return errExclusive
			}
			if _, err := t.revoke(ctx, *decision.Revoke, &view.Token); err != nil {
				return err
			}
		}
		if err := t.decided(&decision, &view.Token); err != nil {
			return err
		}
		verdict = decision.Err
		return t.commit(ctx)
	})
	if err != nil {
		return err
	}
	return verdict
}

// decided writes what was decided of a token, but for a revocation.
func (t *tx) decided(d *store.Decision, token *domain.RefreshToken) error {
	if d.Next != nil {
		token = d.Next
		args, err := mutableArgs(token)
		if err != nil {
			return err
		}
		t.do(step{sql: t.q.replace, args: append(append([]any{t.tenant, identity(token.ID)}, args...), due(token))})
	}
	if d.Emit != 0 {
		return t.emit(d.Emit, store.TokenEvent(d.Emit, d.Time, token))
	}
	return nil
}
