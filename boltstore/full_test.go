package boltstore_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// fillUp inserts tokens of one user until there is no room, and returns how many were acknowledged.
func fillUp(t *testing.T, s store.Store, from int) (acked int) {
	t.Helper()
	for n := from; n < from+200_000; n++ {
		results, err := s.Insert(t.Context(), []store.Insertion{{Token: plain(n, "user", "session")}})
		if err != nil {
			if !errors.Is(err, boltstore.ErrFull) || !errors.Is(err, store.ErrNotCommitted) {
				t.Fatalf("no room must be ErrFull and ErrNotCommitted: got %v", err)
			}
			return acked
		}
		if results[0].Err == nil {
			acked++
		}
	}
	t.Fatal("the file has grown beyond its limit")
	return acked
}

// fullStore fills a store up, and sees that it goes on when there is room again.
func fullStore(t *testing.T, b *boltstore.Backend) {
	t.Helper()
	s := tenant(t, b, "acme")
	insert(t, s, plain(1, "other", ""))
	acked := fillUp(t, s, 10)
	if acked == 0 {
		t.Fatal("something must fit in")
	}
	for range 5 { // again and again: a failure must leave nothing behind
		if n := fillUp(t, s, 1_000_000); n > 0 {
			acked += n
		}
	}
	state, err := s.State(t.Context())
	if err != nil || state.Tokens != acked+1 {
		t.Errorf("what was acknowledged must stay, and nothing else: got %d tokens of %d, error %v", state.Tokens, acked+1, err)
	}
	if _, err := s.Get(t.Context(), idOf(1)); err != nil {
		t.Errorf("reads must go on: got %v", err)
	}
	wantClean(t, b)
}

func TestFull(t *testing.T) {
	path := temporary(t)
	b := open(t, path, &boltstore.Options{MaxSize: 1 << 20})
	fullStore(t, b)
	if size := sizeOf(t, path); size > 1<<20 || size < 1<<20-1<<16 {
		t.Errorf("a full file must be as large as it may be, or nearly: got %d bytes", size)
	}
	shut(t, b)

	roomy := open(t, path, nil)
	s := tenant(t, roomy, "acme")
	revoke(t, s, 9_000_000, domain.Target{UserID: "user"})
	if err := sweep(t.Context(), s); err != nil {
		t.Fatalf("a sweep must go on where there is room: got %v", err)
	}
	state, err := s.State(t.Context())
	if err != nil || state.Tokens != 1 || state.Pending != 0 {
		t.Errorf("the sweep must come to its end: got %+v, error %v", state, err)
	}
	wantClean(t, roomy)
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A file without a limit grows by far more than a commit takes, so that few commits have to wait for it.
func TestGrowsInLargeSteps(t *testing.T) {
	path := temporary(t)
	s := tenant(t, open(t, path, nil), "acme")
	sizes := map[int64]bool{}
	for n := range 50 {
		insert(t, s, plain(n, "user", "session"))
		sizes[sizeOf(t, path)] = true
	}
	if len(sizes) > 2 {
		t.Errorf("the file has had %d sizes in 50 commits", len(sizes))
	}
}

// A disk that is really full, and then is not any more, without the file being opened again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if runtime.GOOS != "linux" || exec.Command("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", dir).Run() != nil {
		if os.Getenv("CI") != "" && runtime.GOOS == "linux" && os.Getuid() == 0 {
			t.Fatal("a small disk can't be mounted, and CI must not go without this test")
		}
		t.Skip("NOT RUN: a small disk can't be mounted here; it takes Linux and root")
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Errorf("umount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, filepath.Join(dir, "tokens.db"), nil)
	fullStore(t, b)
	updated := 0
	for n := 10; n < 60; n++ { // in their places: notes would take room that others need
		if err := tenant(t, b, "acme").Update(t.Context(), idOf(n), mark("full")); err == nil {
			updated++
		}
	}
	if noted := b.Generations(); updated == 0 || len(noted) != 1 || noted[0] > 0 {
		t.Errorf("of 50 tokens on a full disk %d are updated, and %v noted", updated, noted)
	}
	if err := b.Snapshot(t.Context(), io.Discard); !errors.Is(err, boltstore.ErrFull) {
		t.Errorf("a snapshot that finds no room must be ErrFull: got %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s := tenant(t, b, "acme")
	insert(t, s, plain(5_000_000, "late", ""))
	revoke(t, s, 9_000_000, domain.Target{UserID: "late"})
	if err := sweep(t.Context(), s); err != nil {
		t.Errorf("the store must go on when there is room again: got %v", err)
	}
	wantClean(t, b)
	shut(t, b)

	path := filepath.Join(dir, "tokens.db")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err == nil {
		t.Fatal("the disk must be full")
	}
	if _, err := boltstore.Compact(t.Context(), path, nil); !errors.Is(err, boltstore.ErrFull) {
		t.Errorf("a copy that finds no room must be ErrFull: got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file must stay as it was: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("something was left in the folder: %v, %v", entries, err)
	}
}
