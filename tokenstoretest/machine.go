package tokenstoretest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
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
	engines [2]runner
	tenants []*tenant
	event   int // counts what has been acknowledged
	host    host
	faults  failure
	backup  *backup // nil for none

	bubble bool
	delay  time.Duration // how long a slice of the engine takes
	runErr error         // what a Run ended with
}

// tenant is a tenant under test.
type tenant struct {
	*tokenstore.Manager
	machine *machine
	model   model
	name    string
	store   store.Store    // for the sweep and the trim, which the machine drives itself
	marks   []point        // points to stem from
	plans   [2][]ulid.ULID // what two planners of the sweep take for pending
	lost    []lostSecret   // secrets of a future that a restored backup does not know
	pages   int            // varies the size of pages

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
		Device:        pick(t, "device", tokenstore.DeviceAsGiven, tokenstore.DeviceTruncated, tokenstore.DeviceLeftOut),
		LastUsedEvery: pick(t, "lastUsedEvery", 0, time.Minute, 10*time.Minute),
		Engine:        engineOptions(),
	}
	if c.tune != nil {
		c.tune(&m.options)
	}
	m.backend = c.New(tb)
	for _, name := range tenantNames {
		m.tenants = append(m.tenants, &tenant{machine: m, name: name, reader: newReader()})
	}
	m.open(t)
	return m
}

// open makes the managers of an opened backend.
func (m *machine) open(t *rapid.T) {
	backend := m.backend
	if m.bubble {
		backend = slow{backend, m.delay}
	}
	backend = failing{backend, &m.faults}
	if m.config.wrap != nil {
		backend = m.config.wrap(backend)
	}
	var err error
	for i := range m.engines {
		if m.engines[i].root, err = tokenstore.New(backend, &m.options); err != nil {
			fail(t, "a manager must be made on a backend that is open", "New: %v", err)
		}
	}
	for _, w := range m.tenants {
		if w.Manager, err = m.engines[woken].root.Tenant(w.name, nil); err != nil {
			fail(t, "a tenant needs no creation", "Manager.Tenant: %v", err)
		}
		if w.store, err = m.backend.Tenant(w.name); err != nil {
			fail(t, "a tenant needs no creation", "Backend.Tenant: %v", err)
		}
	}
}

// close ends a case that went well.
func (m *machine) close(t *rapid.T) {
	m.stopAll()
	if m.runErr != nil {
		fail(t, "the engine's Run must end without an error", "Run: %v", m.runErr)
	}
	if err := m.backend.Close(); err != nil {
		fail(t, "Close must succeed", "Close: %v", err)
	}
}

// release lets go of what a case holds, however it ends.
func (m *machine) release() {
	m.stopAll()
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
	m.faults.disarm()
	m.rest(t)
	m.restExpired(t)
	m.close(t)
}

// runMachineWithEngine is a case with the engine, inside a bubble. It sweeps as virtual time passes, which is only when
// the test lets it; the test sweeps too, as another process would.
func runMachineWithEngine(t *rapid.T, tb testing.TB, c Config) {
	m := newMachine(t, tb, c, true)
	defer m.release()
	m.run(t, append(operations(), applyOperation, trimOperation, startOperation, stopOperation, pauseOperation, waitOperation, followOperation))
	m.restWithEngine(t)
	m.close(t)
}

// operation is one that the machine draws, weight times as often as one of weight 1.
type operation struct {
	name   string
	weight int
	run    func(*machine, *rapid.T)
}

// racing are those of which comes what the scheduler decides.
var racing = []string{"race", "applyBoth"}

func (m *machine) run(t *rapid.T, ops []operation) {
	// What comes of a race is not the same every time, so that rapid may not be able to make the case smaller. Most cases
	// do without.
	races := !m.config.still && chance(t, "races", 4)
	byName := map[string]operation{}
	var names []string
	for _, op := range ops {
		if op.name == "reopen" && m.config.Reopen == nil || !races && slices.Contains(racing, op.name) || !m.config.draws(op.name) {
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
			m.faults.pause(true)
			for _, w := range m.tenants {
				m.check(t, w)
			}
			m.faults.pause(false)
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
	return feedOf(ctx, s.Store, after, limit)
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
