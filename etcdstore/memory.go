package etcdstore

import (
	"context"
	"fmt"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// retire ends a tombstone's work: it becomes history, its guards are remembered. That of an erasure which has come through
// is not only swept but done.
func (t *txn) retire(p *revocation, by store.Bounds) {
	tombstone := &p.status.Tombstone
	t.unfence(p)
	p.status.Retired, p.status.RetiredAt = true, by.Now
	erased := p.stage == scrubbed
	if erased {
		h := t.head()
		t.scrubRestorations(tombstone)
		tombstone.Scrub(tombstone, h.erasureKey)
	}
	switch {
	case erased && tombstone.ErasesTenant():
		t.eraseTenant(tombstone)
	case erased:
		t.emit(by.Emit, store.ErasedEvent(tombstone, by.Now))
		fallthrough
	default:
		for _, guard := range tombstone.Guards() {
			t.remember(guard)
		}
	}
	t.putRetired(p)
	if p.status.SupersededBy.IsZero() {
		t.age(p)
	}
}

// eraseTenant ends the erasure of the tenant: a horizon takes the place of all that it remembered.
func (t *txn) eraseTenant(by *domain.Tombstone) {
	t.forgetGuards(by.Guards()...)
	h := t.head()
	if _, sequence := t.tip(&h); by.Watermark != sequence {
		return // in use again
	}
	tip := t.get(t.below(keyTip))
	h.erasureKey = domain.ErasureKey{}
	t.putHead(&h)
	// The name stays until there is nothing left to trim, and says as of when it is that of nothing else.
	t.put(t.backend.opts.Prefix+allNames+t.name, []byte(numberKey(uint64(tip.mod))))
}

// age has a retired tombstone forgotten when it is old enough. One that was superseded may be only after what superseded it.
func (t *txn) age(p *revocation) { t.put(t.historyKey(p), nil) }

func (t *txn) historyKey(p *revocation) string {
	id := p.id()
	return t.below(keyHistory, instantKey(p.status.RetiredAt), string(id[:]))
}

// unfence takes a tombstone from among the pending ones.
func (t *txn) unfence(p *revocation) {
	t.takeDown(p)
	t.delete(t.below(idKey(keyLive, p.id())))
	t.delete(t.oldest(p))
	if p.walks {
		t.delete(t.below(idKey(keyWalkers, p.id())))
	}
}

func (t *txn) putRetired(p *revocation) {
	t.put(t.below(idKey(keyRetired, p.id())), t.encodeRevocation(p))
}

// remember keeps a guard, joined with what is remembered of its target.
func (t *txn) remember(g domain.Guard) {
	key := guardKey(&g)
	if i := t.get(t.below(keyGuards, key)); i.there() {
		known := guardOf(&i)
		t.delete(t.below(keyAges, instantKey(known.Time), key))
		g = known.Join(g)
	}
	t.put(t.below(keyGuards, key), t.encodeGuard(&g))
	t.put(t.below(keyAges, instantKey(g.Time), key), nil)
	t.put(t.below(keyGuardMark), nil)
}

// drop removes a guard.
func (t *txn) drop(g *domain.Guard) {
	t.delete(t.below(keyGuards, guardKey(g)))
	t.delete(t.below(keyAges, instantKey(g.Time), guardKey(g)))
}

// agedGuard returns the guard of an entry in the order of age.
func (t *txn) agedGuard(key string) domain.Guard {
	i := t.get(t.below(keyGuards, key[len(t.below(keyAges))+sizeOfInstant:]))
	if !i.there() {
		check(fmt.Errorf("%w: a guard is in the order of age, and is not there", ErrCorrupt))
	}
	return guardOf(&i)
}

// forget removes a retired tombstone. What it superseded may be forgotten then.
func (t *txn) forget(p *revocation) {
	t.delete(t.below(idKey(keyRetired, p.id())))
	t.delete(t.historyKey(p))
	if earlier, ok := t.revocation(keyRetired, p.supersedes); ok {
		t.age(&earlier)
	}
}

// maxTrim is how much of each kind a single Trim forgets at most.
const maxTrim = 200

// Trim forgets, oldest first. While nothing is old enough it writes nothing.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (done store.Trimmed, err error) {
	if err := trim.Validate(); err != nil {
		return store.Trimmed{}, err
	}
	trim.Limit = min(trim.Limit, maxTrim)
	_, err = t.update(ctx, func(x *txn) error {
		done = x.trim(trim)
		return nil
	})
	if err != nil {
		return store.Trimmed{}, err
	}
	return done, nil
}

func (t *txn) trim(trim store.Trim) (done store.Trimmed) {
	var old []string
	ages := under(t.below(keyAges))
	t.scan(ages, func(i item) bool {
		if len(old) == trim.Limit || i.key[len(ages.start):][:sizeOfInstant] >= instantKey(trim.Guards) {
			return false
		}
		old = append(old, i.key)
		return true
	})
	keys := make([]string, len(old))
	for i, key := range old {
		keys[i] = t.below(keyGuards, key[len(ages.start)+sizeOfInstant:])
	}
	t.prefetch(keys)
	var guards []domain.Guard
	for _, key := range old {
		guard := t.agedGuard(key)
		guards = append(guards, guard)
		t.drop(&guard)
	}
	if done.Guards = len(guards); done.Guards > 0 {
		t.forgetGuards(guards...)
	}
	for ; done.History < trim.Limit; done.History++ {
		p, ok := t.oldestRetired(instantKey(trim.History))
		if !ok {
			break
		}
		t.forget(&p)
	}
	done.Events = t.trimEvents(trim)
	if done.History > 0 {
		t.forgetName()
	}
	return done
}

// oldestRetired is the first of the retired tombstones that may be forgotten, if it is older than the cut.
func (t *txn) oldestRetired(cut string) (p revocation, ok bool) {
	s := under(t.below(keyHistory))
	t.scan(s, func(i item) bool {
		if ok = i.key[len(s.start):][:sizeOfInstant] < cut; ok {
			id := idAtEnd(i.key)
			if p, ok = t.revocation(keyRetired, id); !ok {
				check(fmt.Errorf("%w: revocation %s is in the order of age, and is not there", ErrCorrupt, id))
			}
		}
		return false
	})
	return p, ok
}

// forgetName removes the name of a tenant of which nothing is left.
func (t *txn) forgetName() {
	key := t.backend.opts.Prefix + allNames + t.name
	if i := t.get(key); i.there() && !t.named(&i) {
		t.get(t.below(keyTip)) // nothing may have been inserted or revoked since
		t.delete(key)
	}
}
