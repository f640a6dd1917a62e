package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// Outbox is the feed of a tenant's changes, a part of its store that readers have to themselves. Events are written in the
// commits that they report; reading them holds nobody up, and leaves no trace in the store: where a reader stands is its own
// to keep, as a cursor, which is the number of the last event that it has dealt with. A store that is no Outbox writes no
// events, whatever it is asked to emit.
type Outbox interface {
	// Feed returns the events after the cursor, at most limit (1..[MaxPage]), by ascending number (R37). It returns a
	// [CursorGoneError] if any of them has been dropped, and a [domain.FieldError] for a cursor above the last number.
	Feed(ctx context.Context, after uint64, limit int) (FeedPage, error)
}

// Gapless is what an [Outbox] can say of its numbers.
type Gapless interface {
	// Gapless reports whether the number of each event is one above that of the event before it, so that it can be seen of a copy
	// of the feed that none is missing (R37).
	Gapless() bool
}

// FeedPage is a page of events. Next is the cursor of the page after it, and Last the number of the latest event there was:
// the reader has caught up when they are equal.
type FeedPage struct {
	Events []Event
	Next   uint64
	Last   uint64
}

// CursorGoneError says that events after a cursor have been dropped: they were older than is kept, or their tenant was
// erased, restored or moved. It matches [ErrCursorGone].
type CursorGoneError struct {
	Cursor uint64 // Cursor is the one that was asked for.
	Resume uint64 // Resume is the cursor from which all is there.
}

// Error names the cursor, and where the feed goes on.
func (e *CursorGoneError) Error() string {
	return fmt.Sprintf("%v: %d; the feed goes on from %d", ErrCursorGone, e.Cursor, e.Resume)
}

// Unwrap makes the error match [ErrCursorGone].
func (e *CursorGoneError) Unwrap() error { return ErrCursorGone }

// Kinds is a set of kinds of events; the kind of an event is a set of one.
type Kinds uint16

// The kinds of events.
const (
	KindRevoked   Kinds = 1 << iota // KindRevoked: a revocation has been recorded.
	KindReused                      // KindReused: one has been recorded because an outdated secret was presented.
	KindErased                      // KindErased: an erasure has been completed; without targets, it stands in place of what named the user.
	KindIssued                      // KindIssued: a token has been issued.
	KindExchanged                   // KindExchanged: a token has been exchanged, and the use noted.
	KindRetried                     // KindRetried: an exchange has been answered once more, with the same secret.
	KindSwept                       // KindSwept: a slice of the sweep has removed Count tokens of a revocation, or ended it.
	KindExpired                     // KindExpired: Count tokens whose life was over have been removed.
	KindEvicted                     // KindEvicted: a token had to go for another one, because of a cap.

	AllKinds = 1<<iota - 1 // AllKinds are all of them.
)

func kindNames() []string {
	return []string{"revoked", "reused", "erased", "issued", "exchanged", "retried", "swept", "expired", "evicted"}
}

// Has reports whether all kinds of another set are in the set.
func (k Kinds) Has(other Kinds) bool { return k&other == other }

