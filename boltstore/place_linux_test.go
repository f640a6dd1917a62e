package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// openToWrite reports whether this process has a file open to write to it.
func openToWrite(t *testing.T, path string) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err != nil || to != path {
			continue // it may be closed by now
		}
		info, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fd.Name()))
		var position, flags int
		if _, scanned := fmt.Sscanf(string(info), "pos: %d\nflags: %o", &position, &flags); err == nil && scanned == nil && flags&os.O_RDWR != 0 {
			return true
		}
	}
	return false
}

// Who has opened a file, and waits for its lock while another takes its place, gets that other one: what it writes must not go to a
// file that has no name any more.
func TestOpenWaitsForTheFileThatTakesItsPlace(t *testing.T) {
	path := swept(t)
	reader, err := look(path, lockTimeout) // holds up who writes, and no one who looks
	if err != nil {
		t.Fatal(err)
	}
	type opened struct {
		b   *Backend
		err error
	}
	waiting := make(chan opened, 1)
	go func() {
		b, err := Open(path, &Options{LockTimeout: time.Minute})
		waiting <- opened{b, err}
	}()
	for !openToWrite(t, path) {
		runtime.Gosched()
	}
	d, err := newDraft(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.name, readFile(t, path), 0); err != nil {
		t.Fatal(err)
	}
	_, err = d.takeOver("")
	reader.close()
	if err != nil {
		t.Fatal(err)
	}
	o := <-waiting
	if o.err != nil {
		t.Fatal(o.err)
	}
	write := func(b *Backend) error {
		s, err := b.Tenant("acme")
		if err != nil {
			return err
		}
		_, err = s.Insert(t.Context(), []store.Insertion{{Token: domain.RefreshToken{ID: number(1_000_000), UserID: "ann", ClientID: "client", CreatedAt: instant}}})
		return err
	}
	if err := errors.Join(write(o.b), o.b.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := b.Tenant("acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), number(1_000_000)); err != nil {
		t.Errorf("what was acknowledged must be in the file: %v", err)
	}
}

// What can't be synced gets no place, and what has the place keeps it: here a pipe, which no system syncs.
func TestDraftIsSynced(t *testing.T) {
	path := writeFile(t, []byte("old"))
	piped := func(path string) draft {
		t.Helper()
		d, err := newDraft(path, "test")
		if err := errors.Join(err, os.Remove(d.name), syscall.Mkfifo(d.name, 0o600)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := piped(path)
	if kept, err := d.takeOver("kept"); !errors.Is(err, ErrUnusable) || kept != "" {
		t.Errorf("takeOver: kept %q, error %v, want ErrUnusable", kept, err)
	}
	if err := d.drop(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || string(readFile(t, path)) != "old" || len(beside(t, path)) > 0 {
		t.Errorf("the file must stay as it was, and alone: %v", err)
	}
	free := path + ".free"
	d = piped(free)
	if err := d.takeFree(); !errors.Is(err, ErrUnusable) {
		t.Errorf("takeFree: got error %v, want ErrUnusable", err)
	}
	if err := d.drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(free); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing must be there: %v", err)
	}
}

// A draft takes a place that is free, and no other; what it takes over can be kept, under a name that is free.
func TestDraftTakesItsPlace(t *testing.T) {
	path := writeFile(t, []byte("old"))
	made := func(text string) draft {
		t.Helper()
		d, err := newDraft(path, "test")
		if err := errors.Join(err, os.WriteFile(d.name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := made("none")
	if err := d.takeFree(); !errors.Is(err, os.ErrExist) || string(readFile(t, path)) != "old" {
		t.Errorf("a place that is taken: got error %v", err)
	}
	if err := d.drop(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, kept string }{{"second", path + ".kept"}, {"third", path + ".kept-2"}} {
		before := string(readFile(t, path))
		d := made(c.text)
		kept, err := d.takeOver("kept")
		if err := errors.Join(err, d.drop()); err != nil || kept != c.kept || string(readFile(t, path)) != c.text || string(readFile(t, kept)) != before {
			t.Errorf("it is kept as %q, error %v", kept, err)
		}
	}
	if err := os.Link(path, path+".kept-3"); err != nil { // as after a crash
		t.Fatal(err)
	}
	d = made("fourth")
	if kept, err := d.takeOver("kept"); err != nil || kept != path+".kept-3" || string(readFile(t, kept)) != "third" {
		t.Errorf("it is kept as %q, error %v; it had been kept before a crash", kept, err)
	}
	if names := beside(t, path); len(names) != 3 {
		t.Errorf("beside it lie %q", names)
	}
}

// Where the folder can't be synced once a draft has its place, it stays there, and the error says that it has it.
func TestDraftOfUnsettledFolder(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "boltstore-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if os.Geteuid() == 0 { // permissions are not for root
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "tokens.db")
	took := make(chan [2]error)
	go func() {
		runtime.LockOSThread() // and it ends with the goroutine
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(nobody); err != nil {
				took <- [2]error{err, err}
				return
			}
		}
		made := func(text string) (draft, error) {
			d, err := newDraft(path, "test")
			return d, errors.Join(err, os.WriteFile(d.name, []byte(text), 0o600))
		}
		first, err := made("first")
		second, other := made("second")
		if err := errors.Join(err, other, os.Chmod(dir, 0o300)); err != nil {
			took <- [2]error{err, err}
			return
		}
		free := first.takeFree()
		_, over := second.takeOver("")
		took <- [2]error{free, over}
	}()
	for i, err := range <-took {
		if !errors.Is(err, ErrUnsettled) || !errors.Is(err, ErrUnusable) {
			t.Errorf("%d: got error %v, want ErrUnsettled", i, err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if text := readFile(t, path); string(text) != "second" {
		t.Errorf("what took the place must be there: got %q", text)
	}
}
