package powercut_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/powercut"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

var base = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func idOf(n int) (id ulid.ULID) {
	id[15] = byte(n)
	return id
}

// host is what uses a file: it opens it, and holds it open.
type host struct {
	path    string
	backend *boltstore.Backend
	store   store.Store
}

// step is a call. It may be repeated if it failed, and says of what kind the error must be.
type step struct {
	name string
	run  func(context.Context, *host) error
	errs []error // one of which it must be
}

var (
	ofWriting = []error{store.ErrNotCommitted, store.ErrUnknownOutcome}
	ofFiles   = []error{boltstore.ErrUnusable, boltstore.ErrFull}
)

func openFile(_ context.Context, h *host) (err error) {
	if h.backend, err = boltstore.Open(h.path, nil); err != nil {
		return err
	}
	h.store, err = h.backend.Tenant("acme")
	return err
}

func closeFile(_ context.Context, h *host) error {
	_ = h.backend.Close() // it releases the file, whatever the error
	return nil
}

func insert(numbers ...int) func(context.Context, *host) error {
	return func(ctx context.Context, h *host) error {
		var rows []store.Insertion
		for _, n := range numbers {
			rows = append(rows, store.Insertion{Emit: store.AllKinds, Token: domain.RefreshToken{
				ID: idOf(n), UserID: fmt.Sprint("user-", n%3), ClientID: "client", CreatedAt: base,
				SessionID: domain.MustSessionID(fmt.Sprint("session-", n)), ExpiresAt: base.Add(time.Hour * time.Duration(n)),
			}})
		}
		results, err := h.store.Insert(ctx, rows)
		for _, r := range results {
			if err == nil && r.Err != nil && !errors.Is(r.Err, store.ErrExists) {
				err = r.Err
			}
		}
		return err
	}
}

func update(n int) func(context.Context, *host) error {
	return func(ctx context.Context, h *host) error {
		return h.store.Update(ctx, idOf(n), func(v store.View) store.Decision {
			next := v.Token
			metadata, err := domain.NewMetadata(map[string]string{"note": "seen"})
			next.Metadata = metadata
			return store.Decision{Next: &next, Err: err}
		})
	}
}

func revoke(n int, target domain.Target) func(context.Context, *host) error {
	return func(ctx context.Context, h *host) error {
		_, err := h.store.Revoke(ctx, store.Revocation{
			ID: idOf(n), Targets: []domain.Target{target}, Time: base.Add(time.Hour), Emit: store.KindRevoked,
		})
		return err
	}
}

func sweep(n int) func(context.Context, *host) error {
	return func(ctx context.Context, h *host) error {
		_, err := h.store.Apply(ctx, []ulid.ULID{idOf(n)}, store.Bounds{Visit: 100, Remove: 100, Now: base.Add(time.Hour)})
		return err
	}
}

func snapshot(ctx context.Context, h *host) error {
	var copied bytes.Buffer
	return h.backend.Snapshot(ctx, &copied)
}

// history is short, and has every call that writes.
var history = []step{
	{"create", openFile, ofFiles},
	{"insert", insert(1, 2, 3, 4, 5, 6, 7), ofWriting},
	{"update", update(2), ofWriting},
	{"revoke", revoke(100, domain.Target{UserID: "user-1"}), ofWriting},
	{"sweep", sweep(100), ofWriting},
	{"snapshot", snapshot, ofFiles},
	{"expire", func(ctx context.Context, h *host) error {
		_, err := h.store.Expire(ctx, store.Bounds{Visit: 100, Remove: 100, Now: base.Add(3 * time.Hour)})
		return err
	}, ofWriting},
	{"close", closeFile, nil},
	{"open", openFile, ofFiles},
	{"insert more", insert(8, 9), ofWriting},
	{"revoke more", revoke(101, domain.Target{SessionID: "session-9"}), ofWriting},
	{"trim", func(ctx context.Context, h *host) error {
		end := base.Add(24 * time.Hour)
		_, err := h.store.Trim(ctx, store.Trim{Guards: end, History: end, Events: base.Add(time.Minute), Limit: 100})
		return err
	}, ofWriting},
}

