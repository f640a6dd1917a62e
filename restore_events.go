package tokenstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// events walks a tenant's from their start.
func (x *restoration) events(t *restoredTenant) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		in := x.Events[t.name]
		if in == nil {
			return
		}
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			yield(Event{}, err)
			return
		}
		ReadEvents(in)(yield)
	}
}

// checkEvents sees to it that no event since the backup is missing, so far as numbers tell, and that what they report can be done
// again.
func (x *restoration) checkEvents(ctx context.Context, t *restoredTenant) error {
	switch {
	case x.Events[t.name] != nil:
	case t.fresh: // nothing is there that could be live again
		return nil
	default:
		return &EventGapError{Tenant: t.name, Latest: t.latest}
	}
	if t.unheard {
		return &EventGapError{Tenant: t.name}
	}
	gapless := false
	if g, is := store.As[store.Gapless](t.Store); is {
		gapless = g.Gapless()
	}
	reached := uint64(0) // all up to this one are there
	recorded := map[ulid.ULID]bool{}
	known := t.backedUp()
	for e, err := range x.events(t) {
		if err != nil {
			return err
		}
		if t.epoch != nil && e.Number > t.epoch.LastEvent && e.Number <= t.latest {
			// The epoch has put it behind, by whatever method. Only a copy that was begun with the epoch tells what came after.
			return &EventGapError{Tenant: t.name, Latest: t.latest, After: e.Number}
		}
		// What is missing from before the backup is of no account. Where numbers have gaps, the last event of the backup has to be among them,
		// unless there is none.
		anchored := gapless && e.Number == max(reached, t.latest)+1 || !gapless && (reached >= t.latest || t.epoch != nil)
		if e.Number > t.latest && e.Number > reached && !anchored {
			return &EventGapError{Tenant: t.name, Latest: t.latest, After: max(reached, t.latest), Next: e.Number}
		}
		reached = max(reached, e.Number)
		if e.Number <= t.latest {
			if err := known.check(ctx, &e); err != nil {
				return fmt.Errorf("event %d: %w", e.Number, err)
			}
			continue
		}
		if err := x.checkEvent(ctx, t, &e, recorded); err != nil {
			return fmt.Errorf("event %d: %w", e.Number, err)
		}
	}
	// An empty copy was begun with the epoch.
	if reached < t.latest && (t.epoch == nil || reached > 0) {
		return &EventGapError{Tenant: t.name, Latest: t.latest, After: reached}
	}
	return nil
}

// backedUp walks the events that the backup still has.
type backedUp struct {
	outbox store.Outbox // nil where there is nothing to compare
	events []Event
	after  uint64
}

// backedUp is nothing where an earlier attempt has begun the epoch, and dropped them.
func (t *restoredTenant) backedUp() *backedUp {
	var b backedUp
	if !t.begun {
		b.outbox, _ = store.As[store.Outbox](t.Store)
	}
	return &b
}

// check holds an event of the copy against the one that the backup has under its number, if any. What has been erased on either
// side tells nothing. Numbers that do not rise are not held against anything.
func (b *backedUp) check(ctx context.Context, e *Event) error {
	for b.outbox != nil {
		for len(b.events) > 0 && b.events[0].Number < e.Number {
			b.events = b.events[1:]
		}
		if len(b.events) > 0 {
			is := &b.events[0]
			if is.Number == e.Number && is.Kind != KindErased && e.Kind != KindErased &&
				(is.Kind != e.Kind || is.Revocation != e.Revocation || !is.Time.Equal(e.Time)) {
				return ErrOtherEvents
			}
			return nil
		}
		page, err := b.outbox.Feed(ctx, max(b.after, e.Number-1), store.MaxPage)
		if gone, is := errors.AsType[*store.CursorGoneError](err); is {
			b.after = gone.Resume
			continue
		}
		if err != nil || len(page.Events) == 0 {
			return err
		}
		b.events, b.after = page.Events, page.Next
	}
	return nil
}

