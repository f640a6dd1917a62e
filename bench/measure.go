package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// callers are how many goroutines call at once.
var callers = []int{1, 16, 64}

// bench is one run.
type bench struct {
	options
	dir        string
	results    results
	facts      facts
	absent     map[string]error // the peers that could not be started, for want of their program
	heap       []heapUse
	loadBefore string      // the load average when the run began
	fate       string      // how fosite's store ends a process
	told       []contender // those on a disk, for what the report says of them
}

// facts are what is not measured in turns, by name.
type facts map[string]spread

func (f facts) add(name string, figures ...float64) { f[name] = spreadOf(figures) }

// heapUse is how much memory of the process a token takes.
type heapUse struct {
	name  string
	bytes float64
}

func (b *bench) logf(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

// measure runs all sections, and writes the report into a folder if one is given.
func measure(ctx context.Context, o options, docs string) (err error) {
	b := &bench{options: o, results: results{}, facts: facts{}, absent: map[string]error{}, loadBefore: loadAverage()}
	if b.dir, err = os.MkdirTemp(o.dir, "tokenstore-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	began := time.Now()
	for _, section := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"memory", b.inMemory},
		{"durable", b.onDisk},
		{"revoke", b.revocations},
		{"sweep", b.sweeps},
		{"size", b.sizes},
		{"growth", b.growth},
		{"huge", b.scale},
	} {
		if o.only != "" && o.only != section.name {
			continue
		}
		b.logf("=== %s (after %s)", section.name, time.Since(began).Round(time.Second))
		if err := section.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	b.logf("=== done after %s\n", time.Since(began).Round(time.Second))
	text := b.report(time.Since(began))
	b.logf("%s", text)
	if docs == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(docs, "benchmarks.md"), []byte(text), 0o644); err != nil {
		return err
	}
	return b.plot(filepath.Join(docs, "benchmarks.svg"))
}

// contest is one measure that contenders are compared by.
type contest struct {
	measure string
	callers int
	clocked bool
	// operation returns what a contender does in a round, or nil if it has no turn.
	operation func(c *contender, round int) operation
	// presented has what a client presents be in the caches of the processor when a call begins.
	presented func(c *contender) func(i int)
}

// hold gives every contender that can a turn of each round, and notes them.
func (b *bench) hold(ctx context.Context, contenders []*contender, k contest) error {
	key := named(k.measure, k.callers)
	first := map[*contender]int{}
	return inTurn(b.rounds, len(contenders), func(round, i int) error {
		c := contenders[i]
		op := k.operation(c, round)
		if op == nil {
			return nil
		}
		n := k.callers
		if c.floor {
			n = 1
		}
		next := task{op: op, first: first[c], callers: n, most: b.most, last: b.turn, clocked: k.clocked}
		if k.presented != nil {
			next.present = k.presented(c)
		}
		if k.clocked { // in memory nobody leaves anything, and what is in the caches counts
			b.settle()
		}
		t, err := c.measured(ctx, next)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		first[c] += t.calls
		b.results.add(key, c.name, t)
		b.logf("%-20s %-36s round %d: %8d calls %10.0f/s %9.0f ns a call, %8.0f of them CPU, p50 %9.0f ns p99 %10.0f ns, %5.1f allocs, group %.1f, %.0f merges",
			key, c.name, round, t.calls, t.rate(), t.perCall(), t.cpuPerCall(), t.p50(), t.p99(), t.allocs, t.group, t.merges)
		return nil
	})
}

// supply makes new rows for each round, the same for all contenders.
type supply struct {
	population *population
	made, each int
	round      int
	rows       []row
}

// issue is the operation of keeping the rows of a round.
func (s *supply) issue(c *contender, round int) operation {
	if c.issue == nil {
		return nil
	}
	if s.rows == nil || s.round != round {
		s.round, s.rows = round, s.population.rows(s.made, s.made+s.each)
		s.made += s.each
	}
	rows := s.rows
	return func(ctx context.Context, i int) (int, error) { return c.tokens(), c.issue(ctx, &rows[i%len(rows)]) }
}

// scattered is the operation of calling about n loaded rows in an order that no cache foresees, each once before any twice.
func scattered(c *contender, n int, call func(context.Context, int) error) operation {
	if call == nil {
		return nil
	}
	return func(ctx context.Context, i int) (int, error) { return c.tokens(), call(ctx, i*stride%n) }
}

const stride = 7919 // stride is a prime that no number of rows is a multiple of
