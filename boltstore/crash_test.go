package boltstore_test

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/internal/crashtest"
)

// crashChild works on the file in args[0] until it is killed.
func crashChild(args []string) error {
	b, err := boltstore.Open(args[0], nil)
	if err != nil {
		return err
	}
	b.SettleEarly(16)
	return crashtest.Work(context.Background(), b, crashtest.NewJob(8), os.Stdout)
}

// TestCrash kills a process again and again while it issues, exchanges, revokes and sweeps, and holds what it had
// acknowledged against the file that it leaves behind.
func TestCrash(t *testing.T) {
	rounds := crashtest.Rounds(t, "CRASH_ROUNDS", 200)
	path := temporary(t)
	kills, acked := 0, 0
	defer func() {
		t.Attr("kills", strconv.Itoa(kills))
		t.Attr("operations", strconv.Itoa(acked))
	}()
	var heard *crashtest.Heard
	for round := range rounds {
		heard = crashtest.NewHeard(heard)
		workAndKill(t, heard, "crash", path)
		acked += heard.Acknowledged()
		filetest.Check(t, heard, path)
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
		kills++
		if err := os.Remove(path); round%20 == 19 && err != nil { // so that a round takes no longer than the one before
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times; %d operations had been acknowledged, and none was lost", rounds, acked)
}

// workAndKill lets a child work until it has said a random number of things, and kills it at some instant after.
func workAndKill(t *testing.T, heard *crashtest.Heard, name string, args ...string) {
	t.Helper()
	cmd := child(t, bounded(t, time.Minute), name, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	killed := false
	for n, after := 0, 1+rand.IntN(250); ; n++ {
		if n == after {
			spin(n)
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is not a whole line was never said
		}
		heard.Line(t, line)
	}
	_ = cmd.Wait()
	if !killed {
		t.Fatal("the child ended by itself")
	}
}
