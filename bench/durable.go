package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"example.com/tokenstore"
)

// onDisk compares what is durable, at its full durability.
func (b *bench) onDisk(ctx context.Context) (err error) {
	p := newPopulation(2, b.tokens/10)
	contenders := []*contender{
		tokenstoreBolt(b.dir, boltName, tokenstore.NoOutbox), tokenstoreBolt(b.dir, eventsName, tokenstore.AllKinds),
		boltBatch(b.dir), pebbleStore(b.dir), syncFloor(b.dir), boltBare(b.dir),
	}
	servers, err := b.servers(ctx)
	if err != nil {
		return err
	}
	contenders = append(contenders, servers...)
	defer func() { err = errors.Join(err, closeAll(contenders)) }()
	rows := p.rows(0, b.tokens)
	for _, c := range contenders {
		b.told = append(b.told, *c)
		began := time.Now()
		if err := c.load(ctx, rows); err != nil {
			return err
		}
		b.logf("%-36s loaded %d tokens in %s", c.name, b.tokens, time.Since(began).Round(time.Millisecond))
	}
	for _, c := range contenders { // caches and connections are warm before anything is measured
		if op := scattered(c, b.tokens, c.get); op != nil {
			if _, err := c.measured(ctx, task{op: op, callers: slices.Max(callers), most: b.most, last: 2 * b.turn}); err != nil {
				return err
			}
		}
	}
	new := supply{population: p, made: b.tokens, each: b.most}
	for _, n := range callers {
		err := b.hold(ctx, contenders, contest{measure: "issue", callers: n, clocked: true, operation: func(c *contender, round int) operation {
			if !b.floorHasTurn(c, named("issue", n), n) {
				return nil
			}
			return new.issue(c, round)
		}})
		if err != nil {
			return err
		}
	}
	for _, n := range callers {
		err := b.hold(ctx, contenders, contest{measure: "exchange", callers: n, clocked: true, operation: func(c *contender, _ int) operation {
			if !b.floorHasTurn(c, named("exchange", n), n) {
				return nil
			}
			return scattered(c, b.tokens, c.exchange)
		}})
		if err != nil {
			return err
		}
	}
	for _, n := range callers[:2] {
		err := errors.Join(
			b.hold(ctx, contenders, contest{measure: "get", callers: n, clocked: true, operation: func(c *contender, _ int) operation { return scattered(c, b.tokens, c.get) }}),
			b.hold(ctx, contenders, contest{measure: "introspect", callers: n, clocked: true, operation: func(c *contender, _ int) operation { return scattered(c, b.tokens, c.verify) }}),
		)
		if err != nil {
			return err
		}
	}
	return b.hold(ctx, contenders, contest{measure: "revoke one", callers: 1, clocked: true, operation: func(c *contender, _ int) operation {
		return scattered(c, b.tokens, c.revoke)
	}})
}

// floorHasTurn reports whether a contender has a turn with as many callers. It tells the floor that writes in groups how
// large boltstore's were when it was last its turn.
func (b *bench) floorHasTurn(c *contender, key string, callers int) bool {
	switch turns := b.results[key][boltName]; {
	case !c.floor:
	case c.group == nil:
		return callers == 1
	case len(turns) > 0:
		*c.group = max(1, int(math.Round(turns[len(turns)-1].group)))
	}
	return true
}
