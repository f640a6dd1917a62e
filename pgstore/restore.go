package pgstore

import (
	"context"
	"encoding/json"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
)

var _ store.Restorer = (*tenant)(nil)

// Restore begins a new epoch, alone in the tenant.
func (s *tenant) Restore(ctx context.Context, r store.Restoration) (now store.Restored, err error) {
	if s.backend.closed.Load() {
		return store.Restored{}, store.ErrClosed
	}
	if err := r.Validate(); err != nil {
		return store.Restored{}, err
	}
	err = s.write(ctx, lockExclusive, func(t *tx) error {
		var there []store.Restored
		last, floor := number(0), number(0)
		t.lockFeed()
		h, err := t.head(ctx, 1, t.feedEnds(&floor, &last), t.restorations(&there))
		if err != nil {
			return err
		}
		next, record, begins, err := r.Note(there, uint64(h.sequence), uint64(last), h.next(0, 0))
		if now = record; err != nil || next == nil {
			return err
		}
		if begins {
			epoch := number(now.Epoch)
			h.base = epoch - number(h.drawn[0]) // so that numbers go on from the epoch, whatever has been drawn
			h.floor, h.horizon.Sequence = epoch, now.Epoch
			t.do(step{sql: t.q.dropAllEvents, args: []any{t.tenant}})
			t.add(tally{sequence: now.Epoch, events: -h.events})
			t.save(h)
		}
		if err := t.saveRestorations(next); err != nil {
			return err
		}
		if err := t.remember(ctx, r.GuardsAt(now.Epoch)...); err != nil {
			return err
		}
		return t.commit(ctx)
	})
	if err != nil {
		return store.Restored{}, err
	}
	return now, nil
}

// Restorations returns the records of restorations.
func (s *tenant) Restorations(ctx context.Context) (all []store.Restored, err error) {
	err = s.snapshot(ctx, func(t *tx) error {
		all = nil
		return t.finish(ctx, t.restorations(&all))
	})
	return all, err
}

// restorations reads the records.
func (t *tx) restorations(into *[]store.Restored) step {
	return step{t.q.restorations, []any{t.tenant}, func(row pgx.Rows) error {
		var list []byte
		if err := row.Scan(&list); err != nil || list == nil {
			return err
		}
		if err := json.Unmarshal(list, into); err != nil {
			return damaged("the restorations")
		}
		return nil
	}}
}

func (t *tx) saveRestorations(all []store.Restored) error {
	list, err := json.Marshal(all)
	if err == nil {
		t.do(step{sql: t.q.saveRestorations, args: []any{t.tenant, list}})
	}
	return err
}

// scrubRestorations is for an erasure that is done.
func (t *tx) scrubRestorations(ctx context.Context, by *domain.Tombstone, key domain.ErasureKey) error {
	var all []store.Restored
	if err := t.fetch(ctx, t.restorations(&all)); err != nil {
		return err
	}
	left, changed := store.ScrubRestored(all, by, key)
	if !changed {
		return nil
	}
	return t.saveRestorations(left)
}
