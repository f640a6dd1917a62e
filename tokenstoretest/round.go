package tokenstoretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// round is a backend and its callers, in real time.
type round struct {
	random    *rand.Rand
	watch     stopwatch
	options   tokenstore.Options
	faulty    bool // calls fail, and are repeated
	pace      *pace
	backend   store.Backend
	managers  []*tokenstore.Manager
	histories []*chronicle

	mu  sync.Mutex
	err error // the first error that nothing explains
}

// play has callers make their calls while the engine and another sweeper are at work, then has the sweep come to its end, and asks
// once more for everything.
func play(t testing.TB, c Config, random *rand.Rand) ([]*chronicle, error) {
	r := newRound(random)
	r.backend = c.New(t)
	defer func() { _ = r.backend.Close() }()
	stop, err := r.begin(t.Context())
	if err != nil {
		return nil, err
	}
	var callers sync.WaitGroup
	for tenant := range r.histories {
		for range callersOfTenant {
			p := r.caller(tenant)
			callers.Go(func() { p.run(t.Context()) })
		}
	}
	callers.Wait()
	if c.Reopen != nil && random.IntN(2) == 0 {
		stop()
		r.backend = c.Reopen(t, r.backend)
		if stop, err = r.begin(t.Context()); err != nil {
			return nil, err
		}
	}
	close(r.pace.calm)
	r.rest(t.Context())
	stop()
	for tenant := range r.histories {
		r.caller(tenant).askAll(t.Context())
	}
	for _, h := range r.histories {
		h.prepare()
	}
	return r.histories, r.err
}

func newRound(random *rand.Rand) *round {
	r := &round{random: random, watch: stopwatch{began: time.Now()}, faulty: random.IntN(2) == 0}
	r.pace = newPace(random.Uint64(), r.faulty)
	rules := rules{
		leeway: random.IntN(3) > 0,
		trims:  random.IntN(2) == 0,
		reach:  choose(random, tokenstore.ReplayToken, tokenstore.ReplayToken, tokenstore.ReplaySession, tokenstore.ReplayUser),
	}
	for _, name := range tenantNames {
		r.histories = append(r.histories, &chronicle{tenant: name, rules: rules, labels: map[string]int{}})
	}
	r.options = tokenstore.Options{
		Tenant: tenantNames[0], Now: r.watch.now, Replay: rules.reach, Leeway: -1,
		Legacy: tokenstore.LegacyRule{AllowNoSession: true},
		Engine: revocation.Options{
			MaxSlice: 1 + random.IntN(3), PollEvery: 5 * time.Millisecond, RetryFrom: time.Millisecond, RetryTo: 5 * time.Millisecond,
		},
	}
	if rules.leeway {
		r.options.Leeway = 24 * time.Hour
	}
	return r
}

// choose returns one of several.
func choose[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// begin makes the managers, and has the engine and another sweeper run until stop is called.
func (r *round) begin(ctx context.Context) (stop func(), err error) {
	root, err := tokenstore.New(disturbed{r.backend, r.pace}, &r.options)
	if err != nil {
		return nil, err
	}
	r.managers = nil
	var stores []store.Store
	for _, h := range r.histories {
		m, err := root.Tenant(h.tenant, nil)
		if err != nil {
			return nil, err
		}
		st, err := r.backend.Tenant(h.tenant)
		if err != nil {
			return nil, err
		}
		r.managers, stores = append(r.managers, m), append(stores, st)
	}
	ctx, cancel := context.WithCancel(ctx)
	var sweepers sync.WaitGroup
	sweepers.Go(func() {
		if err := root.Run(ctx); err != nil {
			r.fault(fmt.Errorf("Run: %w", err))
		}
	})
	for n, st := range stores {
		random := rand.New(rand.NewPCG(r.random.Uint64(), 0))
		sweepers.Go(func() { r.sweep(ctx, st, r.histories[n].rules, random) })
	}
	return func() { cancel(); sweepers.Wait() }, nil
}

// fault notes an error that nothing explains.
func (r *round) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
}

// sweep removes tokens one by one, and forgets what may be forgotten, beside the engine. The ids of revocations are forgotten only
// where none is used again.
func (r *round) sweep(ctx context.Context, st store.Store, rules rules, random *rand.Rand) {
	for r.pace.wait(ctx, 1+random.IntN(8)) {
		page, err := st.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage})
		if n := len(page.Revocations); err == nil && n > 0 {
			id := page.Revocations[random.IntN(n)].Tombstone.ID
			_, err = st.Apply(ctx, []ulid.ULID{id}, store.Bounds{Visit: 1 + random.IntN(3), Remove: 1, Now: r.watch.now()})
		}
		if err == nil && rules.trims {
			trim := store.Trim{Guards: r.watch.now(), Limit: 10}
			if !r.faulty {
				trim.History = trim.Guards
			}
			_, err = st.Trim(ctx, trim)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotCommitted) && !errors.Is(err, store.ErrUnknownOutcome) {
			r.fault(fmt.Errorf("sweep: %w", err))
			return
		}
		if r.pace.isCalm() {
			return
		}
	}
}

// rest waits until nothing is pending.
func (r *round) rest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	for n, m := range r.managers {
		for {
			page, err := m.Revocations(ctx, tokenstore.RevocationsRequest{Limit: store.MaxPage})
			if err == nil && len(page.Revocations) == 0 {
				break
			}
			for _, status := range page.Revocations {
				_, waited := m.Wait(ctx, tokenstore.Receipt{Tenant: r.histories[n].tenant, Status: status})
				err = errors.Join(err, waited)
			}
			if err != nil {
				r.fault(fmt.Errorf("L1 converge: what is pending must retire: %w", err))
				return
			}
		}
	}
}
