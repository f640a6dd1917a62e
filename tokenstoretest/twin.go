package tokenstoretest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// twin is one of several tenants that live through the same, on backends of their own. What can be seen of them must be the
// same: not nearly, but byte for byte in a dump of canonical form. Numbers that a store assigns as it likes, the sequence and
// what follows from it, are written as places among the points.
type twin struct {
	ctx     context.Context
	backend store.Backend
	store   store.Store
	page    int // rows of a page, of whatever list

	// points are numbers of the sequence that every twin has come to at the same step: those of the tokens that were let in, and
	// the tenant's at some steps.
	points []uint64

	// optional are the targets of revocations that had nothing to record, as every target names an id and no token of
	// those was there (R13): one that looks later finds nothing where an earlier one did. What is remembered of them is left
	// out of the dump, as it may be there or not; by their key.
	optional map[string]bool
}

func newTwin() twin {
	return twin{ctx: context.Background(), page: store.MaxPage, optional: map[string]bool{}}
}

// open has the twin go on with a backend.
func (w *twin) open(t *rapid.T, b store.Backend) {
	st, err := b.Tenant(tenantNames[0])
	if err != nil {
		fail(t, "a tenant needs no creation", "Backend.Tenant: %v", err)
	}
	w.backend, w.store = b, st
}

// place is the canonical form of a number of the sequence: how many points lie before it.
func (w *twin) place(sequence uint64) int {
	n := 0
	for _, p := range w.points {
		if p < sequence {
			n++
		}
	}
	return n
}

// point makes the sequence as it is now a point.
func (w *twin) point(t *rapid.T) {
	w.points = append(w.points, w.state(t).Sequence)
}

