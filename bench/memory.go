package main

import (
	"context"
	"errors"
	"runtime"
)

// inMemory compares what keeps nothing.
func (b *bench) inMemory(ctx context.Context) error {
	p := newPopulation(1, b.tokens/10)
	rows := p.rows(0, b.tokens)
	var contenders []*contender
	for _, open := range []func() *contender{
		mapFloor,
		indexFloor,
		askedFloor,
		copiedFloor,
		func() *contender { return memory(tokenstoreMemory(), memName) },
		fositeMemory,
		func() *contender { return tokenstoreMemory().contender(managerName, "none: memory") },
	} {
		before := heap()
		c := open()
		if err := c.fill(ctx, rows); err != nil {
			return err
		}
		b.heap = append(b.heap, heapUse{c.name, (heap() - before) / float64(len(rows))})
		if c.hold != nil {
			c.hold(rows)
		}
		contenders = append(contenders, c)
	}
	runtime.KeepAlive(rows)
	fate, err := fositeFate(ctx)
	if err != nil {
		return err
	}
	b.fate = fate
	b.logf("fosite's MemoryStore, looking up and revoking at once: %q", fate)
	new := supply{population: p, made: b.tokens, each: b.most}
	for _, n := range callers {
		err := b.hold(ctx, contenders, contest{
			measure: "memory/introspect", callers: n,
			operation: func(c *contender, _ int) operation { return scattered(c, b.tokens, c.verify) },
			presented: func(c *contender) func(int) { return func(i int) { c.present(i * stride % b.tokens) } },
		})
		if err != nil {
			return err
		}
		if err := b.hold(ctx, contenders, contest{measure: "memory/issue", callers: n, operation: new.issue}); err != nil {
			return err
		}
	}
	// With one caller alone, because fosite's store would end the process.
	err = b.hold(ctx, contenders, contest{
		measure: "memory/exchange", callers: 1,
		operation: func(c *contender, _ int) operation { return scattered(c, b.tokens, c.exchange) },
	})
	return errors.Join(err, closeAll(contenders))
}

// heap is how many bytes of the heap are in use.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
