package etcdstore

import (
	"context"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var _ store.Restorer = (*tenant)(nil)

// Restore begins a new epoch. The events of before are one range, however many they are.
func (t *tenant) Restore(ctx context.Context, r store.Restoration) (now store.Restored, err error) {
	if err := r.Validate(); err != nil {
		return store.Restored{}, err
	}
	_, err = t.update(ctx, func(x *txn) error {
		x.prefetch([]string{x.below(keyHead), x.below(keyRestored), x.below(keyTip), x.below(keyEvents), x.below(keyLastEvent), x.below(keyFloor)})
		h := x.head()
		_, sequence := x.tip(&h)
		_, base := x.epoch()
		next, record, begins, err := r.Note(x.restorations(), sequence, x.lastEvent(), max(h.base, base)+x.next())
		if now = record; err != nil || next == nil {
			return err
		}
		x.get(x.below(keyRestored))
		if begins {
			x.beginEpoch(&h, now.Epoch)
		}
		for _, guard := range r.GuardsAt(now.Epoch) {
			x.remember(guard)
		}
		x.put(x.below(keyRestored), encode(&next, codec.Restorations))
		return nil
	})
	if err != nil {
		return store.Restored{}, err
	}
	return now, nil
}

// beginEpoch raises all numbers, which then go on from the epoch, whatever the revision is. Who writes anything else to the tenant
// meanwhile has the commit fail.
func (t *txn) beginEpoch(h *head, epoch uint64) {
	t.get(t.below(keyTip))
	t.get(t.below(keyLastEvent))
	base := epoch - uint64(t.rev)<<placeBits
	h.raised, h.base, h.since = epoch, base, uint64(t.rev)
	h.horizon.Sequence = epoch
	t.putHead(h)
	t.raiseFloor(epoch)
	t.endEpoch(base)
	all := under(t.below(keyOutbox))
	t.special = append(t.special, clientv3.OpDelete(all.start, clientv3.WithRange(all.end)))
	t.put(t.backend.opts.Prefix+allNames+t.name, nil)
}

// Restorations returns the records of restorations.
func (t *tenant) Restorations(ctx context.Context) (all []store.Restored, err error) {
	err = t.view(ctx, func(x *txn) error {
		all = x.restorations()
		return nil
	})
	return all, err
}

func (t *txn) restorations() []store.Restored {
	i := t.peek(t.below(keyRestored))
	if !i.there() {
		return nil
	}
	return must(decode(i.value, codec.Restorations))
}

// scrubRestorations is for an erasure that is done.
func (t *txn) scrubRestorations(by *domain.Tombstone) {
	if left, changed := store.ScrubRestored(t.restorations(), by, t.head().erasureKey); changed {
		t.get(t.below(keyRestored))
		t.put(t.below(keyRestored), encode(&left, codec.Restorations))
	}
}
