package failpoints_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/internal/crashtest"
)

// unreached are the failpoints that boltstore never comes to, with the reason.
var unreached = map[string]string{
	"mlockError":   "it is boltstore's decision not to lock the file in memory",
	"munlockError": "likewise",
}

// TestFailpoints has boltstore meet each failpoint in bbolt's source.
func TestFailpoints(t *testing.T) {
	p := build(t)
	if len(p.points) < 10 {
		t.Fatalf("bbolt must have at least 10 failpoints: found %v", p.points)
	}
	dumps, err := (&filetest.Host{Path: filepath.Join(t.TempDir(), fileName)}).Dumps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("EveryDeath", func(t *testing.T) { everyDeath(t, p, dumps) })
	t.Run("EveryFailure", func(t *testing.T) { everyFailure(t, p, dumps) })
	t.Run("DeathAtWork", func(t *testing.T) { deathAtWork(t, p) })
	t.Run("LiesAreCaught", func(t *testing.T) { liesAreCaught(t, p, dumps) })
}

const fileName = "tokens.db"

// nth are terms that act when a failpoint is passed for the nth time, from 0 on.
func nth(n int, action string) string { return fmt.Sprintf("%d*off->%s", n, action) }

// stride is how far apart the passings are that are tried: each one, or with EXHAUSTIVE=small every third.
func stride() int {
	if os.Getenv("EXHAUSTIVE") == "small" {
		return 3
	}
	return 1
}

// everyDeath ends the process at each failpoint, whenever the history passes it, and goes on with what is left.
func everyDeath(t *testing.T, p program, dumps []string) {
	cuts := 0
	defer func() { t.Attr("cuts", strconv.Itoa(cuts)) }()
	for _, point := range p.points {
		t.Run(point.name, func(t *testing.T) {
			deaths := 0
			for n := 0; ; n += stride() {
				path := filepath.Join(t.TempDir(), fileName)
				done, died := playToDeath(t, p, path, point.name+"="+nth(n, "kill"))
				if t.Failed() || !died {
					break
				}
				wentOn(t, path, dumps, len(done))
				if t.Failed() {
					t.Fatalf("failed where it is passed for the %dth time, after the steps %v", n, done)
				}
				deaths++
			}
			wantReached(t, point.name, deaths)
			cuts += deaths
			t.Logf("died %d times", deaths)
		})
	}
}

// wantReached expects a failpoint to have been reached, if it can be.
func wantReached(t *testing.T, name string, times int) {
	t.Helper()
	switch reason, ok := unreached[name]; {
	case ok && times > 0:
		t.Errorf("%s is listed as one that is never reached (%s), and was %d times", name, reason, times)
	case !ok && times == 0:
		t.Errorf("%s must be reached, or listed with the reason", name)
	}
}

// playToDeath has a process play the history, and returns the steps that it had done when it died.
func playToDeath(t testing.TB, p program, path string, set ...string) (done []string, died bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.child(ctx, "play", set, path)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	done = strings.Fields(strings.ReplaceAll(string(out), " ", "-"))
	switch {
	case err == nil && len(done) == len(filetest.History()):
		return done, false
	case ctx.Err() != nil || !killed(cmd):
		t.Errorf("a process that plays the history must reach the end, or die at the failpoint: got %v and %s, after %v", err, complaints.Bytes(), done)
	}
	return done, true
}

// killed reports whether a process was ended from outside, or by the kill of a failpoint.
func killed(cmd *exec.Cmd) bool { return cmd.ProcessState != nil && !cmd.ProcessState.Exited() }

// wentOn expects all steps that were done to be in the file, the next one as a whole or not at all, and goes on from there.
func wentOn(t testing.TB, path string, dumps []string, done int) {
	t.Helper()
	h := &filetest.Host{Path: path}
	if err := filetest.Open(t.Context(), h); err != nil {
		t.Errorf("the file must open after a crash: got %v", err)
		return
	}
	defer func() { _ = h.Backend.Close() }()
	before := dumps[max(done-1, 0)] // if it died while the file was made, opening makes it
	got, err := h.Dump(t.Context())
	if err != nil || got != before && got != dumps[done] {
		t.Errorf("the file must be as before the step or as after it: got error %v and\n%s\nbefore %s\nafter  %s", err, got, before, dumps[done])
		return
	}
	for i, s := range filetest.History()[done:] {
		if i == 0 && (s.Name == "create" || s.Name == "open") {
			continue // it is open
		}
		if err := s.Run(t.Context(), h); err != nil {
			t.Errorf("%s: must succeed after the crash: got %v", s.Name, err)
			return
		}
	}
	if got, err := h.Dump(t.Context()); err != nil || got != dumps[len(dumps)-1] {
		t.Errorf("the file must end as if there had been no crash: got error %v and\n%s\nwant %s", err, got, dumps[len(dumps)-1])
	}
}

