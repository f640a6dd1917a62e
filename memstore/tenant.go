package memstore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// tenant is the store of one tenant.
type tenant struct {
	mu      sync.RWMutex
	version atomic.Uint64 // even while the tenant is calm
	closed  bool

	tokens    *table
	byID      idSet
	byDue     sortedSet[dueKey]
	byUser    chains
	bySession chains
	byForeign map[domain.Digest]ulid.ULID

	sequence    uint64
	latest      time.Time // the latest creation time of any token inserted so far
	sessionless int       // tokens without a session
	created     bool      // it was created on purpose
	erased      bool      // it was erased, and nothing has been written since

	pending map[ulid.ULID]*pendingTombstone
	retired map[ulid.ULID]*retiredTombstone
	order   map[bool]*idSet // the ids of pending (false) and retired (true) tombstones
	walkers idSet           // the ids of pending tombstones that are swept by the walk
	fence   fence
	walk    ulid.ULID // how far the walk over all tokens has come in its present lap

	memory
	outbox
}

var _ store.Store = (*tenant)(nil)

func newTenant() *tenant {
	return &tenant{
		tokens:    newTable(),
		byUser:    newChains(byUser, func(r *record) string { return r.userID }),
		bySession: newChains(bySession, (*record).session),
		byForeign: map[domain.Digest]ulid.ULID{},
		pending:   map[ulid.ULID]*pendingTombstone{},
		retired:   map[ulid.ULID]*retiredTombstone{},
		order:     map[bool]*idSet{false: {}, true: {}},
		memory:    memory{guards: map[domain.Anchor]map[string]domain.Guard{}},
	}
}

func (t *tenant) close() {
	t.lock()
	defer t.unlock()
	t.closed = true
}

func (t *tenant) hasPending() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.pending) > 0
}

func (t *tenant) named() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.written()
}

// written reports whether the tenant is named among the others.
func (t *tenant) written() bool {
	held := t.tokens.count + len(t.pending) + len(t.retired) + t.ages.len()
	return t.created || t.sequence > 0 && (!t.erased || held > 0)
}

func (t *tenant) create(ctx context.Context) error {
	t.lock()
	defer t.unlock()
	if err := t.usable(ctx); err != nil {
		return err
	}
	if t.written() {
		return store.ErrExists
	}
	t.created = true
	return nil
}

// usable is asked under the lock.
func (t *tenant) usable(ctx context.Context) error {
	if t.closed {
		return store.ErrClosed
	}
	return ctx.Err()
}

// revokedBy is a pending tombstone that covers the token, or zero.
func (t *tenant) revokedBy(token *domain.RefreshToken) ulid.ULID {
	if len(t.pending) == 0 {
		return ulid.ULID{}
	}
	for p := range t.fence.over(token, domain.AnchorNone) {
		if p.status.Tombstone.Covers(token) {
			return p.status.Tombstone.ID
		}
	}
	return ulid.ULID{}
}

// Get reads one token.
func (t *tenant) Get(ctx context.Context, id ulid.ULID) (v store.View, err error) {
	if there, calm := t.peek(ctx, id, &v.Token); calm && there {
		return v, nil
	}
	return t.get(ctx, id)
}

// get reads one token under the lock.
func (t *tenant) get(ctx context.Context, id ulid.ULID) (v store.View, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return v, err
	}
	r := t.tokens.get(id)
	if r == nil {
		return v, store.ErrNotFound
	}
	r.read(&v.Token)
	v.RevokedBy = t.revokedBy(&v.Token)
	return v, nil
}

