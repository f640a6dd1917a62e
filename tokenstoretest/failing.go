package tokenstoretest

import (
	"context"
	"errors"
	"sync"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// breakdown is how a call fails.
type breakdown string

const (
	undone        breakdown = "not committed"
	unknownUndone breakdown = "outcome unknown, nothing done"
	unknownDone   breakdown = "outcome unknown, all done"
)

var breakdowns = []breakdown{undone, unknownUndone, unknownDone}

// failure says which calls of the store fail, and how.
type failure struct {
	mu        sync.Mutex
	at        int // the number of the first call to fail, from 1; 0 for none
	times     int // how many fail in a row
	breakdown breakdown
	count     int
	fired     int // how many have failed
	paused    bool
}

// call makes a call, or has it fail.
func (f *failure) call(do func() error) error {
	switch f.next() {
	case undone:
		return store.ErrNotCommitted
	case unknownUndone:
		return store.ErrUnknownOutcome
	case unknownDone:
		if err := do(); err != nil {
			return err
		}
		return store.ErrUnknownOutcome
	}
	return do()
}

// next says how the next call fails; empty for not at all.
func (f *failure) next() breakdown {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused {
		return ""
	}
	f.count++
	if f.at == 0 || f.count < f.at || f.count >= f.at+f.times {
		return ""
	}
	f.fired++
	return f.breakdown
}

// arm has so many calls fail, after some more that don't.
func (f *failure) arm(after, times int, w breakdown) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.times, f.breakdown = f.count+1+after, times, w
}

// armed reports whether a call may still fail.
func (f *failure) armed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at > 0 && f.count < f.at+f.times
}

// disarm has no call fail any more.
func (f *failure) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = 0
}

// atMost has no more than so many calls fail in a row.
func (f *failure) atMost(times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.times = min(f.times, times)
}

// pause has no call fail for a while, and doesn't count them.
func (f *failure) pause(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = on
}

// failed is how many calls have failed so far.
func (f *failure) failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// failing is a backend some calls of which fail.
type failing struct {
	store.Backend
	faults *failure
}

func (b failing) Tenant(name string) (store.Store, error) {
	st, err := b.Backend.Tenant(name)
	return failingStore{st, b.faults}, err
}

func (b failing) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return through(b.faults, func() ([]string, error) { return b.Backend.Pending(ctx, after, limit) })
}

func (b failing) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return through(b.faults, func() ([]string, error) { return b.Backend.Tenants(ctx, after, limit) })
}

type failingStore struct {
	store.Store
	faults *failure
}

// through makes a call that returns a value, which is lost if it fails.
func through[T any](f *failure, call func() (T, error)) (value T, err error) {
	var made T
	err = f.call(func() (err error) { made, err = call(); return err })
	if err == nil {
		value = made
	}
	return value, err
}

func (s failingStore) Feed(ctx context.Context, after uint64, limit int) (store.FeedPage, error) {
	return feedOf(ctx, s.Store, after, limit)
}

func (s failingStore) Insert(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	return through(s.faults, func() ([]store.Inserted, error) { return s.Store.Insert(ctx, rows) })
}

func (s failingStore) Find(ctx context.Context, foreign tokenstore.Digest) (ulid.ULID, error) {
	return through(s.faults, func() (ulid.ULID, error) { return s.Store.Find(ctx, foreign) })
}

// Update may lose the outcome of a commit that comes with a refusal too.
func (s failingStore) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	var verdict error
	err := s.faults.call(func() error {
		err := s.Store.Update(ctx, id, func(v store.View) store.Decision {
			d := decide(v)
			if verdict = nil; d.Writes() {
				verdict = d.Err
			}
			return d
		})
		if verdict != nil && errors.Is(err, verdict) {
			return nil
		}
		verdict = nil
		return err
	})
	if err == nil {
		return verdict
	}
	return err
}

func (s failingStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	return through(s.faults, func() (store.Status, error) { return s.Store.Revoke(ctx, r) })
}

func (s failingStore) Apply(ctx context.Context, ids []ulid.ULID, b store.Bounds) ([]store.Status, error) {
	return through(s.faults, func() ([]store.Status, error) { return s.Store.Apply(ctx, ids, b) })
}

func (s failingStore) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	return through(s.faults, func() (store.RevocationPage, error) { return s.Store.Revocations(ctx, q) })
}

func (s failingStore) Expire(ctx context.Context, b store.Bounds) (store.Expired, error) {
	return through(s.faults, func() (store.Expired, error) { return s.Store.Expire(ctx, b) })
}

func (s failingStore) Trim(ctx context.Context, trim store.Trim) (store.Trimmed, error) {
	return through(s.faults, func() (store.Trimmed, error) { return s.Store.Trim(ctx, trim) })
}
