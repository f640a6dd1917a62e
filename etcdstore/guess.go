package etcdstore

import (
	"context"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Most insertions are of a token that is new, in a session of which nothing has been revoked. Such a one is committed without
// having read anything, on the condition that this is so, and is a single request. Where it is not so nothing is written, and the
// verb begins anew with its eyes open.

// guess runs an Insert blindly, if that may do. It returns neither a run nor an error if the verb has to begin anew.
func (t *tenant) guess(ctx context.Context, rows []store.Insertion, insert func(*txn) error) (*txn, error) {
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
	x := t.backend.begin(ctx, t.name)
	x.blind, x.pending = true, &pendingSet{}
	if err := x.run(insert); err != nil {
		return nil, nil // it would have had to read
	}
	if len(x.writes) == 0 {
		return nil, nil // a refusal on assumptions
	}
	committed, err := x.commit()
	if err != nil || !committed {
		return nil, err
	}
	return x, nil
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
