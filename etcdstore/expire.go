package etcdstore

import (
	"context"
	"fmt"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// How much a single commit of the background does at most, whatever its bounds are: a commit is applied in one go, and nobody
// else's is meanwhile.
const (
	maxVisit  = 1000
	maxRemove = 250
)

func clamp(b store.Bounds) store.Bounds {
	b.Visit, b.Remove = min(b.Visit, maxVisit), min(b.Remove, maxRemove)
	return b
}

// Expire removes expired tokens. A token that is due but has been exchanged meanwhile is put off to its new deadline. While
// nothing is due it writes nothing.
func (t *tenant) Expire(ctx context.Context, bounds store.Bounds) (out store.Expired, err error) {
	if err := bounds.Validate(); err != nil {
		return store.Expired{}, err
	}
	bounds = clamp(bounds)
	_, err = t.update(ctx, func(x *txn) error {
		out = store.Expired{}
		var ids []ulid.ULID
		ids, out.Next = x.due(bounds)
		if len(ids) == 0 {
			return nil
		}
		x.prefetch(x.tokenKeys(ids...))
		for _, id := range ids {
			r, ok := x.record(id)
			if !ok { // the snapshot has both or neither
				check(fmt.Errorf("%w: token %s is among those that are due, and is not there", ErrCorrupt, id))
			}
			out.Examined++
			switch {
			case r.token.Expired(bounds.Now) != "":
				x.remove(&r)
				out.Removed++
			default:
				x.schedule(&r)
				x.putRecord(&r)
			}
		}
		if out.Removed > 0 {
			h := x.headNow()
			_, sequence := x.tip(&h)
			x.emit(bounds.Emit, store.Event{Kind: store.KindExpired, Time: bounds.Now, Sequence: sequence, Count: uint64(out.Removed)})
		}
		_, out.Next = x.due(bounds)
		return nil
	})
	if err != nil {
		return store.Expired{}, err
	}
	return out, nil
}

// due returns the tokens that are to be looked at now, as many as the bounds allow, and when the first is.
func (t *txn) due(bounds store.Bounds) (ids []ulid.ULID, first time.Time) {
	s := under(t.below(keyDue))
	t.scan(s, func(i item) bool {
		at := second(i.key[len(s.start):])
		if first.IsZero() {
			first = at
		}
		if at.After(bounds.Now) {
			return false
		}
		ids = append(ids, idAtEnd(i.key))
		return len(ids) < min(bounds.Visit, bounds.Remove)
	})
	return ids, first
}