func (w *twin) state(t *rapid.T) store.State {
	state, err := w.store.State(w.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	return state
}

// optionally notes that the revocation of the targets may or may not have been recorded.
func (w *twin) optionally(targets []tokenstore.Target) {
	for _, target := range targets {
		w.optional[target.Key()] = true
	}
}

func (w *twin) optionalAny(targets []tokenstore.Target) bool {
	return slices.ContainsFunc(targets, func(target tokenstore.Target) bool { return w.optional[target.Key()] })
}

// tokens lists all that are stored, or all that are stored and not covered, in pages.
func (w *twin) tokens(t *rapid.T, fenced bool) []domain.RefreshToken {
	return pages(t, "a list must be read to its end", func(after ulid.ULID) ([]domain.RefreshToken, ulid.ULID, error) {
		page, err := w.store.List(w.ctx, store.Query{After: after, Limit: w.page, Fenced: fenced})
		return page.Tokens, page.Next, err
	})
}

// revocations lists what is pending, or what is retired, in pages.
func (w *twin) revocations(t *rapid.T, retired bool) []store.Status {
	return pages(t, "revocations must be read to their end", func(after ulid.ULID) ([]store.Status, ulid.ULID, error) {
		page, err := w.store.Revocations(w.ctx, store.RevocationQuery{Retired: retired, After: after, Limit: w.page})
		return page.Revocations, page.Next, err
	})
}

// remembers reports whether the store shows what it remembers of revocations.
func (w *twin) remembers() bool {
	_, ok := store.As[store.Mover](w.store)
	return ok
}

// guards lists what is remembered, in pages, each guard once; none if the store does not hand it over.
func (w *twin) guards(t *rapid.T) []domain.Guard {
	mover, ok := store.As[store.Mover](w.store)
	if !ok {
		return nil
	}
	all := pages(t, "guards must be read to their end", func(after string) ([]domain.Guard, string, error) {
		page, err := mover.Guards(w.ctx, store.GuardQuery{After: after, Limit: w.page})
		return page.Guards, page.Next, err
	})
	var once []domain.Guard
	for _, g := range all {
		if !slices.ContainsFunc(once, func(other domain.Guard) bool { return other.Target.Key() == g.Target.Key() }) {
			once = append(once, g)
		}
	}
	return once
}

// pages reads pages until there is no next.
func pages[T any, C comparable](t *rapid.T, promise string, page func(after C) ([]T, C, error)) []T {
	var all []T
	var after, none C
	for n := 0; ; n++ {
		rows, next, err := page(after)
		if err != nil || n > 10_000 {
			fail(t, promise, "after %d pages: %v", n, err)
		}
		all = append(all, rows...)
		if next == none {
			return all
		}
		after = next
	}
}

// pending is what there is to sweep.
func (w *twin) pending(t *rapid.T) []ulid.ULID {
	var ids []ulid.ULID
	for _, status := range w.revocations(t, false) {
		ids = append(ids, status.Tombstone.ID)
	}
	return ids
}

// apply sweeps one slice.
func (w *twin) apply(t *rapid.T, ids []ulid.ULID, bounds store.Bounds) {
	if _, err := w.store.Apply(w.ctx, ids[:min(len(ids), store.MaxSlice)], bounds); err != nil {
		fail(t, "a sweep must succeed", "Apply: %v", err)
	}
}

// converge sweeps until nothing is pending, which must be so after as many slices as there is work for.
func (w *twin) converge(t *rapid.T, tokens int, bounds store.Bounds) {
	for left := w.mostSlices(t, tokens); ; left-- {
		pending := w.pending(t)
		if len(pending) == 0 {
			return
		}
		if left == 0 {
			fail(t, "L1 converge: every revocation must retire within bounds", "%v pending", pending)
		}
		w.apply(t, pending, bounds)
	}
}

// mostSlices bounds how many slices sweep what is pending: each looks at every token at most twice for every target.
func (w *twin) mostSlices(t *rapid.T, tokens int) int {
	most := 16
	for _, status := range w.revocations(t, false) {
		most += 2 * len(status.Tombstone.Targets) * (tokens + 2)
	}
	return most
}

// trim has the tenant forget all that is retired.
func (w *twin) trim(t *rapid.T, limit int) {
	late := start.AddDate(100, 0, 0)
	for n := 0; ; n++ {
		done, err := w.store.Trim(w.ctx, store.Trim{Guards: late, History: late, Events: late, Limit: limit})
		if err != nil || n > 10_000 {
			fail(t, "a trim must succeed and come to an end", "Trim: %+v, %v", done, err)
		}
		if done == (store.Trimmed{}) {
			return
		}
	}
}

// dump is the canonical form of a tenant at rest, what it remembers and its history aside: the records, and the horizon. It checks
// that the tenant counts right what it shows. An expired token, as of now, is removed some time, and is left out.
func (w *twin) dump(t *rapid.T, now time.Time) []string {
	stored, fenced := w.tokens(t, false), w.tokens(t, true)
	pending, retired, guards, state := w.revocations(t, false), w.revocations(t, true), w.guards(t), w.state(t)
	sessionless := 0
	for _, token := range stored {
		if token.SessionID.IsNull() {
			sessionless++
		}
	}
	if state.Tokens != len(stored) || state.Sessionless != sessionless || state.Pending != len(pending) || state.History != len(retired) ||
		w.remembers() && state.Guards != len(guards) {
		fail(t, "State must count what is there", "%+v, shown are %d tokens, %d of them without a session, %d pending, %d retired, %d guards",
			state, len(stored), sessionless, len(pending), len(retired), len(guards))
	}
	if len(pending) > 0 || len(fenced) != len(stored) {
		fail(t, "L1 converge: nothing must be covered at rest", "%d pending, %d of %d tokens covered", len(pending), len(stored)-len(fenced), len(stored))
	}
	var lines []string
	for _, token := range stored {
		if !overdue(&token, now) {
			lines = append(lines, describeStored(token.ID, w.describe(token)))
		}
	}
	if h := state.Horizon; h != (domain.Horizon{}) {
		lines = append(lines, describeHorizon(h, w.place(h.Sequence)))
	}
	return lines
}

// remembered is the canonical form of the guards, those of optional targets aside.
func (w *twin) remembered(t *rapid.T) []string {
	var lines []string
	for _, g := range w.guards(t) {
		if !w.optional[g.Target.Key()] {
			lines = append(lines, describeGuard(g, w.place(g.Watermark)))
		}
	}
	slices.Sort(lines)
	return lines
}

// describe is the canonical form of a record: every field, with instants in one zone, and its number as a place.
func (w *twin) describe(token domain.RefreshToken) string {
	place := w.place(token.Sequence)
	token.Sequence = 0
	for _, at := range []*time.Time{
		&token.CreatedAt, &token.AuthenticatedAt, &token.ExpiresAt, &token.IdleExpiresAt, &token.LastExchangedAt, &token.RotatedAt,
	} {
		*at = at.Round(0).UTC()
	}
	return fmt.Sprintf("#%d %+v", place, token)
}

func describeStored(id ulid.ULID, record string) string {
	return fmt.Sprintf("token %s: %s", id, record)
}

func describeGuard(g domain.Guard, place int) string {
	return fmt.Sprintf("guard %s after #%d, %s, through %s", describeTarget(g.Target), place, moment(g.Time), moment(g.Through))
}

func describeRevoked(g domain.Guard, place int) string { return "revoked: " + describeGuard(g, place) }

func describeHorizon(h domain.Horizon, place int) string {
	return fmt.Sprintf("horizon after #%d, %s", place, moment(h.Time))
}

func describeSwept(tokens int) string { return fmt.Sprintf("swept: %d", tokens) }

// describeTargets is the canonical form of targets: the constraints that are set, with instants in one zone.
func describeTargets(targets []tokenstore.Target) string {
	var all []string
	for _, target := range targets {
		all = append(all, describeTarget(target))
	}
	return strings.Join(all, " ")
}

func describeTarget(t tokenstore.Target) string {
	var set []string
	for _, c := range []struct {
		name, value string
		constrains  bool
	}{
		{"id", t.TokenID.String(), !t.TokenID.IsZero()},
		{"user", t.UserID, t.UserID != ""},
		{"client", t.ClientID, t.ClientID != ""},
		{"session", t.SessionID, t.SessionID != ""},
		{"audience", t.Audience, t.Audience != ""},
		{"issued before", moment(t.IssuedBefore), !t.IssuedBefore.IsZero()},
		{"legacy before", moment(t.LegacyBefore), !t.LegacyBefore.IsZero()},
		{"offline", fmt.Sprint(t.Offline), t.Offline != tokenstore.OfflineAny},
		{"everything", "yes", t.Everything},
	} {
		if c.constrains {
			set = append(set, c.name+" "+c.value)
		}
	}
	return "[" + strings.Join(set, ", ") + "]"
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func text(lines []string) string { return strings.Join(lines, "\n") }

func overdue(token *domain.RefreshToken, now time.Time) bool {
	return reached(token.ExpiresAt, now) || reached(token.IdleExpiresAt, now)
}
