package tokenstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// RestoreRequest says what a restoration does about what was revoked since the backup: exactly one of Events, Cutoff and Override.
type RestoreRequest struct {
	// Events are the tenants' feeds since the backup, by tenant, as [WriteEvents] has written them: one for each tenant that the
	// backup has. They are read twice. What they report as revoked, reused or erased is revoked again, under its id, and what was evicted is
	// revoked, too, if the feed has [KindEvicted]. They have to reach back
	// to the latest event of the backup, and to have been kept outside of what is restored.
	Events map[string]io.ReadSeeker
	// Cutoff revokes everything that was issued before the restoration, in each tenant.
	Cutoff bool
	// Override lets what was revoked since the backup be live again. That it did is recorded.
	Override bool
	// Tenants are further tenants to begin a new epoch for: those that were created since the backup, or were erased before.
	Tenants []string
	// ID names the restoration. Defaults to that of the one that was broken off, else to a new one.
	ID     ulid.ULID
	Reason string // Reason is for people: up to 200 characters.
	Actor  string // Actor is who restores: up to 300 characters.
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
	// Rand is the source of ids and keys. Defaults to crypto/rand.
	Rand io.Reader
	// Progress is called after each tenant that has been dealt with, and after each thousand events. Defaults to none.
	Progress func(RestoreReport)
}

// RestoreReport says what a restoration has done.
type RestoreReport struct {
	ID      ulid.ULID // ID is the restoration's.
	Tenants int       // Tenants is for how many tenants a new epoch has begun.
	Events  int       // Events is how many events were read that the backup does not know.
	Revoked int       // Revoked is how many revocations were recorded for it, or are there since an attempt that was broken off.
}

// ErrEventsMissing: events between the backup and now are missing. The error is an [EventGapError], which says which.
var ErrEventsMissing = errors.New("tokenstore: events are missing")

// EventGapError says that events between the backup and now are missing, so that what was revoked meanwhile is not known. It matches
// [ErrEventsMissing].
type EventGapError struct {
	Tenant string
	Latest uint64 // Latest is the number of the latest event of the backup, 0 for none.
	After  uint64 // After is the number of the last event up to which all are there, 0 for none.
	Next   uint64 // Next is the number that comes after it, 0 for none.
	// Restored is the tenant's latest restoration, if all of the events are from before it, so that the request may repeat that one because nobody
	// was told of its end: then it is complete, and nothing is left to be done; with its ID it is no error.
	Restored ulid.ULID
}

// Error says of which tenant, and between which numbers.
func (e *EventGapError) Error() string {
	if !e.Restored.IsZero() {
		return fmt.Sprintf("%s; restoration %s is complete: if this repeats it, nothing is left to be done", e.missing(), e.Restored)
	}
	return e.missing()
}

func (e *EventGapError) missing() string {
	switch {
	case e.Next == 0 && e.After == 0 && e.Latest == 0:
		return fmt.Sprintf("%v: of tenant %q the backup has none to go on from", ErrEventsMissing, e.Tenant)
	case e.Next == 0 && e.After == 0:
		return fmt.Sprintf("%v: there are none of tenant %q, and the backup ends with number %d", ErrEventsMissing, e.Tenant, e.Latest)
	case e.Next == 0:
		return fmt.Sprintf("%v: those of tenant %q end with number %d, and the backup with %d", ErrEventsMissing, e.Tenant, e.After, e.Latest)
	}
	return fmt.Sprintf("%v: of tenant %q, after number %d comes %d, and the backup ends with %d", ErrEventsMissing, e.Tenant, e.After, e.Next, e.Latest)
}

// Unwrap makes the error match [ErrEventsMissing].
func (e *EventGapError) Unwrap() error { return ErrEventsMissing }

// ErrOtherEvents: an event that the backup has, too, is another one there. So the copy is that of another database, or of another life
// of this one.
var ErrOtherEvents = errors.New("tokenstore: the events are those of another database")

// ErrNamelessErasure: the events report an erasure, but no longer of whom. They were read from the feed after it was done, so it
// can't be repeated. Restore with a cut-off, and erase the user again.
var ErrNamelessErasure = errors.New("tokenstore: the events do not say any more who was erased")

