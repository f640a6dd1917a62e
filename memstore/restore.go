package memstore

import (
	"context"
	"slices"

	"example.com/tokenstore/store"
)

var _ store.Restorer = (*tenant)(nil)

// Restore begins a new epoch.
func (t *tenant) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	if err := r.Validate(); err != nil {
		return store.Restored{}, err
	}
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return store.Restored{}, err
	}
	next, now, begins, err := r.Note(t.restored, t.sequence, t.lastEvent, 0)
	if err != nil || next == nil {
		return now, err
	}
	if begins {
		t.sequence, t.erased = now.Epoch, false
		t.horizon.Sequence = now.Epoch
		t.outbox = outbox{lastEvent: now.Epoch, floor: now.Epoch}
	}
	for _, guard := range r.GuardsAt(now.Epoch) {
		t.remember(guard)
	}
	t.restored = next
	return now, nil
}

// Restorations returns the records of restorations.
func (t *tenant) Restorations(ctx context.Context) ([]store.Restored, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	return slices.Clone(t.restored), nil
}
