package etcdstore

import (
	"context"
	"errors"

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
// anything that is too old for it.

// fewKeys is up to how many keys of a verb are read together with those of others.
const fewKeys = 8

// reader is a call that waits for its keys.
type reader struct {
	keys   []string
	flight *flight       // nil while it gathers
	done   chan struct{} // closed once there is an answer
	answer reading
	err    error
}

// flight is a request for the keys of all its readers.
type flight struct {
	ctx     context.Context
	cancel  context.CancelFunc
	readers []*reader
	awaited int // by how many of them
	keys    []string
	places  map[string]int // where a key stands among the keys
}

// errNotAlone says that the cluster has refused what several asked for: each has to find out whether that was its own fault.
var errNotAlone = errors.New("etcdstore: refused, with others")

// together reads keys of the latest revision, in a request that others may share.
func (b *Backend) together(ctx context.Context, keys []string) (reading, error) {
	r := &reader{keys: keys, done: make(chan struct{})}
	if landed := b.reads.join("", r); landed != nil {
		defer landed()
		return b.ask(ctx, gets(keys))
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		b.leave(r)
		return reading{}, ctx.Err()
	}
	if errors.Is(r.err, errNotAlone) {
		return b.ask(ctx, gets(keys))
	}
	return r.answer, r.err
}

// leave is for a call that waits no longer. A request that nobody waits for is given up.
func (b *Backend) leave(r *reader) {
	if b.reads.withdraw("", r) {
		return
	}
	b.reads.mu.Lock()
	defer b.reads.mu.Unlock()
	if r.flight.awaited--; r.flight.awaited == 0 {
		r.flight.cancel()
	}
}

// boardReads makes a request for as many of those that have gathered as it can hold.
func (b *Backend) boardReads(_ string, waiting []*reader) (taken int, request func(landed func())) {
	f := &flight{places: map[string]int{}}
	f.ctx, f.cancel = context.WithCancel(b.client.Ctx())
	room, bytes := min(maxReads, b.opts.MaxTxnOps), b.opts.MaxRequestBytes
	for _, r := range waiting {
		var more []string
		size := 0
		for _, key := range r.keys {
			if _, there := f.places[key]; !there {
				more, size = append(more, key), size+len(key)+16
			}
		}
		if len(f.readers) > 0 && (len(f.keys)+len(more) > room || size > bytes) {
			break
		}
		bytes -= size
		for _, key := range more {
			f.places[key] = len(f.keys)
			f.keys = append(f.keys, key)
		}
		r.flight = f
		f.readers = append(f.readers, r)
	}
	f.awaited = len(f.readers)
	return f.awaited, func(landed func()) { b.fly(f, landed) }
}

// fly sends a request, and tells each reader what concerns it.
func (b *Backend) fly(f *flight, landed func()) {
	defer f.cancel()
	all, err := b.ask(f.ctx, gets(f.keys))
	landed()
	if isOneOf(err, notApplied) && len(f.readers) > 1 {
		err = errNotAlone
	}
	for _, r := range f.readers {
		r.err, r.answer.rev = err, all.rev
		for _, key := range r.keys {
			if err == nil {
				r.answer.ranges = append(r.answer.ranges, all.ranges[f.places[key]])
			}
		}
		close(r.done)
	}
}
