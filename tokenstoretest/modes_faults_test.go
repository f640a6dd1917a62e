package tokenstoretest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// modeFaults are mistakes that only one mode of the machine shows: without it, they pass.
var modeFaults = []struct {
	name    string
	without []string // the mode
	engine  bool     // it takes an engine
	config  Config
}{
	{
		"engine relies on wake-ups", []string{"unwoken", "fault"}, true,
		Config{New: plain, tune: func(o *tokenstore.Options) { o.Engine.PollEvery = 1000 * time.Hour }},
	},
	{"two applies retire early", []string{"applyBoth"}, false, faulty(func(s *faultyStore) store.Store { return &earlyBoth{faultyStore: s} })},
	{"two engines retire early", []string{"applyBoth", "unwoken"}, true, faulty(func(s *faultyStore) store.Store { return &earlyBoth{faultyStore: s} })},
	{"applies what is pending or fails", []string{"stale", "applyBoth"}, false, faulty(func(s *faultyStore) store.Store { return noStale{s} })},
	{"takes for a thief", []string{"restore"}, false, faulty(func(s *faultyStore) store.Store { return thiefAhead{s} })},
	{"retry counted twice", []string{"fault"}, false, twoRetries(func(s store.Store, n *unknowns) store.Store { return countsTwice{aboveStore{s}, n} })},
	{"issued twice", []string{"fault"}, false, above(func(s store.Store, n *unknowns) store.Store { return issuesTwice{aboveStore{s}, n} })},
	{"unknown taken for done", []string{"fault"}, false, above(func(s store.Store, n *unknowns) store.Store { return unknownForDone{aboveStore{s}} })},
	{"sweep gives up", []string{"fault"}, true, above(func(s store.Store, n *unknowns) store.Store { return givesUp{aboveStore{s}, n} })},
}

func TestModesCatchFaults(t *testing.T) {
	for _, fault := range modeFaults {
		t.Run(fault.name, func(t *testing.T) { modeFault(t, fault.engine, fault.config) })
		t.Run(fault.name+"/passes without", func(t *testing.T) {
			setFlags(t, "25", "1s")
			c := fault.config
			c.without = fault.without
			var r *recorder
			inBubble(t, fault.engine, func(t *testing.T) { r = check(t.Name(), machineOf(t, fault.engine, c)) })
			if r.failed {
				t.Fatalf("other modes catch it too:\n%s", r.log.String())
			}
		})
	}
}

func modeFault(t *testing.T, engine bool, c Config) {
	inBubble(t, engine, func(t *testing.T) { mustFail(t, machineOf(t, engine, c)) })
}

// inBubble has all cases with an engine in one bubble, because rapid makes one a case only for what is a test of its own right.
func inBubble(t *testing.T, bubble bool, run func(*testing.T)) {
	if bubble {
		synctest.Test(t, run)
		return
	}
	run(t)
}

func machineOf(t *testing.T, engine bool, c Config) func(*rapid.T) {
	run := runMachine
	if engine {
		run = runMachineWithEngine
	}
	return func(rt *rapid.T) { run(rt, t, c) }
}

func plain(testing.TB) store.Backend { return memstore.New() }

func faulty(wrap func(*faultyStore) store.Store) Config {
	return Config{New: func(testing.TB) store.Backend { return newFaulty(wrap) }}
}

// earlyBoth retires too early when two calls sweep at the same time: one row that the one has removed is put back by the other.
type earlyBoth struct {
	*faultyStore
	under atomic.Int32
}

func (s *earlyBoth) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	s.under.Add(1)
	defer s.under.Add(-1)
	for range 50 {
		runtime.Gosched()
	}
	if s.under.Load() < 2 {
		return s.Store.Apply(ctx, ids, bounds)
	}
	before := s.tokens(ctx)
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	for _, status := range statuses {
		if removed := s.removed(ctx, before, status.Tombstone); len(removed) > 0 {
			s.restore(ctx, removed[:1])
		}
	}
	return statuses, err
}

// noStale can't pass over what is pending no more.
type noStale struct{ *faultyStore }

