package tokenstoretest

import (
	"context"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"pgregory.net/rapid"
)

// TestWithoutFaultPasses is the control of the tests with faults: the same properties, run in the same way.
func TestWithoutFaultPasses(t *testing.T) {
	setFlags(t, "400", "10s")
	c := Config{
		New: func(testing.TB) store.Backend {
			return newFaulty(func(s *faultyStore) store.Store { return s })
		},
		Reopen: func(_ testing.TB, b store.Backend) store.Backend { return b },
	}
	Run(t, c)
}

// TestBareBackendPasses: a backend whose stores have the verbs that all have to have, and nothing else, is tested by the same call.
func TestBareBackendPasses(t *testing.T) {
	setFlags(t, "30", "10s")
	Run(t, Config{New: func(testing.TB) store.Backend { return bareBackend{memstore.New()} }})
}

// bareBackend has stores without a feed, that can't move.
type bareBackend struct{ store.Backend }

func (b bareBackend) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return bareStore{st}, err
}

// bareStore writes no events, so it counts and trims none.
type bareStore struct{ store.Store }

func (s bareStore) State(ctx context.Context) (store.State, error) {
	state, err := s.Store.State(ctx)
	state.Events, state.LastEvent = 0, 0
	return state, err
}

func (s bareStore) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	trim.Events = time.Time{}
	return s.Store.Trim(ctx, trim)
}

// TestMachineCatchesForgetfulRestart has a backend whose guards don't survive a restart.
func TestMachineCatchesForgetfulRestart(t *testing.T) {
	c := forgetfulConfig(t)
	mustFail(t, func(rt *rapid.T) { runMachine(rt, t, c) })
}

func forgetfulConfig(t *testing.T) Config {
	return Config{
		New: func(testing.TB) store.Backend {
			return newFaulty(func(s *faultyStore) store.Store { return &forgetful{faultyStore: s} })
		},
		Reopen: func(_ testing.TB, b store.Backend) store.Backend {
			for _, s := range b.(*faultyBackend).tenants {
				s.(*forgetful).restart(t.Context())
			}
			return b
		},
	}
}

// forgetful loses its guards in a restart, and does not know it.
type forgetful struct {
	*faultyStore
	restarted bool
	horizon   domain.Horizon // the one it believes in
}

func (s *forgetful) restart(ctx context.Context) {
	state, err := s.State(ctx)
	if err != nil {
		return
	}
	s.restarted, s.horizon = true, state.Horizon
	_, _ = s.Store.Trim(ctx, store.Trim{Guards: start.AddDate(100, 0, 0), Limit: 1000})
}

func (s *forgetful) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if s.restarted && !slices.ContainsFunc(rows, func(row store.Insertion) bool { return s.horizon.Beyond(row.AsOf) }) {
		return insertBeyond(ctx, s.Store, rows)
	}
	return s.Store.Insert(ctx, rows)
}

func (s *forgetful) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	done, err := s.Store.Trim(ctx, trim)
	if done.Guards > 0 {
		s.restarted = false // what is true is told again
	}
	return done, err
}

func (s *forgetful) State(ctx context.Context) (store.State, error) {
	state, err := s.Store.State(ctx)
	if s.restarted {
		state.Horizon = s.horizon
	}
	return state, err
}

// TestFeedOfARevocationAskedForAgain: a revocation that was forgotten, and asked for again under its id, is two, and an event is of
// one of them or wrong.
func TestFeedOfARevocationAskedForAgain(t *testing.T) {
	targets := []tokenstore.Target{{UserID: "ann"}}
	again := tokenstore.Receipt{Status: store.Status{Tombstone: domain.Tombstone{Watermark: 7}}}
	property := func(at time.Time) func(*rapid.T) {
		return func(rt *rapid.T) {
			w := &tenant{name: "alpha", reader: reader{seen: map[uint64]tokenstore.Event{}}}
			w.model.revocations = []*acknowledged{
				{targets: targets, at: start},
				{targets: targets, at: start.Add(-time.Millisecond), receipt: &again},
			}
			(&machine{}).checkRevocationEvent(rt, w, tokenstore.Event{
				Number: 3, Kind: tokenstore.KindRevoked, Time: at, Sequence: 7, Targets: targets,
			})
		}
	}
	if r := check(t.Name(), property(start.Add(-time.Millisecond))); r.failed {
		t.Errorf("an event of the second is refused:\n%s", r.log.String())
	}
	mustFail(t, property(start.Add(time.Millisecond)))
}

// TestMetamorphicLeavesOpenWhatIsDead: whether a revocation of ids that names a dead token is remembered for the others depends on
// whether that token is still there (R13), so nothing is concluded from it.
func TestMetamorphicLeavesOpenWhatIsDead(t *testing.T) {
	c := Config{New: func(testing.TB) store.Backend { return memstore.New() }}
	property := func(rt *rapid.T) {
		shared := drawPremises(rt)
		shared.resources = make([]resource, 2)
		for i := range shared.resources {
			shared.resources[i].token = tokenstore.RefreshToken{ID: fixedIDs[i], UserID: "ann", ClientID: "web", CreatedAt: start}
		}
		shared.resources[0].token.UserID = "bob"
		actions := []action{
			shared.imports([]int{1}),
			revokes([]tokenstore.Target{{UserID: "ann"}}, ""),
			revokes([]tokenstore.Target{{TokenID: fixedIDs[1]}, {TokenID: fixedIDs[0]}}, ""),
			shared.imports([]int{0}),
		}
		var answers [2][]sight
		for i, how := range []sweeping{sweepLate, sweepEarly} {
			w := newWorld(rt, t, c, shared, way{Page: 10, Batch: 10, Sweep: how, Slice: 10})
			answers[i] = w.live(rt, actions)
			w.release()
		}
		for i, got := range answers[1] {
			if want := answers[0][i]; got.text != want.text {
				fail(rt, "the same actions must have the same answers", "%s: %s, want %s", got.to, got.text, want.text)
			}
		}
	}
	if r := check(t.Name(), property); r.failed {
		t.Error(r.log.String())
	}
}
