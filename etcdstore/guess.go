package etcdstore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Most insertions are of a token that is new, in a session of which nothing has been revoked. Such a one is committed without
// having read anything, on the condition that this is so, and is a single request. Where it is not so nothing is written, and the
// verb begins anew with its eyes open.

// guess runs an Insert blindly, if that may do; that of a single row together with others of the tenant that come meanwhile. It returns
// neither results nor an error if the verb has to begin anew.
func (t *tenant) guess(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	if len(rows) > fewRows {
		return nil, nil
	}
	for i := range rows {
		if rows[i].AsOf.Reach() > domain.AnchorSession || rows[i].Cap.Max > 0 {
			return nil, nil
		}
	}
	leave, err := t.backend.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if len(rows) > 1 {
		return t.tryBlindly(ctx, rows)
	}
	one := &insertion{Insertion: rows[0], sent: make(chan struct{}), done: make(chan struct{})}
	if landed := t.backend.inserts.join(t.name, one); landed != nil {
		defer landed()
		return t.tryBlindly(ctx, rows)
	}
	select {
	case <-one.done:
	case <-ctx.Done():
		if t.backend.inserts.withdraw(t.name, one) {
			return nil, ctx.Err()
		}
		<-one.sent
		return nil, uncommitted(ctx, ctx.Err())
	}
	if errors.Is(one.err, errNotAlone) {
		return t.tryBlindly(ctx, rows)
	}
	return one.results, one.err
}

// insertion is a single row that waits to be inserted with others.
type insertion struct {
	store.Insertion
	sent    chan struct{} // closed once nothing of the row is looked at any more
	done    chan struct{} // closed once there is an answer
	results []store.Inserted
	err     error
}

// boardInserts makes a transaction for as many of those that have gathered as it can hold.
func (b *Backend) boardInserts(name string, waiting []*insertion) (taken int, request func(landed func())) {
	together := slices.Clone(waiting[:min(len(waiting), fewRows, b.opts.MaxTxnOps/opsOfRow)])
	return len(together), func(landed func()) { (&tenant{backend: b, name: name}).insertTogether(together, landed) }
}

// opsOfRow is more than the writes of a row, and more than its comparisons.
const opsOfRow = 8

// insertTogether inserts the rows of several calls, as one call would. Where it can't, each of them has to find out what that means for
// itself.
func (t *tenant) insertTogether(all []*insertion, landed func()) {
	rows := make([]store.Insertion, len(all))
	for i, one := range all {
		rows[i] = one.Insertion
	}
	x, results := t.blindly(t.backend.client.Ctx(), rows)
	for _, one := range all {
		close(one.sent)
	}
	results, err := x.submit(results)
	landed()
	if results == nil && (err == nil || !errors.Is(err, store.ErrUnknownOutcome)) {
		err = errNotAlone
	}
	for i, one := range all {
		if one.err = err; err == nil {
			one.results = results[i : i+1 : i+1] // each the caller's own
		}
		close(one.done)
	}
}

// tryBlindly inserts rows without having read anything.
func (t *tenant) tryBlindly(ctx context.Context, rows []store.Insertion) ([]store.Inserted, error) {
	x, results := t.blindly(ctx, rows)
	return x.submit(results)
}

// blindly runs an Insert, up to its commit. It returns nothing if it would have to read, or refuses all on assumptions.
func (t *tenant) blindly(ctx context.Context, rows []store.Insertion) (x *txn, results []store.Inserted) {
	x = t.backend.begin(ctx, t.name)
	x.blind, x.pending = true, &pendingSet{}
	err := x.run(func(x *txn) error {
		results = x.insertAll(rows)
		return nil
	})
	if err != nil || len(x.writes) == 0 {
		return nil, nil
	}
	return x, results
}

// submit commits a run, if there is one. It returns no results if nothing is written because things are not as it assumed.
func (t *txn) submit(results []store.Inserted) ([]store.Inserted, error) {
	if t == nil {
		return nil, nil
	}
	committed, err := t.commit()
	if err != nil || !committed {
		return nil, err
	}
	t.settled(results)
	return results, nil
}

// assume takes keys for absent, and ranges for empty, as of the revision 0, but for the keys that are known.
func (t *txn) assume(keys []string, spans []span) {
	for _, key := range keys {
		t.seen[key] = item{key: key}
	}
	for _, key := range []string{t.below(keyHead), t.below(keyEvents)} {
		if _, asked := t.seen[key]; asked {
			i, ok := t.backend.known.get(key)
			if !ok {
				check(errBlind)
			}
			t.seen[key] = i
		}
	}
	for _, s := range spans {
		t.ranges[s] = &fetched{ended: true}
	}
}

// known are keys that rarely change, as they were when they were last read. Whoever relies on one has his commit compare it.
type known struct {
	mu    sync.Mutex
	items map[string]item
}

func (k *known) get(key string) (item, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i, ok := k.items[key]
	return i, ok
}

func (k *known) put(i item) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.items[i.key].mod > i.mod {
		return
	}
	if len(k.items) >= maxCached {
		clear(k.items)
	}
	k.items[i.key] = i
}
