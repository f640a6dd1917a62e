package store

import (
	"cmp"
	"context"
	"iter"
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// Limits of a store's arguments. What breaks them is a [domain.FieldError].
const (
	MaxBatch      = 1000 // MaxBatch is the largest number of tokens of one Insert.
	MaxPage       = 100  // MaxPage is the largest page of a list.
	MaxUnanchored = 64   // MaxUnanchored is the largest number of pending tombstones without an anchor.
	MaxSlice      = 100  // MaxSlice is the largest number of tombstones of one Apply.
)

// Backend is an open database. It is safe for concurrent use.
type Backend interface {
	// Tenant returns the store of a tenant: a cheap view that holds nothing open and starts nothing. A tenant needs no
	// creation. The name is 1..100 characters.
	Tenant(name string) (Store, error)

	// Pending returns up to limit names, at least 1, of tenants that have pending tombstones, ascending in byte order, after
	// the given one (R25). It returns an empty slice at the end, and only there.
	Pending(ctx context.Context, after string, limit int) ([]string, error)

	// Tenants returns up to limit names, at least 1, of tenants that were created or written to, and not erased since,
	// ascending in byte order, after the given one (R32). It returns an empty slice at the end, and only there.
	Tenants(ctx context.Context, after string, limit int) ([]string, error)

	// Create records a tenant that holds nothing yet, so that Tenants names it, or returns [ErrExists] for one that is named
	// already (R32). A tenant needs no creation: the first write to it does as much.
	Create(ctx context.Context, name string) error

	// Close waits for what is in flight and releases the database. Further calls do nothing.
	Close() error
}

// Store holds the tokens and revocations of one tenant. The package comment states its promises; each verb names those
// it is about. It is safe for concurrent use.
type Store interface {
	// Insert adds 1..[MaxBatch] tokens in one commit (R1, R2, R3, R20, R31, R35, R36). The result has one entry a row, in order; the error
	// is for the batch as a whole, of which then nothing was written.
	Insert(ctx context.Context, rows []Insertion) ([]Inserted, error)

	// Get reads one token (R4).
	Get(ctx context.Context, id ulid.ULID) (View, error)

	// Find returns the id of the token that has the foreign digest, covered or not, or [ErrNotFound] (R35).
	Find(ctx context.Context, foreign domain.Digest) (ulid.ULID, error)

	// List reads one page (R5).
	List(ctx context.Context, q Query) (Page, error)

	// Update is the one way to change a token: it reads the record and what covers it, calls decide, and commits the
	// decision, all in one atomic step (R6..R10, R36). decide must be pure, and must not call the store. Update returns
	// [ErrNotFound] without calling decide if there is no such token.
	Update(ctx context.Context, id ulid.ULID, decide func(View) Decision) error

	// Revoke records a revocation (R11..R15, R36). When it returns without error, what the revocation covers is refused by
	// every later Update, on any process that shares the database.
	Revoke(ctx context.Context, r Revocation) (Status, error)

	// Apply sweeps a slice of what the given 1..[MaxSlice] tombstones cover, in their order, until the bounds are reached, and
	// retires those that are done (R16..R19, R36). It returns the status of each tombstone that it got to, in order. Ids
	// that are not pending are passed over. A backend may let one walk over all tokens serve every pending tombstone that
	// has no narrow index, given or not.
	Apply(ctx context.Context, ids []ulid.ULID, bounds Bounds) ([]Status, error)

	// Expire removes tokens that are expired at bounds.Now, within the bounds (R30, R36). Call it again at once while Next is not
	// after that instant. An Update that puts a token's deadline off need not tell it so.
	Expire(ctx context.Context, bounds Bounds) (Expired, error)

	// Revocation returns the status of one revocation, pending or retired and not yet trimmed, or [ErrNotFound].
	Revocation(ctx context.Context, id ulid.ULID) (Status, error)

	// Revocations returns a page of revocations by ascending id.
	Revocations(ctx context.Context, q RevocationQuery) (RevocationPage, error)

	// Trim forgets guards, retired tombstones and events (R22, R39). It returns how much it forgot; call it again while that is anything.
	Trim(ctx context.Context, t Trim) (Trimmed, error)

	// State returns what there is (R26).
	State(ctx context.Context) (State, error)
}

// Insertion is a token to be inserted, and the point that it stems from. The store assigns the token's sequence.
type Insertion struct {
	Token domain.RefreshToken
	AsOf  domain.AsOf
	Cap   Cap
	Emit  Kinds // Emit says which of [KindIssued] and [KindEvicted] to write events of, as of the creation time (R36).
	// Former is the session id that the token had elsewhere, if it is not to keep it. What refuses that session refuses the
	// insertion (R20).
	Former domain.SessionID
}

// Candidates walks what admission is asked about: the token, and the token as it was in its former session. Who walks must not
// change them.
func (i *Insertion) Candidates() iter.Seq[*domain.RefreshToken] {
	return func(yield func(*domain.RefreshToken) bool) {
		if !yield(&i.Token) || i.Former.IsNull() {
			return
		}
		former := i.Token
		former.SessionID = i.Former
		yield(&former)
	}
}

// Validate checks the limits of the row.
func (i *Insertion) Validate() error {
	if i.Cap.Max < 0 {
		return &domain.FieldError{Field: "cap", Limit: "at least 0", Size: i.Cap.Max}
	}
	return i.Token.Validate()
}

// Cap bounds how many live tokens the user and client of an insertion may have, the inserted one among them. Expired (as
// of its creation time) and covered ones don't count. The zero value is no cap.
type Cap struct {
	Max    int  // Max is how many; 0 for any number.
	Refuse bool // Refuse refuses the insertion with [ErrCap], instead of evicting the oldest by creation time and id.
}

// Over is how many of so many live tokens have to go for one more.
func (c Cap) Over(live int) int {
	if c.Max == 0 {
		return 0
	}
	return max(0, live+1-c.Max)
}

// Older compares tokens by the order in which they have to go: by creation time, and by id.
func Older(a, b *domain.RefreshToken) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), a.ID.Compare(b.ID))
}

