package tokenstoretest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// machine is one case: a backend, a manager and a model for each tenant.
type machine struct {
	config  Config
	tb      testing.TB // the test as a whole, for the backend
	ctx     context.Context
	backend store.Backend
	clock   clock
	options tokenstore.Options
	root    *tokenstore.Manager
	tenants []*tenant
	event   int // counts what has been acknowledged
	host    host

	bubble bool
	delay  time.Duration // how long a slice of the engine takes
	stop   func()        // ends the engine's Run; nil while it does not run
	runErr error         // what Run ended with
}

// tenant is a tenant under test.
type tenant struct {
	*tokenstore.Manager
	model model
	name  string
	store store.Store // for the sweep and the trim, which the machine drives itself
	marks []point     // points to stem from
	pages int         // varies the size of pages

	reader reader
}

func newMachine(t *rapid.T, tb testing.TB, c Config, bubble bool) *machine {
	m := &machine{config: c, tb: tb, ctx: context.Background(), bubble: bubble}
	m.host.policies = map[string]tokenstore.ClientPolicy{}
	if bubble {
		m.clock.since = time.Now()
		m.delay = time.Duration(rapid.IntRange(1, 20).Draw(t, "delay")) * time.Millisecond
	}
	m.options = tokenstore.Options{
		Tenant: tenantNames[0], Now: m.clock.now, Rand: drawRandomness(t),
		Legacy:   tokenstore.LegacyRule{AllowNoSession: true},
		Lifetime: tokenstore.Lifetime(absolute), IdleLifetime: tokenstore.Lifetime(idle), Skew: skew,
		Leeway:     pick(t, "leeway", 10*time.Second, 10*time.Second, -1),
		RetryLimit: pick(t, "retryLimit", uint32(0), 0, 2),
		Replay:     pick(t, "replay", tokenstore.ReplayToken, tokenstore.ReplayToken, tokenstore.ReplaySession, tokenstore.ReplayUser),
		Client:     m.host.policy, Evicted: m.host.evict,
		Outbox:        drawOutbox(t),
		LastUsedEvery: pick(t, "lastUsedEvery", 0, time.Minute, 10*time.Minute),
		Engine:        revocation.Options{MemoryFor: memoryFor, MaxSlice: 2, PollEvery: time.Minute},
	}
	m.backend = c.New(tb)
	for _, name := range tenantNames {
		m.tenants = append(m.tenants, &tenant{name: name, reader: newReader()})
	}
	m.open(t)
	return m
}

// open makes the managers of an opened backend.
func (m *machine) open(t *rapid.T) {
	var backend store.Backend = m.backend
	if m.bubble {
		backend = slow{backend, m.delay}
	}
	root, err := tokenstore.New(backend, &m.options)
	if err != nil {
		fail(t, "a manager must be made on a backend that is open", "New: %v", err)
	}
	m.root = root
	for _, w := range m.tenants {
		if w.Manager, err = root.Tenant(w.name, nil); err != nil {
			fail(t, "a tenant needs no creation", "Manager.Tenant: %v", err)
		}
		if w.store, err = m.backend.Tenant(w.name); err != nil {
			fail(t, "a tenant needs no creation", "Backend.Tenant: %v", err)
		}
	}
}

// close ends a case that went well.
func (m *machine) close(t *rapid.T) {
	if m.stop != nil {
		m.stop()
	}
	if m.runErr != nil {
		fail(t, "the engine's Run must end without an error", "Run: %v", m.runErr)
	}
	if err := m.backend.Close(); err != nil {
		fail(t, "Close must succeed", "Close: %v", err)
	}
}

// release lets go of what a case holds, however it ends.
func (m *machine) release() {
	if m.stop != nil {
		m.stop()
	}
	_ = m.backend.Close()
}

func (m *machine) next() int {
	m.event++
	return m.event
}

// settle waits until the engine has nothing to do before time goes on.
func (m *machine) settle() {
	if !m.bubble {
		return
	}
	synctest.Wait()
	for _, w := range m.tenants {
		w.model.forget(m.clock.now().Add(-memoryFor))
		w.model.trimmed = w.model.trimmed || m.clock.now().Sub(start) > memoryFor
	}
}

// runMachine is a case without an engine: sweep and trim are operations among the others.
func runMachine(t *rapid.T, tb testing.TB, c Config) {
	m := newMachine(t, tb, c, false)
	defer m.release()
	m.run(t, append(operations(), applyOperation, trimOperation))
	m.rest(t)
	m.restExpired(t)
	m.close(t)
}

// runMachineWithEngine is a case with the engine, inside a bubble. It sweeps as virtual time passes, which is only when
// the test lets it; the test sweeps too, as another process would.
func runMachineWithEngine(t *rapid.T, tb testing.TB, c Config) {
	m := newMachine(t, tb, c, true)
	defer m.release()
	m.run(t, append(operations(), applyOperation, trimOperation, startOperation, stopOperation, pauseOperation))
	m.restWithEngine(t)
	m.close(t)
}

// operation is one that the machine draws, weight times as often as one of weight 1.
type operation struct {
	name   string
	weight int
	run    func(*machine, *rapid.T)
}

func (m *machine) run(t *rapid.T, ops []operation) {
	// What comes of a race is not the same every time, so that rapid may not be able to make the case smaller. Most cases
	// do without.
	races := chance(t, "races", 4)
	byName := map[string]operation{}
	var names []string
	for _, op := range ops {
		if op.name == "reopen" && m.config.Reopen == nil || op.name == "race" && !races {
			continue
		}
		byName[op.name] = op
		for range op.weight {
			names = append(names, op.name)
		}
	}
	drawn := rapid.SampledFrom(names)
	t.Repeat(map[string]func(*rapid.T){
		"step": func(t *rapid.T) { byName[drawn.Draw(t, "operation")].run(m, t) },
		"": func(t *rapid.T) {
			m.settle()
			for _, w := range m.tenants {
				m.check(t, w)
			}
		},
	})
}

// tenant draws one; the first is drawn more often.
func (m *machine) tenant(t *rapid.T) *tenant {
	return m.tenants[pick(t, "tenant", 0, 0, 1)]
}

// slow is a backend whose sweep, expiry and trim take virtual time, so that an engine does its work only as the test lets
// it.
type slow struct {
	store.Backend
	delay time.Duration
}

func (b slow) Tenant(name string) (store.Store, error) {
	s, err := b.Backend.Tenant(name)
	return slowStore{s, b.delay}, err
}

type slowStore struct {
	store.Store
	delay time.Duration
}

func (s slowStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return s.Store.(store.Outbox).Feed(ctx, after, limit)
}

func (s slowStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	time.Sleep(s.delay)
	return s.Store.Apply(ctx, ids, bounds)
}

func (s slowStore) Expire(ctx context.Context, bounds store.Bounds) (store.Expired, error) {
	time.Sleep(s.delay)
	return s.Store.Expire(ctx, bounds)
}

func (s slowStore) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	time.Sleep(s.delay)
	return s.Store.Trim(ctx, trim)
}
