package powercut_test

import (
	"errors"
	"strconv"
	"syscall"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/store"
	"go.uber.org/goleak"
)

// anyWrite are the operations that a disk refuses which can't be written.
const anyWrite = powercut.Writes | powercut.Syncs | powercut.Names | powercut.Opens

// remakeFaults are what happens to a disk while a file is made on it, at every operation in turn.
var remakeFaults = []struct {
	name  string
	fault powercut.Fault
	want  error
}{
	{"full", powercut.Fault{Of: powercut.Writes | powercut.Names, Errno: syscall.ENOSPC, Lasting: true}, boltstore.ErrFull},
	{"full when synced", powercut.Fault{Of: powercut.Syncs, Errno: syscall.ENOSPC, Drops: true}, boltstore.ErrFull},
	{"read-only", powercut.Fault{Of: anyWrite, Errno: syscall.EROFS, Lasting: true}, boltstore.ErrUnusable},
	{"a write fails", powercut.Fault{Of: powercut.Writes | powercut.Names | powercut.Opens, Errno: syscall.EIO}, boltstore.ErrUnusable},
	{"a sync fails", powercut.Fault{Of: powercut.Syncs, Errno: syscall.EIO, Drops: true}, boltstore.ErrUnusable},
	{"a read fails", powercut.Fault{Of: powercut.Reads, Errno: syscall.EIO}, boltstore.ErrUnusable},
}

// TestRemakeFaults: whatever operation of a disk fails while a file is compacted, repaired, backed up or restored, the call says so by
// a documented error; the file is as it was, or all of the new one is there; and when the disk works again, the same call comes
// through, for a backup from the file that has been open all the time. What a failed sync has dropped is not missed after a power cut.
func TestRemakeFaults(t *testing.T) {
	folder, disk := mount(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cases := 0
	defer func() { t.Attr("cases", strconv.Itoa(cases)) }()
	for _, r := range remakings() {
		c := newScene(t, r)
		for _, f := range remakeFaults {
			t.Run(r.name+", "+f.name, func(t *testing.T) {
				n := 0
				for c.fails(t, folder, disk, f.fault, n, f.want) {
					n++
				}
				if n == 0 {
					t.Error("no operation failed")
				}
				cases += n
				t.Logf("%d operations failed, one by one", n)
			})
		}
	}
}

// fails makes the file while an operation fails, after so many that succeed, and reports whether there was one that did.
func (c *scene) fails(t *testing.T, folder string, disk *powercut.Remote, fault powercut.Fault, after int, want error) bool {
	t.Helper()
	if err := disk.Insert(powercut.Setup{Name: fileName, Image: c.image, Seed: uint64(after)}); err != nil {
		t.Fatal(err)
	}
	files := openFiles(t)
	s := &site{folder: folder, backup: c.backup}
	defer func() {
		if s.open != nil {
			_ = s.open.Close()
		}
	}()
	fault.After = after
	if _, err := disk.Fail(fault); err != nil {
		t.Fatal(err)
	}
	err := c.run(t.Context(), s)
	met, healed := disk.Fail(powercut.Fault{})
	if healed != nil {
		t.Fatal(healed)
	}
	prepared := c.name == "restore" && (errors.Is(err, store.ErrNotCommitted) || errors.Is(err, store.ErrUnknownOutcome))
	if err != nil && !errors.Is(err, want) && !prepared {
		t.Errorf("operation %d: the error must be %v: got %v", after, want, err)
	}
	complete := c.check(t, s)
	if err == nil && !complete {
		t.Errorf("operation %d: what was acknowledged must be there", after)
	}
	c.goOn(t, s, complete)
	if got := openFiles(t); got > files {
		t.Errorf("operation %d: %d files are left open", after, got-files)
	}
	if fault.Drops {
		left := t.TempDir()
		if err := errors.Join(disk.Cut(), disk.SaveAll(left)); err != nil {
			t.Fatal(err)
		}
		if !c.check(t, &site{folder: left}) {
			t.Errorf("operation %d: what was acknowledged must survive a power cut", after)
		}
	}
	if t.Failed() {
		t.Fatalf("failed at operation %d, with error %v", after, err)
	}
	return met > after
}
