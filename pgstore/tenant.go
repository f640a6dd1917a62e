package pgstore

import (
	"context"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// tenant is the store of one tenant.
type tenant struct {
	backend *Backend
	name    string
	id      identity
}

var _ store.Store = (*tenant)(nil)

// create gives the tenant a row, which says nothing yet.
func (s *tenant) create(ctx context.Context) error {
	return s.write(ctx, lockShared, func(t *tx) error {
		t.do(step{sql: t.q.addTenant, args: []any{t.tenant, s.name}})
		return t.commit(ctx)
	})
}

// head is a tenant's row, and what it has drawn.
type head struct {
	created       bool
	base          number
	erasedThrough *number // its sequence when it was erased, nil for never
	horizon       domain.Horizon
	erasureKey    domain.ErasureKey
	origin        ulid.ULID
	complete      bool
	floor         number // events up to here have been dropped
	drawn         []uint64

	totals
	unswept int // pending tombstones
}

// totals are what a tenant holds, and how far it has come.
type totals struct {
	tokens, sessionless, guards, history, events int64
	sequence                                     number
	latest                                       time.Time
}

// written reports whether the tenant is named among the others.
func (h *head) written() bool {
	held := h.tokens + h.guards + h.history + int64(h.unswept)
	return h.created || h.sequence > 0 && (h.erasedThrough == nil || *h.erasedThrough != h.sequence || held > 0)
}

// next is the n-th number that was drawn. In the portable mode it is raised above what it has to follow.
func (h *head) next(n int, above uint64) uint64 { return max(uint64(h.base)+h.drawn[n], above+1) }

// headStep reads a tenant's row, and draws numbers. found is set if there is one.
func (t *tx) headStep(h *head, numbers int, found *bool) step {
	return step{t.q.head, []any{t.tenant, numbers}, func(row pgx.Rows) error {
		var key, drawn = octets(h.erasureKey[:]), []int64(nil)
		var through instant
		err := row.Scan(&h.created, &h.base, &h.erasedThrough, (*number)(&h.horizon.Sequence), &through.at, &through.ns, key,
			(*identity)(&h.origin), &h.complete, &h.floor, &drawn)
		h.horizon.Time = through.time()
		for _, n := range drawn {
			h.drawn = append(h.drawn, uint64(n))
		}
		*found = true
		return err
	}}
}

// totalSteps read what the tenant holds.
func (t *tx) totalSteps(h *head) []step {
	return []step{
		{t.q.totals, []any{t.tenant}, func(row pgx.Rows) error {
			var latest instant
			err := row.Scan(&h.tokens, &h.sessionless, &h.guards, &h.history, &h.events, &h.sequence, &latest.at, &latest.ns)
			h.latest = latest.time()
			return err
		}},
		{t.q.pending, []any{t.tenant}, func(row pgx.Rows) error { return row.Scan(&h.unswept) }},
	}
}

// head reads all that a tenant's row and its tally say, and what is fetched with them. A tenant without a row gets one.
func (t *tx) head(ctx context.Context, numbers int, more ...step) (*head, error) {
	h, found := &head{}, false
	steps := append([]step{t.headStep(h, numbers, &found)}, t.totalSteps(h)...)
	if err := t.fetch(ctx, append(steps, more...)...); err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoTenant
	}
	return h, nil
}

// save writes the tenant's row.
func (t *tx) save(h *head) {
	through := instantOf(h.horizon.Time)
	t.do(step{sql: t.q.saveHead, args: []any{
		t.tenant, h.created, h.base, h.erasedThrough, number(h.horizon.Sequence), through.at, through.ns,
		octets(h.erasureKey[:]), identity(h.origin), h.complete, h.floor,
	}})
}

// tally is what a transaction adds to what the tenant holds.
type tally struct {
	touched                                      bool
	tokens, sessionless, guards, history, events int64
	sequence                                     uint64
	latest                                       time.Time
}

func (t *tx) add(change tally) {
	t.tally.touched = true
	t.tally.tokens += change.tokens
	t.tally.sessionless += change.sessionless
	t.tally.guards += change.guards
	t.tally.history += change.history
	t.tally.events += change.events
	t.tally.sequence = max(t.tally.sequence, change.sequence)
	if change.latest.After(t.tally.latest) {
		t.tally.latest = change.latest
	}
}

// tallied is the statement that adds it, the last of a transaction, so that nobody waits for anybody who holds a part and waits himself. In
// the portable mode every writer writes a part: a revocation reads them all, so that it and a writer that has not seen it can't both commit.
func (t *tx) tallied() []step {
	if !t.tally.touched && !t.backend.opts.Serializable {
		return nil
	}
	latest := instantOf(t.tally.latest)
	c := &t.tally
	return []step{{sql: t.q.addTally, args: []any{
		t.tenant, c.tokens, c.sessionless, c.guards, c.history, c.events, number(c.sequence), latest.at, latest.ns,
	}}}
}

// State counts what is there. It is read while nobody writes events, so that all events up to the last one are there.
func (s *tenant) State(ctx context.Context) (state store.State, err error) {
	err = s.read(ctx, lockFeed, func(t *tx) error {
		state = store.State{}
		return t.finish(ctx, step{t.q.state, []any{t.tenant}, func(row pgx.Rows) error {
			var horizon, oldest instant
			err := row.Scan((*number)(&state.Sequence), (*number)(&state.Horizon.Sequence), &horizon.at, &horizon.ns, &state.Tokens, &state.Sessionless,
				&state.Pending, &oldest.at, &oldest.ns, &state.Guards, &state.History, &state.Events, (*number)(&state.LastEvent))
			state.Horizon.Time, state.OldestPending = horizon.time(), oldest.time()
			return err
		}})
	})
	return state, err
}