// dump is what a store holds.
func dump(ctx context.Context, t *testing.T, h *host) string {
	t.Helper()
	findings, err := h.backend.Check(ctx)
	if err != nil || len(findings) > 0 {
		t.Fatalf("the file must be in order: found %q, error %v", findings, err)
	}
	state, err := h.store.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := h.store.List(ctx, store.Query{Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	revocations, err := h.store.Revocations(ctx, store.RevocationQuery{Limit: store.MaxPage, Retired: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{state, tokens, revocations})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
	var want []string // the dump after each step
	h := &host{path: filepath.Join(folder, fileName)}
	for _, s := range history {
		if err := s.run(t.Context(), h); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if s.name == "close" {
			want = append(want, want[len(want)-1])
			continue
		}
		want = append(want, dump(t.Context(), t, h))
	}
	_ = h.backend.Close()
	cases := 0
	defer func() { t.Attr("cases", strconv.Itoa(cases)) }()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), fileName)
			h, left := &host{}, &host{path: image}
			t.Cleanup(func() { // what fails must not keep the disk mounted
				for _, h := range []*host{h, left} {
					if h.backend != nil {
						_ = h.backend.Close()
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
				*h = host{path: filepath.Join(folder, fileName)}
				met, last := play(t, disk, h, f.fault, f.cut)
				if t.Failed() {
					t.Fatalf("failed at operation %d, in %q", n, history[last].name)
				}
				if got := dump(t.Context(), t, h); got != want[last] {
					t.Fatalf("operation %d, in %q: the file must be as if nothing had failed:\ngot  %s\nwant %s", n, history[last].name, got, want[last])
				}
				if err := errors.Join(disk.Cut(), disk.Save(fileName, image)); err != nil {
					t.Fatal(err)
				}
				_ = h.backend.Close()
				if got := openFiles(t); got > files {
					t.Fatalf("operation %d, in %q: %d files are left open", n, history[last].name, got-files)
				}
				if err := openFile(t.Context(), left); err != nil {
					t.Fatalf("operation %d, in %q: the file must open after a power cut: got %v", n, history[last].name, err)
				}
				if got := dump(t.Context(), t, left); got != want[last] {
					t.Fatalf("operation %d, in %q: what was acknowledged must survive a power cut:\ngot  %s\nwant %s", n, history[last].name, got, want[last])
				}
				_ = left.backend.Close()
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
func play(t *testing.T, disk *powercut.Remote, h *host, fault powercut.Fault, stop bool) (met, last int) {
	t.Helper()
	if _, err := disk.Fail(fault); err != nil {
		t.Fatal(err)
	}
	failed := false
	for i, s := range history {
		err := s.run(t.Context(), h)
		if err != nil {
			failed = true
			check(t, s, err, fault)
			if fault.Lasting && h.backend != nil {
				readsGoOn(t, s, h, err)
			}
			if _, healed := disk.Fail(powercut.Fault{}); healed != nil {
				t.Fatal(healed)
			}
			if err = s.run(t.Context(), h); err != nil {
				t.Errorf("%s: must succeed when the disk works again: got %v", s.name, err)
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
	return met, len(history) - 1
}

// check looks at the error of a step.
func check(t *testing.T, s step, err error, fault powercut.Fault) {
	t.Helper()
	if !slices.ContainsFunc(s.errs, func(want error) bool { return errors.Is(err, want) }) {
		t.Errorf("%s: must be one of %v: got %v", s.name, s.errs, err)
	}
	if full := errors.Is(err, boltstore.ErrFull); fault.Errno == syscall.ENOSPC && errors.Is(err, store.ErrNotCommitted) && !full {
		t.Errorf("%s: a full disk must be ErrFull: got %v", s.name, err)
	}
}

// readsGoOn: a disk that takes nothing more can be read.
func readsGoOn(t *testing.T, s step, h *host, failed error) {
	t.Helper()
	if h.store == nil || s.name == "open" {
		return
	}
	_, err := h.store.State(t.Context())
	switch unknown := errors.Is(failed, store.ErrUnknownOutcome); {
	case unknown && !errors.Is(err, boltstore.ErrUnusable):
		t.Errorf("%s: what may not be on the disk must not be shown: got error %v", s.name, err)
	case !unknown && err != nil:
		t.Errorf("%s: reads must go on: got %v", s.name, err)
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
