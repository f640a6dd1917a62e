package boltstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"

	"example.com/tokenstore/store"
	berrors "go.etcd.io/bbolt/errors"
)

// maxGroup bounds how many calls share a commit, and with it how long the first of them waits for the others.
const maxGroup = 256

// group lets concurrent writers share commits. There is no timer: whoever comes while nobody commits does so at once; who comes
// during a commit waits and is in the next one. That is made by a goroutine of its own, so that no group waits for the caller of
// another to run.
type group struct {
	mu      sync.Mutex
	queue   []*call
	leading bool
}

// call is one writer's part of a commit.
type call struct {
	run  func(*txn) error
	err  error
	done chan struct{} // told when it has been dealt with
}

// fault ends a transaction in the middle of a call: what bbolt or the file did, not what the caller asked for. Whatever
// the call has written so far must not be committed.
type fault struct{ err error }

// update runs a call within a commit that it may share with others. run may run several times, each time on a fresh view
// of the data; it must refuse before it writes, so that its refusal costs its neighbours nothing.
func (b *Backend) update(ctx context.Context, run func(*txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{run: run, done: make(chan struct{}, 1)}
	g := &b.group
	g.mu.Lock()
	g.queue = append(g.queue, c)
	lead := !g.leading
	g.leading = true
	g.mu.Unlock()
	if lead {
		b.lead()
		return c.err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if g.withdraw(c) {
			return ctx.Err()
		}
		<-c.done // too late: it is in the commit under way
	}
	return c.err
}

// withdraw takes a call out of the queue, if it is still there.
func (g *group) withdraw(c *call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, c)
	if i < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// waits reports whether anybody waits for a commit. Where nobody does, whoever comes next leads.
func (g *group) waits() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leading = len(g.queue) > 0
	return g.leading
}

// lead commits the calls that are queued, and has those that come meanwhile committed.
func (b *Backend) lead() {
	defer func() { // whatever ended the commit
		if b.group.waits() {
			go b.lead()
			runtime.Gosched() // so that it does not wait for what this caller does now
		}
	}()
	b.serve()
}

// serve commits the calls that are queued.
func (b *Backend) serve() {
	g := &b.group
	g.mu.Lock()
	n := min(len(g.queue), maxGroup)
	calls := g.queue[:n:n]
	g.queue = g.queue[n:]
	g.mu.Unlock()

	finished := false
	defer func() {
		for _, c := range calls {
			if !finished { // never to be reported as success, whatever ended the commit
				c.err = fmt.Errorf("%w: the commit was broken off", store.ErrUnknownOutcome)
			}
			c.done <- struct{}{}
		}
	}()
	b.commit(calls)
	finished = true
}

// commit runs the calls in one transaction. A call that meets a fault is left out, and the others run again.
func (b *Backend) commit(calls []*call) {
	if err := b.ascertain(); err != nil {
		for _, c := range calls {
			c.err = err
		}
		return
	}
	for {
		bad, err := b.attempt(calls)
		switch {
		case bad >= 0:
			calls[bad].err = err
			calls = append(append([]*call{}, calls[:bad]...), calls[bad+1:]...)
			continue
		case err != nil:
			for _, c := range calls {
				c.err = err // a refusal too: it may stem from what a neighbour wrote, which never came to be
			}
		}
		return
	}
}

// attempt returns the index of a call that met a fault, or -1. What fails for want of room, or because of damage where rewritten records are
// noted, come into their places, or have their notes deleted, is tried again with none of it.
func (b *Backend) attempt(calls []*call) (bad int, err error) {
	b.attempts.Lock() // a group's, or that of Close
	defer b.attempts.Unlock()
	w := &b.rewrites
	t := b.change()
	if w.blocked || w.resting > 0 {
		t.noting = noNotes
	}
	w.resting = max(0, w.resting-1)
	bad, err = b.try(t, calls)
	x, damage, full := &t.rewriting, isDamage(err), errors.Is(err, ErrFull)
	mayHelp := x.placing || bad < 0 && (len(x.noted) > 0 || damage && x.forgets)
	if !mayHelp || !(damage || full) || errors.Is(err, store.ErrUnknownOutcome) {
		return bad, err
	}
	w.blocked = damage
	if full {
		w.owed, w.resting = min(w.owed, placedMin), restFor
	}
	t = b.change()
	t.noting = noNotes
	bad, err = b.try(t, calls)
	if err != nil && !errors.Is(err, store.ErrUnknownOutcome) { // so it was not that, or not that alone, and nothing was written
		w.blocked = false
	}
	return bad, err
}

// change is a transaction for writing, before it has begun.
func (b *Backend) change() *txn {
	return &txn{fence: &b.fence, tenants: map[string]*records{}, freshMax: b.freshMax, rewrites: &b.rewrites}
}

