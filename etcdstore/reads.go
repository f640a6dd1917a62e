package etcdstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// requestContext bounds a single request, so that a member that does not answer holds nobody up for ever.
func (b *Backend) requestContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.opts.RequestTimeout)
}

// maxReads is how many reads one request holds.
const maxReads = 100

// reading is what was read of some keys or ranges, in their order, and the revision that it is of.
type reading struct {
	ranges []*etcdserverpb.RangeResponse
	rev    int64
}

// ask sends a request that reads.
func (b *Backend) ask(ctx context.Context, ops []clientv3.Op) (reading, error) {
	ctx, cancel := b.requestContext(ctx)
	defer cancel()
	if len(ops) == 1 {
		r, err := b.client.Do(ctx, ops[0])
		if err != nil {
			return reading{}, err
		}
		one := (*etcdserverpb.RangeResponse)(r.Get())
		return reading{[]*etcdserverpb.RangeResponse{one}, one.Header.Revision}, nil
	}
	r, err := b.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return reading{}, err
	}
	all := reading{make([]*etcdserverpb.RangeResponse, len(ops)), r.Header.Revision}
	for i, one := range r.Responses {
		all.ranges[i] = one.GetResponseRange()
	}
	return all, nil
}

func gets(keys []string) []clientv3.Op {
	ops := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		ops[i] = clientv3.OpGet(key)
	}
	return ops
}

// Most verbs begin by reading a few keys, linearizably. Those that begin while others are under way gather, and share the next request:
// one question of the cluster for what is latest, and one answer. Each of them was called before the request is sent, so none is told
// anything that is too old for it. A lone one waits for nobody.

const (
	fewKeys    = 8                     // up to how many keys of a verb are read together with those of others
	maxFlights = 2                     // how many requests are under way while others gather
	slowFlight = 50 * time.Millisecond // a request counts no longer than that, so that a member that does not answer holds up nobody else
)

// gathering is where calls wait for the next request.
type gathering struct {
	mu      sync.Mutex
	flights int // requests under way that count
	waiting []*passenger
}

// passenger is a call that waits for its keys.
type passenger struct {
	keys   []string
	flight *flight       // nil while it gathers
	done   chan struct{} // closed once there is an answer
	answer reading
	err    error
}

// flight is a request for the keys of all its passengers.
type flight struct {
	ctx        context.Context
	cancel     context.CancelFunc
	passengers []*passenger
	awaited    int // by how many of them
	keys       []string
	places     map[string]int // where a key stands among the keys
}

// errNotAlone says that the cluster has refused what several asked for: each has to find out whether that was its own fault.
var errNotAlone = errors.New("etcdstore: refused, with others")

// together reads keys of the latest revision, in a request that others may share.
func (b *Backend) together(ctx context.Context, keys []string) (reading, error) {
	g := &b.reads
	p := &passenger{keys: keys}
	g.mu.Lock()
	alone := g.flights < maxFlights // nobody gathers then
	if alone {
		g.flights++
	} else {
		p.done = make(chan struct{})
		g.waiting = append(g.waiting, p)
	}
	g.mu.Unlock()
	if alone {
		defer b.underWay()()
		return b.ask(ctx, gets(keys))
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		g.leave(p)
		return reading{}, ctx.Err()
	}
	if errors.Is(p.err, errNotAlone) {
		return b.ask(ctx, gets(keys))
	}
	return p.answer, p.err
}

// leave is for a call that waits no longer. A request that nobody waits for is given up.
func (g *gathering) leave(p *passenger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.flight == nil {
		g.waiting = slices.DeleteFunc(g.waiting, func(one *passenger) bool { return one == p })
		return
	}
	if p.flight.awaited--; p.flight.awaited == 0 {
		p.flight.cancel()
	}
}

// underWay is for a request that is being sent. It returns what is to be called at its end. Then those that have gathered are next; they
// do not wait for a request that is slow.
func (b *Backend) underWay() (landed func()) {
	next := sync.OnceFunc(b.next)
	slow := time.AfterFunc(slowFlight, next)
	return func() {
		slow.Stop()
		next()
	}
}

// next sends a request for those that have gathered, if there are any.
func (b *Backend) next() {
	b.reads.mu.Lock()
	defer b.reads.mu.Unlock()
	if len(b.reads.waiting) == 0 {
		b.reads.flights--
		return
	}
	f := b.board()
	b.verbs.Go(func() { b.fly(f) }) // a passenger is in a verb, or is the request that has just ended
}

// board makes a request for as many of those that have gathered as it can hold. The caller has the lock.
func (b *Backend) board() *flight {
	g := &b.reads
	f := &flight{places: map[string]int{}}
	f.ctx, f.cancel = context.WithCancel(b.client.Ctx())
	room, bytes := min(maxReads, b.opts.MaxTxnOps), b.opts.MaxRequestBytes
	for _, p := range g.waiting {
		var more []string
		size := 0
		for _, key := range p.keys {
			if _, there := f.places[key]; !there {
				more, size = append(more, key), size+len(key)+16
			}
		}
		if len(f.passengers) > 0 && (len(f.keys)+len(more) > room || size > bytes) {
			break
		}
		bytes -= size
		for _, key := range more {
			f.places[key] = len(f.keys)
			f.keys = append(f.keys, key)
		}
		p.flight = f
		f.passengers = append(f.passengers, p)
	}
	f.awaited = len(f.passengers)
	g.waiting = slices.Delete(g.waiting, 0, f.awaited)
	return f
}

// fly sends a request, and tells each passenger what concerns it.
func (b *Backend) fly(f *flight) {
	defer f.cancel()
	landed := b.underWay()
	all, err := b.ask(f.ctx, gets(f.keys))
	landed()
	if isOneOf(err, notApplied) && len(f.passengers) > 1 {
		err = errNotAlone
	}
	for _, p := range f.passengers {
		p.err, p.answer.rev = err, all.rev
		for _, key := range p.keys {
			if err == nil {
				p.answer.ranges = append(p.answer.ranges, all.ranges[f.places[key]])
			}
		}
		close(p.done)
	}
}
