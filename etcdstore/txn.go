package etcdstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// txn is one run of a verb. It reads a snapshot: the first read is linearizable and fixes the revision, and all others are of
// that revision. It keeps what it writes to itself, and commits it in one transaction of the cluster, which compares what the
// verb relies on with what is there by then. Where that has changed nothing is written, and the verb runs again.
type txn struct {
	backend *Backend
	ctx     context.Context
	name    string // the tenant
	root    string // what its keys begin with

	unformatted bool // the format is yet to be written

	rev     int64              // the snapshot; 0 before the first read
	blind   bool               // it must not read
	seen    map[string]item    // keys as they are in the snapshot
	ranges  map[span]*fetched  // and ranges
	same    map[string]int64   // keys that must not have changed, and their revisions
	still   map[span]bool      // ranges in which nothing may have been put
	others  []clientv3.Cmp     // further conditions
	writes  map[string]written // by key
	special []clientv3.Op      // writes that are conditions themselves

	*numbers
	pending *pendingSet // nil before it is asked for
}

// item is a key and its value. Its revision is 0 if it is not there.
type item struct {
	key   string
	value []byte
	mod   int64
}

func (i *item) there() bool { return i.mod != 0 }

// written is a new value, or that there is none any more.
type written struct {
	value []byte
	gone  bool
}

// fetched is how much of a range has been read.
type fetched struct {
	items []item
	ended bool
}

// errBlind ends a blind run that would have to read.
var errBlind = errors.New("etcdstore: a blind run can't read")

// fault ends a run in the middle: what the cluster did, not what the caller asked for.
type fault struct{ err error }

func check(err error) {
	if err != nil {
		panic(fault{err})
	}
}

// must ends the run with a fault if a record can't be read.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func (b *Backend) begin(ctx context.Context, name string) *txn {
	t := &txn{
		backend: b, ctx: ctx, name: name, root: tenantRoot(b.opts.Prefix, name),
		seen: map[string]item{}, ranges: map[span]*fetched{}, same: map[string]int64{}, still: map[span]bool{}, writes: map[string]written{},
	}
	t.numbers = newNumbers()
	return t
}

// tries bounds how often a verb reads a revision that was compacted meanwhile.
const tries = 5

// view runs a verb that only reads.
func (b *Backend) view(ctx context.Context, name string, f func(*txn) error) error {
	leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for i := 1; ; i++ {
		t := b.begin(ctx, name)
		err := t.run(f)
		switch {
		case !errors.Is(err, rpctypes.ErrCompacted):
			return err
		case i == tries:
			return explain(ctx, err)
		}
	}
}

// update runs a verb, again and again until nothing that it relies on has changed between its first read and its commit. It
// returns the run that was committed.
func (b *Backend) update(ctx context.Context, name string, f func(*txn) error) (*txn, error) {
	leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	compacted := 0
	for i := 1; ; i++ {
		t := b.begin(ctx, name)
		var verdict error
		err := t.run(func(t *txn) error {
			verdict = f(t)
			return nil
		})
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			if compacted++; compacted < tries {
				continue
			}
			return nil, unwritten(ctx, explain(ctx, err))
		case err != nil:
			return nil, unwritten(ctx, err)
		case verdict != nil:
			return nil, verdict
		case len(t.writes)+len(t.special) == 0:
			return t, nil
		}
		committed, err := t.commit()
		if err != nil || committed {
			return t, err
		}
		if err := pause(ctx, i); err != nil {
			return nil, err
		}
	}
}

// pause waits a moment before the next run, the longer the more there have been.
func pause(ctx context.Context, runs int) error {
	timer := time.NewTimer(rand.N(min(50*time.Millisecond, time.Millisecond<<min(runs, 6))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run calls f, and returns its fault if it has one. Any other panic goes through.
func (t *txn) run(f func(*txn) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(fault)
			if !ok {
				panic(r)
			}
			err = fault.err
		}
	}()
	t.checkFormat()
	return f(t)
}

// fetch reads, linearizably if it is the first to, and else of the revision that the first has seen.
func (t *txn) fetch(ops ...clientv3.Op) []*etcdserverpb.RangeResponse {
	t.mayRead()
	answers := make([]*etcdserverpb.RangeResponse, 0, len(ops))
	for len(ops) > 0 {
		some := ops[:min(len(ops), min(maxReads, t.backend.opts.MaxTxnOps))]
		ops = ops[len(some):]
		if t.rev != 0 {
			some = slices.Clone(some)
			for i := range some {
				clientv3.WithRev(t.rev)(&some[i])
			}
		}
		r, err := t.backend.ask(t.ctx, some)
		check(t.unread(err))
		answers = append(answers, r.ranges...)
		t.seeing(r.rev)
	}
	return answers
}

// mayRead ends a blind run.
func (t *txn) mayRead() {
	if t.blind {
		check(errBlind)
	}
}

// seeing fixes the snapshot, if this is the first read.
func (t *txn) seeing(revision int64) {
	if t.rev == 0 {
		t.rev = revision
		t.backend.saw(revision)
	}
}

// unread explains why a read failed.
func (t *txn) unread(err error) error {
	if err == nil || errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	return explain(t.ctx, err)
}

func itemOf(kv *mvccpb.KeyValue) item { return item{string(kv.Key), kv.Value, kv.ModRevision} }

// prefetch reads keys and whole ranges at once.
func (t *txn) prefetch(keys []string, spans ...span) {
	keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { _, ok := t.seen[key]; return ok })
	spans = slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return t.ranges[s] != nil })
	if t.rev == 0 && len(spans) == 0 && len(keys) <= fewKeys && len(keys) > 0 {
		t.share(keys)
		return
	}
	ops := gets(keys)
	for _, s := range spans {
		ops = append(ops, clientv3.OpGet(s.start, clientv3.WithRange(s.end), clientv3.WithLimit(maxPage)))
	}
	for i, r := range t.fetch(ops...) {
		if i < len(keys) {
			t.note(keys[i], r)
			continue
		}
		f := &fetched{ended: !r.More}
		for _, kv := range r.Kvs {
			f.items = append(f.items, itemOf(kv))
		}
		t.ranges[spans[i-len(keys)]] = f
	}
}

