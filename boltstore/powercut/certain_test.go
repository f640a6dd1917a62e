package powercut_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// TestOpenSettles: what a process that was killed has left to the kernel is on the disk before the next one shows it.
func TestOpenSettles(t *testing.T) {
	folder, disk := mount(t)
	images := t.TempDir()
	before, after, left := filepath.Join(images, "before"), filepath.Join(images, "after"), filepath.Join(images, "left")
	h := &host{path: before}
	play := func(path string, steps ...step) {
		t.Helper()
		h.path = path
		for _, s := range steps {
			if err := s.run(t.Context(), h); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
		}
	}
	shut := step{"close", closeFile, nil}
	play(before, history[0], history[1], shut)
	data, err := os.ReadFile(before)
	if err == nil {
		err = os.WriteFile(after, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	play(after, history[0], history[3], shut)
	if err := disk.Insert(powercut.Setup{Name: fileName, Image: before}); err != nil {
		t.Fatal(err)
	}
	shown := filepath.Join(folder, fileName)
	if data, err = os.ReadFile(after); err == nil {
		err = os.WriteFile(shown, data, 0o600) // and not synced
	}
	if err != nil {
		t.Fatal(err)
	}
	play(shown, history[0])
	want := dump(t.Context(), t, h)
	if err := errors.Join(disk.Cut(), disk.Save(fileName, left)); err != nil {
		t.Fatal(err)
	}
	play(left, shut, history[0])
	if got := dump(t.Context(), t, h); got != want {
		t.Errorf("what was shown must survive a power cut:\ngot  %s\nwant %s", got, want)
	}
	play(left, shut)
}

// TestReadersWaitForTheDisk: no reader hears of a revocation that is being synced, if that sync then fails.
func TestReadersWaitForTheDisk(t *testing.T) {
	folder, disk := mount(t)
	if err := disk.Insert(powercut.Setup{Name: fileName}); err != nil {
		t.Fatal(err)
	}
	h := &host{path: filepath.Join(folder, fileName)}
	for _, s := range []step{{run: openFile}, {run: insert(1, 2, 3)}, {run: update(2)}, {run: update(3)}} { // the file has grown then
		if err := s.run(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = h.backend.Close() }()
	if err := disk.Hold(2); err != nil { // the first is of pages that nobody sees yet
		t.Fatal(err)
	}
	revoked := make(chan error, 1)
	go func() { revoked <- revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h) }()
	if err := disk.Held(); err != nil {
		t.Fatal(err)
	}
	var readers, started sync.WaitGroup
	for range 16 {
		started.Add(1)
		readers.Go(func() {
			started.Done()
			v, err := h.store.Get(t.Context(), idOf(1))
			if err == nil && v.Revoked() || err != nil && !errors.Is(err, boltstore.ErrUnusable) {
				t.Errorf("what may not be on the disk must not be shown: got revoked %v, error %v", v.Revoked(), err)
			}
		})
	}
	started.Wait()
	for range 100 { // so that they come before the end of the sync, most of them
		runtime.Gosched()
	}
	if _, err := disk.Fail(powercut.Fault{Of: powercut.Syncs, Errno: syscall.EIO, Lasting: true, Drops: true}); err != nil {
		t.Fatal(err)
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	if err := <-revoked; !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("a commit whose last sync failed must be of unknown outcome: got %v", err)
	}
	readers.Wait()
	if _, err := disk.Fail(powercut.Fault{}); err != nil {
		t.Fatal(err)
	}
	if v, err := h.store.Get(t.Context(), idOf(1)); err != nil || !v.Revoked() {
		t.Errorf("when the disk works again, it must be shown: got revoked %v, error %v", v.Revoked(), err)
	}
}
