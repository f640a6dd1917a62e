package powercut_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/internal/crashtest"
)

const fileName = "tokens.db"

// TestPowerCut cuts the power again and again while a process issues, exchanges, imports, revokes, sweeps, reads and trims, and
// holds what it had acknowledged against what is left on the disk.
func TestPowerCut(t *testing.T) {
	folder, disk := mount(t)
	image := filepath.Join(t.TempDir(), fileName)
	cuts, operations := 0, 0
	defer func() {
		t.Attr("cuts", strconv.Itoa(cuts))
		t.Attr("operations", strconv.Itoa(operations))
	}()
	var heard *crashtest.Heard
	for round := range crashtest.Rounds(t, "POWERCUTS", 300) {
		setup := powercut.Setup{Seed: rand.Uint64(), Name: fileName, Image: image, Cut: 1 + rand.IntN(300)}
		if round%2 == 0 { // what is under way is seen by others before it is done
			setup.Slow = 2 * time.Millisecond
		}
		if round%20 == 0 { // so that a round takes no longer than the one before, and creation is cut too
			_ = os.Remove(image)
			setup.Cut = 1 + rand.IntN(20)
		}
		heard = crashtest.NewHeard(heard)
		cutAndSave(t, folder, disk, setup, heard, rand.IntN(2) == 0)
		filetest.Check(t, heard, image)
		if t.Failed() {
			t.Fatalf("failed in round %d, with %+v", round, setup)
		}
		cuts++
		operations += heard.Acknowledged()
	}
	t.Logf("cut %d times; %d operations had been acknowledged, and none was lost", cuts, operations)
}

// TestPowerCutWhileCreated: at whatever operation the disk goes while a file comes to be, the process that makes it is told, and
// does not wait for what never comes.
func TestPowerCutWhileCreated(t *testing.T) {
	folder, disk := mount(t)
	image := filepath.Join(t.TempDir(), fileName)
	cuts := 0
	defer func() { t.Attr("cuts", strconv.Itoa(cuts)) }()
	for cut := range 20 {
		_ = os.Remove(image)
		heard := crashtest.NewHeard(nil)
		setup := powercut.Setup{Seed: uint64(cut), Name: fileName, Image: image, Cut: 1 + cut, Slow: 2 * time.Millisecond}
		cutAndSave(t, folder, disk, setup, heard, false)
		filetest.Check(t, heard, image)
		if t.Failed() {
			t.Fatalf("failed with %+v", setup)
		}
		cuts++
	}
}

// cutAndSave lets a process work until the power is cut, and saves what is left on the disk as the image. The process is killed then,
// or must end by itself, since all that it does fails.
func cutAndSave(t *testing.T, folder string, disk *powercut.Remote, setup powercut.Setup, heard *crashtest.Heard, kill bool) {
	t.Helper()
	if err := disk.Insert(setup); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := child(ctx, t, "work", filepath.Join(folder, fileName))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := disk.Await(); kill && err == nil {
			_ = cmd.Process.Kill()
		}
	}()
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is not a whole line was never said
		}
		heard.Line(t, line)
	}
	err = cmd.Wait()
	on, failed := disk.On()
	if failed := errors.Join(failed, disk.Cut()); failed != nil {
		t.Fatal(failed)
	}
	switch <-watched; {
	case on:
		t.Fatalf("the process ended before the power was cut: %v and %s", err, complaints.Bytes())
	case !endedWell(err, kill, complaints.Bytes()):
		t.Errorf("a process whose disk is gone must end with an error of its own, or be killed: got %v and %s", err, complaints.Bytes())
	}
	if err := disk.Save(fileName, setup.Image); err != nil {
		t.Fatal(err)
	}
}

// endedWell reports whether a process that has lost its disk returned an error, or was killed by us. bbolt maps the file, and reads it in goroutines
// of its own after a commit that failed: a page that can't be read is then the end of the process.
func endedWell(err error, kill bool, complaints []byte) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && (exit.ExitCode() == 1 || kill && !exit.Exited() || bytes.HasPrefix(complaints, []byte("unexpected fault address")))
}

// TestLyingDiskIsCaught: what a disk that doesn't keep its word does to a file is noticed.
func TestLyingDiskIsCaught(t *testing.T) {
	folder, disk := mount(t)
	image := filepath.Join(t.TempDir(), fileName)
	const atMost = 10
	for round := range atMost {
		_ = os.Remove(image)
		heard := crashtest.NewHeard(nil)
		cutAndSave(t, folder, disk, powercut.Setup{Name: fileName, Image: image, Cut: 200, Seed: uint64(round)}, heard, rand.IntN(2) == 0)
		heard = crashtest.NewHeard(heard)
		cutAndSave(t, folder, disk, powercut.Setup{Name: fileName, Image: image, Cut: 200, Seed: uint64(round), Lies: true}, heard, rand.IntN(2) == 0)
		caught := &crashtest.Recorder{TB: t}
		caught.Run(func() { filetest.Check(caught, heard, image) })
		if caught.Failures > 0 {
			t.Logf("caught at cut %d", round+1)
			return
		}
	}
	t.Errorf("a disk that acknowledges syncs and does nothing must be caught within %d cuts", atMost)
}
