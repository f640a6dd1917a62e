package tokenstoretest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// disturbed is a backend in real time. Calls give way to others before and after they reach the store, what is planned to fail
// fails, and a slice of the sweep begins only after some more calls have been made, so that revocations stay half swept for long.
type disturbed struct {
	store.Backend
	pace *pace
}

func (b disturbed) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return disturbedStore{st, b.pace}, err
}

// pace says how far the sweep may get.
type pace struct {
	mu     sync.Mutex
	random *rand.Rand
	faults bool
	ticks  chan struct{} // one for each call that was made
	calm   chan struct{} // closed when no more calls will be made
}

func newPace(seed uint64, faults bool) *pace {
	return &pace{random: rand.New(rand.NewPCG(seed, 0)), faults: faults, ticks: make(chan struct{}, 16), calm: make(chan struct{})}
}

func (p *pace) draw(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n)
}

// tick notes that a call was made.
func (p *pace) tick() {
	select {
	case p.ticks <- struct{}{}:
	default:
	}
}

func (p *pace) isCalm() bool {
	select {
	case <-p.calm:
		return true
	default:
		return false
	}
}

// wait returns when so many calls have been made, or no more will be; false says that ctx has ended.
func (p *pace) wait(ctx context.Context, calls int) bool {
	for range calls {
		select {
		case <-ctx.Done():
			return false
		case <-p.calm:
			return ctx.Err() == nil
		case <-p.ticks:
		}
	}
	return ctx.Err() == nil
}

// mishap is what happens to a write.
type mishap uint8

const (
	notCommitted  mishap = iota // it fails, and writes nothing
	lostBefore                  // it writes nothing, and nobody knows
	lostAfter                   // it writes, and nobody knows
	cancelBefore                // its context ends before it
	cancelDuring                // its context ends while it is under way
	cancelAfter                 // its context ends before the answer is told
	numberMishaps = iota
)

// plan is what is to happen to the writes of one call of a manager, one after the other.
type plan struct {
	mishaps   []mishap
	cancel    context.CancelFunc
	uncertain bool // the outcome of a write was not told
}

type planKey struct{}

func (p *plan) context(ctx context.Context) context.Context {
	ctx, p.cancel = context.WithCancel(ctx)
	return context.WithValue(ctx, planKey{}, p)
}

// write makes a write, as it is planned, and notes if its outcome was not told.
func write(ctx context.Context, call func() error) error {
	p, _ := ctx.Value(planKey{}).(*plan)
	if p == nil {
		return call()
	}
	err := p.write(ctx, call)
	p.uncertain = p.uncertain || errors.Is(err, store.ErrUnknownOutcome)
	return err
}

func (p *plan) write(ctx context.Context, call func() error) error {
	if len(p.mishaps) == 0 {
		return call()
	}
	next := p.mishaps[0]
	p.mishaps = p.mishaps[1:]
	switch next {
	case notCommitted:
		return store.ErrNotCommitted
	case lostBefore:
		return store.ErrUnknownOutcome
	case lostAfter:
		err := call()
		if err == nil || errors.Is(err, tokenstore.ErrReused) { // the latter revokes
			return store.ErrUnknownOutcome
		}
		return err
	case cancelBefore:
		p.cancel()
		return call()
	case cancelDuring:
		var during sync.WaitGroup
		during.Go(p.cancel)
		defer during.Wait()
		return call()
	default:
		if err := call(); err != nil {
			return err
		}
		p.cancel()
		return ctx.Err()
	}
}

type disturbedStore struct {
	store.Store
	pace *pace
}

func (s disturbedStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return feedOf(ctx, s.Store, after, limit)
}

// yielding makes a call that lets others get ahead of it, and of its answer.
func yielding[T any](call func() (T, error)) (T, error) {
	runtime.Gosched()
	defer runtime.Gosched()
	return call()
}

func (s disturbedStore) Insert(ctx context.Context, rows []store.Insertion) (inserted []store.Inserted, err error) {
	return yielding(func() ([]store.Inserted, error) {
		err := write(ctx, func() (err error) { inserted, err = s.Store.Insert(ctx, rows); return err })
		return inserted, err
	})
}

func (s disturbedStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	_, err := yielding(func() (struct{}, error) {
		return struct{}{}, write(ctx, func() error { return s.Store.Update(ctx, id, decide) })
	})
	return err
}

func (s disturbedStore) Revoke(ctx context.Context, r store.Revocation) (status store.Status, err error) {
	return yielding(func() (store.Status, error) {
		err := write(ctx, func() (err error) { status, err = s.Store.Revoke(ctx, r); return err })
		return status, err
	})
}

func (s disturbedStore) Get(ctx context.Context, id ulid.ULID) (store.View, error) {
	return yielding(func() (store.View, error) { return s.Store.Get(ctx, id) })
}

func (s disturbedStore) List(ctx context.Context, q store.Query) (store.Page, error) {
	return yielding(func() (store.Page, error) { return s.Store.List(ctx, q) })
}

// Apply waits for its turn. One in eight fails, half of them after they have done their work.
func (s disturbedStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	if !s.pace.wait(ctx, s.pace.draw(6)) {
		return nil, ctx.Err()
	}
	luck := s.pace.draw(16)
	if s.pace.faults && luck == 0 {
		return nil, store.ErrNotCommitted
	}
	statuses, err := s.Store.Apply(ctx, ids, bounds)
	if s.pace.faults && luck == 1 && err == nil {
		return nil, store.ErrUnknownOutcome
	}
	return statuses, err
}
