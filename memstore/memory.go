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
	history    sortedSet[age]      // the retired tombstones, oldest first
	horizon    domain.Horizon
	erasureKey domain.ErasureKey
	origin     ulid.ULID // what it was taken over from
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

// trimLooks is how many retired tombstones a Trim looks at for each that it may forget: some have to stay.
const trimLooks = 10

// Trim forgets, oldest first.
func (t *tenant) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	if trim.Limit < 1 {
		return store.Trimmed{}, &domain.FieldError{Field: "limit", Limit: "at least 1", Size: trim.Limit}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usable(ctx); err != nil {
		return store.Trimmed{}, err
	}
	var guards []guardAge
	for a := range t.ages.all() {
		if len(guards) == trim.Limit || !a.time.Before(trim.Guards) {
			break
		}
		guards = append(guards, a)
	}
	for _, a := range guards {
		t.horizon = t.horizon.Forget(t.guard(a))
		t.drop(a)
	}
	var history []age
	looks := trimLooks * trim.Limit
	for a := range t.history.all() {
		if looks == 0 || len(history) == trim.Limit || !a.time.Before(trim.History) {
			break
		}
		looks--
		if !t.leadsOn(t.retired[a.id]) {
			history = append(history, a)
		}
	}
	for _, a := range history {
		t.forget(a)
	}
	return store.Trimmed{Guards: len(guards), History: len(history)}, nil
}

// leadsOn reports whether a retired tombstone was superseded by what is pending still, at whatever remove: then it has the
// same targets.
func (t *tenant) leadsOn(status *store.Status) bool {
	if status.SupersededBy.IsZero() {
		return false
	}
	targets := status.Tombstone.Targets
	return t.sameTargets(targets[0].Anchor(), targets) != nil
}

// forget removes a retired tombstone.
func (t *tenant) forget(a age) {
	delete(t.retired, a.id)
	t.order[true].remove(a.id)
	t.history.remove(a)
}

// retire ends a tombstone's work: it becomes history, its guards are remembered. One that erased the tenant goes like all
// else.
func (t *tenant) retire(p *pendingTombstone, now time.Time) {
	tombstone := &p.status.Tombstone
	t.unfence(p)
	p.status.Retired, p.status.RetiredAt = true, now
	if tombstone.ErasesTenant() {
		for _, guard := range tombstone.Guards() {
			t.horizon = t.horizon.Forget(guard)
		}
		t.created = false
		t.erased = tombstone.Watermark == t.sequence
		return
	}
	if tombstone.Erases {
		tombstone.Scrub(tombstone, t.erasureKey)
	}
	for _, guard := range tombstone.Guards() {
		t.remember(guard)
	}
	t.retired[tombstone.ID] = &p.status
	t.order[true].add(tombstone.ID)
	t.history.add(age{now, tombstone.ID})
}

// unfence takes a tombstone from among the pending ones.
func (t *tenant) unfence(p *pendingTombstone) {
	id := p.status.Tombstone.ID
	t.fence.takeDown(p)
	delete(t.pending, id)
	t.order[false].remove(id)
	t.walkers.remove(id)
}
