package pgstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
)

// rounds is how often a fault is tried: PG_ROUNDS, or else few, since each starts servers or processes.
func rounds(t *testing.T, all int) int { t.Helper(); return crashtest.Rounds(t, "PG_ROUNDS", all) }

// clients and processes are how many work on a server that is killed: the clients of a process share its connections.
const (
	clients   = 64
	processes = 4
)

// TestServerKilled kills the server again and again under 64 clients that issue, exchange, import, revoke, sweep and trim through
// four backends, each with its own connections, and holds what they had heard against what the server knows when it is up again.
func TestServerKilled(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			s := pgtest.Start(t)
			db := migrated(t, s, mode.opts)
			work := newWork(t)
			for range rounds(t, 2) {
				work.untilKilled(t, mode.opts, s.DSN(db), func() { s.Kill(t) })
				s.Restart(t)
				work.check(t, mode.opts, s.DSN(db))
			}
		})
	}
}

// TestPrimaryKilled kills the primary, and promotes a standby that its commits have waited for. The next round is on that one.
func TestPrimaryKilled(t *testing.T) {
	primary := pgtest.Start(t)
	opts := pgstore.Options{}
	db := migrated(t, primary, opts)
	work := newWork(t)
	for range rounds(t, 2) {
		standby := primary.Standby(t, pgtest.Synchronous)
		dsn := pgtest.DSN(db, primary, standby)
		work.untilKilled(t, opts, dsn, func() { primary.Kill(t) })
		standby.Promote(t)
		work.check(t, opts, dsn)
		primary = standby
	}
}

// TestProcessesKilled kills processes that share a database, one of which has an applier in the middle of its work, and lets the
// others go on for a while.
func TestProcessesKilled(t *testing.T) {
	s := pgtest.Shared(t)
	opts := pgstore.Options{}
	dsn := s.DSN(migrated(t, s, opts))
	work := newWork(t)
	for range rounds(t, 2) {
		work.processes(t, dsn)
		work.check(t, opts, dsn)
	}
}

// work is what is known of a database that is worked on, from round to round.
type work struct {
	heard       *crashtest.Heard
	kills, acks int
}

// newWork is work on a new database. The test tells how often something was killed, and how many operations had been acknowledged.
func newWork(t *testing.T) *work {
	w := &work{}
	t.Cleanup(func() {
		t.Attr("kills", strconv.Itoa(w.kills))
		t.Attr("operations", strconv.Itoa(w.acks))
	})
	return w
}

// begin begins a round. Every other one has nobody sweep, until it is checked, and tells nobody of
// issues and exchanges. Each is done when a random number of operations has been acknowledged.
func (w *work) begin() (job crashtest.Job, enough int) {
	w.heard = crashtest.NewHeard(w.heard)
	job = crashtest.NewJob(clients / processes)
	job.Still, job.Silent = w.kills%2 == 0, w.kills%2 == 0
	w.heard.Silent = job.Silent
	return job, 300 + rand.IntN(600)
}

// check looks for everything that was acknowledged.
func (w *work) check(t *testing.T, opts pgstore.Options, dsn string) {
	t.Helper()
	w.kills++
	w.acks += w.heard.Acknowledged()
	b, err := pgstore.Open(t.Context(), dsn, &opts)
	if err != nil {
		t.Fatalf("S5: the database must be usable after the fault: got %v", err)
	}
	defer b.Close()
	w.heard.Check(t, b)
	if t.Failed() {
		t.Fatalf("failed in round %d", w.kills)
	}
}

// untilKilled works on a server until it is killed.
func (w *work) untilKilled(t *testing.T, opts pgstore.Options, dsn string, kill func()) {
	t.Helper()
	job, enough := w.begin()
	heard := &hearing{TB: t, heard: w.heard, enough: enough, reached: make(chan struct{})}
	failed := make(chan error, processes)
	var working sync.WaitGroup
	for range processes {
		b := open(t, dsn, opts)
		working.Go(func() { failed <- crashtest.Work(t.Context(), b, job, heard) })
	}
	select {
	case <-heard.reached:
	case err := <-failed:
		t.Fatalf("work must not fail before the server is killed: got %v", err)
	}
	kill()
	working.Wait()
}

// hearing takes down what is said at once by all, and tells when it is enough.
type hearing struct {
	testing.TB
	mu      sync.Mutex
	heard   *crashtest.Heard
	lines   int
	enough  int
	reached chan struct{}
}

func (h *hearing) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard.Line(h, strings.TrimSuffix(string(line), "\n"))
	if h.lines++; h.lines == h.enough {
		close(h.reached)
	}
	return len(line), nil
}

// processes has processes work, and kills one after the other. All speak into one pipe, so that what they say is in order.
func (w *work) processes(t *testing.T, dsn string) {
	t.Helper()
	job, enough := w.begin()
	said, mouth, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	var alive []*os.Process
	for range processes {
		cmd := child(t, "work", dsn, strconv.Itoa(job.Workers), strconv.FormatInt(job.Began.UnixNano(), 10), strconv.FormatBool(job.Still))
		cmd.Stdout = mouth
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		alive = append(alive, cmd.Process)
	}
	mouth.Close()
	lines := bufio.NewReader(said)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w.heard.Line(t, line)
		if n%enough == 0 && len(alive) > 0 {
			if err := alive[0].Kill(); err != nil {
				t.Fatal(err)
			}
			alive = alive[1:]
		}
	}
	if len(alive) > 0 {
		t.Fatalf("%d processes ended by themselves", len(alive))
	}
}

// workChild works on the database of the first argument until it is killed.
func workChild(args []string) error {
	b, err := pgstore.Open(context.Background(), args[0], nil)
	if err != nil {
		return err
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	began, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	still, err := strconv.ParseBool(args[3])
	if err != nil {
		return err
	}
	err = crashtest.Work(context.Background(), b, crashtest.Job{Workers: workers, Began: time.Unix(0, began), Still: still, Silent: still}, os.Stdout)
	return fmt.Errorf("work ended: %w", err)
}
