package etcdstore

import (
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Revoke records a revocation.
func (t *tenant) Revoke(ctx context.Context, r store.Revocation) (status store.Status, err error) {
	if err := r.Validate(); err != nil {
		return store.Status{}, err
	}
	x, err := t.update(ctx, func(x *txn) (err error) {
		status, err = x.revoke(r, nil)
		return err
	})
	if err != nil {
		return store.Status{}, err
	}
	x.final(&status.Tombstone.Watermark)
	return status, nil
}

// revoke records a revocation, which may be caused by the presentation of a token.
func (t *txn) revoke(req store.Revocation, presented *domain.RefreshToken) (store.Status, error) {
	if err := req.Validate(); err != nil {
		return store.Status{}, err
	}
	p := revocation{status: store.Status{Tombstone: domain.Tombstone{
		ID: req.ID, Targets: slices.Clone(req.Targets), Time: req.Time, Through: req.Time, Reason: req.Reason, Actor: req.Actor, Erases: req.Erase,
	}}}
	tombstone := &p.status.Tombstone
	anchors := tombstone.Anchors()
	var named []string
	for _, target := range req.Targets {
		if !target.TokenID.IsZero() {
			named = append(named, t.tokenKeys(target.TokenID)...)
		}
	}
	slices.Sort(named)
	t.prefetch(append(slices.Compact(named), t.below(keyHead), t.below(keyTip), t.below(idKey(keyLive, req.ID)), t.below(idKey(keyRetired, req.ID))), t.fence(anchors[0]))
	h := t.head()
	if known, ok := t.known(req.ID); ok {
		if known.status.Tombstone.Erases != req.Erase || !h.erasureKey.SameTargets(known.status.Tombstone.Targets, req.Targets) {
			return store.Status{}, store.ErrConflict
		}
		return known.status, nil
	}
	latest, sequence := t.tip(&h)
	if req.NamesNothing(t.token) {
		tombstone.Watermark = sequence
		p.status.Retired, p.status.RetiredAt = true, req.Time
		return p.status, nil
	}
	if latest.After(req.Time) {
		tombstone.Through = latest
	}
	t.notLater(tombstone.Through)
	earlier := t.sameTargets(anchors[0], req.Targets, req.Erase)
	if earlier == nil && !tombstone.Anchored() && t.unanchored() >= store.MaxUnanchored {
		return store.Status{}, store.ErrBusy
	}
	p.walks = tombstone.Walks()
	tombstone.Watermark = t.number(true)
	if req.Erase && h.erasureKey == (domain.ErasureKey{}) {
		h.erasureKey = req.Key
		t.putHead(&h)
	}
	if earlier != nil {
		earlier.status.SupersededBy = req.ID
		p.supersedes = earlier.id()
		t.retire(earlier, store.Bounds{Now: req.Time})
	}
	t.put(t.backend.opts.Prefix+allPending+t.name, req.ID[:])
	t.putLive(&p)
	t.put(t.oldest(&p), nil)
	if p.walks {
		t.put(t.below(idKey(keyWalkers, req.ID)), nil)
	}
	t.putUp(&p)
	if req.Emit != 0 {
		t.emit(req.Emit, req.Event(tombstone, t.token, presented))
	}
	return p.status, nil
}

// oldest is the key of a pending tombstone in their order of age.
func (t *txn) oldest(p *revocation) string {
	id := p.id()
	return t.below(keyOldest, instantKey(p.status.Tombstone.Time), string(id[:]))
}

// sameTargets returns the pending tombstone with the same targets that erases, or does not, as well, if there is one. The commit
// fails if another one comes.
func (t *txn) sameTargets(anchor domain.Anchor, targets []domain.Target, erases bool) (same *revocation) {
	t.quiet(t.fence(anchor))
	for _, p := range t.standing(anchor) {
		if p.status.Tombstone.Erases == erases && p.status.Tombstone.SameTargets(targets) {
			t.unchanged(t.below(idKey(keyLive, p.id())))
			return &p
		}
	}
	return nil
}

// unanchored is how many pending tombstones have a target without an anchor. The commit fails if another one comes.
func (t *txn) unanchored() (n int) {
	s := t.fence(domain.Anchor{Kind: domain.AnchorNone})
	t.quiet(s)
	t.scan(s, func(item) bool { n++; return true })
	return n
}

func (t *txn) putLive(p *revocation) {
	t.put(t.below(idKey(keyLive, p.id())), t.encodeRevocation(p))
}

// live returns a pending revocation. The commit fails if anybody else gets on with it.
func (t *txn) live(id ulid.ULID) (revocation, bool) { return t.revocation(keyLive, id) }
