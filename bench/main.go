// Command bench measures the backends of tokenstore beside what else a host could take and beside what the machine allows at
// all, and writes docs/benchmarks.md. All that is compared takes turns in one run; what counts are the ratios.
//
//	GOWORK=off go run . -docs ../docs  # all of it, in half an hour
//	GOWORK=off go run . -quick         # a minute at most, to see that it works; the figures mean nothing
//
// Redis and PostgreSQL are started on loopback, in folders of their own, if they are installed (see install.sh), and ended with
// the run. What is absent is said.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/tokenstore/internal/daemon"
)

// options say how much is measured.
type options struct {
	tokens     int           // how many tokens each store holds
	rounds     int           // how many turns each contender has
	turn       time.Duration // how long a turn is
	most       int           // how many calls a turn has at most
	revoke     int           // the most tokens of a user that is revoked
	sweep      int           // how many tokens a sweep under measurement removes
	growths    int           // how many issues the growth of a file is measured by
	huge       int           // tokens of the largest file, a tenth of which is compared with it; 0 for none
	find       finder        // finds the servers
	requireAll bool
	quick      bool
	only       string // the section to run; "" for all
	dir        string // where files are kept
	out        io.Writer
}

func main() {
	o := options{out: os.Stdout, find: daemon.Find}
	docs := flag.String("docs", "", "the folder that benchmarks.md and benchmarks.svg are written to")
	quick := flag.Bool("quick", false, "measure hardly anything, to see that all of it works")
	flag.IntVar(&o.tokens, "tokens", 200_000, "tokens that each store holds")
	flag.IntVar(&o.rounds, "rounds", 7, "turns of each contender")
	flag.DurationVar(&o.turn, "turn", 300*time.Millisecond, "how long a turn is")
	flag.IntVar(&o.revoke, "revoke", 1_000_000, "the most tokens of a user that is revoked")
	flag.IntVar(&o.huge, "huge", 1_000_000, "tokens of the largest file, which is compared with one of a tenth; 10000000 takes ten minutes and 9 GB more")
	flag.StringVar(&o.only, "only", "", "run one section: memory, durable, revoke, sweep, size, growth or huge")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where files are kept while it runs: on the disk to be measured, and for root where others may enter")
	flag.BoolVar(&o.requireAll, "require-all", false, "fail if a peer is absent")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if ran, err := child(ctx); ran {
		exit(err)
	}
	o.most, o.sweep, o.growths = 20_000, 30_000, 5000
	if *quick {
		o = o.hardlyAnything()
	}
	exit(measure(ctx, o, *docs))
}

// hardlyAnything makes the run a quick one.
func (o options) hardlyAnything() options {
	o.quick = true
	o.tokens, o.rounds, o.turn, o.most = 2000, 2, 20*time.Millisecond, 500
	o.revoke, o.sweep, o.growths, o.huge = 2000, 1000, 100, 5000
	return o
}

// Some of what is shown needs a process of its own, because it does not survive it, or because its memory is measured.
const (
	childEnv    = "BENCH_CHILD" // what this process is to do instead of measuring
	fileEnv     = "BENCH_FILE"
	fositeChild = "fosite"
	memoryChild = "memory"
	killedChild = "killed"
)

// child does what a process of its own is for, if this is one.
func child(ctx context.Context) (bool, error) {
	switch os.Getenv(childEnv) {
	case fositeChild:
		return true, fositeCrash(ctx)
	case memoryChild:
		return true, remembered(ctx, os.Getenv(fileEnv), os.Stdin, os.Stdout)
	case killedChild:
		return true, killed(ctx, os.Getenv(fileEnv))
	}
	return false, nil
}

func exit(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
