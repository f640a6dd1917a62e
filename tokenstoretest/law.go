package tokenstoretest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// runLaws is a case of the laws of a set of revocations: their order, grouping and repetition can't matter, nor when and by
// whom they are swept. Two tenants live through the same eras. In each, tokens come in, and then revocations. The plain
// tenant records these as drawn, and sweeps at the end. The other has the same targets in another order and in other groups,
// some of them twice, and sweeps, by several appliers, and is opened again as it likes. At the end of each era both must
// refuse the same, and at rest their dumps must be the same, and what an account says that asks no store.
func runLaws(t *rapid.T, tb testing.TB, c Config) {
	var drawn roster
	eras := drawn.drawEras(t)
	books := &account{records: map[ulid.ULID]domain.RefreshToken{}, guards: map[string]domain.Guard{}, optional: map[string]bool{}}
	plain := newLawful(t, tb, c, books)
	defer plain.release()
	other := newLawful(t, tb, c, books)
	defer other.release()
	other.page = rapid.IntRange(1, 5).Draw(t, "page")

	for _, e := range eras {
		for _, a := range e.arrivals {
			books.arrive(t, a, plain, other)
		}
		books.revoke(e, len(plain.points))
		for _, targets := range e.revocations {
			plain.revoke(t, ulid.ULID{}, e.at, targets)
		}
		other.revokeInAnotherWay(t, e)
		plain.mark(t)
		other.mark(t)
		if a, b := plain.live(t), other.live(t); !slices.Equal(a, b) {
			fail(t, "law: a set of revocations must refuse the same tokens in any order and grouping", "as drawn:\n%s\nin another way:\n%s", text(a), text(b))
		}
	}
	now := eras[len(eras)-1].at
	plain.converge(t, len(drawn.lives), store.Bounds{Visit: 100, Remove: 100, Now: now})
	other.convergeInAnotherWay(t, len(drawn.lives), now)
	compareWhole(t, books, plain, other)
	for range rapid.IntRange(0, 6).Draw(t, "probes") {
		books.arrive(t, drawn.drawProbe(t, books, now), plain, other)
	}
	plain.trim(t, 100)
	other.trim(t, rapid.IntRange(1, 3).Draw(t, "trim"))
	books.forget()
	compareWhole(t, books, plain, other)
}

// compareWhole compares the dumps of both with each other, and with what must be.
func compareWhole(t *rapid.T, books *account, plain, other *lawful) {
	a, b, want := plain.whole(t), other.whole(t), books.whole(plain)
	if !slices.Equal(a, b) {
		fail(t, "law: a set of revocations must leave the same behind in any order and grouping", "as drawn:\n%s\nin another way:\n%s", text(a), text(b))
	}
	if !slices.Equal(a, want) {
		fail(t, "law: exactly what the revocations name must be gone, and be remembered", "got:\n%s\nwant:\n%s", text(a), text(want))
	}
}

// lawful is a tenant to which the eras happen in one way.
type lawful struct {
	twin
	tb       testing.TB
	config   Config
	marks    []uint64 // the sequence at the end of each era
	recorded int      // how many revocations were asked for
}

func newLawful(t *rapid.T, tb testing.TB, c Config, books *account) *lawful {
	w := &lawful{tb: tb, config: c, twin: newTwin()}
	w.optional = books.optional // what the one may not remember is left out of both dumps
	w.open(t, c.New(tb))
	return w
}

func (w *lawful) release() { _ = w.backend.Close() }

// mark ends an era.
func (w *lawful) mark(t *rapid.T) {
	w.point(t)
	w.marks = append(w.marks, w.points[len(w.points)-1])
}

// live is the canonical form of what is not revoked.
func (w *lawful) live(t *rapid.T) []string {
	var lines []string
	for _, token := range w.tokens(t, true) {
		lines = append(lines, w.describe(token))
	}
	return lines
}

// whole is the canonical form of all that can be seen at rest. Of a revocation, what is the same in any grouping are its targets,
// its times, and its place; which revocations there are, and how many tokens each has looked at or removed, is not, but how many
// all of them removed is.
func (w *lawful) whole(t *rapid.T) []string {
	lines := append(w.dump(t, time.Time{}), w.remembered(t)...) // nothing expires
	var history []string
	swept := 0
	for _, status := range w.revocations(t, true) {
		swept += int(status.Swept)
		for _, g := range status.Tombstone.Guards() {
			if !w.optional[g.Target.Key()] {
				history = append(history, describeRevoked(g, w.place(g.Watermark)))
			}
		}
	}
	return append(append(lines, sortedOnce(history)...), describeSwept(swept))
}