// Restore makes a database that was put back to an earlier state, by whatever means, fit for use, before anybody uses it. In every
// tenant it begins a new epoch of the sequence, in which no exact as-of point, and no cursor of the feed, of the lost time or of
// before is taken for current ([store.Restorer]); and it does about what was revoked since what the request says. Nothing else
// may use the database meanwhile.
//
// The events are looked at as a whole before anything is written: an [EventGapError] says that some are missing. When it fails later,
// or its process dies, it is to be called again with the same request, before the database is used; what has been done is not done
// twice, and a request that has its ID may be repeated when it is done. Another request is an [UnfinishedError] until then. Events that are not those of this database are [ErrOtherEvents], and an erasure
// that can't be repeated is [ErrNamelessErasure]. A request that names no method, or more than one, is a [FieldError]. A backend whose stores
// are no [store.Restorer] is an error that matches [errors.ErrUnsupported].
func Restore(ctx context.Context, backend store.Backend, r RestoreRequest) (RestoreReport, error) {
	x := restoration{RestoreRequest: r, backend: backend}
	if err := x.prepare(ctx); err != nil {
		return RestoreReport{}, err
	}
	for _, step := range []func(context.Context, *restoredTenant) error{x.check, x.begin, x.revoke, x.end} {
		for i := range x.tenants {
			switch err := step(ctx, &x.tenants[i]); {
			case errors.Is(err, ErrEventsMissing):
				return x.report, err
			case err != nil:
				return x.report, fmt.Errorf("tenant %q: %w", x.tenants[i].name, err)
			}
		}
	}
	return x.report, nil
}

// restoration is one under way.
type restoration struct {
	RestoreRequest
	backend store.Backend
	tenants []restoredTenant
	record  store.Restoration
	report  RestoreReport
}

type restoredTenant struct {
	name string
	store.Store
	restorer store.Restorer
	known    []store.Restored
	latest   uint64          // the number of the backup's latest event
	epoch    *store.Restored // whose epoch begins there, where that is no event's number
	fresh    bool            // the backup does not have the tenant
	begun    bool            // an earlier attempt has begun the epoch
	unheard  bool            // something has been revoked, and no event was written
}

// method is the one that is asked for.
func (r *RestoreRequest) method() (store.RestoreMethod, error) {
	var methods []store.RestoreMethod
	if r.Events != nil {
		methods = append(methods, store.RestoreEvents)
	}
	if r.Cutoff {
		methods = append(methods, store.RestoreCutoff)
	}
	if r.Override {
		methods = append(methods, store.RestoreOverride)
	}
	if len(methods) != 1 {
		return "", &FieldError{Field: "method", Limit: "exactly one of events, cutoff and override", Size: len(methods)}
	}
	return methods[0], nil
}

// prepare finds the tenants, and under which id to restore them.
func (x *restoration) prepare(ctx context.Context) error {
	method, err := x.method()
	if err != nil {
		return err
	}
	if x.Now == nil {
		x.Now = time.Now
	}
	if x.Rand == nil {
		x.Rand = rand.Reader
	}
	now := x.Now().UTC().Round(0)
	x.record = store.Restoration{ID: x.ID, Time: now, Method: method, Reason: x.Reason, Actor: x.Actor}
	names, err := x.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		t := restoredTenant{name: name}
		if t.Store, err = x.backend.Tenant(name); err != nil {
			return err
		}
		var is bool
		if t.restorer, is = store.As[store.Restorer](t.Store); !is {
			return fmt.Errorf("tokenstore: this backend can't be restored: %w", errors.ErrUnsupported)
		}
		if t.known, err = t.restorer.Restorations(ctx); err != nil {
			return err
		}
		if err := x.goOn(&t); err != nil {
			return err
		}
		x.tenants = append(x.tenants, t)
	}
	if x.record.ID.IsZero() {
		if x.record.ID, err = ulid.New(ulid.Timestamp(now), x.Rand); err != nil {
			return err
		}
	}
	x.report.ID = x.record.ID
	return x.record.Validate()
}

// goOn takes the id of what was broken off in a tenant, and refuses to begin anything else: what the lost time has revoked, and was not
// recorded again, would be forgotten.
func (x *restoration) goOn(t *restoredTenant) error {
	for open := range unfinished(t.known) {
		if x.record.ID.IsZero() {
			x.record.ID = open.ID
		}
		if open.ID != x.record.ID || open.Method != x.record.Method {
			return &UnfinishedError{Tenant: t.name, ID: open.ID, Method: open.Method}
		}
	}
	return nil
}

