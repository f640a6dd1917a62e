package boltstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Revoke records a revocation.
func (t *tenant) Revoke(ctx context.Context, r store.Revocation) (status store.Status, err error) {
	if err := r.Validate(); err != nil {
		return store.Status{}, err
	}
	r.Targets = slices.Clone(r.Targets) // they are read by whoever leads the commit
	err = t.update(ctx, func(records *records) (err error) {
		status, err = records.revoke(r, nil)
		return err
	})
	if err != nil {
		return store.Status{}, err
	}
	status.Tombstone.Targets = slices.Clone(status.Tombstone.Targets)
	return status, nil
}

// revoke records a revocation, which may be caused by the presentation of a token.
func (r *records) revoke(req store.Revocation, presented *domain.RefreshToken) (store.Status, error) {
	if err := req.Validate(); err != nil {
		return store.Status{}, err
	}
	if status, ok := r.status(req.ID); ok {
		if status.Tombstone.Erases != req.Erase || !r.meta.erasureKey.SameTargets(status.Tombstone.Targets, req.Targets) {
			return store.Status{}, store.ErrConflict
		}
		return status, nil
	}
	p := revocation{status: store.Status{Tombstone: domain.Tombstone{
		ID: req.ID, Targets: req.Targets, Time: req.Time, Through: req.Time, Reason: req.Reason, Actor: req.Actor, Erases: req.Erase,
	}}}
	tombstone := &p.status.Tombstone
	if req.NamesNothing(r.token) {
		tombstone.Watermark = r.meta.sequence
		p.status.Retired, p.status.RetiredAt = true, req.Time
		return p.status, nil
	}
	if r.meta.latest.After(req.Time) {
		tombstone.Through = r.meta.latest
	}
	anchors := tombstone.Anchors()
	earlier := r.sameTargets(anchors[0], req.Targets, req.Erase)
	if earlier == nil && !tombstone.Anchored() && r.meta.open >= store.MaxUnanchored {
		return store.Status{}, store.ErrBusy
	}
	p.walks = tombstone.Walks()
	tombstone.Watermark = r.meta.next()
	if req.Erase && r.meta.erasureKey == (domain.ErasureKey{}) {
		r.meta.erasureKey = req.Key
	}
	if earlier != nil {
		earlier.status.SupersededBy = req.ID
		p.supersedes = earlier.id()
		r.retire(earlier, store.Bounds{Now: req.Time})
	}
	if r.meta.pending == 0 {
		r.txn.dirty = true
		check(r.txn.tx.Bucket(bucketPending).Put([]byte(r.name), nil))
	}
	r.meta.pending++
	if !tombstone.Anchored() {
		r.meta.open++
	}
	r.putLive(&p)
	if p.walks {
		r.put(bucketWalkers, tombstone.ID[:], nil)
	}
	r.putUp(&p)
	if req.Emit != 0 {
		r.emit(req.Emit, req.Event(tombstone, r.token, presented))
	}
	r.save()
	return p.status, nil
}

// sameTargets returns the pending tombstone with the same targets that erases, or does not, as well, if there is one.
func (r *records) sameTargets(anchor domain.Anchor, targets []domain.Target, erases bool) (same *revocation) {
	r.after(bucketFence, anchorKey(anchor), nil, func(k, _ []byte) bool {
		if p, ok := r.live(idAtEnd(k)); ok && p.status.Tombstone.Erases == erases && p.status.Tombstone.SameTargets(targets) {
			same = &p
		}
		return same == nil
	})
	return same
}

func (r *records) putLive(p *revocation) {
	id := p.id()
	r.put(bucketLive, id[:], encode(p, revocationFields))
}