// checkEvent looks at one that the backup does not know.
func (x *restoration) checkEvent(ctx context.Context, t *restoredTenant, e *Event, recorded map[ulid.ULID]bool) error {
	switch {
	case repeated(e):
		r := x.revocation(e)
		recorded[r.ID] = true
		r.Key = domain.ErasureKey{1}
		return r.Validate()
	case e.Kind == KindErased:
		if recorded[e.Revocation] {
			return nil
		}
		_, err := t.Revocation(ctx, e.Revocation)
		if errors.Is(err, store.ErrNotFound) {
			return ErrNamelessErasure
		}
		return err
	}
	return nil
}

// repeated says of an event that what it reports has to be done again.
func repeated(e *Event) bool {
	return e.Kind == KindRevoked || e.Kind == KindReused || e.Kind == KindEvicted
}

// revocation is what an event reports. An eviction becomes one of the token, under an id that nobody else gives, and that is the same when it
// is repeated.
func (x *restoration) revocation(e *Event) store.Revocation {
	if e.Kind == KindEvicted {
		r := store.Revocation{Time: e.Time, Reason: "evicted by a cap", Emit: KindRevoked}
		for _, token := range e.Tokens {
			r.Targets = append(r.Targets, Target{TokenID: token.ID})
			digest := sha256.Sum256([]byte("tokenstore eviction\x00" + token.ID.String()))
			_ = errors.Join(r.ID.SetTime(ulid.Timestamp(e.Time)), r.ID.SetEntropy(digest[:10])) // what can't be an instant is refused as one
		}
		return r
	}
	return store.Revocation{
		ID: e.Revocation, Targets: slices.Clone(e.Targets), Time: e.Time, Reason: e.Reason, Actor: e.Actor, Erase: e.Erases, Emit: e.Kind,
	}
}

// replay records what the events report again. What they name by an id that is not there has nothing to be revoked, but must not be
// imported either, and is remembered.
func (x *restoration) replay(ctx context.Context, t *restoredTenant) error {
	record := x.record
	remember := func() error {
		if len(record.Guards) == 0 {
			return nil
		}
		err := x.note(ctx, t, record)
		record.Guards = nil
		return err
	}
	for e, err := range x.events(t) {
		if err != nil {
			return err
		}
		if e.Number <= t.latest {
			continue
		}
		if x.report.Events++; x.report.Events%1000 == 0 {
			x.progress()
		}
		if !repeated(&e) {
			continue
		}
		r := x.revocation(&e)
		guards, err := x.absent(ctx, t, r.Targets, e.Time)
		if err != nil {
			return err
		}
		if len(record.Guards)+len(guards) > store.MaxBatch {
			if err := remember(); err != nil {
				return err
			}
		}
		record.Guards = append(record.Guards, guards...)
		if e.Kind == KindEvicted && len(guards) > 0 {
			continue // it was issued in the lost time, too
		}
		if r.Erase {
			if _, err := io.ReadFull(x.Rand, r.Key[:]); err != nil {
				return err
			}
		}
		if err := x.recordAgain(ctx, t, r); err != nil {
			return fmt.Errorf("event %d: %w", e.Number, err)
		}
	}
	return remember()
}

// absent are guards of the tokens that targets name by id, and that are not there.
func (x *restoration) absent(ctx context.Context, t *restoredTenant, targets []Target, at time.Time) (guards []domain.Guard, err error) {
	for _, target := range targets {
		if target.TokenID.IsZero() {
			continue
		}
		switch _, err := t.Get(ctx, target.TokenID); {
		case errors.Is(err, store.ErrNotFound):
			g := domain.Guard{Target: target, Time: at, Through: at}
			if created := ulid.Time(target.TokenID.Time()); created.After(g.Through) {
				g.Through = created.UTC()
			}
			guards = append(guards, g)
		case err != nil:
			return nil, err
		}
	}
	return guards, nil
}
