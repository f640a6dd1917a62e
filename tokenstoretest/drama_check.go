package tokenstoretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// What is checked of a drama. Each verb takes effect at a known place of the schedule, so the model knows at every step who is
// revoked: it orders by the schedule alone. At the end the oracle of real time, which knows the answers of the calls only, has its
// say as well.

// look is what an Update saw last.
type look struct {
	made     bool
	view     store.View
	covered  bool // by the model, at that moment
	decision store.Decision
}

// player is who makes a call: an actor, or what comes before all of them.
func (d *drama) player(a *actor) *actor {
	if a == nil {
		return d.current
	}
	return a
}

func (d *drama) doing(a *actor) *task {
	p := d.player(a)
	return &p.tasks[p.next]
}

// covers reports whether a revocation that took effect covers the token.
func (d *drama) covers(id ulid.ULID) bool {
	l := d.model.find(id)
	return l != nil && d.model.covered(l)
}

func (d *drama) inserted(a *actor, rows []store.Insertion, inserted []store.Inserted) {
	p := d.player(a)
	p.tries++
	from := p.from
	if p.tries > 1 && from.kind == fromNow { // a repeated attempt stems from the first
		from = point{kind: fromTime, time: d.now()}
	}
	for i, row := range rows {
		session, _ := row.Token.SessionID.Get()
		l := &life{
			id: row.Token.ID, user: row.Token.UserID, client: row.Token.ClientID, session: session, created: row.Token.CreatedAt,
		}
		err := inserted[i].Err
		if errors.Is(err, store.ErrExists) {
			if d.model.find(l.id) == nil {
				d.fail("R2 exists: an id is said to be taken, and nobody took it", "%v", l)
			}
			continue
		}
		d.tell(d.named(a, l.id))
		must := d.model.admission(l, from)
		switch {
		case err == nil && !must.admit:
			d.fail("S4 no resurrection: what a revocation bars was let in", "%v, stemming from %#v", d.doing(a), from)
		case err != nil && !must.refuse && !d.forgotten(from):
			d.fail("S2 exact: what no revocation bars was refused", "%v, stemming from %#v: %v", d.doing(a), from, err)
		}
		if err == nil {
			d.event++
			l.event = d.event
			d.model.add(l)
		}
	}
}

// forgotten reports whether a guard may have been forgotten that stems from the same time as the point, or a later one.
func (d *drama) forgotten(from point) bool {
	return slices.ContainsFunc(d.model.revocations, func(r *acknowledged) bool { return r.forgettable && from.before(r) })
}

func (d *drama) updated(a *actor, id ulid.ULID, last look, err error) {
	d.player(a).tries++
	d.tell(d.doing(a).String())
	if !last.made {
		d.absent(a, id, err)
		return
	}
	d.fence(a, last.view, last.covered)
	if r := last.decision.Revoke; r != nil && errors.Is(err, tokenstore.ErrReused) {
		d.revokes(*r)
	}
	if last.covered && last.decision.Next != nil && err == nil {
		d.fail("S1 fence: a revoked token was changed", "%v", d.doing(a))
	}
}

func (d *drama) gotten(a *actor, id ulid.ULID, v store.View, err error) {
	if a == nil {
		return
	}
	d.tell(d.doing(a).String())
	if err != nil {
		d.absent(a, id, err)
		return
	}
	d.fence(a, v, d.covers(id))
}

// fence checks that a verb sees a token as revoked if it is.
func (d *drama) fence(a *actor, v store.View, covered bool) {
	switch {
	case covered && !v.Revoked():
		d.fail("S1 fence: a token is not seen as revoked after its revocation was acknowledged", "%v", d.doing(a))
	case !covered && v.Revoked():
		d.fail("S2 exact: a token is seen as revoked that no revocation covers", "%v", d.doing(a))
	}
}

// absent checks that a token is gone for a reason.
func (d *drama) absent(a *actor, id ulid.ULID, err error) {
	if !errors.Is(err, store.ErrNotFound) || !d.covers(id) {
		d.fail("S2 exact: a token is gone that no revocation covers", "%v: %v", d.doing(a), err)
	}
}

func (d *drama) revoked(a *actor, r store.Revocation) {
	d.player(a).tries++
	d.tell(d.doing(a).String())
	d.revokes(r)
}

func (d *drama) revokes(r store.Revocation) {
	if d.model.findRevocation(r.ID) != nil {
		return
	}
	d.event++
	through := r.Time
	if d.model.latest.After(through) {
		through = d.model.latest
	}
	d.model.revocations = append(d.model.revocations, &acknowledged{event: d.event, id: r.ID, targets: r.Targets, at: r.Time, through: through})
}