// share makes the first read, of keys, together with others.
func (t *txn) share(keys []string) {
	t.mayRead()
	r, err := t.backend.together(t.ctx, keys)
	check(t.unread(err))
	for i, key := range keys {
		t.note(key, r.ranges[i])
	}
	t.seeing(r.rev)
}

// note notes what was read of a key.
func (t *txn) note(key string, r *etcdserverpb.RangeResponse) {
	one := item{key: key}
	if len(r.Kvs) > 0 {
		one = itemOf(r.Kvs[0])
	}
	t.seen[key] = one
}

// peek returns a key as the run has left it. That it changes meanwhile makes no difference to the commit.
func (t *txn) peek(key string) item {
	if w, ok := t.writes[key]; ok {
		if w.gone {
			return item{key: key}
		}
		return item{key, w.value, t.rev + 1}
	}
	if _, ok := t.seen[key]; !ok {
		t.note(key, t.fetch(clientv3.OpGet(key))[0])
	}
	return t.seen[key]
}

// get returns a key as the run has left it. The commit fails if it has changed meanwhile.
func (t *txn) get(key string) item {
	i := t.peek(key)
	t.unchanged(key)
	return i
}

// unchanged has the commit fail if a key that was read has changed.
func (t *txn) unchanged(key string) {
	if seen, ok := t.seen[key]; ok {
		t.same[key] = seen.mod
	}
}

// quiet has the commit fail if anything in a range was put meanwhile. What was deleted makes no difference to it.
func (t *txn) quiet(s span) { t.still[s] = true }

func (t *txn) put(key string, value []byte) { t.writes[key] = written{value: value} }

func (t *txn) delete(key string) { t.writes[key] = written{gone: true} }

const (
	minPage = 32
	maxPage = 512
)

// scan calls f with the keys of a range as the run has left them, ascending, until it returns false, and reports whether it
// came to the end. f must not write. What changes in the range meanwhile makes no difference to the commit.
func (t *txn) scan(s span, f func(item) bool) (ended bool) {
	seen := t.ranges[s]
	if seen == nil {
		seen = &fetched{}
		t.ranges[s] = seen
	}
	mine := t.written(s)
	for at := 0; ; {
		if at == len(seen.items) && !seen.ended {
			t.more(s, seen)
			continue
		}
		var next item
		switch {
		case at == len(seen.items) && len(mine) == 0:
			return true
		case at == len(seen.items), len(mine) > 0 && mine[0] < seen.items[at].key:
			next, mine = t.peek(mine[0]), mine[1:]
		case len(mine) > 0 && mine[0] == seen.items[at].key:
			next, mine, at = t.peek(mine[0]), mine[1:], at+1
		default:
			next, at = seen.items[at], at+1
		}
		if next.there() && !f(next) {
			return false
		}
	}
}

// written are the keys in a range that the run has written, ascending.
func (t *txn) written(s span) (keys []string) {
	for key := range t.writes {
		if key >= s.start && key < s.end {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// more reads the next page of a range.
func (t *txn) more(s span, seen *fetched) {
	rest := s
	if n := len(seen.items); n > 0 {
		rest = s.after(seen.items[n-1].key)
	}
	limit := int64(max(minPage, min(maxPage, 4*len(seen.items))))
	r := t.fetch(clientv3.OpGet(rest.start, clientv3.WithRange(rest.end), clientv3.WithLimit(limit)))[0]
	for _, kv := range r.Kvs {
		seen.items = append(seen.items, itemOf(kv))
	}
	seen.ended = !r.More
}

// below is a key or prefix of the tenant.
func (t *txn) below(parts ...string) string { return t.root + strings.Join(parts, "") }
