package tokenstoretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// caller makes one call after the other, and notes each.
type caller struct {
	round   *round
	history *chronicle
	manager *tokenstore.Manager
	random  *rand.Rand
	process int
	login   *login // an authentication that no token has been issued for yet
	stopped bool
}

type login struct {
	grant    *grant
	sequence uint64
}

func (r *round) caller(tenant int) *caller {
	return &caller{
		round: r, history: r.histories[tenant], manager: r.managers[tenant], process: r.histories[tenant].process(),
		random: rand.New(rand.NewPCG(r.random.Uint64(), 0)),
	}
}

func (p *caller) run(ctx context.Context) {
	for range callsOfCaller {
		if p.stopped {
			return
		}
		p.some(ctx)
	}
}

// some makes one of the calls that there are, or what follows from it.
func (p *caller) some(ctx context.Context) {
	some := p.history.issued()
	kind := choose(p.random, toIssue, toIssue, toIssue, toIssue, toExchange, toExchange, toExchange, toExchange, toExchange,
		toExchange, toExchange, toIntrospect, toIntrospect, toIntrospect, toUpdate, toGet, toList, toList, toRevoke, toRevoke, toRevoke)
	if len(some) == 0 && kind != toRevoke && kind != toList {
		kind = toIssue
	}
	switch kind {
	case toIssue:
		p.issue(ctx)
	case toList:
		p.list(ctx)
	case toRevoke:
		p.revoke(ctx, some)
	default:
		g := choose(p.random, some...)
		if p.random.IntN(2) == 0 { // most of the old ones are dead
			g = choose(p.random, some[max(0, len(some)-4):]...)
		}
		p.use(ctx, kind, g, choose(p.random, 0, 0, 0, 0, 0, 0, 1, 1, 2))
	}
}

// askAll asks for everything, at the end.
func (p *caller) askAll(ctx context.Context) {
	p.list(ctx)
	for _, g := range p.history.issued() {
		for _, kind := range []callKind{toIntrospect, toGet, toUpdate, toExchange} {
			p.use(ctx, kind, g, 0)
		}
	}
	p.list(ctx)
}

// make makes a call, with what is planned for it, and notes it.
func (p *caller) make(ctx context.Context, c *call, do func(context.Context) error) {
	plan := p.plan()
	ctx = plan.context(ctx)
	defer plan.cancel()
	c.process, c.called = p.process, p.round.watch.read()
	err := do(ctx)
	c.returned = p.round.watch.read()
	c.uncertain = plan.uncertain
	switch {
	case err == nil:
		c.fate = done
	case errors.Is(err, tokenstore.ErrInvalidGrant), errors.Is(err, store.ErrNotFound):
		c.fate, c.cause = refused, err
	case errors.Is(err, store.ErrNotCommitted):
		c.fate = nothing
	case errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, context.Canceled):
		c.fate = unknown
		p.process = p.history.process()
	default:
		c.fate = unknown
		p.stopped = true
		p.round.fault(fmt.Errorf("%s: %w", c.kind, err))
	}
	p.history.add(c)
	p.round.pace.tick()
}

// plan draws what goes wrong with a call. That a call is of unknown outcome is rare, because each makes the search for an order longer.
func (p *caller) plan() *plan {
	if !p.round.faulty || p.random.IntN(5) > 0 || p.round.pace.isCalm() || !p.history.unknownsLeft() {
		return &plan{}
	}
	return &plan{mishaps: choose(p.random,
		[]mishap{notCommitted}, []mishap{lostBefore}, []mishap{lostAfter}, []mishap{lostAfter, notCommitted},
		[]mishap{lostBefore, lostBefore, lostBefore}, []mishap{lostAfter, lostAfter, lostAfter},
		[]mishap{cancelBefore}, []mishap{cancelDuring}, []mishap{cancelAfter},
	)}
}

// untilKnown repeats a call whose outcome is unknown, as a rule; each time it is a new one.
func (p *caller) untilKnown(again func() fate) {
	for range 3 {
		if was := again(); was != unknown && was != nothing || p.stopped || p.random.IntN(4) == 0 {
			return
		}
	}
}

func (p *caller) issue(ctx context.Context) {
	if l := p.login; l != nil {
		p.login = nil
		p.issueFor(ctx, l.grant, tokenstore.AsOfSequence(l.sequence))
		return
	}
	asOf := p.random.IntN(3) == 0
	g := p.history.newGrant(life{
		user: choose(p.random, users[:2]...), client: choose(p.random, clients...), session: choose(p.random, "s1", "s2", "s3", ""),
		offline: p.random.IntN(3) == 0, rotating: p.random.IntN(4) > 0,
	}, asOf)
	switch {
	case g == nil:
	case asOf:
		p.make(ctx, &call{kind: toAuthenticate, grant: g}, func(ctx context.Context) error {
			state, err := p.manager.State(ctx)
			p.login = &login{g, state.Sequence}
			return err
		})
	default:
		p.issueFor(ctx, g, tokenstore.AsOf{})
	}
}

