package store

import (
	"context"
	"slices"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// Restorer is what a [Store] can do beside its verbs, so that a backup can take the place of a database that is lost: begin a new
// epoch, in which nothing that was given out in the lost time is taken for current. The stores of this module's backends are
// Restorers. Restore of package tokenstore does all that a restoration takes; this is its first step, and its record.
type Restorer interface {
	// Restore begins a new epoch, and records that and why (R43). With the id of a restoration that is recorded it begins
	// nothing (R44). It returns [ErrConflict] for an id that is that of another way to restore.
	Restore(ctx context.Context, r Restoration) (Restored, error)

	// Restorations returns the latest restorations, oldest first, at most [MaxRestorations] (R44).
	Restorations(ctx context.Context) ([]Restored, error)
}

// MaxRestorations is how many restorations a tenant remembers. Those before the latest so many are forgotten.
const MaxRestorations = 100

// RestoreMethod says how a restoration sees to it that what was revoked since the backup is not live again.
type RestoreMethod string

// The methods of restoration.
const (
	RestoreEvents   RestoreMethod = "events"   // RestoreEvents records the revocations again that the feed reported since the backup.
	RestoreCutoff   RestoreMethod = "cutoff"   // RestoreCutoff revokes everything that was issued before the restoration.
	RestoreOverride RestoreMethod = "override" // RestoreOverride does nothing: what was revoked since the backup is live again.
)

// Restoration says that the tenant's database has been put back to an earlier state.
type Restoration struct {
	ID     ulid.ULID // ID is chosen by the caller, and is the idempotency key.
	Time   time.Time
	Method RestoreMethod
	Reason string
	Actor  string
	// Guards are remembered, as of the new epoch: of what was revoked in the lost time and is not there to be revoked again. They are at
	// most [MaxBatch], and have no watermark.
	Guards []domain.Guard
	// Complete says that nothing of the restoration is yet to come. From then on it changes nothing.
	Complete bool
}

// Restored is the record of a restoration.
type Restored struct {
	ID        ulid.ULID     `json:"id"`
	Time      time.Time     `json:"time"`
	Method    RestoreMethod `json:"method"`
	Reason    string        `json:"reason,omitempty"`
	Actor     string        `json:"actor,omitempty"`
	Sequence  uint64        `json:"sequence"`   // Sequence is the tenant's as it was in the backup.
	LastEvent uint64        `json:"last_event"` // LastEvent is the number of the latest event as it was in the backup.
	Epoch     uint64        `json:"epoch"`      // Epoch is what sequence, horizon and feed have been raised to.
	Complete  bool          `json:"complete,omitempty"`
}

// Validate checks the limits of the restoration.
func (r *Restoration) Validate() error {
	if r.ID.IsZero() {
		return &domain.FieldError{Field: "restoration_id", Limit: "a ULID other than zero"}
	}
	if err := r.Method.Validate(); err != nil {
		return err
	}
	if err := checkGuards(r.Guards); err != nil {
		return err
	}
	for i := range r.Guards {
		if err := r.Guards[i].Target.Validate(); err != nil {
			return err
		}
		if r.Guards[i].Watermark != 0 {
			return &domain.FieldError{Field: "watermark", Limit: "none, for it is the store's to give"}
		}
	}
	if err := domain.CheckReason(r.Reason); err != nil {
		return err
	}
	return domain.CheckActor(r.Actor)
}

// Validate checks that there is such a method.
func (m RestoreMethod) Validate() error {
	switch m {
	case RestoreEvents, RestoreCutoff, RestoreOverride:
		return nil
	}
	return &domain.FieldError{Field: "method", Limit: "events, cutoff or override", Size: len(m)}
}

// Numbers of an epoch. The sequence of a tenant, and the numbers of its events, are below 2^63. A restoration raises them to a
// number that no life of the tenant has given out: at least 2^40 above the backup's, which no lost time comes to, and at
// least that which stands for its own time, 2^22 for each millisecond since epochZero, which no store outruns. So a backup
// that is restored a second time begins above all that the first time has given out.
const (
	epochBits = 40
	clockBits = 22
)

func epochZero() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// NextEpoch returns the number that a restoration at a time raises a tenant's numbers to, the highest of which was last. It is a
// FieldError if there is no epoch left. A clock that is too early, or that is beyond the year 2095, is not asked.
func NextEpoch(last uint64, at time.Time) (uint64, error) {
	const most = MaxSequence - 1<<epochBits // there has to be room to live in
	next := (last>>epochBits + 2) << epochBits
	if since := at.Sub(epochZero()).Milliseconds(); since > 0 && since <= most>>clockBits {
		next = max(next, uint64(since)<<clockBits)
	}
	if last > most || next > most {
		return 0, &domain.FieldError{Field: "sequence", Limit: "so low that there is an epoch above it"}
	}
	return next, nil
}

// Note is what a store does with a restoration, beside what it is told: next are the records as they are to be from now on, nil
// for no change; now is the one of the restoration; begins says that an epoch begins. free is the lowest number that nothing of the
// tenant has, nor will get if no epoch begins, where numbers are shared with other tenants.
func (r *Restoration) Note(there []Restored, sequence, lastEvent, free uint64) (next []Restored, now Restored, begins bool, err error) {
	i := slices.IndexFunc(there, func(known Restored) bool { return known.ID == r.ID })
	switch {
	case i >= 0 && there[i].Method != r.Method:
		return nil, Restored{}, false, ErrConflict
	case i >= 0 && there[i].Complete:
		return nil, there[i], false, nil
	case i >= 0:
		next = slices.Clone(there)
		next[i].Complete = r.Complete
		return next, next[i], false, nil
	}
	epoch, err := NextEpoch(max(sequence, lastEvent, free), r.Time)
	if err != nil {
		return nil, Restored{}, false, err
	}
	now = Restored{
		ID: r.ID, Time: r.Time.UTC(), Method: r.Method, Reason: r.Reason, Actor: r.Actor,
		Sequence: sequence, LastEvent: lastEvent, Epoch: epoch, Complete: r.Complete,
	}
	next = append(slices.Clone(there), now)
	return next[max(0, len(next)-MaxRestorations):], now, true, nil
}

// GuardsAt are the guards as of the epoch.
func (r *Restoration) GuardsAt(epoch uint64) []domain.Guard {
	guards := slices.Clone(r.Guards)
	for i := range guards {
		guards[i].Watermark = epoch
	}
	return guards
}

// ScrubRestored returns what an erasing revocation leaves of the records of restorations, as [domain.Tombstone.Scrub] does of a
// revocation that has not scrubbed itself yet, and whether that is a change.
func ScrubRestored(all []Restored, by *domain.Tombstone, key domain.ErasureKey) (left []Restored, changed bool) {
	for _, r := range all {
		t := domain.Tombstone{Watermark: r.Epoch, Actor: r.Actor, Targets: []domain.Target{}}
		switch by.Scrub(&t, key) {
		case domain.RemainsNothing:
			changed = true
			continue
		case domain.RemainsPseudonymous:
			changed = true
			r.Actor = t.Actor
		}
		left = append(left, r)
	}
	return left, changed
}
