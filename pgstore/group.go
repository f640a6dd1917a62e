package pgstore

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

const (
	maxFlights = 2                     // how many groups of one kind of call and one tenant are under way at once
	maxGroup   = 64                    // how many calls share a transaction
	slowFlight = 50 * time.Millisecond // those that gather wait no longer while fewer are under way, lest one connection that hangs hold them up
)

// group is where short calls of one tenant gather while others are under way, to share the next transaction: its lock, its round trip, its
// statements, and the wait for the disk. A lone call waits for nobody. While one transaction is under way, another begins once as many
// calls wait as share the first, so that neither is small while there are many; reads, which don't wait for the disk, begin it at once.
type group struct {
	crowd
	flights int // transactions under way
	aloft   int // calls in them
	queue   []*call
}

// call is a short statement that somebody waits for.
type call struct {
	id   ulid.ULID // the token that it is about
	verb *verb
	args []any                // but for the tenant
	row  func(pgx.Rows) error // takes the row that comes back, if one does
	turn chan []*call         // takes the calls that it is to lead, itself the first, or none when it is done
	err  error
}

// next takes the calls of the next transaction out of the queue, if it may begin: the first of them is to lead. Those that have waited
// for long don't ask how many they are.
func (g *group) next(long bool) []*call {
	if g.flights == maxFlights || len(g.queue) == 0 || len(g.queue) < g.aloft && !long && !g.reads {
		return nil
	}
	n := min(len(g.queue), maxGroup)
	calls := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	g.flights++
	g.aloft += n
	return calls
}

// land ends a transaction of so many calls.
func (g *group) land(calls int) {
	g.flights--
	g.aloft -= calls
	g.begin(false)
}

// begin has the next transaction begin, if it may.
func (g *group) begin(long bool) {
	if calls := g.next(long); calls != nil {
		calls[0].turn <- calls
	}
}

// errNotAlone says that a transaction which several calls shared was not committed: each has to find out by itself whether it was to
// blame.
var errNotAlone = errors.New("pgstore: not committed, with others")

// crowd is what calls gather for: statements of one tenant that write, or that read only.
type crowd struct {
	tenant identity
	reads  bool
}

// shortly runs a statement under the shared lock, and commits. What takes its row can't have it fail, and may be called for a
// transaction that is not committed.
func (s *tenant) shortly(ctx context.Context, c *call) error {
	return s.join(ctx, crowd{s.id, false}, c)
}

// look runs a statement that only reads, under no lock.
func (s *tenant) look(ctx context.Context, c *call) error {
	return s.join(ctx, crowd{s.id, true}, c)
}

func (s *tenant) join(ctx context.Context, of crowd, c *call) error {
	b := s.backend
	c.turn = make(chan []*call, 1)
	b.mu.Lock()
	g := b.groups[of]
	if g == nil {
		g = &group{crowd: of}
		b.groups[of] = g
	}
	g.queue = append(g.queue, c)
	g.begin(false)
	b.mu.Unlock()
	calls, err := s.await(ctx, g, c)
	if err != nil {
		return err
	}
	if len(calls) > 0 {
		s.lead(ctx, g, calls)
	}
	return c.err
}

// await waits until a call is done, or has to lead.
func (s *tenant) await(ctx context.Context, g *group, c *call) (lead []*call, err error) {
	select {
	case lead = <-c.turn: // at once
		return lead, nil
	default:
	}
	slow := time.NewTicker(slowFlight)
	defer slow.Stop()
	for {
		select {
		case lead = <-c.turn:
			return lead, nil
		case <-slow.C:
			s.backend.mu.Lock()
			g.begin(true)
			s.backend.mu.Unlock()
		case <-ctx.Done():
			if s.withdraw(g, c) {
				return nil, &failure{cause: ctx.Err()}
			}
			return <-c.turn, nil // too late: it is under way, or has to be
		}
	}
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
		if len(calls) > 1 { // those who call again at once are to be in the next transaction; for a lone one it would only wake a thread
			runtime.Gosched()
		}
		s.backend.mu.Lock()
		defer s.backend.mu.Unlock()
		if g.land(len(calls)); g.flights == 0 {
			delete(s.backend.groups, g.crowd)
		}
	}()
	err = s.fly(ctx, g.crowd, calls)
}

// fly runs calls in one transaction of one round trip, which no connection that hangs makes longer than a commit may take. The contexts of
// several callers have had their say.
func (s *tenant) fly(ctx context.Context, of crowd, calls []*call) error {
	if len(calls) > 1 {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.backend.opts.CommitTimeout)
	defer cancel()
	hold := lockShared
	if of.reads {
		hold = lockNone
	}
	err := s.attempt(ctx, hold, func(t *tx) error {
		t.short, t.merged = true, len(calls) > 1
		t.do(merged(of.tenant, calls)...)
		if of.reads {
			return t.finish(ctx)
		}
		return t.commit(ctx)
	})
	if f, failed := errors.AsType[*failure](err); failed && !f.unknown && len(calls) > 1 && !f.waited() {
		return errNotAlone
	}
	return err
}
