package pgstore

import (
	"context"
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"
)

const (
	maxFlights = 2  // how many groups of one kind of call and one tenant are under way at once
	maxGroup   = 64 // how many calls share a transaction
)

// group is where short calls of one tenant gather while others are under way, to share the next transaction: its lock, its round trip,
// and the wait for the disk. A lone call waits for nobody.
type group struct {
	crowd
	flights int
	queue   []*call
}

// call is a short statement that somebody waits for.
type call struct {
	id   ulid.ULID // the token that it is about
	step step
	turn chan []*call // takes the calls that it is to lead, itself the first, or none when it is done
	err  error
}

// take takes the calls of the next transaction out of the queue.
func (g *group) take() []*call {
	n := min(len(g.queue), maxGroup)
	calls := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	return calls
}

// errNotAlone says that a transaction which several calls shared was not committed: each has to find out by itself whether it was to
// blame.
var errNotAlone = errors.New("pgstore: not committed, with others")

// crowd is what calls gather for: statements of one tenant that write, or that read only.
type crowd struct {
	tenant identity
	reads  bool
}

// shortly runs a statement under the shared lock, and commits. What takes its rows can't have it fail, and may be called for a
// transaction that is not committed.
func (s *tenant) shortly(ctx context.Context, id ulid.ULID, st step) error {
	return s.join(ctx, crowd{s.id, false}, id, st)
}

// look runs a statement that only reads, under no lock.
func (s *tenant) look(ctx context.Context, id ulid.ULID, st step) error {
	return s.join(ctx, crowd{s.id, true}, id, st)
}

func (s *tenant) join(ctx context.Context, of crowd, id ulid.ULID, st step) error {
	b := s.backend
	c := &call{id: id, step: st, turn: make(chan []*call, 1)}
	b.mu.Lock()
	g := b.groups[of]
	if g == nil {
		g = &group{crowd: of}
		b.groups[of] = g
	}
	g.queue = append(g.queue, c)
	var calls []*call
	if g.flights < maxFlights { // so nobody else is in the queue
		g.flights++
		calls = g.take()
	}
	b.mu.Unlock()
	if calls == nil {
		select {
		case calls = <-c.turn:
		case <-ctx.Done():
			if s.withdraw(g, c) {
				return &failure{cause: ctx.Err()}
			}
			calls = <-c.turn // too late: it is under way, or has to be
		}
	}
	if len(calls) > 0 {
		s.lead(ctx, g, calls)
	}
	return c.err
}

// withdraw takes a call out of the queue, if it is still there.
func (s *tenant) withdraw(g *group, c *call) bool {
	s.backend.mu.Lock()
	defer s.backend.mu.Unlock()
	i := slices.Index(g.queue, c)
	if i < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// lead runs calls, of which the first is the caller's own, and hands the lead over to those that have come since.
func (s *tenant) lead(ctx context.Context, g *group, calls []*call) {
	mine := calls[0]
	err := errNotAlone
	defer func() {
		for _, c := range calls {
			if c.err = err; c != mine {
				c.turn <- nil
			}
		}
		s.backend.mu.Lock()
		defer s.backend.mu.Unlock()
		if next := g.take(); len(next) > 0 {
			next[0].turn <- next
			return
		}
		if g.flights--; g.flights == 0 {
			delete(s.backend.groups, g.crowd)
		}
	}()
	err = s.fly(ctx, g.crowd, calls)
}

// fly runs calls in one transaction of one round trip. Their callers' contexts have had their say.
func (s *tenant) fly(ctx context.Context, of crowd, calls []*call) error {
	if len(calls) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.backend.opts.CommitTimeout)
		defer cancel()
	}
	calls = slices.SortedFunc(slices.Values(calls), func(a, b *call) int { return a.id.Compare(b.id) }) // so that all lock records in one order
	hold := lockShared
	if of.reads {
		hold = lockNone
	}
	err := s.attempt(ctx, hold, func(t *tx) error {
		t.short = true
		for _, c := range calls {
			t.do(c.step)
		}
		if of.reads {
			return t.finish(ctx)
		}
		return t.commit(ctx)
	})
	if f, failed := errors.AsType[*failure](err); failed && !f.unknown && len(calls) > 1 {
		return errNotAlone
	}
	return err
}
