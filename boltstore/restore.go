package boltstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
)

var _ store.Restorer = (*tenant)(nil)

// Restore begins a new epoch. The events of before go with their bucket, which is one write however many they are.
func (t *tenant) Restore(ctx context.Context, r store.Restoration) (now store.Restored, err error) {
	if err := r.Validate(); err != nil {
		return store.Restored{}, err
	}
	r.Guards = slices.Clone(r.Guards) // they are read by whoever leads the commit
	err = t.update(ctx, func(x *records) error {
		m := &x.meta
		next, record, begins, err := r.Note(x.restorations(), m.sequence, m.lastEvent, 0)
		if now = record; err != nil || next == nil {
			return err
		}
		x.save()
		if begins {
			m.sequence, m.erased = now.Epoch, false
			m.horizon.Sequence = now.Epoch
			if x.bucket(bucketOutbox) != nil {
				check(x.root.DeleteBucket(bucketOutbox))
			}
			m.events, m.lastEvent, m.floor = 0, now.Epoch, now.Epoch
		}
		for _, guard := range r.GuardsAt(now.Epoch) {
			x.remember(guard)
		}
		x.putRestorations(next)
		return nil
	})
	if err != nil {
		return store.Restored{}, err
	}
	return now, nil
}

// Restorations returns the records of restorations.
func (t *tenant) Restorations(ctx context.Context) (all []store.Restored, err error) {
	err = t.view(ctx, func(r *records) error {
		all = r.restorations()
		return nil
	})
	return all, err
}

func (r *records) restorations() []store.Restored {
	if r.root == nil {
		return nil
	}
	data := r.root.Get(keyRestored)
	if data == nil {
		return nil
	}
	return must(decode(data, codec.Restorations))
}

func (r *records) putRestorations(all []store.Restored) {
	check(r.root.Put(keyRestored, encode(&all, codec.Restorations)))
}

// scrubRestorations is for an erasure that is done.
func (r *records) scrubRestorations(by *domain.Tombstone) {
	if left, changed := store.ScrubRestored(r.restorations(), by, r.meta.erasureKey); changed {
		r.putRestorations(left)
	}
}
