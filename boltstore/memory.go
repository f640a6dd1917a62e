package boltstore

import (
	"bytes"
	"context"
	"slices"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// retire ends a tombstone's work: it becomes history, its guards are remembered. One that erased the tenant goes like all
// else. The caller saves.
func (r *records) retire(p *revocation, by store.Bounds) {
	tombstone := &p.status.Tombstone
	r.unfence(p)
	p.status.Retired, p.status.RetiredAt = true, by.Now
	if tombstone.ErasesTenant() {
		r.forgetGuards(tombstone)
		r.meta.created = false
		r.meta.erased = tombstone.Watermark == r.meta.sequence
		return
	}
	if tombstone.Erases {
		tombstone.Scrub(tombstone, r.meta.erasureKey)
		r.emit(by.Emit, store.ErasedEvent(tombstone, by.Now))
	}
	for _, guard := range tombstone.Guards() {
		r.remember(guard)
	}
	r.putRetired(p)
	r.put(bucketHistory, ageKey(by.Now, tombstone.ID[:]), nil)
	r.meta.history++
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
		known := must(decode(there, guardFields))
		r.delete(bucketAges, guardAgeKey(&known))
		g = known.Join(g)
	} else {
		r.meta.guards++
	}
	r.put(bucketGuards, key, encode(&g, guardFields))
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
	return must(decode(r.get(bucketGuards, age[ageSize:]), guardFields))
}

// forgetGuards raises the horizon to a tombstone that leaves no guards.
func (r *records) forgetGuards(t *domain.Tombstone) {
	for _, guard := range t.Guards() {
		r.meta.horizon = r.meta.horizon.Forget(guard)
	}
}

// forget removes a retired tombstone.
func (r *records) forget(p *revocation) {
	id := p.id()
	r.delete(bucketRetired, id[:])
	r.delete(bucketHistory, ageKey(p.status.RetiredAt, id[:]))
	r.meta.history--
}

// leadsOn reports whether a retired tombstone was superseded by what is pending still, at whatever remove: then it has the
// same targets.
func (r *records) leadsOn(p *revocation) bool {
	if p.status.SupersededBy.IsZero() {
		return false
	}
	targets := p.status.Tombstone.Targets
	return r.sameTargets(targets[0].Anchor(), targets) != nil
}

// trimLooks is how many retired tombstones a Trim looks at for each that it may forget: some have to stay.
const trimLooks = 10

// Trim forgets, oldest first. While nothing is old enough it writes nothing.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (done store.Trimmed, err error) {
	if trim.Limit < 1 {
		return store.Trimmed{}, &domain.FieldError{Field: "limit", Limit: "at least 1", Size: trim.Limit}
	}
	err = t.update(ctx, func(r *records) error {
		guards, history := r.forgettable(trim)
		events := r.droppable(trim)
		done = store.Trimmed{Guards: len(guards), History: len(history), Events: len(events)}
		for i := range guards {
			r.meta.horizon = r.meta.horizon.Forget(guards[i])
			r.drop(&guards[i])
		}
		for i := range history {
			r.forget(&history[i])
		}
		for _, key := range events {
			r.dropFirst(key)
		}
		if done != (store.Trimmed{}) {
			r.save()
		}
		return nil
	})
	return done, err
}

// forgettable returns what a trim may forget.
func (r *records) forgettable(trim store.Trim) (guards []domain.Guard, history []revocation) {
	before := ageKey(trim.Guards, nil)
	r.after(bucketAges, nil, nil, func(k, _ []byte) bool {
		if len(guards) == trim.Limit || bytes.Compare(k[:ageSize], before) >= 0 {
			return false
		}
		guards = append(guards, r.guard(k))
		return true
	})
	before = ageKey(trim.History, nil)
	looks := trimLooks * trim.Limit
	r.after(bucketHistory, nil, nil, func(k, _ []byte) bool {
		if looks == 0 || len(history) == trim.Limit || bytes.Compare(k[:ageSize], before) >= 0 {
			return false
		}
		looks--
		id := idAtEnd(k)
		p := must(decode(r.get(bucketRetired, slices.Clone(id[:])), revocationFields))
		if !r.leadsOn(&p) {
			history = append(history, p)
		}
		return true
	})
	return guards, history
}
