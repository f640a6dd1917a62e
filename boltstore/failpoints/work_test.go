package failpoints_test

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/internal/crashtest"
)

// deathAtWork ends a process at each failpoint in turn while it issues, exchanges, imports, revokes, sweeps, reads and trims, and
// holds what it had acknowledged against the file that it leaves behind.
func deathAtWork(t *testing.T, p program) {
	rounds := crashtest.Rounds(t, "CRASH_ROUNDS", 100)
	var reachable []*target
	for _, point := range p.points {
		if _, ok := unreached[point.name]; !ok {
			reachable = append(reachable, &target{point: point.name, most: 16})
		}
	}
	cuts, operations, missed := 0, 0, 0
	defer func() {
		t.Attr("cuts", strconv.Itoa(cuts))
		t.Attr("operations", strconv.Itoa(operations))
	}()
	for cuts < rounds {
		target := reachable[cuts%len(reachable)]
		if target.path == "" || target.deaths%2 == 0 { // every other one dies on a file that another has left
			target.path, target.heard = filepath.Join(t.TempDir(), fileName), nil
		}
		n := rand.IntN(target.most)
		target.heard = crashtest.NewHeard(target.heard)
		died := workToDeath(t, p, target.path, target.heard, target.point+"="+nth(n, "kill"))
		filetest.Check(t, target.heard, target.path)
		if t.Failed() {
			t.Fatalf("failed at %s, passed for the %dth time", target.point, n)
		}
		operations += target.heard.Acknowledged()
		if !died {
			target.most, target.bounded, target.path = max(1, n), true, ""
			if missed++; missed > 10*rounds+100 {
				t.Fatalf("%s was not reached", target.point)
			}
			continue
		}
		if !target.bounded {
			target.most = min(2*target.most, 256)
		}
		target.deaths++
		cuts++
	}
	for _, target := range reachable {
		t.Logf("%s: died %d times", target.point, target.deaths)
	}
	t.Logf("died %d times, and %d times at work that did not come to a failpoint; %d operations had been acknowledged, and none was lost", cuts, missed, operations)
}

// target is a failpoint, and the file of those that die there.
type target struct {
	point   string
	most    int  // how often it is passed, at most, before one dies
	bounded bool // it was not passed more often than that
	deaths  int
	path    string
	heard   *crashtest.Heard
}

// workToDeath lets a process work until it dies at a failpoint. It is ended otherwise when it has said enough.
func workToDeath(t testing.TB, p program, path string, heard *crashtest.Heard, set ...string) (died bool) {
	t.Helper()
	const enough = 400
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.child(ctx, "work", set, path)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := 0
	for lines := bufio.NewReader(out); ; said++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is not a whole line was never said
		}
		heard.Line(t, line)
		if said == enough {
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); ctx.Err() != nil || !killed(cmd) {
		t.Errorf("a process at work must end by the failpoint: got %v and %s", err, complaints.Bytes())
	}
	return said < enough
}
