package tokenstoretest

import (
	"context"
	"slices"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// alikeFaults are mistakes that show when a store is compared with itself, or with another. The machine does not see some of
// them: guards that are counted twice, what is lost between small pages of revocations or guards, and a repetition that is told
// another time.
var alikeFaults = []struct {
	name        string
	wrap        func(*faultyStore) store.Store
	laws, alike bool // who sees it
}{
	{"last guard wins", func(s *faultyStore) store.Store {
		return &guarding{faultyStore: s, memory: map[string]domain.Guard{}, keep: lastGuard}
	}, true, false},
	{"guard of the first target only", func(s *faultyStore) store.Store {
		return &guarding{faultyStore: s, memory: map[string]domain.Guard{}, keep: firstGuard}
	}, true, true},
	{"target dropped from a batch", func(s *faultyStore) store.Store { return droppedTarget{s} }, true, true},
	{"guards counted twice", func(s *faultyStore) store.Store { return countedTwice{remembering{s}} }, true, false},
	{"sweep counted twice", func(s *faultyStore) store.Store { return sweptTwice{s} }, true, false},
	{"revocation lost between pages", func(s *faultyStore) store.Store { return lostBetweenPages{s} }, true, true},
	{"guard lost between pages", func(s *faultyStore) store.Store { return lostGuard{remembering{s}} }, true, true},
	{"second page not narrowed", func(s *faultyStore) store.Store { return wideSecondPage{s} }, false, true},
	{"refusal spreads in a batch", func(s *faultyStore) store.Store { return spreadingRefusal{s} }, false, true},
	{"repetition is of now", func(s *faultyStore) store.Store { return repeatedNow{s} }, false, true},
}

func TestLawsCatchFaults(t *testing.T) {
	catch(t, func(laws, _ bool) bool { return laws }, runLaws)
}

func TestMetamorphicCatchesFaults(t *testing.T) {
	catch(t, func(_, alike bool) bool { return alike }, func(rt *rapid.T, t testing.TB, c Config) {
		c.NoBubble = true // the engine has no part in them
		runMetamorphic(rt, t, c)
	})
}

// catch runs a property on each of the faults that it must see.
func catch(t *testing.T, must func(laws, alike bool) bool, property func(*rapid.T, testing.TB, Config)) {
	run := func(name string, wrap func(*faultyStore) store.Store) {
		t.Run(name, func(t *testing.T) {
			c := Config{New: func(testing.TB) store.Backend { return newFaulty(wrap) }}
			mustFail(t, func(rt *rapid.T) { property(rt, t, c) })
		})
	}
	for _, fault := range faults {
		if must(fault.laws, fault.alike) {
			run(fault.name, fault.wrap)
		}
	}
	for _, fault := range alikeFaults {
		if must(fault.laws, fault.alike) {
			run(fault.name, fault.wrap)
		}
	}
}

// TestMetamorphicCatchesForgetfulRestart has a backend whose guards don't survive a restart.
func TestMetamorphicCatchesForgetfulRestart(t *testing.T) {
	c := forgetfulConfig(t)
	c.NoBubble = true
	mustFail(t, func(rt *rapid.T) { runMetamorphic(rt, t, c) })
}

// TestMetamorphicCatchesAnotherBackend has the mistake in a backend that is compared beside.
func TestMetamorphicCatchesAnotherBackend(t *testing.T) {
	sound := func(testing.TB) store.Backend { return newFaulty(func(s *faultyStore) store.Store { return s }) }
	broken := func(testing.TB) store.Backend {
		return newFaulty(func(s *faultyStore) store.Store { return noFence{s} })
	}
	c := Config{New: sound, NoBubble: true, Others: []Config{{New: sound}, {New: broken}}}
	mustFail(t, func(rt *rapid.T) { runMetamorphic(rt, t, c) })
}

// remembering is a faulty store that hands over what it remembers.
type remembering struct{ *faultyStore }

func (s remembering) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	return s.Store.(store.Mover).Guards(ctx, q)
}

func (s remembering) Remember(ctx context.Context, m store.Memory) error {
	return s.Store.(store.Mover).Remember(ctx, m)
}

// guarding remembers something else than it should of what is retired: by the key of the target.
type guarding struct {
	*faultyStore
	memory map[string]domain.Guard
	keep   func(memory map[string]domain.Guard, t *domain.Tombstone)
}

