package tokenstoretest

import (
	"errors"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// era is a time at which tokens come in, and then revocations are recorded.
type era struct {
	at          time.Time
	arrivals    []arrival
	revocations [][]tokenstore.Target
}

// arrival is a token that comes in, and what it stems from: if that is a step, the end of the era of number mark.
type arrival struct {
	life *life
	from point
	mark int
}

// roster is what can be drawn from: the tokens that were drawn, let in or not, and the targets.
type roster struct {
	lives   []*life
	targets []tokenstore.Target
}

// drawEras draws one to three, at other times. The first target of each names no id, so that something is recorded in every
// era, whatever has been swept.
func (r *roster) drawEras(t *rapid.T) []era {
	var eras []era
	now := start
	for n := range rapid.IntRange(1, 3).Draw(t, "eras") {
		e := era{at: now}
		for range rapid.IntRange(1, 5).Draw(t, "tokens") {
			e.arrivals = append(e.arrivals, r.drawArrival(t, now, n))
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "revocations") {
			var targets []tokenstore.Target
			for j := range pick(t, "targets", 1, 1, 2, 3) {
				target := r.drawTarget(t, now)
				if i == 0 && j == 0 && !target.TokenID.IsZero() {
					target = tokenstore.Target{UserID: pick(t, "user", users...)}
				}
				r.targets = append(r.targets, target)
				targets = append(targets, target)
			}
			e.revocations = append(e.revocations, targets)
		}
		eras = append(eras, e)
		now = now.Add(pick(t, "step", time.Minute, time.Millisecond, 0, -time.Second, 2*idle))
	}
	return eras
}

// drawArrival draws a token that has not been there, and what it stems from, maybe the end of one of so many eras.
func (r *roster) drawArrival(t *rapid.T, now time.Time, eras int) arrival {
	l := drawGrant(t)
	l.created = pick(t, "created", now, now, now.Add(-idle), now.Add(-absolute), now.Add(10*time.Minute), cutOff.Add(-idle))
	if l.created.Before(cutOff) {
		l.session = ""
	}
	l.id = ulid.ULID{1: byte(rapid.IntRange(0, 255).Draw(t, "id")), 6: 1, 15: byte(len(r.lives))}
	r.lives = append(r.lives, l)
	return r.drawFrom(t, l, now, eras)
}

func (r *roster) drawFrom(t *rapid.T, l *life, now time.Time, eras int) arrival {
	a := arrival{life: l}
	switch kind := pick(t, "from", fromNow, fromTime, fromStep); {
	case kind == fromStep && eras > 0:
		a.from.kind, a.mark = fromStep, rapid.IntRange(0, eras-1).Draw(t, "mark")
	case kind == fromTime:
		a.from = point{kind: fromTime, time: r.drawTime(t, now), skew: pick(t, "skew", 0, 0, time.Second, skew)}
	}
	return a
}

// drawProbe draws a token that comes in after all eras: a new one, or one that was there, if it can be told what is remembered
// of its id.
func (r *roster) drawProbe(t *rapid.T, b *account, now time.Time) arrival {
	var gone []*life
	for _, l := range b.lives {
		named := slices.ContainsFunc(r.targets, func(target tokenstore.Target) bool {
			return target.TokenID == l.id && b.optional[target.Key()]
		})
		if b.covered(l) && b.find(l.id) == l && !named {
			gone = append(gone, l)
		}
	}
	if len(gone) == 0 || rapid.Bool().Draw(t, "new") {
		return r.drawArrival(t, now, len(b.marks))
	}
	l := *rapid.SampledFrom(gone).Draw(t, "token")
	l.created = r.drawTime(t, now)
	return r.drawFrom(t, &l, now, len(b.marks))
}

// drawTarget draws one, maybe the same as one before.
func (r *roster) drawTarget(t *rapid.T, now time.Time) tokenstore.Target {
	if len(r.targets) > 0 && chance(t, "same", 3) {
		return rapid.SampledFrom(r.targets).Draw(t, "target")
	}
	return drawTarget(t, cutOff, func() ulid.ULID {
		if chance(t, "unknown", 6) {
			return pick(t, "id", fixedIDs...)
		}
		return rapid.SampledFrom(r.lives).Draw(t, "token").id
	}, func() time.Time { return r.drawTime(t, now) })
}

// drawTime draws an instant where something may depend on it.
func (r *roster) drawTime(t *rapid.T, now time.Time) time.Time {
	at := []time.Time{now, start}
	for _, l := range r.lives {
		at = append(at, l.created)
	}
	return rapid.SampledFrom(at).Draw(t, "time").Add(pick(t, "offset", 0, 0, time.Millisecond, -time.Millisecond, -time.Hour))
}

// account is what must be true of both tenants, reckoned by the model's rules from what happened to them.
type account struct {
	model
	event    int
	marks    []int                             // the event at the end of each era
	records  map[ulid.ULID]domain.RefreshToken // every token as it was let in, by id
	guards   map[string]domain.Guard           // by the key of the target; the watermark is the place
	history  []domain.Guard                    // the same, not joined
	optional map[string]bool                   // as a twin has it
	gone     int                               // how many tokens history has swept
	horizon  string
}

// arrive has a token come in to both tenants, or be refused by both.
func (b *account) arrive(t *rapid.T, a arrival, plain, other *lawful) {
	if a.from.kind == fromStep {
		a.from.event = b.marks[a.mark]
	}
	want := b.admission(a.life, a.from)
	record, err := plain.arrive(t, a)
	_, otherErr := other.arrive(t, a)
	switch {
	case !errors.Is(otherErr, err):
		fail(t, "law: a set of revocations must bar the same tokens in any order and grouping", "%#v from %#v: as drawn %v, in another way %v", a.life, a.from, err, otherErr)
	case err == nil && !want.admit:
		fail(t, "S4 no resurrection: what a revocation bars must not be let in", "%#v from %#v", a.life, a.from)
	case err != nil && (want.admit || !errors.Is(err, domain.ErrRevoked)):
		fail(t, "S2 exact: what no revocation bars must be let in", "%#v from %#v: %v", a.life, a.from, err)
	case err == nil:
		b.event++
		a.life.event = b.event
		b.add(a.life)
		b.records[a.life.id] = record
	}
}

// revoke takes in the revocations of an era, which have the given place, and ends it.
func (b *account) revoke(e era, place int) {
	through := e.at
	if b.latest.After(through) {
		through = b.latest
	}
	for _, targets := range e.revocations {
		b.event++
		b.revocations = append(b.revocations, &acknowledged{event: b.event, targets: targets, at: e.at, through: through})
		for _, target := range targets {
			g := domain.Guard{Target: target, Watermark: uint64(place), Time: e.at, Through: through}
			b.history = append(b.history, g)
			if there, ok := b.guards[target.Key()]; ok { // each maximum by itself
				if there.Time.After(g.Time) {
					g.Time = there.Time
				}
				if there.Through.After(g.Through) {
					g.Through = there.Through
				}
			}
			b.guards[target.Key()] = g
		}
	}
	b.marks = append(b.marks, b.event)
	b.gone = 0
	for _, l := range b.lives {
		if b.covered(l) {
			b.gone++
		}
	}
}

// forget takes in that all was trimmed: a horizon takes the place of what was remembered.
func (b *account) forget() {
	last, latest := uint64(0), time.Time{}
	for _, g := range b.history {
		last = max(last, g.Watermark)
		if g.Through.After(latest) {
			latest = g.Through
		}
	}
	b.horizon = describeHorizon(domain.Horizon{Time: latest}, int(last))
	b.history, b.guards, b.gone = nil, nil, 0
}

// whole is what the dump of a tenant must be.
func (b *account) whole(w *lawful) []string {
	var tokens, guards, history []string
	for _, l := range b.lives {
		if b.find(l.id) == l && !b.covered(l) {
			tokens = append(tokens, describeStored(l.id, w.describe(b.records[l.id])))
		}
	}
	for key, g := range b.guards {
		if w.remembers() && !b.optional[key] {
			guards = append(guards, describeGuard(g, int(g.Watermark)))
		}
	}
	for _, g := range b.history {
		if !b.optional[g.Target.Key()] {
			history = append(history, describeRevoked(g, int(g.Watermark)))
		}
	}
	lines := sortedOnce(tokens)
	if b.horizon != "" {
		lines = append(lines, b.horizon)
	}
	return slices.Concat(lines, sortedOnce(guards), sortedOnce(history), []string{describeSwept(b.gone)})
}

// sortedOnce returns the lines in order, each once.
func sortedOnce(lines []string) []string {
	slices.Sort(lines)
	return slices.Compact(lines)
}
