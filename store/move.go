package store

import (
	"context"
	"math"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// Mover is what a [Store] can do beside its verbs, so that a tenant can move to another database: hand over what it
// remembers of revocations, and take over what another one does. The stores of this module's backends are Movers.
type Mover interface {
	// Guards returns a page of guards, in an order of the store's own (R41).
	Guards(ctx context.Context, q GuardQuery) (GuardPage, error)

	// Remember takes over what another store remembers (R42). It returns [ErrOccupied] if the tenant has lived a life of its
	// own, or has taken over something of another origin, or under another erasure key.
	Remember(ctx context.Context, m Memory) error
}

// GuardQuery is what a list of guards shows.
type GuardQuery struct {
	After string // After is the cursor: the Next of the page before, or empty.
	Limit int    // Limit is 1..[MaxPage].
}

// Validate checks the limits of the query.
func (q GuardQuery) Validate() error { return CheckPage(q.Limit) }

// GuardPage is a page of guards. Next is the cursor of the next page, or empty on the last.
type GuardPage struct {
	Guards     []domain.Guard
	Next       string
	ErasureKey domain.ErasureKey // ErasureKey is the tenant's, or zero.
}

// MaxSequence is the highest sequence, and number of an event, that is taken over, so far from the end of its range that none ever comes there: a
// sequence that began again would put revocations before what they cover.
const MaxSequence = math.MaxInt64

// Memory is what a store remembers of revocations, or a part of that.
type Memory struct {
	// Origin names what the memory comes from. A tenant takes over from one origin only, in as many parts as need be.
	Origin     ulid.ULID
	Sequence   uint64 // Sequence is what the tenant's is raised to, if it is lower.
	Horizon    domain.Horizon
	ErasureKey domain.ErasureKey // ErasureKey becomes the tenant's, if it has none.
	Guards     []domain.Guard    // Guards are at most [MaxBatch], with watermarks of at most Sequence.
	// LastEvent is what the number of the latest event is raised to while there is no event, so that cursors of the other
	// store's feed are good or known to be gone.
	LastEvent uint64
	// Complete says that nothing of the origin is yet to come. From then on its memory changes nothing: what has been forgotten
	// or erased since must not return.
	Complete bool
}

// Validate checks the limits of the memory.
func (m *Memory) Validate() error {
	if m.Origin.IsZero() {
		return &domain.FieldError{Field: "origin", Limit: "a ULID other than zero"}
	}
	if err := checkGuards(m.Guards); err != nil {
		return err
	}
	if m.Sequence > MaxSequence {
		return &domain.FieldError{Field: "sequence", Limit: "at most 2^63-1"}
	}
	if m.LastEvent > MaxSequence {
		return &domain.FieldError{Field: "last_event", Limit: "at most 2^63-1"}
	}
	if m.Horizon.Sequence > m.Sequence {
		return &domain.FieldError{Field: "horizon", Limit: "not beyond the sequence"}
	}
	for i := range m.Guards {
		g := &m.Guards[i]
		if err := g.Target.Validate(); err != nil {
			return err
		}
		if g.Watermark < 1 || g.Watermark > m.Sequence {
			return &domain.FieldError{Field: "watermark", Limit: "at least 1, and not beyond the sequence"}
		}
	}
	return nil
}
