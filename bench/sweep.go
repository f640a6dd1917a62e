package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// sweeps compares calls while a sweep goes on with calls while none does.
func (b *bench) sweeps(ctx context.Context) error {
	const issuers = 8
	backend := openBolt(filepath.Join(b.dir, "sweep.db"))
	defer backend.Close()
	o := newOurs(backend, tokenstore.NoOutbox)
	c := o.contender(boltName, "")
	p := newPopulation(4, b.tokens/10)
	if err := c.load(ctx, p.rows(0, b.tokens)); err != nil {
		return err
	}
	if err := b.fillSwept(ctx, c, p); err != nil {
		return err
	}
	engine, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- o.manager.Run(engine) }()
	defer func() { stop(); <-ended }()
	var rates []float64
	quiet := 5 * b.turn
	issues := supply{population: newPopulation(5, b.tokens/10), each: 50_000}
	for round := range b.rounds {
		b.settle()
		phase := func(name string, last time.Duration, until <-chan struct{}) error {
			return b.foreground(ctx, c, issues.issue(c, round), issuers, name, last, until)
		}
		quietly := func() error { return phase("quiet", quiet, nil) }
		sweeping := func() error {
			done := make(chan struct{})
			var rate float64
			var failed error
			go func() {
				defer close(done)
				rate, failed = o.sweep(ctx, swept(round), b.sweep)
			}()
			err := phase("sweeping", time.Hour, done)
			<-done // also where the clients ended with an error
			if err != nil {
				return err
			}
			rates = append(rates, rate)
			b.logf("sweep round %d: %.0f tokens/s", round, rate)
			return failed
		}
		both := []func() error{quietly, sweeping}
		if err := errors.Join(both[round%2](), both[(round+1)%2]()); err != nil {
			return err
		}
	}
	b.facts.add("sweep rate", rates...)
	stop()
	return b.unthrottled(ctx, o)
}

// swept is the user that is swept in a round; that of the last is swept with nobody else there.
func swept(round int) string { return fmt.Sprint("swept-", round) }

// fillSwept keeps the tokens of all that are swept, of each user in turn: as tokens are issued in life, those of one user stand between
// those of others, hardly two of them in a page.
func (b *bench) fillSwept(ctx context.Context, c *contender, p *population) error {
	users := b.rounds + 1
	return fill(ctx, c, p, b.tokens, users*b.sweep, func(i int) string { return swept(i % users) })
}

// sweep revokes a user and waits until all is removed. It returns how many tokens a second were.
func (o *ours) sweep(ctx context.Context, user string, n int) (float64, error) {
	receipt, err := o.manager.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	status, err := o.manager.Wait(ctx, receipt)
	if err == nil && int(status.Swept) != n {
		err = fmt.Errorf("it swept %d of %d", status.Swept, n)
	}
	return float64(n) / time.Since(began).Seconds(), err
}

// foreground has clients issue and introspect.
func (b *bench) foreground(ctx context.Context, c *contender, issue operation, issuers int, name string, last time.Duration, until <-chan struct{}) error {
	var turns [2]turn
	var errs [2]error
	done := make(chan struct{})
	go func() {
		defer close(done)
		first := len(b.results["introspect "+name][c.name]) * 1000
		turns[1], errs[1] = task{op: scattered(c, b.tokens, c.verify), first: first, callers: 1, most: 1 << 30, last: last, until: until, clocked: true, beside: true}.run(ctx)
	}()
	turns[0], errs[0] = task{op: issue, callers: issuers, most: 1 << 30, last: last, until: until, clocked: true, beside: true}.run(ctx)
	<-done
	for i, verb := range []string{"issue ", "introspect "} {
		t := turns[i]
		b.results.add(verb+name, c.name, t)
		b.logf("%-20s %d calls, %.0f/s, p50 %.0f ns, p99 %.0f ns", verb+name, t.calls, t.rate(), t.p50(), t.p99())
	}
	return errors.Join(errs[:]...)
}

// unthrottled sweeps as fast as the store can, with nobody else there.
func (b *bench) unthrottled(ctx context.Context, o *ours) error {
	began := time.Now()
	if err := o.sweepAtOnce(ctx, swept(b.rounds)); err != nil {
		return err
	}
	rate := float64(b.sweep) / time.Since(began).Seconds()
	b.facts.add("sweep rate unthrottled", rate)
	b.logf("sweep unthrottled: %.0f tokens/s", rate)
	return nil
}

// sweepAtOnce revokes a user and removes all, in slices of as many tokens as an engine's, without a pause.
func (o *ours) sweepAtOnce(ctx context.Context, user string) error {
	receipt, err := o.manager.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}})
	for left := true; err == nil && left; {
		var statuses []store.Status
		statuses, err = o.store.Apply(ctx, []ulid.ULID{receipt.ID()}, store.Bounds{Visit: 500, Remove: 500, Now: time.Now()})
		left = len(statuses) > 0 && !statuses[0].Retired
	}
	return err
}
