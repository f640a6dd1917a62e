package boltstore

import (
	"context"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Revoke records a revocation.
func (t *tenant) Revoke(ctx context.Context, r store.Revocation) (status store.Status, err error) {
	if err := r.Validate(); err != nil {
		return store.Status{}, err
	}
	r.Targets = slices.Clone(r.Targets) // they are read by whoever leads the commit
	err = t.update(ctx, func(records *records) (err error) {
		status, err = records.revoke(r)
		return err
	})
	if err != nil {
		return store.Status{}, err
	}
	status.Tombstone.Targets = slices.Clone(status.Tombstone.Targets)
	return status, nil
}

func (r *records) revoke(req store.Revocation) (store.Status, error) {
	if err := req.Validate(); err != nil {
		return store.Status{}, err
	}
	if status, ok := r.status(req.ID); ok {
		if !status.Tombstone.SameTargets(req.Targets) {
			return store.Status{}, store.ErrConflict
		}
		return status, nil
	}
	p := revocation{status: store.Status{Tombstone: domain.Tombstone{
		ID: req.ID, Targets: req.Targets, Time: req.Time, Through: req.Time, Reason: req.Reason, Actor: req.Actor,
	}}}
	tombstone := &p.status.Tombstone
	if r.namesNothing(req.Targets) {
		tombstone.Watermark = r.meta.sequence
		p.status.Retired, p.status.RetiredAt = true, req.Time
		return p.status, nil
	}
	if r.meta.latest.After(req.Time) {
		tombstone.Through = r.meta.latest
	}
	anchors := tombstone.Anchors()
	earlier := r.sameTargets(anchors[0], req.Targets)
	if earlier == nil && !tombstone.Anchored() && r.meta.open >= store.MaxUnanchored {
		return store.Status{}, store.ErrBusy
	}
	p.walks = slices.ContainsFunc(anchors, func(a domain.Anchor) bool {
		return a.Kind == domain.AnchorClient || a.Kind == domain.AnchorNone
	})
	r.meta.sequence++
	tombstone.Watermark = r.meta.sequence
	if earlier != nil {
		earlier.status.SupersededBy = req.ID
		r.retire(earlier, req.Time)
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
	for _, anchor := range anchors {
		r.put(bucketFence, append(anchorKey(anchor), tombstone.ID[:]...), nil)
	}
	r.save()
	return p.status, nil
}

// namesNothing reports whether all targets name ids, and none of them a token that is there.
func (r *records) namesNothing(targets []domain.Target) bool {
	for i := range targets {
		if targets[i].TokenID.IsZero() {
			return false
		}
		if token, ok := r.token(targets[i].TokenID); ok && targets[i].Matches(&token) {
			return false
		}
	}
	return true
}

// sameTargets returns the pending tombstone with the same targets, if there is one.
func (r *records) sameTargets(anchor domain.Anchor, targets []domain.Target) (same *revocation) {
	r.after(bucketFence, anchorKey(anchor), nil, func(k, _ []byte) bool {
		if p, ok := r.live(idAtEnd(k)); ok && p.status.Tombstone.SameTargets(targets) {
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

// retire ends a sweep: the tombstone becomes history, its guards are remembered. The caller saves.
func (r *records) retire(p *revocation, now time.Time) {
	id := p.id()
	p.status.Retired, p.status.RetiredAt = true, now
	r.delete(bucketLive, id[:])
	if p.walks {
		r.delete(bucketWalkers, id[:])
	}
	for _, anchor := range p.status.Tombstone.Anchors() {
		r.delete(bucketFence, append(anchorKey(anchor), id[:]...))
	}
	for _, guard := range p.status.Tombstone.Guards() {
		r.remember(guard)
	}
	r.put(bucketRetired, id[:], encode(p, revocationFields))
	r.meta.history++
	r.meta.pending--
	if !p.status.Tombstone.Anchored() {
		r.meta.open--
	}
	if r.meta.pending == 0 {
		check(r.txn.tx.Bucket(bucketPending).Delete([]byte(r.name)))
	}
}

func (r *records) remember(g domain.Guard) {
	key := guardKey(&g)
	if there := r.get(bucketGuards, key); there != nil {
		known := must(decode(there, guardFields))
		g = known.Join(g)
	} else {
		r.meta.guards++
	}
	r.put(bucketGuards, key, encode(&g, guardFields))
}

// known reports whether a revocation can be looked up: one that it superseded leads there as long as it can.
func (r *records) known(id ulid.ULID) bool {
	return r.get(bucketLive, id[:]) != nil || r.get(bucketRetired, id[:]) != nil
}

// Trim forgets.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	if trim.Limit < 1 {
		return store.Trimmed{}, &domain.FieldError{Field: "limit", Limit: "at least 1", Size: trim.Limit}
	}
	var done store.Trimmed
	err := t.update(ctx, func(r *records) error {
		done = store.Trimmed{}
		var guards, history [][]byte
		r.after(bucketGuards, nil, nil, func(k, v []byte) bool {
			if guard := must(decode(v, guardFields)); guard.Time.Before(trim.Guards) {
				r.meta.horizon = r.meta.horizon.Forget(guard)
				guards = append(guards, slices.Clone(k))
			}
			return len(guards) < trim.Limit
		})
		r.after(bucketRetired, nil, nil, func(k, v []byte) bool {
			if p := must(decode(v, revocationFields)); p.status.RetiredAt.Before(trim.History) && !r.known(p.status.SupersededBy) {
				history = append(history, slices.Clone(k))
			}
			return len(history) < trim.Limit
		})
		if len(guards)+len(history) == 0 {
			return nil
		}
		for _, k := range guards {
			r.delete(bucketGuards, k)
		}
		for _, k := range history {
			r.delete(bucketRetired, k)
		}
		done = store.Trimmed{Guards: len(guards), History: len(history)}
		r.meta.guards -= uint64(len(guards))
		r.meta.history -= uint64(len(history))
		r.save()
		return nil
	})
	return done, err
}