// names are those of all tenants that are there, or that the request names.
func (x *restoration) names(ctx context.Context) ([]string, error) {
	all := slices.AppendSeq(slices.Clone(x.Tenants), maps.Keys(x.Events))
	for name, err := range tenants(ctx, x.backend) {
		if err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// check sees to it that the events of a tenant leave nothing open.
func (x *restoration) check(ctx context.Context, t *restoredTenant) error {
	i := slices.IndexFunc(t.known, func(known store.Restored) bool { return known.ID == x.record.ID })
	state, err := t.State(ctx)
	if err != nil {
		return err
	}
	t.fresh, t.latest = state.Sequence == 0, state.LastEvent
	t.begun = i >= 0
	t.unheard = !t.begun && t.latest == 0 && state.Pending+state.History+state.Guards > 0
	earlier := t.known
	if t.begun {
		t.fresh, t.latest = t.known[i].Sequence == 0, t.known[i].LastEvent
		earlier = t.known[:i]
	}
	if n := slices.IndexFunc(earlier, func(known store.Restored) bool { return known.Epoch == t.latest }); n >= 0 {
		t.epoch = &earlier[n]
	}
	if x.record.Method != store.RestoreEvents {
		return nil
	}
	err = x.checkEvents(ctx, t)
	if gap, is := errors.AsType[*EventGapError](err); is && !t.begun && len(t.known) > 0 {
		last := &t.known[len(t.known)-1]
		if gap.After > 0 && gap.After < last.Epoch && gap.Next == 0 && t.latest >= last.Epoch {
			gap.Restored = last.ID
		}
	}
	return err
}

func (x *restoration) begin(ctx context.Context, t *restoredTenant) error {
	if err := x.note(ctx, t, x.record); err != nil {
		return err
	}
	x.report.Tenants++
	x.progress()
	return nil
}

func (x *restoration) note(ctx context.Context, t *restoredTenant, record store.Restoration) error {
	return again(func() error {
		_, err := t.restorer.Restore(ctx, record)
		return err
	})
}

// revoke revokes what is to be revoked in a tenant.
func (x *restoration) revoke(ctx context.Context, t *restoredTenant) error {
	switch x.record.Method {
	case store.RestoreCutoff:
		return x.recordAgain(ctx, t, store.Revocation{
			ID: x.record.ID, Targets: []Target{{Everything: true}}, Time: x.record.Time, Reason: cmp.Or(x.Reason, "restored from a backup"),
			Actor: x.Actor, Emit: KindRevoked,
		})
	case store.RestoreEvents:
		return x.replay(ctx, t)
	}
	return nil
}

// end records that the tenant has been restored.
func (x *restoration) end(ctx context.Context, t *restoredTenant) error {
	record := x.record
	record.Complete = true
	return x.note(ctx, t, record)
}

func (x *restoration) progress() {
	if x.Progress != nil {
		x.Progress(x.report)
	}
}

// recordAgain records a revocation, and makes room for it where too many are pending that have no anchor.
func (x *restoration) recordAgain(ctx context.Context, t *restoredTenant, r store.Revocation) error {
	for {
		err := again(func() error {
			_, err := t.Revoke(ctx, r)
			return err
		})
		if !errors.Is(err, store.ErrBusy) {
			if err == nil {
				x.report.Revoked++
			}
			return err
		}
		if err := x.sweep(ctx, t); err != nil {
			return err
		}
	}
}

// sweep gets on with all that is pending.
func (x *restoration) sweep(ctx context.Context, t *restoredTenant) error {
	q := store.RevocationQuery{Limit: store.MaxPage}
	for {
		page, err := t.Revocations(ctx, q)
		if err != nil {
			return err
		}
		ids := make([]ulid.ULID, len(page.Revocations))
		for i := range page.Revocations {
			ids[i] = page.Revocations[i].Tombstone.ID
		}
		if len(ids) > 0 {
			bounds := store.Bounds{Visit: 1000, Remove: 1000, Now: x.record.Time, Emit: KindErased}
			if err := again(func() error {
				_, err := t.Apply(ctx, ids, bounds)
				return err
			}); err != nil {
				return err
			}
		}
		if q.After = page.Next; q.After.IsZero() {
			return nil
		}
	}
}
