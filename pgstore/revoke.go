package pgstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// Revoke records a revocation, alone in its tenant.
func (s *tenant) Revoke(ctx context.Context, r store.Revocation) (status store.Status, err error) {
	if s.backend.closed.Load() {
		return store.Status{}, store.ErrClosed
	}
	if err := r.Validate(); err != nil {
		return store.Status{}, err
	}
	err = s.write(ctx, lockExclusive, func(t *tx) error {
		if status, err = t.revoke(ctx, r, nil); err != nil {
			return err
		}
		if len(t.queue) == 0 {
			return nil
		}
		return t.commit(ctx)
	})
	if err != nil {
		return store.Status{}, err
	}
	return status, nil
}

// revoke records a valid revocation, which may be caused by the presentation of a token, in a transaction that is alone: all tokens
// with a lower number are there to be seen, and no other will come.
func (t *tx) revoke(ctx context.Context, r store.Revocation, presented *domain.RefreshToken) (store.Status, error) {
	var named []domain.RefreshToken
	var known, earlier []*revocation
	unanchored := 0
	var byID [][16]byte
	for i := range r.Targets {
		if !r.Targets[i].TokenID.IsZero() {
			byID = append(byID, r.Targets[i].TokenID)
		}
	}
	h, err := t.head(ctx, 1,
		step{t.q.status, []any{t.tenant, identity(r.ID)}, scanRevocations(&known)},
		step{t.q.sameTargets, []any{t.tenant, digestOfAll(r.Targets), r.Erase}, scanRevocations(&earlier)},
		step{t.q.unanchored, []any{t.tenant}, func(row pgx.Rows) error { return row.Scan(&unanchored) }},
		step{t.q.getAll, []any{t.tenant, byID}, scanTokens(&named)},
	)
	if err != nil {
		return store.Status{}, err
	}
	token := func(id ulid.ULID) (domain.RefreshToken, bool) {
		i := slices.IndexFunc(named, func(t domain.RefreshToken) bool { return t.ID == id })
		if i < 0 {
			return domain.RefreshToken{}, false
		}
		return named[i], true
	}
	if len(known) > 0 {
		status := known[0].status
		if status.Tombstone.Erases != r.Erase || !h.erasureKey.SameTargets(status.Tombstone.Targets, r.Targets) {
			return store.Status{}, store.ErrConflict
		}
		// The caller asks again because it had no answer: perhaps the server had none from its standby. To write something has this commit
		// wait for it.
		t.do(step{sql: t.q.touch, args: []any{t.tenant, identity(r.ID)}})
		return status, nil
	}
	p := &revocation{status: store.Status{Tombstone: domain.Tombstone{
		ID: r.ID, Targets: slices.Clone(r.Targets), Time: r.Time, Through: r.Time, Reason: r.Reason, Actor: r.Actor, Erases: r.Erase,
	}}}
	tombstone := &p.status.Tombstone
	if r.NamesNothing(token) {
		tombstone.Watermark = uint64(h.sequence)
		p.status.Retired, p.status.RetiredAt = true, r.Time
		return p.status, nil
	}
	if h.latest.After(r.Time) {
		tombstone.Through = h.latest
	}
	p.walks = tombstone.Walks()
	if len(earlier) == 0 && !tombstone.Anchored() && unanchored >= store.MaxUnanchored {
		return store.Status{}, store.ErrBusy
	}
	tombstone.Watermark = h.next(0, t.above(uint64(h.sequence)))
	t.add(tally{sequence: tombstone.Watermark})
	if r.Erase && h.erasureKey == (domain.ErasureKey{}) {
		h.erasureKey = r.Key
		t.save(h)
	}
	if len(earlier) > 0 {
		before := earlier[0]
		before.status.SupersededBy = r.ID
		p.supersedes = before.id()
		if err := t.retire(ctx, h, before, store.Bounds{Now: r.Time}); err != nil {
			return store.Status{}, err
		}
	}
	t.write(p)
	t.tell(r.ID)
	if r.Emit != 0 {
		if err := t.emit(r.Emit, r.Event(tombstone, token, presented)); err != nil {
			return store.Status{}, err
		}
	}
	return p.status, nil
}

// above is what a number must be above in the portable mode, and 0 in the other, where it is above all that was committed.
func (t *tx) above(sequence uint64) uint64 {
	if t.backend.opts.Serializable {
		return sequence
	}
	return 0
}

// retire ends a tombstone's work: it becomes history, its guards are remembered. That of an erasure which has come through is not
// only swept but done.
func (t *tx) retire(ctx context.Context, h *head, r *revocation, by store.Bounds) error {
	tombstone := &r.status.Tombstone
	r.status.Retired, r.status.RetiredAt = true, by.Now
	at := instantOf(by.Now)
	last := r.status.SupersededBy.IsZero()
	erased := r.scrub.stage == scrubbed
	if erased {
		if err := t.scrubRestorations(ctx, tombstone, h.erasureKey); err != nil {
			return err
		}
		tombstone.Scrub(tombstone, h.erasureKey)
		t.relabel(tombstone, false)
	}
	t.do(
		step{sql: t.q.retire, args: []any{t.tenant, identity(r.id()), at.at, at.ns, identity(r.status.SupersededBy), last}},
		step{sql: t.q.unfence, args: []any{t.tenant, identity(r.id())}},
	)
	t.add(tally{history: 1})
	if erased && tombstone.ErasesTenant() {
		t.eraseTenant(h, tombstone)
		return nil
	}
	if erased {
		if err := t.emit(by.Emit, store.ErasedEvent(tombstone, by.Now)); err != nil {
			return err
		}
	}
	return t.remember(ctx, tombstone.Guards()...)
}
