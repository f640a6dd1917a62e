package powercut_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/store"
	"go.uber.org/goleak"
)

// dump is what a store holds.
func dump(ctx context.Context, t *testing.T, h *filetest.Host) string {
	t.Helper()
	text, err := h.Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// faults are what happens to a disk, at every operation in turn.
var faults = []struct {
	name  string
	fault powercut.Fault
	cut   bool // the power is cut as soon as the call that failed has been repeated; otherwise at the end
}{
	{"full for an instant", powercut.Fault{Of: powercut.Writes | powercut.Names, Errno: syscall.ENOSPC}, false},
	{"full", powercut.Fault{Of: powercut.Writes | powercut.Names, Errno: syscall.ENOSPC, Lasting: true}, false},
	{"full when synced", powercut.Fault{Of: powercut.Syncs, Errno: syscall.ENOSPC, Lasting: true, Drops: true}, true},
	{"read-only", powercut.Fault{Of: powercut.Writes | powercut.Syncs | powercut.Names | powercut.Opens, Errno: syscall.EROFS, Lasting: true}, false},
	{"writes fail once", powercut.Fault{Of: powercut.Writes | powercut.Names | powercut.Opens, Errno: syscall.EIO}, false},
	{"writes fail", powercut.Fault{Of: powercut.Writes | powercut.Syncs | powercut.Names | powercut.Opens, Errno: syscall.EIO, Lasting: true}, true},
	{"a sync fails", powercut.Fault{Of: powercut.Syncs, Errno: syscall.EIO, Drops: true}, true},
	{"a sync fails, the power goes later", powercut.Fault{Of: powercut.Syncs, Errno: syscall.EIO, Drops: true}, false},
	{"a read fails", powercut.Fault{Of: powercut.Reads, Errno: syscall.EIO}, false},
}

// TestDiskFaults: whatever operation of a disk fails, the call says so by a documented error; when the disk works again, the same
// open file does; and what was acknowledged is there after a power cut.
func TestDiskFaults(t *testing.T) {
	folder, disk := mount(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	want, err := (&filetest.Host{Path: filepath.Join(folder, fileName)}).Dumps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	history := filetest.History()
	cases := 0
	defer func() { t.Attr("cases", strconv.Itoa(cases)) }()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), fileName)
			h, left := &filetest.Host{}, &filetest.Host{Path: image}
			t.Cleanup(func() { // what fails must not keep the disk mounted
				for _, h := range []*filetest.Host{h, left} {
					if h.Backend != nil {
						_ = h.Backend.Close()
					}
				}
			})
			n := 0
			for ; ; n++ {
				f.fault.After = n
				if err := disk.Insert(powercut.Setup{Name: fileName, Seed: uint64(n)}); err != nil {
					t.Fatal(err)
				}
				files := openFiles(t)
				*h = filetest.Host{Path: filepath.Join(folder, fileName)}
				met, last := play(t, disk, h, f.fault, f.cut)
				if t.Failed() {
					t.Fatalf("failed at operation %d, in %q", n, history[last].Name)
				}
				if got := dump(t.Context(), t, h); got != want[last] {
					t.Fatalf("operation %d, in %q: the file must be as if nothing had failed:\ngot  %s\nwant %s", n, history[last].Name, got, want[last])
				}
				if err := errors.Join(disk.Cut(), disk.Save(fileName, image)); err != nil {
					t.Fatal(err)
				}
				_ = h.Backend.Close()
				if got := openFiles(t); got > files {
					t.Fatalf("operation %d, in %q: %d files are left open", n, history[last].Name, got-files)
				}
				if err := filetest.Open(t.Context(), left); err != nil {
					t.Fatalf("operation %d, in %q: the file must open after a power cut: got %v", n, history[last].Name, err)
				}
				if got := dump(t.Context(), t, left); got != want[last] {
					t.Fatalf("operation %d, in %q: what was acknowledged must survive a power cut:\ngot  %s\nwant %s", n, history[last].Name, got, want[last])
				}
				_ = left.Backend.Close()
				if met <= n {
					break
				}
			}
			cases += n
			t.Logf("%d operations failed, one by one", n)
		})
	}
}

// play plays the history with a fault. The step that fails is repeated when the disk works again. It returns how many operations
// the fault has met, and which step was the last.
func play(t *testing.T, disk *powercut.Remote, h *filetest.Host, fault powercut.Fault, stop bool) (met, last int) {
	t.Helper()
	if _, err := disk.Fail(fault); err != nil {
		t.Fatal(err)
	}
	failed := false
	for i, s := range filetest.History() {
		err := s.Run(t.Context(), h)
		if err != nil {
			failed = true
			check(t, s, err, fault)
			if fault.Lasting && h.Backend != nil {
				readsGoOn(t, s, h, err)
			}
			if _, healed := disk.Fail(powercut.Fault{}); healed != nil {
				t.Fatal(healed)
			}
			if err = s.Run(t.Context(), h); err != nil {
				t.Errorf("%s: must succeed when the disk works again: got %v", s.Name, err)
				return 0, i
			}
			met = fault.After + 1
			if stop {
				return met, i
			}
		}
	}
	if !failed {
		var err error
		if met, err = disk.Fail(powercut.Fault{}); err != nil {
			t.Fatal(err)
		}
	}
	return met, len(filetest.History()) - 1
}

// check looks at the error of a step.
func check(t *testing.T, s filetest.Step, err error, fault powercut.Fault) {
	t.Helper()
	if !slices.ContainsFunc(s.Errs, func(want error) bool { return errors.Is(err, want) }) {
		t.Errorf("%s: must be one of %v: got %v", s.Name, s.Errs, err)
	}
	if full := errors.Is(err, boltstore.ErrFull); fault.Errno == syscall.ENOSPC && errors.Is(err, store.ErrNotCommitted) && !full {
		t.Errorf("%s: a full disk must be ErrFull: got %v", s.Name, err)
	}
}

// readsGoOn: a disk that takes nothing more can be read.
func readsGoOn(t *testing.T, s filetest.Step, h *filetest.Host, failed error) {
	t.Helper()
	if h.Store == nil || s.Name == "open" {
		return
	}
	_, err := h.Store.State(t.Context())
	switch unknown := errors.Is(failed, store.ErrUnknownOutcome); {
	case unknown && !errors.Is(err, boltstore.ErrUnusable):
		t.Errorf("%s: what may not be on the disk must not be shown: got error %v", s.Name, err)
	case !unknown && err != nil:
		t.Errorf("%s: reads must go on: got %v", s.Name, err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