// try makes one transaction of the calls, for attempt.
func (b *Backend) try(t *txn, calls []*call) (bad int, err error) {
	tx, err := b.beginWriting()
	if err != nil {
		return -1, notCommitted(err)
	}
	defer b.endWriting(tx)
	committed := false
	t.tx, t.generations, t.rewriting = tx, b.rewrites.generations, b.rewrites.rewriting()
	if t.noting == notesAndPlaces && !t.hasRoomForNotes() {
		t.noting = placesOnly
	}
	defer func() {
		if !committed {
			b.fence.unname(t.up, false)
		}
	}()
	for i, c := range calls {
		if err := protect(func() error { c.err = c.run(t); return nil }); err != nil {
			return i, notCommitted(err)
		}
	}
	if !t.dirty && !b.certainty.doubt.Load() {
		return -1, nil
	}
	if err := protect(func() error { t.settleRewrites(); t.finish(); return nil }); err != nil {
		return -1, notCommitted(err)
	}
	id := tx.ID()
	committed = true
	named := b.rewrites.name(&t.rewriting)
	defer b.certainty.begin()()
	if err := protect(tx.Commit); err != nil {
		b.giveUp(tx)
		defer func() {
			if !b.certainty.doubt.Load() {
				b.rewrites.unname(named)
				b.fence.unname(t.up, false)
			}
		}()
		return -1, b.outcome(id, err) // whatever it was, the fence may name too much
	}
	b.certainty.latest.Store(int64(id))
	b.certainty.doubt.Store(false)
	b.fence.unname(t.down, true)
	b.rewrites.tell(&t.rewriting)
	b.commits.Add(1)
	b.calls.Add(uint64(len(calls)))
	if t.merged {
		b.merges.Add(1)
	}
	return -1, nil
}

// outcome says whether a commit that failed can have been made: it can if its meta page is in place, though perhaps not
// on the disk.
func (b *Backend) outcome(id int, cause error) error {
	tx, err := b.begin(false)
	if err != nil {
		b.certainty.doubt.Store(true)
		return fmt.Errorf("%w: %w: %w", store.ErrUnknownOutcome, err, cause)
	}
	defer func() { _ = tx.Rollback() }()
	if tx.ID() >= id {
		b.certainty.doubt.Store(true)
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, cause)
	}
	return notCommitted(cause)
}

// notCommitted gives a failure that wrote nothing its typed error.
func notCommitted(err error) error {
	switch {
	case errors.Is(err, store.ErrClosed):
		return err
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrFormat):
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached), noRoom(err):
		return fmt.Errorf("%w: %w: %w", store.ErrNotCommitted, ErrFull, err)
	}
	return fmt.Errorf("%w: %w", store.ErrNotCommitted, err)
}

// noRoom reports whether the disk, a quota or a limit is full. bbolt wraps some causes by their text alone.
func noRoom(err error) bool {
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, cause) || strings.HasSuffix(err.Error(), ": "+cause.Error()) {
			return true
		}
	}
	return false
}

// protect runs f and turns a fault, or what bbolt panics with on a damaged page, into an error.
func protect(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case fault:
			err = p.err
		default:
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}

// view runs f on a consistent snapshot, and returns when that is certain.
func (b *Backend) view(ctx context.Context, f func(*txn) error) error {
	id, err := b.peek(ctx, f)
	return b.certain(ctx, id, err)
}

// peek runs f on a consistent snapshot, and returns as of which commit; see certain.
func (b *Backend) peek(ctx context.Context, f func(*txn) error) (id int, err error) {
	return b.consult(ctx, f, func() {})
}

// consult is a peek which, if f succeeds, is followed by a caller's own code: Close waits for it too, and its panics stay what they are.
func (b *Backend) consult(ctx context.Context, f func(*txn) error, then func()) (id int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t, err := b.snapshot()
	if err != nil {
		return 0, err
	}
	defer func() { _ = t.tx.Rollback() }()
	if err = protect(func() error { return f(t) }); err == nil {
		then()
	}
	return t.tx.ID(), err
}

// snapshot begins a transaction for reading.
func (b *Backend) snapshot() (*txn, error) {
	for {
		t := b.reading()
		if shows, err := b.beginReading(t); shows || err != nil {
			return t, err
		}
	}
}

// reading is a transaction for reading, before it has begun: what goes from the fence in memory, and which generations go, after that was asked may be
// in the snapshot.
func (b *Backend) reading() *txn {
	return &txn{fence: &b.fence, begun: b.fence.now(), rewrites: &b.rewrites, generations: b.rewrites.now()}
}

// beginReading begins a transaction, unless the snapshot may have notes of a generation that has begun since the others were asked for.
func (b *Backend) beginReading(t *txn) (shows bool, err error) {
	if t.tx, err = b.begin(false); err != nil {
		return false, err
	}
	if shows = b.rewrites.latestIs(t.generations); !shows {
		err = t.tx.Rollback()
	}
	return shows, err
}
