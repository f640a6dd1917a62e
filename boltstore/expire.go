package boltstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// Expire removes expired tokens. A token that is due but has been exchanged meanwhile is put off to its new deadline. While
// nothing is due it writes nothing.
func (t *tenant) Expire(ctx context.Context, bounds store.Bounds) (out store.Expired, err error) {
	if err := bounds.Validate(); err != nil {
		return store.Expired{}, err
	}
	err = t.view(ctx, func(r *records) error {
		_, out.Next = r.due(bounds)
		return nil
	})
	if err != nil || out.Next.IsZero() || out.Next.After(bounds.Now) {
		return out, err
	}
	err = t.update(ctx, func(r *records) error {
		out = store.Expired{}
		entries, _ := r.due(bounds)
		var expired []record
		for _, e := range entries {
			record := r.dueRecord(e)
			out.Examined++
			if record.token.Expired(bounds.Now) != "" {
				expired = append(expired, record)
			} else {
				r.schedule(&record)
				r.rewrite(record.token.ID, encode(&record, recordFields))
				r.settle()
			}
		}
		if out.Removed = len(expired); out.Removed > 0 {
			r.remove(expired)
			r.emit(bounds.Emit, store.Event{Kind: store.KindExpired, Time: bounds.Now, Sequence: r.meta.sequence, Count: uint64(out.Removed)})
		}
		if len(entries) > 0 {
			r.save()
		}
		_, out.Next = r.due(bounds)
		return nil
	})
	return out, err
}

// due returns the entries of tokens that are to be looked at now, as many as the bounds allow, and when the first is.
func (r *records) due(bounds store.Bounds) (entries []entry, first time.Time) {
	r.between(underSecond(0).entry(ulid.ULID{}), underSecond(math.MaxUint64).last(), func(e *entry) bool {
		at := e.second()
		if first.IsZero() {
			first = at
		}
		if at.After(bounds.Now) {
			return false
		}
		entries = append(entries, *e)
		return len(entries) < min(bounds.Visit, bounds.Remove)
	})
	return entries, first
}

// dueRecord returns the token that is looked at by an entry. No other entry of a time leads to it: one that did would stay, and be due
// for ever.
func (r *records) dueRecord(e entry) record {
	record, ok := r.record(e.id())
	if !ok || underSecond(record.due).entry(record.token.ID) != e {
		check(fmt.Errorf("%w: the index has token %s due when it is not", ErrCorrupt, e.id()))
	}
	return record
}

// surplus returns the tokens that have to go for one more of the candidate's user and client, oldest first.
func (r *records) surplus(candidate *domain.RefreshToken, limit store.Cap) []record {
	if limit.Max == 0 {
		return nil
	}
	var live []record
	r.indexed(underUser(candidate.UserID), ulid.ULID{}, func(id ulid.ULID) bool {
		record, _ := r.record(id)
		token := &record.token
		if token.UserID == candidate.UserID && token.ClientID == candidate.ClientID && token.Expired(candidate.CreatedAt) == "" && r.revokedBy(token).IsZero() {
			live = append(live, record)
		}
		return true
	})
	slices.SortFunc(live, func(a, b record) int { return store.Older(&a.token, &b.token) })
	return live[:limit.Over(len(live))]
}

// evict removes tokens, and remembers their ids, so that they can't be imported again.
func (r *records) evict(surplus []record, now time.Time) []domain.RefreshToken {
	var evicted []domain.RefreshToken
	if len(surplus) > 0 {
		r.remove(surplus)
	}
	for i := range surplus {
		token := surplus[i].token
		r.remember(domain.EvictionGuard(&token, now))
		evicted = append(evicted, token)
	}
	return evicted
}