func (s noStale) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	for _, id := range ids {
		if status, err := s.Revocation(ctx, id); err != nil || status.Retired {
			return nil, store.ErrNotFound
		}
	}
	return s.Store.Apply(ctx, ids, bounds)
}

// thiefAhead takes who presents a secret that is newer than its record for a thief.
type thiefAhead struct{ *faultyStore }

func (s thiefAhead) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	return s.Store.Update(ctx, id, func(v store.View) store.Decision {
		d := decide(v)
		if errors.Is(d.Err, tokenstore.ErrAhead) && !v.Revoked() {
			d.Revoke = &store.Revocation{ID: id, Targets: []tokenstore.Target{{TokenID: id}}, Time: start, Reason: tokenstore.ReasonReuse}
			d.Err = tokenstore.ErrReused
		}
		return d
	})
}

// unknowns are the ids of what had an unknown outcome last.
type unknowns struct {
	mu  sync.Mutex
	ids map[ulid.ULID]bool
}

// take reports whether the outcome of an id was unknown before, and notes whether it is now.
func (u *unknowns) take(id ulid.ULID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.ids[id]
	delete(u.ids, id)
	return was
}

func (u *unknowns) has(id ulid.ULID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ids[id]
}

func (u *unknowns) note(id ulid.ULID, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if errors.Is(err, store.ErrUnknownOutcome) {
		u.ids[id] = true
	}
}

// above has faults of who calls a store that fails.
func above(wrap func(store.Store, *unknowns) store.Store) Config {
	return Config{New: plain, wrap: func(b store.Backend) store.Backend {
		return aboveBackend{b, wrap, &unknowns{ids: map[ulid.ULID]bool{}}}
	}}
}

// twoRetries has such faults where two retries are allowed.
func twoRetries(wrap func(store.Store, *unknowns) store.Store) Config {
	c := above(wrap)
	c.tune = func(o *tokenstore.Options) { o.RetryLimit, o.Leeway = 2, 10*time.Second }
	return c
}

type aboveBackend struct {
	store.Backend
	wrap     func(store.Store, *unknowns) store.Store
	unknowns *unknowns
}

func (b aboveBackend) Tenant(name string) (store.Store, error) {
	s, err := b.Backend.Tenant(name)
	return b.wrap(s, b.unknowns), err
}

type aboveStore struct{ store.Store }

func (s aboveStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return s.Store.(store.Outbox).Feed(ctx, after, limit)
}

// countsTwice counts a retry again whose outcome was unknown at first.
type countsTwice struct {
	aboveStore
	unknowns *unknowns
}

func (s countsTwice) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	again := s.unknowns.take(id)
	err := s.Store.Update(ctx, id, func(v store.View) store.Decision {
		d := decide(v)
		if again && d.Err == nil && d.Next == nil && v.Token.Retries > 0 {
			next := v.Token
			next.Retries++
			d.Next = &next
		}
		return d
	})
	s.unknowns.note(id, err)
	return err
}

// issuesTwice repeats an insertion whose outcome was unknown under another id.
type issuesTwice struct {
	aboveStore
	unknowns *unknowns
}

func (s issuesTwice) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if s.unknowns.take(rows[0].Token.ID) {
		rows[0].Token.ID[15]++
	}
	inserted, err := s.Store.Insert(ctx, rows)
	s.unknowns.note(rows[0].Token.ID, err)
	return inserted, err
}

// unknownForDone takes a revocation of unknown outcome for recorded.
type unknownForDone struct{ aboveStore }

func (s unknownForDone) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	status, err := s.Store.Revoke(ctx, r)
	if errors.Is(err, store.ErrUnknownOutcome) {
		status.Tombstone.ID, status.Tombstone.Targets, status.Tombstone.Time, status.Tombstone.Through = r.ID, r.Targets, r.Time, r.Time
		return status, nil
	}
	return status, err
}

// givesUp sweeps no more for a revocation of which the outcome of a slice was unknown.
type givesUp struct {
	aboveStore
	unknowns *unknowns
}

func (s givesUp) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	for _, id := range ids {
		if s.unknowns.has(id) {
			return nil, nil
		}
	}
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	for _, id := range ids {
		s.unknowns.note(id, err)
	}
	return statuses, err
}