// Inserted is what became of an Insertion. Err is nil, [ErrExists], [domain.ErrRevoked], [domain.ErrBeyondMemory],
// [ErrDigestTaken] or [ErrCap].
type Inserted struct {
	Err      error
	Sequence uint64                // Sequence is what the token was given, 0 if it was refused. All else of it is as in the row.
	There    *domain.RefreshToken  // There is the record that was there before, for ErrExists.
	Evicted  []domain.RefreshToken // Evicted had to go for it, oldest first; a guard remembers the id of each, so that none can be inserted again.
}

// View is a token as it stands, and the tombstone that covers it.
type View struct {
	Token     domain.RefreshToken
	RevokedBy ulid.ULID // RevokedBy is a tombstone that covers the token, or zero.
}

// Revoked reports whether a tombstone covers the token. A view is large, and so is not copied to be asked.
func (v *View) Revoked() bool { return v.RevokedBy != ulid.ULID{} }

// Decision is what an Update does. A Decision without Next, Revoke and Emit writes nothing. If the store refuses one of them,
// nothing is written, and its error comes before Err.
type Decision struct {
	Next   *domain.RefreshToken // Next replaces the record, if set.
	Revoke *Revocation          // Revoke is recorded, if set, in the same commit.
	Emit   Kinds                // Emit is [KindExchanged] or [KindRetried], to have an event written of it, or zero (R36).
	Time   time.Time            // Time is that of the event.
	Err    error                // Err is returned by Update, after the commit.
}

// Writes reports whether the decision has anything written.
func (d *Decision) Writes() bool { return d.Next != nil || d.Revoke != nil || d.Emit != 0 }

// Check returns why a store has to refuse the decision on a record, or nil. It leaves Revoke aside.
func (d *Decision) Check(v *View) error {
	switch {
	case d.Next == nil && d.Emit == 0:
		return nil
	case v.Revoked():
		return ErrCovered
	case d.Emit != 0 && d.Emit != KindExchanged && d.Emit != KindRetried:
		return &domain.FieldError{Field: "emit", Limit: "exchanged or retried", Size: int(d.Emit)}
	case d.Next == nil:
		return nil
	case !v.Token.SameIdentity(d.Next):
		return ErrImmutable
	}
	return d.Next.Validate()
}

// Query is what a list shows: the tokens of a session, else of a user, else of the whole tenant. ClientID narrows the
// first two, and so does UserID the first.
type Query struct {
	SessionID string
	UserID    string
	ClientID  string
	After     ulid.ULID // After is the cursor: the page starts after this id.
	Limit     int       // Limit is 1..[MaxPage].
	Fenced    bool      // Fenced leaves out what a tombstone covers.
}

// Validate checks the limits of the query.
func (q Query) Validate() error {
	if err := CheckPage(q.Limit); err != nil {
		return err
	}
	if q.ClientID != "" && q.UserID == "" && q.SessionID == "" {
		return &domain.FieldError{Field: "client_id", Limit: "given together with a user or a session"}
	}
	if q.UserID == "" && q.ClientID == "" && q.SessionID == "" {
		return nil
	}
	return q.target().Validate()
}

// Matches reports whether the query shows the token, leaving cursor, limit and fence aside.
func (q Query) Matches(token *domain.RefreshToken) bool {
	target := q.target()
	return target == (domain.Target{}) || target.Matches(token)
}

func (q Query) target() domain.Target {
	return domain.Target{SessionID: q.SessionID, UserID: q.UserID, ClientID: q.ClientID}
}

// Page is a page of tokens by ascending id. Next is the cursor of the next page, or zero on the last.
type Page struct {
	Tokens []domain.RefreshToken
	Next   ulid.ULID
}

// Revocation is a revocation to be recorded. ID is chosen by the caller, and is the idempotency key.
type Revocation struct {
	ID      ulid.ULID
	Targets []domain.Target // Targets are 1..100.
	Time    time.Time
	Reason  string
	Actor   string
	// Erase has the sweep also erase what is remembered of its one target, a user or everything (R33, R34).
	Erase bool
	// Key becomes the tenant's erasure key, if it erases and the tenant has none. An erasure needs one.
	Key domain.ErasureKey
	// Emit is [KindRevoked] or [KindReused], to have an event written of it, or zero (R36). One of the latter is about the
	// token of the Update that records it.
	Emit Kinds
}