func (p *caller) issueFor(ctx context.Context, g *grant, asOf tokenstore.AsOf) {
	c := &call{kind: toIssue, grant: g}
	p.make(ctx, c, func(ctx context.Context) error {
		issued, err := p.manager.Issue(ctx, tokenstore.IssueRequest{
			UserID: g.user, ClientID: g.client, SessionID: sessionID(g.session), Offline: g.offline, Static: !g.rotating, AsOf: asOf,
		})
		if err == nil {
			c.handed = p.history.handedOut(g, issued.Secret, &issued.Token)
		}
		return err
	})
}

// use makes a call that is about one token, with the back-th before its latest secret.
func (p *caller) use(ctx context.Context, kind callKind, g *grant, back int) {
	number, secret := p.history.secret(g, back)
	p.untilKnown(func() fate {
		c := &call{kind: kind, grant: g}
		if kind == toExchange || kind == toIntrospect {
			c.presented = number
		}
		p.make(ctx, c, func(ctx context.Context) (err error) {
			switch kind {
			case toExchange:
				var out tokenstore.Exchanged
				if out, err = p.manager.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: g.client}); err == nil {
					c.handed = p.history.handedOut(g, out.Secret, nil)
				}
			case toIntrospect:
				var seen tokenstore.Introspection
				if seen, err = p.manager.Introspect(ctx, secret); err == nil && !seen.Active {
					err = seen.Cause
				}
			case toUpdate:
				_, err = p.manager.UpdateMetadata(ctx, g.id, map[string]string{"n": strconv.Itoa(p.random.IntN(100))})
			case toGet:
				_, err = p.manager.Get(ctx, g.id, tokenstore.Fenced)
			}
			return err
		})
		return c.fate
	})
}

func (p *caller) list(ctx context.Context) {
	c := &call{kind: toList}
	p.make(ctx, c, func(ctx context.Context) error {
		page, err := p.manager.List(ctx, tokenstore.ListRequest{Limit: store.MaxPage, Consistency: tokenstore.Fenced})
		for _, token := range page.Tokens {
			c.ids = append(c.ids, token.ID)
		}
		return err
	})
}

func (p *caller) revoke(ctx context.Context, some []*grant) {
	var r *cut
	if p.round.faulty && p.random.IntN(6) == 0 {
		r = p.history.earlierCut(p.random)
	}
	if r == nil {
		var id ulid.ULID
		for i := range id {
			id[i] = byte(p.random.Uint32())
		}
		targets := []tokenstore.Target{p.target(some)}
		for p.random.IntN(4) == 0 {
			targets = append(targets, p.target(some))
		}
		r = p.history.newCut(id, targets)
	}
	if r == nil {
		return
	}
	p.untilKnown(func() fate {
		c := &call{kind: toRevoke, cut: r}
		p.make(ctx, c, func(ctx context.Context) error {
			_, err := p.manager.Revoke(ctx, tokenstore.RevokeRequest{ID: r.id, Targets: r.targets})
			return err
		})
		return c.fate
	})
}

// target draws what a revocation names. What has no anchor is rare: 64 of those may be pending, and no more.
func (p *caller) target(some []*grant) tokenstore.Target {
	t := tokenstore.Target{}
	before := instant(p.round.watch.read() - int64(p.random.IntN(int(2*time.Millisecond))))
	switch n := p.random.IntN(24); {
	case n < 6 && len(some) > 0:
		t.TokenID = choose(p.random, some...).id
	case n < 12:
		t.SessionID = choose(p.random, "s1", "s2", "s3")
		t.Offline = choose(p.random, tokenstore.OfflineAny, tokenstore.OfflineAny, tokenstore.OfflineNo)
	case n < 14:
		t.UserID = choose(p.random, users[:2]...)
	case n < 16:
		t.ClientID = choose(p.random, clients...)
	case n < 20:
		t.UserID, t.ClientID = choose(p.random, users[:2]...), choose(p.random, clients...)
	case n < 22:
		t.UserID, t.IssuedBefore = choose(p.random, users[:2]...), before
	case n < 23:
		t.IssuedBefore = before
	default:
		t.Everything = true
	}
	return t
}
