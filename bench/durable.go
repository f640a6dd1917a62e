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
	for _, c := range contenders {
		if op := b.exchanging(c, 0); op != nil && !c.floor {
			t, err := c.measured(ctx, task{op: op, callers: slices.Max(callers), most: leftFor * b.most, last: leftMost * b.turn})
			if err != nil {
				return err
			}
			if c.name == boltName {
				b.facts.add("exchanges before", float64(t.calls))
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
	for i, n := range callers {
		err := b.hold(ctx, contenders, contest{measure: "exchange", callers: n, clocked: true, operation: func(c *contender, _ int) operation {
			if !b.floorHasTurn(c, named("exchange", n), n) {
				return nil
			}
			return b.exchanging(c, i+1)
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

// Exchanges leave something to those after them. Before any are measured, as many are made as so many turns have at most, or as there is time for in
// so many.
const (
	leftFor  = 2
	leftMost = 30
)

// exchanging is the operation of exchanging tokens of one part of all that are loaded, of which each measure has another. The first part is
// exchanged before any is measured: whoever leaves something to the exchanges to come, such as records that are yet to be put into their places, has
// to do it in the turns that are measured.
func (b *bench) exchanging(c *contender, part int) operation {
	op := scattered(c, b.tokens, c.exchange)
	if op == nil {
		return nil
	}
	first := part * b.tokens / (len(callers) + 1)
	return func(ctx context.Context, i int) (int, error) { return op(ctx, first+i) }
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