// Validate checks the limits of the revocation.
func (r *Revocation) Validate() error {
	if r.ID.IsZero() {
		return &domain.FieldError{Field: "revocation_id", Limit: "a ULID other than zero"}
	}
	if err := checkEntries("targets", len(r.Targets), domain.MaxTargets); err != nil {
		return err
	}
	for _, target := range r.Targets {
		if err := target.Validate(); err != nil {
			return err
		}
	}
	if r.Erase {
		if err := domain.CheckErasure(r.Targets); err != nil {
			return err
		}
		if r.Key == (domain.ErasureKey{}) {
			return &domain.FieldError{Field: "erasure_key", Limit: "set for an erasure"}
		}
	}
	if r.Emit != 0 && r.Emit != KindRevoked && r.Emit != KindReused {
		return &domain.FieldError{Field: "emit", Limit: "revoked or reused", Size: int(r.Emit)}
	}
	if err := domain.CheckReason(r.Reason); err != nil {
		return err
	}
	return domain.CheckActor(r.Actor)
}

// NamesNothing reports whether all targets name ids, and none of them a token that is there, so that there is nothing to do (R13). token
// looks up a token.
func (r *Revocation) NamesNothing(token func(ulid.ULID) (domain.RefreshToken, bool)) bool {
	for i := range r.Targets {
		if r.Targets[i].TokenID.IsZero() {
			return false
		}
		if there, ok := token(r.Targets[i].TokenID); ok && r.Targets[i].Matches(&there) {
			return false
		}
	}
	return true
}

// Status is a revocation and how far its sweep has come.
type Status struct {
	Tombstone domain.Tombstone
	Retired   bool      // Retired says that nothing that it covers is left, and that its erasure, if it is one, is done.
	RetiredAt time.Time // RetiredAt is when it was retired, by the clock of who swept or superseded it.
	Examined  uint64    // Examined is how many tokens the sweep has looked at for it.
	Swept     uint64    // Swept is how many of them it has removed.
	// SupersededBy is the later revocation of the same targets that retired this one, and goes on with its sweep; or zero.
	SupersededBy ulid.ULID
}

// Bounds limit an Apply or an Expire.
type Bounds struct {
	Visit  int       // Visit is how many rows may be looked at: at least 1.
	Remove int       // Remove is how many tokens may be removed: at least 1.
	Now    time.Time // Now becomes the RetiredAt of what is retired, and says what is expired.
	Emit   Kinds     // Emit says which of [KindSwept], [KindErased] and [KindExpired] to write events of (R36).
}

// Validate checks that there is room for progress.
func (b Bounds) Validate() error {
	if b.Visit < 1 || b.Remove < 1 {
		return &domain.FieldError{Field: "bounds", Limit: "at least 1", Size: min(b.Visit, b.Remove)}
	}
	return nil
}

// Expired is what an Expire did.
type Expired struct {
	Examined int       // Examined is how many tokens it looked at.
	Removed  int       // Removed is how many of them it removed.
	Next     time.Time // Next is when there is something to look at again, or zero if there is nothing.
}

// RevocationQuery is what a list of revocations shows.
type RevocationQuery struct {
	Retired bool      // Retired asks for the retired ones instead of the pending ones.
	After   ulid.ULID // After is the cursor.
	Limit   int       // Limit is 1..[MaxPage].
}

// Validate checks the limits of the query.
func (q RevocationQuery) Validate() error { return CheckPage(q.Limit) }

// RevocationPage is a page of revocations by ascending id. Next is the cursor of the next page, or zero on the last.
type RevocationPage struct {
	Revocations []Status
	Next        ulid.ULID
}

// Trim says what may be forgotten: guards of revocations asked for before Guards, retired tombstones retired before
// History, and events from before Events, at most Limit of each.
type Trim struct {
	Guards  time.Time
	History time.Time
	Events  time.Time
	Limit   int // Limit is at least 1.
}

// Validate checks the limits of the trim.
func (t Trim) Validate() error { return CheckLimit(t.Limit) }

// Trimmed is how much a Trim forgot.
type Trimmed struct {
	Guards  int
	History int
	Events  int
}

// State is what a store holds.
type State struct {
	Sequence      uint64         // Sequence is the number of the latest insert or revocation: an exact as-of point.
	Horizon       domain.Horizon // Horizon bounds what has been forgotten.
	Tokens        int            // Tokens is the number of records, covered ones included.
	Sessionless   int            // Sessionless is how many of them have a null session id, as legacy tokens do.
	Pending       int            // Pending is the number of tombstones that are being swept.
	OldestPending time.Time      // OldestPending is when the oldest of them was asked for; zero if there is none.
	Guards        int            // Guards is the number of guards.
	History       int            // History is the number of retired tombstones.
	Events        int            // Events is the number of events in the outbox.
	LastEvent     uint64         // LastEvent is the number of the latest event: the cursor of a reader that wants what comes.
}
