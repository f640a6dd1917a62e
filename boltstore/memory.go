package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/codec"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// retire ends a tombstone's work: it becomes history, its guards are remembered. That of an erasure which has come through
// is not only swept but done. The caller saves.
func (r *records) retire(p *revocation, by store.Bounds) {
	tombstone := &p.status.Tombstone
	r.unfence(p)
	p.status.Retired, p.status.RetiredAt = true, by.Now
	erased := p.stage == scrubbed
	if erased {
		r.scrubRestorations(tombstone)
		tombstone.Scrub(tombstone, r.meta.erasureKey)
	}
	switch {
	case erased && tombstone.ErasesTenant():
		r.eraseTenant(tombstone)
	case erased:
		r.emit(by.Emit, store.ErasedEvent(tombstone, by.Now))
		fallthrough
	default:
		for _, guard := range tombstone.Guards() {
			r.remember(guard)
		}
	}
	r.putRetired(p)
	r.meta.history++
	if p.status.SupersededBy.IsZero() {
		r.age(p)
	}
}

// eraseTenant ends the erasure of the tenant: a horizon takes the place of all that it remembered.
func (r *records) eraseTenant(by *domain.Tombstone) {
	r.forgetGuards(by)
	m := &r.meta
	m.created = false
	if m.erased = by.Watermark == m.sequence; m.erased {
		m.latest, m.walk, m.erasureKey = time.Time{}, ulid.ULID{}, domain.ErasureKey{}
	}
}

// age has a retired tombstone forgotten when it is old enough. One that was superseded may be only after what superseded it.
func (r *records) age(p *revocation) {
	id := p.id()
	r.put(bucketHistory, ageKey(p.status.RetiredAt, id[:]), nil)
}

// unfence takes a tombstone from among the pending ones.
func (r *records) unfence(p *revocation) {
	id := p.id()
	r.takeDown(p)
	r.delete(bucketLive, id[:])
	if p.walks {
		r.delete(bucketWalkers, id[:])
	}
	r.meta.pending--
	if !p.status.Tombstone.Anchored() {
		r.meta.open--
	}
	if r.meta.pending == 0 {
		check(r.txn.tx.Bucket(bucketPending).Delete([]byte(r.name)))
	}
}

func (r *records) putRetired(p *revocation) {
	id := p.id()
	r.put(bucketRetired, id[:], encode(p, revocationFields))
}

// remember keeps a guard, joined with what is remembered of its target.
func (r *records) remember(g domain.Guard) {
	key := guardKey(&g)
	if there := r.get(bucketGuards, key); there != nil {
		known := must(decode(there, codec.Guard))
		r.delete(bucketAges, guardAgeKey(&known))
		g = known.Join(g)
	} else {
		r.meta.guards++
	}
	r.put(bucketGuards, key, encode(&g, codec.Guard))
	r.put(bucketAges, guardAgeKey(&g), nil)
}

// drop removes a guard.
func (r *records) drop(g *domain.Guard) {
	r.delete(bucketGuards, guardKey(g))
	r.delete(bucketAges, guardAgeKey(g))
	r.meta.guards--
}

// guard returns the guard of an entry in the order of age.
func (r *records) guard(age []byte) domain.Guard {
	return must(decode(r.get(bucketGuards, age[ageSize:]), codec.Guard))
}

// forgetGuards raises the horizon to a tombstone that leaves no guards.
func (r *records) forgetGuards(t *domain.Tombstone) {
	for _, guard := range t.Guards() {
		r.meta.horizon = r.meta.horizon.Forget(guard)
	}
}

// forget removes a retired tombstone. What it superseded may be forgotten then.
func (r *records) forget(p *revocation) {
	id := p.id()
	r.delete(bucketRetired, id[:])
	r.delete(bucketHistory, ageKey(p.status.RetiredAt, id[:]))
	r.meta.history--
	if earlier, ok := r.revocation(bucketRetired, p.supersedes); ok {
		r.age(&earlier)
	}
}

// Trim forgets, oldest first. While nothing is old enough it waits for no writer.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (done store.Trimmed, err error) {
	if err := trim.Validate(); err != nil {
		return store.Trimmed{}, err
	}
	due := false
	err = t.view(ctx, func(r *records) error {
		due = r.older(bucketAges, trim.Guards) != nil || r.older(bucketHistory, trim.History) != nil || len(r.droppable(trim)) > 0
		return nil
	})
	if err != nil || !due {
		return store.Trimmed{}, err
	}
	err = t.update(ctx, func(r *records) error {
		done = r.trim(trim)
		if done != (store.Trimmed{}) {
			r.save()
		}
		return nil
	})
	return done, err
}

func (r *records) trim(trim store.Trim) (done store.Trimmed) {
	for ; done.Guards < trim.Limit; done.Guards++ {
		key := r.older(bucketAges, trim.Guards)
		if key == nil {
			break
		}
		guard := r.guard(key)
		r.meta.horizon = r.meta.horizon.Forget(guard)
		r.drop(&guard)
	}
	for ; done.History < trim.Limit; done.History++ {
		key := r.older(bucketHistory, trim.History)
		if key == nil {
			break
		}
		id := idAtEnd(key)
		p, ok := r.revocation(bucketRetired, id)
		if !ok || !bytes.Equal(ageKey(p.status.RetiredAt, id[:]), key) { // it would stay, and be the oldest for ever
			check(fmt.Errorf("%w: the order of age has revocation %s when it was not retired", ErrCorrupt, id))
		}
		r.forget(&p)
	}
	for _, key := range r.droppable(trim) {
		r.dropFirst(key)
		done.Events++
	}
	return done
}

// older returns the first key of an order of age, if that is older than the cut; else nil.
func (r *records) older(bucket []byte, cut time.Time) (key []byte) {
	r.after(bucket, nil, nil, func(k, _ []byte) bool {
		if bytes.Compare(k[:ageSize], ageKey(cut, nil)) < 0 {
			key = bytes.Clone(k)
		}
		return false
	})
	return key
}