// String returns the names of the kinds, separated by commas.
func (k Kinds) String() string {
	var names []string
	for i, name := range kindNames() {
		if k.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// MarshalText is [Kinds.String].
func (k Kinds) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads names of kinds, separated by commas; none are the empty set.
func (k *Kinds) UnmarshalText(text []byte) error {
	*k = 0
	if len(text) == 0 {
		return nil
	}
	for name := range strings.SplitSeq(string(text), ",") {
		i := slices.Index(kindNames(), name)
		if i < 0 {
			return &domain.FieldError{Field: "kind", Limit: "one of " + Kinds(AllKinds).String(), Size: len(text)}
		}
		*k |= 1 << i
	}
	return nil
}

// Event is one change, as the feed reports it. What has no meaning for its kind is zero, and left out of its JSON. There numbers
// and sequences are texts: they use all of their 64 bits.
type Event struct {
	Number uint64    `json:"number,string"` // Number is the store's to assign: it rises within a tenant, and is a cursor.
	Kind   Kinds     `json:"kind"`          // Kind is one kind.
	Time   time.Time `json:"time"`          // Time is when it happened, by the clock of who caused it.
	// Sequence is that of the token that the event is about, or the watermark of the revocation; for [KindExpired] the tenant's
	// sequence at that time. What has a sequence above an erasure's watermark is none of that erasure's.
	Sequence   uint64          `json:"sequence,omitempty,string"`
	Revocation ulid.ULID       `json:"revocation_id,omitzero"` // Revocation is the id of the revocation that it is about.
	Tokens     []EventToken    `json:"tokens,omitempty"`       // Tokens are those that it is about; of a revocation, those it names by id.
	Targets    []domain.Target `json:"targets,omitempty"`      // Targets are those of a revocation that was recorded, or completed an erasure.
	Reason     string          `json:"reason,omitempty"`       // Reason is the revocation's.
	Actor      string          `json:"actor,omitempty"`        // Actor is the revocation's.
	Erases     bool            `json:"erases,omitempty"`       // Erases says that the revocation erases, too.
	Count      uint64          `json:"count,omitempty"`        // Count is how many tokens a slice has removed.
	Retired    bool            `json:"retired,omitempty"`      // Retired says that the sweep of the revocation is over.
}

// EventToken names a token that an event is about.
type EventToken struct {
	ID        ulid.ULID `json:"id"`
	UserID    string    `json:"user_id"`
	ClientID  string    `json:"client_id"`
	SessionID string    `json:"session_id,omitempty"` // SessionID is empty for the null session.
}

// TokenEvent is the event of something that has happened to a token.
func TokenEvent(kind Kinds, at time.Time, token *domain.RefreshToken) Event {
	e := Event{Kind: kind, Time: at, Sequence: token.Sequence}
	e.name(token)
	return e
}

// SweptEvent is the event of a slice that has removed so many tokens for a revocation.
func SweptEvent(s *Status, count uint64, retired bool, at time.Time) Event {
	return Event{
		Kind: KindSwept, Time: at, Sequence: s.Tombstone.Watermark, Revocation: s.Tombstone.ID, Count: count, Retired: retired,
	}
}

// ErasedEvent is the event of an erasure that is done; its tombstone has been scrubbed.
func ErasedEvent(t *domain.Tombstone, at time.Time) Event {
	e := revocationEvent(KindErased, t)
	e.Time = at
	return e
}

func revocationEvent(kind Kinds, t *domain.Tombstone) Event {
	return Event{
		Kind: kind, Time: t.Time, Sequence: t.Watermark, Revocation: t.ID, Targets: slices.Clone(t.Targets),
		Reason: t.Reason, Actor: t.Actor, Erases: t.Erases,
	}
}

// Event is the event of the revocation, recorded as the tombstone. token looks up a token; presented is the one whose
// outdated secret caused it, if there is one.
func (r *Revocation) Event(t *domain.Tombstone, token func(ulid.ULID) (domain.RefreshToken, bool), presented *domain.RefreshToken) Event {
	e := revocationEvent(r.Emit, t)
	if presented != nil && r.Emit == KindReused {
		e.name(presented)
	}
	for i := range t.Targets {
		if t.Targets[i].TokenID.IsZero() {
			continue
		}
		if there, ok := token(t.Targets[i].TokenID); ok && t.Covers(&there) {
			e.name(&there)
		}
	}
	return e
}

// name adds a token to those that the event is about, once.
func (e *Event) name(token *domain.RefreshToken) {
	session, _ := token.SessionID.Get()
	named := EventToken{ID: token.ID, UserID: token.UserID, ClientID: token.ClientID, SessionID: session}
	if !slices.Contains(e.Tokens, named) {
		e.Tokens = append(e.Tokens, named)
	}
}

// Clone returns a copy that shares nothing with the event.
func (e Event) Clone() Event {
	e.Tokens, e.Targets = slices.Clone(e.Tokens), slices.Clone(e.Targets)
	return e
}

// Erase leaves nothing of an event but its number, its time and the id of the erasing revocation.
func (e *Event) Erase(by *domain.Tombstone) {
	*e = Event{Number: e.Number, Kind: KindErased, Time: e.Time, Revocation: by.ID}
}

// Scrub makes of an event what an erasing revocation leaves of it, as [domain.Tombstone.Scrub] does of a revocation. One that
// is about the erased user alone becomes an event of [KindErased] under the same number, of which nothing else is left but
// its time and the erasure's id. Of one that is about others too, so much stays as concerns them: a reader that lags must
// not miss the revocation of one user because another was erased.
func (e *Event) Scrub(by *domain.Tombstone, key domain.ErasureKey) domain.Remains {
	switch {
	case e.Sequence > by.Watermark:
		return domain.RemainsAsIs
	case by.ErasesTenant():
		return domain.RemainsNothing
	}
	t := domain.Tombstone{
		ID: e.Revocation, Targets: e.Targets, Watermark: e.Sequence, Reason: e.Reason, Actor: e.Actor, Erases: e.Erases,
	}
	remains := by.Scrub(&t, key)
	user := by.Targets[0].UserID
	var others []EventToken
	for _, token := range e.Tokens {
		if token.UserID != user {
			others = append(others, token)
		}
	}
	var targets []domain.Target
	for _, target := range e.Targets {
		if target.UserID != user {
			targets = append(targets, target)
		}
	}
	named := len(others) < len(e.Tokens) || len(targets) < len(e.Targets)
	alone := len(others) == 0 && !slices.ContainsFunc(targets, func(t domain.Target) bool { return t.TokenID.IsZero() })
	switch {
	case named && alone:
		e.Erase(by)
	case named:
		e.Tokens, e.Targets, e.Reason, e.Actor = others, targets, "", t.Actor
	case remains == domain.RemainsAsIs:
		return remains
	default:
		e.Actor = t.Actor
	}
	return domain.RemainsPseudonymous
}
