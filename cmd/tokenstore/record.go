package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/pflag"
)

// recordFlags are what the commands have in common that record a revocation.
type recordFlags struct {
	operatorFlags
	confirmFlags
	causeFlags
	id              string
	wait, newTenant bool
}

func (f *recordFlags) register(flags *pflag.FlagSet) {
	f.writes = true
	f.operatorFlags.register(flags, formTable)
	f.confirmFlags.register(flags)
	flags.StringVar(&f.id, "id", "", "the `ID` of the revocation, a ULID: repeated with the same one, nothing new is recorded (default a new one)")
	f.causeFlags.register(flags)
	flags.BoolVar(&f.newTenant, "new-tenant", false, "record it for a tenant that nothing was ever written to, too")
	flags.BoolVar(&f.wait, "wait", false, "sweep what is revoked, and end when nothing is left of it")
}

// check returns the revocation of the targets, as the flags have it.
func (f *recordFlags) check(targets []tokenstore.Target) (tokenstore.RevokeRequest, error) {
	r := tokenstore.RevokeRequest{ID: ulid.Make(), Targets: targets, Reason: f.reason, Actor: f.by()}
	if err := f.operatorFlags.check(); err != nil {
		return r, err
	}
	if f.id != "" {
		var err error
		if r.ID, err = parseID("--id", f.id); err != nil {
			return r, err
		}
	}
	asked := store.Revocation{ID: r.ID, Targets: targets, Reason: r.Reason, Actor: r.Actor}
	if err := asked.Validate(); err != nil {
		return r, usage("%w", err)
	}
	return r, nil
}

// record asks whether to record a revocation, has it recorded, waits for its sweep if that is wanted, and prints it. The question is
// made of the number of tokens.
func (f *recordFlags) record(ctx context.Context, out io.Writer, r tokenstore.RevokeRequest, question func(tokens string) string,
	do func(context.Context, *tokenstore.Manager) (tokenstore.Receipt, error)) error {
	s := sweeper{bar: &bar{}, failed: make(chan error, 1)}
	return f.with(ctx, s.options(), func(m *tokenstore.Manager) error {
		err := f.known(ctx, m)
		switch missing := isCode(err, exitNotFound); {
		case missing && !f.newTenant:
			return fmt.Errorf("%w. Nothing was recorded; --new-tenant has it recorded all the same", err)
		case err != nil && !missing:
			return err
		}
		expected := int64(-1)
		err = f.confirm(ctx, func() (string, error) {
			p, err := estimate(ctx, m, r.Targets)
			if p.Complete {
				expected = int64(p.Matched)
			}
			return question(tokens(p)), err
		})
		if err != nil {
			return err
		}
		receipt, err := do(context.WithoutCancel(ctx), m) // it is soon over, and whoever breaks it off would not know what it did
		switch {
		case errors.Is(err, tokenstore.ErrUnknownOutcome):
			return fmt.Errorf("it may have been recorded or not, and can be repeated with --id %s: %w", r.ID, err)
		case err != nil:
			return fmt.Errorf("nothing was recorded: %w", err)
		}
		status := receipt.Status
		if f.wait {
			s.bar = newBar("sweeping", expected)
			if status, err = s.sweep(ctx, m, receipt); err != nil {
				return fmt.Errorf("revocation %s stands, and what it covers is refused. It is not swept yet: serve goes on with that, "+
					"or the same command with --id %[1]s --wait (%w)", receipt.ID(), err)
			}
		}
		return f.printRevocation(out, &status)
	})
}

// estimateFor is how long a question may take to count what it is about.
const estimateFor = 3 * time.Second

// estimate counts what a revocation would reach, as far as that is quick.
func estimate(ctx context.Context, m *tokenstore.Manager, targets []tokenstore.Target) (p tokenstore.Preview, err error) {
	bounded, stop := context.WithTimeout(ctx, estimateFor)
	defer stop()
	for limit := 1000; !p.Complete && limit <= 1_000_000; limit *= 10 {
		more, err := m.Preview(bounded, targets, limit)
		switch {
		case err != nil && bounded.Err() != nil && ctx.Err() == nil:
			return p, nil
		case err != nil:
			return p, err
		}
		p = more
	}
	return p, nil
}

// tokens says how many tokens a preview has found.
func tokens(p tokenstore.Preview) string {
	n := grouped(p.Matched) + " tokens"
	if p.Matched == 1 {
		n = "1 token"
	}
	if !p.Complete {
		return "at least " + n
	}
	return n
}

// sweeper sweeps in a process that ends when it is done.
type sweeper struct {
	bar    *bar
	failed chan error // what can't be mended by trying again
}

// lookEvery is how often it is asked how far a revocation is: a server beside the command may have swept it, and tells nobody.
const lookEvery = 200 * time.Millisecond

// options are those of an engine that sweeps and does nothing else: what is to be forgotten, and when, is for the program to say whose
// database it is.
func (s *sweeper) options() revocation.Options {
	return revocation.Options{
		MemoryFor: -1, HistoryFor: -1, OutboxFor: -1, ExpireEvery: -1, PollEvery: lookEvery,
		Events: revocation.Events{
			Swept: func(_ string, status tokenstore.Status) { s.bar.reach(int64(status.Swept)) },
			Failed: func(_ string, _ []ulid.ULID, err error) {
				if !errors.Is(err, boltstore.ErrCorrupt) {
					fmt.Fprintln(s.bar.over(os.Stderr), "the sweep failed, and tries again:", message(err))
					return
				}
				select {
				case s.failed <- err:
				default:
				}
			},
		},
	}
}

// sweep sweeps what is pending until nothing is left of one revocation, or ctx ends.
func (s *sweeper) sweep(ctx context.Context, m *tokenstore.Manager, receipt tokenstore.Receipt) (tokenstore.Status, error) {
	defer func() { s.bar.done() }()
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(running) }()
	go func() {
		select {
		case err := <-s.failed:
			giveUp(err)
		case <-waiting.Done():
		}
	}()
	status, err := m.Wait(waiting, receipt)
	if err != nil {
		err = cmp.Or(context.Cause(waiting), err)
	}
	stop()
	return status, errors.Join(err, <-ended)
}
