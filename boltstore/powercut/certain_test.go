package powercut_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// TestOpenSettles: what a process that was killed has left to the kernel is on the disk before the next one shows it.
func TestOpenSettles(t *testing.T) {
	folder, disk := mount(t)
	images := t.TempDir()
	before, after, left := filepath.Join(images, "before"), filepath.Join(images, "after"), filepath.Join(images, "left")
	h, history := &filetest.Host{Path: before}, filetest.History()
	play := func(path string, steps ...filetest.Step) {
		t.Helper()
		h.Path = path
		for _, s := range steps {
			if err := s.Run(t.Context(), h); err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
		}
	}
	shut := filetest.Step{Name: "close", Run: filetest.Close}
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
	h := &filetest.Host{Path: filepath.Join(folder, fileName)}
	for _, s := range []filetest.Step{{Run: filetest.Open}, {Run: filetest.Insert(1, 2, 3)}, {Run: filetest.Update(2)}, {Run: filetest.Update(3)}} { // the file has grown then
		if err := s.Run(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = h.Backend.Close() }()
	if err := disk.Hold(2); err != nil { // the first is of pages that nobody sees yet
		t.Fatal(err)
	}
	revoked := make(chan error, 1)
	go func() { revoked <- filetest.Revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h) }()
	if err := disk.Held(); err != nil {
		t.Fatal(err)
	}
	var readers, started sync.WaitGroup
	for range 16 {
		started.Add(1)
		readers.Go(func() {
			started.Done()
			v, err := h.Store.Get(t.Context(), filetest.ID(1))
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
	if v, err := h.Store.Get(t.Context(), filetest.ID(1)); err != nil || !v.Revoked() {
		t.Errorf("when the disk works again, it must be shown: got revoked %v, error %v", v.Revoked(), err)
	}
}

// lastSync is the failure of the sync after a commit's last page, and of all that follow.
var lastSync = powercut.Fault{Of: powercut.Syncs, After: 1, Errno: syscall.EIO, Drops: true, Lasting: true}

// begin has a file with some tokens on a new disk, and on the disk all that belongs to it.
func begin(t *testing.T, folder string, disk *powercut.Remote, seed uint64) *filetest.Host {
	t.Helper()
	if err := disk.Insert(powercut.Setup{Name: fileName, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	h := &filetest.Host{Path: filepath.Join(folder, fileName)}
	for _, s := range []filetest.Step{{Run: filetest.Open}, {Run: filetest.Insert(1, 2, 3)}, {Run: filetest.Update(2)}, {Run: filetest.Update(3)}} { // the file has grown then
		if err := s.Run(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = h.Backend.Close() })
	return h
}

// cut cuts the power, and returns where the file is that is left.
func cut(t *testing.T, disk *powercut.Remote) (image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), fileName)
	if err := errors.Join(disk.Cut(), disk.Save(fileName, image)); err != nil {
		t.Fatal(err)
	}
	return image
}

// afterCut opens what a power cut has left.
func afterCut(t *testing.T, image string) *filetest.Host {
	t.Helper()
	left := &filetest.Host{Path: image}
	if err := filetest.Open(t.Context(), left); err != nil {
		t.Fatalf("the file must open after a power cut: got %v", err)
	}
	t.Cleanup(func() { _ = left.Backend.Close() })
	return left
}

// TestWriteAfterDoubt: where the disk may lack the last page of a commit, nothing of the commit before is written over until it has
// that page.
func TestWriteAfterDoubt(t *testing.T) {
	folder, disk := mount(t)
	for seed := range uint64(16) {
		h := begin(t, folder, disk, seed)
		want := dump(t.Context(), t, h)
		if _, err := disk.Fail(lastSync); err != nil {
			t.Fatal(err)
		}
		if err := filetest.Revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h); !errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("a commit whose last sync failed must be of unknown outcome: got %v", err)
		}
		if _, err := disk.Fail(powercut.Fault{}); err != nil {
			t.Fatal(err)
		}
		if err := disk.Hold(2); err != nil {
			t.Fatal(err)
		}
		inserted := make(chan error, 1)
		go func() { inserted <- filetest.Insert(4, 5, 6, 7, 8, 9, 10)(t.Context(), h) }()
		if err := disk.Held(); err != nil {
			t.Fatal(err)
		}
		image := cut(t, disk)
		if err := disk.Free(); err != nil {
			t.Fatal(err)
		}
		if err := <-inserted; err == nil {
			t.Error("what can't be synced must not be acknowledged")
		}
		_ = h.Backend.Close()
		left := afterCut(t, image)
		if _, err := left.Store.Revocation(t.Context(), filetest.ID(100)); err != nil && dump(t.Context(), t, left) != want {
			t.Error("without the commit the file must be as it was before")
		} else if err == nil {
			dump(t.Context(), t, left) // it is in order
		}
	}
}

// TestOpenEndsDoubt: what one process could not sync is on the disk before the next one shows it, though the kernel has forgotten
// that it should be written.
func TestOpenEndsDoubt(t *testing.T) {
	folder, disk := mount(t)
	h := begin(t, folder, disk, 0)
	if _, err := disk.Fail(lastSync); err != nil {
		t.Fatal(err)
	}
	if err := filetest.Revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h); !errors.Is(err, store.ErrUnknownOutcome) {
		t.Fatalf("a commit whose last sync failed must be of unknown outcome: got %v", err)
	}
	_ = h.Backend.Close()
	if _, err := disk.Fail(powercut.Fault{}); err != nil {
		t.Fatal(err)
	}
	if err := filetest.Open(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	want := dump(t.Context(), t, h)
	if got := dump(t.Context(), t, afterCut(t, cut(t, disk))); got != want {
		t.Errorf("what was shown must survive a power cut:\ngot  %s\nwant %s", got, want)
	}
}

// TestReaderLeaves: whoever waits for a sync that does not end goes when its context does.
func TestReaderLeaves(t *testing.T) {
	folder, disk := mount(t)
	h := begin(t, folder, disk, 0)
	if err := disk.Hold(2); err != nil {
		t.Fatal(err)
	}
	revoked := make(chan error, 1)
	go func() { revoked <- filetest.Revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h) }()
	if err := disk.Held(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	read := make(chan error, 1)
	go func() {
		_, err := h.Store.State(ctx)
		read <- err
	}()
	select {
	case err := <-read:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a reader whose context has ended must say so: got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a reader must not wait for longer than its context")
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	if err := <-revoked; err != nil {
		t.Errorf("the commit must succeed when the disk works again: got %v", err)
	}
}

// TestReaderOfWhatIsCertain: a commit that nobody sees yet holds up no reader.
func TestReaderOfWhatIsCertain(t *testing.T) {
	folder, disk := mount(t)
	h := begin(t, folder, disk, 0)
	if err := disk.Hold(1); err != nil { // of its pages, before the one that shows them
		t.Fatal(err)
	}
	revoked := make(chan error, 1)
	go func() { revoked <- filetest.Revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h) }()
	if err := disk.Held(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if state, err := h.Store.State(ctx); err != nil || state.Pending != 0 {
		t.Errorf("what is on the disk must be shown at once: got %+v, error %v", state, err)
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	if err := <-revoked; err != nil {
		t.Errorf("the commit must succeed: got %v", err)
	}
}

// TestCloseInDoubt: where the disk may lack the last page of a commit, closing the file writes nothing over that the commit before needs.
func TestCloseInDoubt(t *testing.T) {
	folder, disk := mount(t)
	for seed := range uint64(32) {
		h := begin(t, folder, disk, seed)
		want := dump(t.Context(), t, h)
		if _, err := disk.Fail(powercut.Fault{Of: powercut.Syncs, After: 1, Errno: syscall.EIO, Lasting: true}); err != nil {
			t.Fatal(err)
		}
		if err := filetest.Revoke(100, domain.Target{UserID: "user-1"})(t.Context(), h); !errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("a commit whose last sync failed must be of unknown outcome: got %v", err)
		}
		_ = h.Backend.Close()
		left := afterCut(t, cut(t, disk))
		got := dump(t.Context(), t, left) // it is in order
		if _, err := left.Store.Revocation(t.Context(), filetest.ID(100)); err != nil && got != want {
			t.Error("without the commit the file must be as it was before")
		}
	}
}
