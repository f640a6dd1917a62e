package etcdstore

import (
	"slices"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// maxPending is how many pending tombstones of a tenant are kept in memory. Where there are more, they are looked up by
// anchor.
const maxPending = 256

// maxCached bounds the tenants whose pending tombstones are kept.
const maxCached = 4096

// pendingSet is what was pending as of a revision of the tenant's mark. It never changes.
type pendingSet struct {
	mark     int64
	many     bool // too many to be kept
	byAnchor map[domain.Anchor][]*domain.Tombstone
}

// cache keeps the pending tombstones of tenants. They are good as long as the mark, which is that of the snapshot of what they are held
// against, is as it was.
type cache struct {
	mu   sync.Mutex
	sets map[string]*pendingSet
}

func (c *cache) get(name string) *pendingSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sets[name]
}

func (c *cache) put(name string, set *pendingSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if there := c.sets[name]; there != nil && there.mark > set.mark {
		return
	}
	if len(c.sets) >= maxCached {
		clear(c.sets)
	}
	c.sets[name] = set
}

// pendingTombstones returns what is pending in the snapshot.
func (t *txn) pendingTombstones() *pendingSet {
	if t.pending != nil {
		return t.pending
	}
	mark := t.readMark()
	set := t.backend.cache.get(t.name)
	switch {
	case mark == 0:
		set = &pendingSet{}
	case set == nil || set.mark != mark:
		set = t.loadPending(mark)
		t.backend.cache.put(t.name, set)
	}
	t.pending = set
	return set
}

func (t *txn) loadPending(mark int64) *pendingSet {
	set := &pendingSet{mark: mark, byAnchor: map[domain.Anchor][]*domain.Tombstone{}}
	n := 0
	set.many = !t.scan(under(t.below(keyLive)), func(i item) bool {
		if n++; n > maxPending {
			return false
		}
		tombstone := revocationOf(&i).status.Tombstone
		for _, anchor := range tombstone.Anchors() {
			set.byAnchor[anchor] = append(set.byAnchor[anchor], &tombstone)
		}
		return true
	})
	if set.many {
		set.byAnchor = nil
	}
	return set
}

// fencedBy calls f with the pending tombstones that stand under the token's anchors, up to a kind, until it returns false.
func (t *txn) fencedBy(token *domain.RefreshToken, widest domain.AnchorKind, f func(*domain.Tombstone) bool) {
	set := t.pendingTombstones()
	for _, anchor := range anchors(token, widest) {
		if !set.many {
			for _, tombstone := range set.byAnchor[anchor] {
				if !f(tombstone) {
					return
				}
			}
			continue
		}
		for _, p := range t.standing(anchor) {
			if !f(&p.status.Tombstone) {
				return
			}
		}
	}
}

// anchors are those of a token, up to a kind, without that of the null session, which nothing stands under.
func anchors(token *domain.RefreshToken, widest domain.AnchorKind) []domain.Anchor {
	all := token.Anchors()
	return slices.DeleteFunc(all[:], func(a domain.Anchor) bool {
		return a.Kind > widest || a.Kind == domain.AnchorSession && a.Value == ""
	})
}

// standing are the pending tombstones under an anchor.
func (t *txn) standing(anchor domain.Anchor) []revocation {
	var keys []string
	t.scan(t.fence(anchor), func(i item) bool {
		keys = append(keys, t.below(idKey(keyLive, idAtEnd(i.key))))
		return true
	})
	t.prefetch(keys)
	var all []revocation
	for _, key := range keys {
		if i := t.peek(key); i.there() {
			all = append(all, revocationOf(&i))
		}
	}
	return all
}

func (t *txn) fence(anchor domain.Anchor) span { return under(t.below(keyFence, anchorKey(anchor))) }

// guard has the commit fail if a tombstone is put up that may reach the token: the fence. It takes nothing but the anchors
// that a tombstone of the token must stand under, so that revocations of others are in nobody's way.
func (t *txn) guard(token *domain.RefreshToken, widest domain.AnchorKind) {
	for _, anchor := range anchors(token, widest) {
		t.quiet(t.fence(anchor))
	}
}

// view is the token as it stands, and a tombstone that covers it.
func (t *txn) view(token domain.RefreshToken) store.View {
	return store.View{Token: token, RevokedBy: t.revokedBy(&token)}
}

// revokedBy is a tombstone that covers the token, or zero.
func (t *txn) revokedBy(token *domain.RefreshToken) (by ulid.ULID) {
	t.fencedBy(token, domain.AnchorNone, func(tombstone *domain.Tombstone) bool {
		if tombstone.Covers(token) {
			by = tombstone.ID
			return false
		}
		return true
	})
	return by
}

// putUp puts a tombstone into the fence, and takeDown takes it out.
func (t *txn) putUp(p *revocation) {
	id := p.id()
	for _, anchor := range p.status.Tombstone.Anchors() {
		t.put(t.below(keyFence, anchorKey(anchor), string(id[:])), nil)
	}
	t.mark()
}

func (t *txn) takeDown(p *revocation) {
	id := p.id()
	for _, anchor := range p.status.Tombstone.Anchors() {
		t.delete(t.below(keyFence, anchorKey(anchor), string(id[:])))
	}
	t.mark()
}

// mark says that what is pending has changed.
func (t *txn) mark() { t.put(t.below(keyMark), nil) }
