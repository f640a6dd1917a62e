package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
)

// growth measures how much a file grows by an issue, a new file each round: what a single one grows by hangs on how many free pages it has.
func (b *bench) growth(ctx context.Context) error {
	grown := map[string][]float64{}
	for round := range b.rounds {
		if err := b.growthOf(ctx, filepath.Join(b.dir, fmt.Sprintf("growth-%d.db", round)), grown); err != nil {
			return err
		}
	}
	for name, figures := range grown {
		b.facts.add("growth "+name, figures...)
	}
	return nil
}

// growthOf adds how much a new file grows by an issue, with nobody else there, and beside what reads or removes a lot.
func (b *bench) growthOf(ctx context.Context, path string, grown map[string][]float64) error {
	backend := openBolt(path)
	defer func() { _, _ = backend.Close(), os.Remove(path) }()
	o := newOurs(backend, tokenstore.NoOutbox)
	c := o.contender(boltName, "")
	p := newPopulation(7, b.tokens/10)
	if err := c.load(ctx, p.rows(0, b.tokens)); err != nil {
		return err
	}
	if err := fill(ctx, c, p, b.tokens, b.sweep, func(int) string { return "swept" }); err != nil {
		return err
	}
	issues := supply{population: newPopulation(8, b.tokens/10), each: b.growths}
	for turn, beside := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"alone", func(context.Context) error { return nil }},
		{"beside a list", func(ctx context.Context) error { return walk(ctx, o) }},
		{"beside a backup", func(ctx context.Context) error { return backup(ctx, backend) }},
		{"beside a sweep", func(ctx context.Context) error { return o.sweepAtOnce(ctx, "swept") }},
		{"alone again", func(context.Context) error { return nil }},
	} {
		other, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- beside.do(other) }()
		before := used(path)
		t, err := task{op: issues.issue(c, turn), callers: 8, most: b.growths, last: time.Minute, beside: true}.run(ctx)
		figure := float64(used(path)-before) / float64(max(t.calls, 1))
		stop()
		if err := errors.Join(err, ignoreCanceled(<-ended)); err != nil {
			return fmt.Errorf("%s: %w", beside.name, err)
		}
		grown[beside.name] = append(grown[beside.name], figure)
		b.logf("growth %s: %.0f bytes an issue, of %d", beside.name, figure, t.calls)
	}
	return nil
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// walk lists all tokens, slowly, again and again.
func walk(ctx context.Context, o *ours) error {
	for ctx.Err() == nil {
		n := 0
		for _, err := range o.manager.All(ctx, tokenstore.ListRequest{Limit: 100}) {
			if err != nil {
				return err
			}
			if n++; n%100 == 0 {
				pause(ctx, time.Millisecond)
			}
		}
	}
	return nil
}

// backup writes copies of the file to a slow reader.
func backup(ctx context.Context, backend *boltstore.Backend) error {
	for ctx.Err() == nil {
		if err := backend.Snapshot(ctx, slow{ctx}); err != nil {
			return err
		}
	}
	return nil
}

type slow struct{ ctx context.Context }

func (s slow) Write(p []byte) (int, error) { pause(s.ctx, time.Millisecond); return len(p), nil }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