// everyFailure has each failpoint fail, whenever the history passes it: once, and until it is mended.
func everyFailure(t *testing.T, p program, dumps []string) {
	cases := 0
	defer func() { t.Attr("cases", strconv.Itoa(cases)) }()
	for _, point := range p.points {
		for _, action := range actions(point) {
			t.Run(point.name+" "+action, func(t *testing.T) {
				var failed, told, reopened, restarted int
				for n := 0; ; n += stride() {
					path := filepath.Join(t.TempDir(), fileName)
					r := playWithFailure(t, p, path, dumps, point.name, nth(n, action))
					if t.Failed() {
						t.Fatalf("failed where it is passed for the %dth time: %+v", n, r)
					}
					if r.Hits <= n {
						break
					}
					failed++
					told += count(r.Failed != "")
					reopened += count(r.Reopen)
					restarted += count(r.Restart)
				}
				wantReached(t, point.name, failed)
				cases += failed
				t.Logf("failed %d times, which %d calls told; after %d the file had to be opened again, after %d by another process",
					failed, told, reopened, restarted)
			})
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// actions are what a failpoint may do to a process that goes on.
func actions(p point) []string {
	if p.fails {
		return []string{`1*return("failed: no space left on device")`, `return("failed")`}
	}
	return []string{"1*panic", "panic"}
}

// playWithFailure has a process play the history with a failure, and compares the file that it leaves with one without.
func playWithFailure(t testing.TB, p program, path string, dumps []string, name, terms string, set ...string) (r report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.child(ctx, "fail", set, path, name, terms)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Errorf("a process must go on after a failure: got %v and %s", err, complaints.Bytes())
		return r
	}
	if r.Left != "" && r.Left != dumps[r.At-1] && !(r.Unknown && r.Left == dumps[r.At]) {
		t.Errorf("a call that failed must leave the store as it was, or say that its outcome is unknown: got error %s and\n%s\nbefore %s", r.Err, r.Left, dumps[r.At-1])
	}
	if r.Restart {
		wentOn(t, path, dumps, r.Done)
		return r
	}
	h := &filetest.Host{Path: path}
	if err := filetest.Open(t.Context(), h); err != nil {
		t.Errorf("the file must open: got %v", err)
		return r
	}
	defer func() { _ = h.Backend.Close() }()
	got, err := h.Dump(t.Context())
	if want := dumps[len(dumps)-1]; err != nil || got != want || r.Dump != want {
		t.Errorf("the file must be as if nothing had failed: got error %v and\n%s\nand to the process that failed\n%s\nwant %s", err, got, r.Dump, want)
	}
	return r
}

// liesAreCaught puts a bug into boltstore for each of the three ways of looking.
func liesAreCaught(t *testing.T, p program, dumps []string) {
	failedOnce := nth(3, `1*return("failed")`)
	tests := []struct {
		name string
		look func(t, ended testing.TB, path string, round int)
	}{
		{"acknowledged before the commit, and died at work", func(t, ended testing.TB, path string, round int) {
			heard := crashtest.NewHeard(nil)
			workToDeath(ended, p, path, heard, // in the last commit, which waits so that it can be said; making the file is a commit too
				"acknowledgedEarly="+nth(9+round, "return"), "beforeSyncDataPages="+nth(10+round, "kill(20)"))
			filetest.Check(t, heard, path)
		}},
		{"failure hidden, and died", func(t, ended testing.TB, path string, _ int) {
			done, _ := playToDeath(ended, p, path, "hiddenFailure=return", "beforeWriteMetaError="+failedOnce, "beforeSyncDataPages="+nth(4, "kill"))
			wentOn(t, path, dumps, len(done))
		}},
		{"failure hidden, and went on", func(t, _ testing.TB, path string, _ int) {
			playWithFailure(t, p, path, dumps, "beforeWriteMetaError", failedOnce, "hiddenFailure=return")
		}},
	}
	const atMost = 20
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for round := range atMost {
				ended, caught := &crashtest.Recorder{TB: t}, &crashtest.Recorder{TB: t}
				path := filepath.Join(t.TempDir(), fileName)
				ended.Run(func() { caught.Run(func() { test.look(caught, ended, path, round) }) })
				if caught.Failures > 0 { // by what looks at the file; the process may have found out by itself too
					t.Logf("caught in round %d", round+1)
					return
				}
			}
			t.Errorf("it must be caught within %d rounds", atMost)
		})
	}
}
