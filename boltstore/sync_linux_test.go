package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// TestEveryCommitIsSynced puts a device in the place of the file that takes every write and can't sync: a commit that is
// acknowledged all the same was not synced, or its sync was not listened to.
func TestEveryCommitIsSynced(t *testing.T) {
	path := temporary(t)
	b := open(t, path, nil)
	s := tenant(t, b, "acme")
	fill(t, s, 100)
	revoke(t, s, 1_000_000, domain.Target{UserID: "user-1"})
	ctx := t.Context()
	for _, verb := range []struct {
		name string
		call func() error
	}{
		{"insert", func() error {
			_, err := s.Insert(ctx, []store.Insertion{{Token: plain(1000, "user", "session")}})
			return err
		}},
		{"update", func() error { return s.Update(ctx, idOf(1), mark("lost")) }},
		{"revoke", func() error {
			_, err := s.Revoke(ctx, revocation(1_000_001, domain.Target{UserID: "user-2"}))
			return err
		}},
		{"apply", func() error {
			_, err := s.Apply(ctx, ids(store.Status{Tombstone: domain.Tombstone{ID: idOf(1_000_000)}}), store.Bounds{Visit: 5, Remove: 5, Now: base})
			return err
		}},
		{"create", func() error { return b.Create(ctx, "another") }},
	} {
		restore := syncless(t, path)
		err := verb.call()
		restore()
		if err == nil {
			t.Fatalf("%s: what can't be synced must not be acknowledged", verb.name)
		}
		if !errors.Is(err, store.ErrNotCommitted) && !errors.Is(err, store.ErrUnknownOutcome) {
			t.Errorf("%s: a sync that fails must have its type: got %v", verb.name, err)
		}
	}
	shut(t, b)
	again := open(t, path, nil)
	state, err := tenant(t, again, "acme").State(ctx)
	if err != nil || state.Tokens != 100 || state.Pending != 1 {
		t.Errorf("what was not acknowledged must not be there: got %+v, error %v", state, err)
	}
	wantClean(t, again)
}

// syncless has what is written to an open file from now on go where it can't be synced, until restore is called.
func syncless(t *testing.T, path string) (restore func()) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if syscall.Fdatasync(int(null.Fd())) == nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this kernel syncs its null device, and CI must not go without this test")
		}
		t.Skip("NOT RUN: this kernel syncs its null device")
	}
	fd := descriptor(t, path)
	file, err := syscall.Dup(fd) // which keeps the file's lock as well
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Dup3(int(null.Fd()), fd, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(syscall.Dup3(file, fd, syscall.O_CLOEXEC), syscall.Close(file)); err != nil {
			t.Fatal(err)
		}
	}
}

// descriptor is the one under which this process has a file open.
func descriptor(t *testing.T, path string) int {
	t.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range open {
		if to, err := os.Readlink(link); err == nil && to == path {
			fd, err := strconv.Atoi(filepath.Base(link))
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}
	}
	t.Fatal("the file is not open")
	return -1
}