// arrive has a token come in, and returns it as stored, or why it was refused.
func (w *lawful) arrive(t *rapid.T, a arrival) (domain.RefreshToken, error) {
	if a.from.kind == fromStep {
		a.from.sequence = w.marks[a.mark]
	}
	servers, err := domain.NewResourceServers(resourceServers(a.life.audiences)...)
	if err != nil {
		fail(t, "resource servers must be accepted", "%v", err)
	}
	token := domain.RefreshToken{
		ID: a.life.id, UserID: a.life.user, ClientID: a.life.client, SessionID: sessionID(a.life.session), CreatedAt: a.life.created,
		Offline: a.life.offline, ResourceServers: servers,
	}
	rows, err := w.store.Insert(w.ctx, []store.Insertion{{Token: token, AsOf: a.from.asOf()}})
	if err != nil {
		fail(t, "an insertion must succeed as a whole", "%v", err)
	}
	if rows[0].Err == nil {
		w.points = append(w.points, rows[0].Sequence)
	}
	token.Sequence = rows[0].Sequence
	return token, rows[0].Err
}

// revoke records a revocation, under the given id or one of its own.
func (w *lawful) revoke(t *rapid.T, id ulid.ULID, at time.Time, targets []tokenstore.Target) ulid.ULID {
	if w.recorded++; id.IsZero() {
		id = ulid.ULID{0: 1, 15: byte(w.recorded)}
	}
	status, err := w.store.Revoke(w.ctx, store.Revocation{ID: id, Targets: targets, Time: at, Reason: "test"})
	if err != nil {
		fail(t, "a revocation that is within the limits must succeed", "%v", err)
	}
	if _, err := w.store.Revocation(w.ctx, id); errors.Is(err, store.ErrNotFound) && status.Retired {
		w.optionally(targets)
	}
	return id
}

// revokeInAnotherWay records the revocations of an era in another order and in other groups, some of them twice under one id or
// under another, sweeps in between, and is opened again.
func (w *lawful) revokeInAnotherWay(t *rapid.T, e era) {
	for _, targets := range regroup(t, e.revocations) {
		id := ulid.ULID{0: 1, 7: byte(rapid.IntRange(0, 255).Draw(t, "id")), 15: byte(w.recorded)}
		w.revoke(t, id, e.at, targets)
		for range rapid.IntRange(0, 3).Draw(t, "slices") {
			w.applySome(t, e.at)
		}
		if chance(t, "again", 4) && !w.optionalAny(targets) { // what was not recorded would be another one
			w.revoke(t, id, e.at, targets)
		}
		if w.config.Reopen != nil && chance(t, "reopen", 8) {
			w.open(t, w.config.Reopen(w.tb, w.backend))
		}
	}
}

// regroup draws another way to revoke the same targets.
func regroup(t *rapid.T, revocations [][]tokenstore.Target) [][]tokenstore.Target {
	all := slices.Concat(revocations...)
	for range rapid.IntRange(0, 3).Draw(t, "twice") {
		all = append(all, rapid.SampledFrom(all).Draw(t, "target"))
	}
	all = rapid.Permutation(all).Draw(t, "order")
	var groups [][]tokenstore.Target
	for len(all) > 0 {
		n := rapid.IntRange(1, min(len(all), 4)).Draw(t, "group")
		groups = append(groups, all[:n])
		all = all[n:]
	}
	return groups
}

// applySome sweeps a slice of any size, of any pending revocations in any order, as one of several appliers would.
func (w *lawful) applySome(t *rapid.T, now time.Time) {
	pending := w.pending(t)
	if len(pending) == 0 {
		return
	}
	ids := rapid.Permutation(pending).Draw(t, "pending")
	w.apply(t, ids[:rapid.IntRange(1, len(ids)).Draw(t, "ids")], store.Bounds{
		Visit: pick(t, "visit", 1, 2, 3, 5, 100), Remove: pick(t, "remove", 1, 1, 2, 100), Now: now,
	})
}

// convergeInAnotherWay sweeps in slices of any size, or has two appliers at it at once.
func (w *lawful) convergeInAnotherWay(t *rapid.T, tokens int, now time.Time) {
	if chance(t, "atOnce", 3) {
		w.convergeAtOnce(t, tokens, now)
	}
	for range rapid.IntRange(0, 6).Draw(t, "slices") {
		w.applySome(t, now)
	}
	w.converge(t, tokens, store.Bounds{Visit: pick(t, "visit", 1, 3, 100), Remove: pick(t, "remove", 1, 2, 100), Now: now})
}

// convergeAtOnce has two appliers at it at once, for as many slices as each alone could need.
func (w *lawful) convergeAtOnce(t *rapid.T, tokens int, now time.Time) {
	ids, most := w.pending(t), w.mostSlices(t, tokens)
	ids = ids[:min(len(ids), store.MaxSlice)]
	var group sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		group.Go(func() {
			for left, n := len(ids), 0; left > 0 && n < most && errs[i] == nil; n++ {
				var statuses []store.Status
				statuses, errs[i] = w.store.Apply(w.ctx, ids, store.Bounds{Visit: 2 + i, Remove: 1 + i, Now: now})
				left = len(statuses)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		fail(t, "a sweep must succeed", "Apply: %v", err)
	}
}