// List reads one page.
func (t *tenant) List(ctx context.Context, q store.Query) (store.Page, error) {
	if err := q.Validate(); err != nil {
		return store.Page{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return store.Page{}, err
	}
	ids := t.byID.after(q.After)
	switch {
	case q.SessionID != "":
		ids = t.bySession.after(q.SessionID, q.After)
	case q.UserID != "":
		ids = t.byUser.after(q.UserID, q.After)
	}
	var page store.Page
	for id := range ids {
		token := t.tokens.get(id).token()
		if !q.Matches(&token) || q.Fenced && !t.revokedBy(&token).IsZero() {
			continue
		}
		if len(page.Tokens) == q.Limit { // one more is there, so this page is not the last
			page.Next = page.Tokens[q.Limit-1].ID
			break
		}
		page.Tokens = append(page.Tokens, token)
	}
	return page, nil
}

// Update changes one token.
func (t *tenant) Update(ctx context.Context, id ulid.ULID, decide func(store.View) store.Decision) error {
	t.lock()
	defer t.unlock() // also when decide panics
	if err := t.usable(ctx); err != nil {
		return err
	}
	r := t.tokens.get(id)
	if r == nil {
		return store.ErrNotFound
	}
	view := store.View{Token: r.token()}
	view.RevokedBy = t.revokedBy(&view.Token)
	decision := decide(view)
	if err := decision.Check(&view); err != nil {
		return err
	}
	if decision.Revoke != nil { // it may be refused, so it comes first
		if _, err := t.revoke(*decision.Revoke, &view.Token); err != nil {
			return err
		}
	}
	token := &view.Token
	if decision.Next != nil {
		token = decision.Next
		next := t.replace(r, token)
		if due := token.DueSecond(); due != 0 && (next.due == 0 || due < next.due) {
			t.schedule(next, due) // a life that is cut short; one that is renewed is put off when it comes up
		}
	}
	if decision.Emit != 0 {
		t.emitToken(decision.Emit, decision.Emit, decision.Time, token)
	}
	return decision.Err
}

// replace puts a record of the token as it is from now on in the place of the one that there is.
func (t *tenant) replace(r *record, token *domain.RefreshToken) *record {
	next := newRecord(token)
	next.due = r.due
	_, e := t.tokens.at(t.tokens.ofID(&r.id), &r.id)
	e.record.Store(next)
	t.byUser.replace(r, next)
	if !r.sessionID.IsNull() {
		t.bySession.replace(r, next)
	}
	return next
}

// State counts what is there.
func (t *tenant) State(ctx context.Context) (store.State, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return store.State{}, err
	}
	s := store.State{
		Sequence: t.sequence, Horizon: t.horizon, Tokens: t.tokens.count, Sessionless: t.sessionless,
		Pending: len(t.pending), Guards: t.ages.len(), History: len(t.retired), Events: len(t.events), LastEvent: t.lastEvent,
	}
	for _, p := range t.pending {
		if at := p.status.Tombstone.Time; s.OldestPending.IsZero() || at.Before(s.OldestPending) {
			s.OldestPending = at
		}
	}
	return s, nil
}

// Revocations reads one page of revocations.
func (t *tenant) Revocations(ctx context.Context, q store.RevocationQuery) (store.RevocationPage, error) {
	if err := q.Validate(); err != nil {
		return store.RevocationPage{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return store.RevocationPage{}, err
	}
	var page store.RevocationPage
	for id := range t.order[q.Retired].after(q.After) {
		if len(page.Revocations) == q.Limit {
			page.Next = page.Revocations[q.Limit-1].Tombstone.ID
			break
		}
		status, _ := t.status(id)
		page.Revocations = append(page.Revocations, status)
	}
	return page, nil
}

// Revocation reads one revocation.
func (t *tenant) Revocation(ctx context.Context, id ulid.ULID) (store.Status, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := t.usable(ctx); err != nil {
		return store.Status{}, err
	}
	status, ok := t.status(id)
	if !ok {
		return store.Status{}, store.ErrNotFound
	}
	return status, nil
}

func (t *tenant) status(id ulid.ULID) (store.Status, bool) {
	if p := t.pending[id]; p != nil {
		return copied(p.status), true
	}
	if r := t.retired[id]; r != nil {
		return copied(r.status), true
	}
	return store.Status{}, false
}

// copied is a status that shares nothing with the record.
func copied(s store.Status) store.Status {
	s.Tombstone.Targets = slices.Clone(s.Tombstone.Targets)
	return s
}