// lastGuard has the guard of the tombstone that is retired last replace those from before, instead of joining them.
func lastGuard(memory map[string]domain.Guard, t *domain.Tombstone) {
	for _, g := range t.Guards() {
		memory[g.Target.Key()] = g
	}
}

// firstGuard joins, but forgets all targets but the first.
func firstGuard(memory map[string]domain.Guard, t *domain.Tombstone) {
	g := t.Guards()[0]
	if there, ok := memory[g.Target.Key()]; ok {
		g = g.Join(there)
	}
	memory[g.Target.Key()] = g
}

func (s *guarding) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.pending(ctx)
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	after := s.pending(ctx)
	for _, tombstone := range before {
		if !slices.ContainsFunc(after, func(t domain.Tombstone) bool { return t.ID == tombstone.ID }) {
			s.keep(s.memory, &tombstone)
		}
	}
	return statuses, err
}

func (s *guarding) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	pending := s.pending(ctx)
	barred := func(row *store.Insertion) bool {
		for _, g := range s.memory {
			if g.Bars(&row.Token, row.AsOf) {
				return true
			}
		}
		return slices.ContainsFunc(pending, func(t domain.Tombstone) bool { return t.Bars(&row.Token, row.AsOf) })
	}
	rows = slices.Clone(rows)
	for i := range rows {
		if !barred(&rows[i]) {
			rows[i].AsOf = domain.AsOf{}
		}
	}
	return s.Store.Insert(ctx, rows)
}

// droppedTarget has no room for the third target of a revocation.
type droppedTarget struct{ *faultyStore }

func (s droppedTarget) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	r.Targets = r.Targets[:min(len(r.Targets), 2)]
	return s.Store.Revoke(ctx, r)
}

// countedTwice counts a guard for each revocation that it remembers.
type countedTwice struct{ remembering }

func (s countedTwice) State(ctx context.Context) (store.State, error) {
	state, err := s.Store.State(ctx)
	page, _ := s.Store.Revocations(ctx, store.RevocationQuery{Retired: true, Limit: store.MaxPage})
	if state.Guards = 0; err == nil {
		for _, status := range page.Revocations {
			state.Guards += len(status.Tombstone.Targets)
		}
	}
	return state, err
}

// sweptTwice counts a token for each revocation that covers it.
type sweptTwice struct{ *faultyStore }

func (s sweptTwice) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	page, err := s.Store.Revocations(ctx, q)
	for i := range page.Revocations {
		page.Revocations[i].Swept *= 2
	}
	return page, err
}

// lostBetweenPages begins a page one row too late.
type lostBetweenPages struct{ *faultyStore }

func (s lostBetweenPages) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	page, err := s.Store.Revocations(ctx, q)
	if !q.After.IsZero() && len(page.Revocations) > 1 {
		page.Revocations = page.Revocations[1:]
	}
	return page, err
}

// lostGuard does the same with guards.
type lostGuard struct{ remembering }

func (s lostGuard) Guards(ctx context.Context, q store.GuardQuery) (store.GuardPage, error) {
	page, err := s.remembering.Guards(ctx, q)
	if q.After != "" && len(page.Guards) > 1 {
		page.Guards = page.Guards[1:]
	}
	return page, err
}

// wideSecondPage forgets the client of a list from the second page on.
type wideSecondPage struct{ *faultyStore }

func (s wideSecondPage) List(ctx context.Context, q store.Query) (store.Page, error) {
	if !q.After.IsZero() {
		q.ClientID = ""
	}
	return s.Store.List(ctx, q)
}

// spreadingRefusal refuses the rest of a batch with the first that is refused.
type spreadingRefusal struct{ *faultyStore }

func (s spreadingRefusal) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	var all []store.Inserted
	for i, row := range rows {
		inserted, err := s.Store.Insert(ctx, []store.Insertion{row})
		if err != nil {
			return nil, err
		}
		all = append(all, inserted[0])
		if refused := inserted[0]; refused.Err != nil {
			for range rows[i+1:] {
				all = append(all, store.Inserted{Err: refused.Err, There: refused.There})
			}
			break
		}
	}
	return all, nil
}

// repeatedNow says of a repeated revocation that it was asked for when it was repeated.
type repeatedNow struct{ *faultyStore }

func (s repeatedNow) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	status, err := s.Store.Revoke(ctx, r)
	status.Tombstone.Time = r.Time
	return status, err
}