func (d *drama) trimmed(a *actor, t store.Trim) {
	d.tell(d.doing(a).String())
	d.model.forget(t.Guards)
}

func (d *drama) applied(a *actor) {
	if a != nil && a.name != "planner" {
		d.tell("slice at=" + a.name)
		return
	}
	d.tell("slice")
}

// stored is what a store shows of itself.
type stored struct {
	tokens, fenced   []domain.RefreshToken
	pending, retired []store.Status
	state            store.State
}

func (d *drama) look() stored {
	ctx := context.Background()
	var s stored
	pages := [2]*[]domain.RefreshToken{&s.tokens, &s.fenced}
	var err error
	for i, into := range pages {
		page, failed := d.plain.List(ctx, store.Query{Limit: store.MaxPage, Fenced: i == 1})
		*into, err = page.Tokens, errors.Join(err, failed)
	}
	for i, into := range [2]*[]store.Status{&s.pending, &s.retired} {
		page, failed := d.plain.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage, Retired: i == 1})
		*into, err = page.Revocations, errors.Join(err, failed)
	}
	var failed error
	s.state, failed = d.plain.State(ctx)
	if err = errors.Join(err, failed); err != nil {
		d.scratch.Fatal(err)
	}
	return s
}

func has(tokens []domain.RefreshToken, id ulid.ULID) bool {
	return slices.ContainsFunc(tokens, func(t domain.RefreshToken) bool { return t.ID == id })
}

// check checks the state that a step led to, and notes it.
func (d *drama) check() {
	s := d.look()
	for _, l := range d.model.lives {
		there, live := has(s.tokens, l.id), has(s.fenced, l.id)
		switch covered := d.model.covered(l); {
		case !covered && !live:
			d.fail("S2 exact: a token is missing that no revocation covers", "%s", d.label(l.id))
		case covered && live && l.gone:
			d.fail("S4 no resurrection: a token is back that was revoked and swept", "%s", d.label(l.id))
		case covered && live && l.refused:
			d.fail("S3 monotone: a token is live again that was seen revoked", "%s", d.label(l.id))
		case covered && live:
			d.fail("S1 fence: a revoked token is shown as live", "%s", d.label(l.id))
		case covered:
			l.refused, l.gone = true, l.gone || !there
		}
	}
	for i := range s.tokens {
		if d.model.find(s.tokens[i].ID) == nil {
			d.fail("S4 no resurrection: a token is there that was never let in", "%s", s.tokens[i].ID)
		}
	}
	for _, status := range s.retired {
		r := d.model.findRevocation(status.Tombstone.ID)
		for _, l := range d.model.lives {
			if r != nil && status.SupersededBy.IsZero() && l.event < r.event && r.names(l) && has(s.tokens, l.id) {
				d.fail("L1 converge: a revocation is retired, and what it covers is still there", "%s, of %s", d.label(l.id), d.cutName(r.id))
			}
		}
	}
	d.explorer.see(d.describe(s))
}

// describe is the text of a state: what the store shows of itself, with names instead of ids, and where everybody stands.
func (d *drama) describe(s stored) string {
	var b strings.Builder
	for _, l := range d.model.lives {
		i := slices.IndexFunc(s.tokens, func(t domain.RefreshToken) bool { return t.ID == l.id })
		if i >= 0 {
			fmt.Fprint(&b, d.label(l.id), s.tokens[i].Generation, has(s.fenced, l.id), l.event, ";")
		}
	}
	for _, status := range slices.Concat(s.pending, s.retired) {
		r := d.model.findRevocation(status.Tombstone.ID)
		if r != nil {
			fmt.Fprint(&b, d.cutName(r.id), r.event, status.Retired, status.Examined, status.Swept, ";")
		}
	}
	fmt.Fprint(&b, s.state.Guards, s.state.Horizon, d.crashes, d.losses)
	for _, a := range d.actors {
		fmt.Fprint(&b, ";", a.name, a.next, a.begun, a.parked, a.verb, a.tries, a.answer)
	}
	return b.String()
}

// final checks what is left once all has come to rest.
func (d *drama) final() {
	d.check()
	for _, token := range d.look().tokens {
		if d.covers(token.ID) {
			d.fail("L1 converge: everything has retired, and a revoked token is still there", "%s", d.label(token.ID))
		}
	}
	d.free = true
	for _, name := range d.heldNames() {
		d.perform(context.Background(), nil, &task{kind: toIntrospect, name: name})
	}
	if d.broken != nil {
		return
	}
	d.past.prepare()
	if promise, shown := d.past.violation(); promise != "" {
		var lines []string
		for _, c := range shown {
			lines = append(lines, fmt.Sprintf("%d .. %d: %v", c.called, c.returned, c))
		}
		d.fail(promise, "%s", strings.Join(lines, "\n"))
	}
}
