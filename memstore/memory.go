package memstore

import (
	"cmp"
	"context"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// memory is what a tenant remembers of revocations that are retired.
type memory struct {
	guards     map[domain.Anchor]map[string]domain.Guard
	ages       sortedSet[guardAge] // the same, oldest first
	history    sortedSet[age]      // the retired tombstones that may be forgotten, oldest first
	horizon    domain.Horizon
	erasureKey domain.ErasureKey
	origin     ulid.ULID // what it was taken over from
	complete   bool      // nothing of that is yet to come
	restored   []store.Restored
}

// guardAge is when the revocation of a guard was asked for, and which guard it is.
type guardAge struct {
	time   time.Time
	key    string
	anchor domain.Anchor
}

func ageOf(g *domain.Guard) guardAge { return guardAge{g.Time, g.Target.Key(), g.Target.Anchor()} }

// Compare orders by time, then by target.
func (a guardAge) Compare(other guardAge) int {
	return cmp.Or(a.time.Compare(other.time), cmp.Compare(a.key, other.key))
}

// age is when a tombstone was retired, and which.
type age struct {
	time time.Time
	id   ulid.ULID
}

// Compare orders by time, then by id.
func (a age) Compare(other age) int {
	return cmp.Or(a.time.Compare(other.time), a.id.Compare(other.id))
}

// remember keeps a guard, joined with what is remembered of its target.
func (m *memory) remember(g domain.Guard) {
	anchor, key := g.Target.Anchor(), g.Target.Key()
	row := m.guards[anchor]
	if row == nil {
		row = map[string]domain.Guard{}
		m.guards[anchor] = row
	}
	if there, ok := row[key]; ok {
		m.ages.remove(ageOf(&there))
		g = there.Join(g)
	}
	row[key] = g
	m.ages.add(ageOf(&g))
}

// guard returns the guard that is as old as that.
func (m *memory) guard(a guardAge) domain.Guard { return m.guards[a.anchor][a.key] }

// drop removes a guard.
func (m *memory) drop(a guardAge) {
	row := m.guards[a.anchor]
	delete(row, a.key)
	if len(row) == 0 {
		delete(m.guards, a.anchor)
	}
	m.ages.remove(a)
}

// retiredTombstone is a tombstone that is history. One that was superseded may be forgotten only after what superseded it.
type retiredTombstone struct {
	status     store.Status
	supersedes ulid.ULID
}

// Trim forgets, oldest first.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (done store.Trimmed, err error) {
	if err := trim.Validate(); err != nil {
		return store.Trimmed{}, err
	}
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return store.Trimmed{}, err
	}
	for ; done.Guards < trim.Limit; done.Guards++ {
		oldest, ok := t.ages.first()
		if !ok || !oldest.time.Before(trim.Guards) {
			break
		}
		t.horizon = t.horizon.Forget(t.guard(oldest))
		t.drop(oldest)
	}
	for ; done.History < trim.Limit; done.History++ {
		oldest, ok := t.history.first()
		if !ok || !oldest.time.Before(trim.History) {
			break
		}
		t.forget(oldest.id)
	}
	done.Events = t.trimEvents(trim)
	return done, nil
}

// forget removes a retired tombstone. What it superseded may be forgotten then.
func (t *tenant) forget(id ulid.ULID) {
	r := t.retired[id]
	delete(t.retired, id)
	t.order[true].remove(id)
	t.history.remove(age{r.status.RetiredAt, id})
	if earlier := t.retired[r.supersedes]; earlier != nil {
		t.history.add(age{earlier.status.RetiredAt, r.supersedes})
	}
}

// retire ends a tombstone's work: it becomes history, its guards are remembered. That of an erasure which has come through
// is not only swept but done.
func (t *tenant) retire(p *pendingTombstone, by store.Bounds) {
	tombstone := &p.status.Tombstone
	t.unfence(p)
	p.status.Retired, p.status.RetiredAt = true, by.Now
	erased := p.scrub.stage == scrubbed
	if erased {
		t.restored, _ = store.ScrubRestored(t.restored, tombstone, t.erasureKey)
		tombstone.Scrub(tombstone, t.erasureKey)
	}
	switch {
	case erased && tombstone.ErasesTenant():
		t.erase(tombstone)
	case erased:
		t.emit(by.Emit, store.ErasedEvent(tombstone, by.Now))
		fallthrough
	default:
		for _, guard := range tombstone.Guards() {
			t.remember(guard)
		}
	}
	t.retired[tombstone.ID] = &retiredTombstone{p.status, p.supersedes}
	t.order[true].add(tombstone.ID)
	if p.status.SupersededBy.IsZero() {
		t.history.add(age{by.Now, tombstone.ID})
	}
}

// erase ends the erasure of the tenant: a horizon takes the place of all that it remembered.
func (t *tenant) erase(by *domain.Tombstone) {
	for _, guard := range by.Guards() {
		t.horizon = t.horizon.Forget(guard)
	}
	t.created = false
	if t.erased = by.Watermark == t.sequence; t.erased {
		t.latest, t.walk, t.erasureKey = time.Time{}, ulid.ULID{}, domain.ErasureKey{}
	}
}

// unfence takes a tombstone from among the pending ones.
func (t *tenant) unfence(p *pendingTombstone) {
	id := p.status.Tombstone.ID
	t.fence.takeDown(p)
	delete(t.pending, id)
	t.order[false].remove(id)
	t.walkers.remove(id)
}
