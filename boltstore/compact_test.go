package boltstore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// swept makes a file most of whose tokens are gone.
func swept(t *testing.T) (path string) {
	t.Helper()
	b, s := rig(t)
	b.SettleEarly(100)
	for from := 0; from < 4000; from += 500 {
		rows := make([]store.Insertion, 500)
		for i := range rows {
			user := "gone"
			if i%10 == 0 {
				user = "stays"
			}
			rows[i].Token = domain.RefreshToken{ID: number(from + i + 1), UserID: user, ClientID: "client", CreatedAt: instant}
		}
		if _, err := s.Insert(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Revoke(t.Context(), store.Revocation{ID: number(100_000), Targets: []domain.Target{{UserID: "gone"}}, Time: instant}); err != nil {
		t.Fatal(err)
	}
	retireAll(t, s, number(100_000))
	path = b.db.Path()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file of which most has gone becomes small, and holds what it held; the link that leads to it stays one, and so does its mode.
func TestCompact(t *testing.T) {
	path := swept(t)
	before := contents(t, path)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(filepath.Dir(path), ".tokens.db.compact-123")
	other := filepath.Join(filepath.Dir(path), ".tokens.db.new-123")
	for _, name := range []string{stale, other} {
		if err := os.WriteFile(name, []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	size := int64(len(readFile(t, path)))
	done, err := Compact(t.Context(), link, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 || info.Size() != done.After || done.Before != size || done.Kept != "" || done.After*3 > done.Before {
		t.Errorf("told %+v of a file that had %d bytes: %v, %v, %v", done, size, info.Size(), info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link must stay one: %v, %v", info.Mode(), err)
	}
	if names := beside(t, path); len(names) != 1 || names[0] != filepath.Base(other) {
		t.Errorf("beside it lie %q; only what is another's must", names)
	}
	if _, freelist, err := readMeta(bytes.NewReader(readFile(t, path))); err != nil || freelist == noFreelist {
		t.Errorf("it must be as a file that was closed: free pages %x, %v", freelist, err)
	}
	if findings, err := CheckFile(t.Context(), path, nil); err != nil || len(findings) > 0 {
		t.Errorf("found %q, error %v", findings, err)
	}
	if after := contents(t, path); after != before {
		t.Errorf("it holds something else:\n%s\nand before:\n%s", after, before)
	}
	again, err := Compact(t.Context(), path, nil)
	if err != nil || again.After > done.After {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// Everything that a file can have comes along.
func TestCompactKeepsAll(t *testing.T) {
	path := wealthy(t)
	before := contents(t, path)
	if _, err := Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if after := contents(t, path); after != before {
		t.Errorf("it holds something else:\n%s\nand before:\n%s", after, before)
	}
	goOn(t, path)
}

// offlineVerbs are what is done to a file that nobody uses.
func offlineVerbs() map[string]func(ctx context.Context, path string, opts *Options) error {
	return map[string]func(ctx context.Context, path string, opts *Options) error{
		"CheckFile": func(ctx context.Context, path string, opts *Options) error {
			findings, err := CheckFile(ctx, path, opts)
			if err == nil && len(findings) > 0 {
				err = &DamageError{Findings: findings}
			}
			return err
		},
		"Compact": func(ctx context.Context, path string, opts *Options) error {
			_, err := Compact(ctx, path, opts)
			return err
		},
		"Repair": func(ctx context.Context, path string, opts *Options) error {
			_, err := Repair(ctx, path, opts)
			return err
		},
	}
}

// What is none of ours, or can't be used, is an error with a type; nothing is made, and nothing changed.
func TestOfflineRefuses(t *testing.T) {
	closed, _, leaf, branch := filled(t, 1500)
	page := os.Getpagesize()
	flipped := func(at int) []byte {
		data := bytes.Clone(closed)
		data[at] ^= 0x40
		return data
	}
	for what, c := range map[string]struct {
		data []byte
		want error
	}{
		"no file":                 {nil, ErrUnusable},
		"an empty file":           {[]byte{}, ErrNotOurs},
		"text":                    {[]byte("tokens, tokens"), ErrNotOurs},
		"zeros":                   {make([]byte, 1<<16), ErrNotOurs},
		"half a file":             {closed[:pages(closed).used()/2*page], ErrCorrupt},
		"a file cut in a page":    {closed[:3*page+page/2], ErrCorrupt},
		"one page":                {closed[:page], ErrCorrupt},
		"a branch of the records": {flipped(branch * page), ErrCorrupt},
		"a leaf of the records":   {flipped(leaf*page + 8), ErrCorrupt},
	} {
		for verb, do := range offlineVerbs() {
			path := filepath.Join(t.TempDir(), "tokens.db")
			if c.data != nil {
				if err := os.WriteFile(path, c.data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := do(t.Context(), path, nil)
			if !errors.Is(err, c.want) && !(c.want == ErrCorrupt && errors.Is(err, ErrTruncated)) {
				t.Errorf("%s of %s: got error %v, want %v", verb, what, err, c.want)
			}
			if c.data != nil && !bytes.Equal(readFile(t, path), c.data) {
				t.Errorf("%s of %s must leave it as it was", verb, what)
			}
			if names := beside(t, path); len(names) > 0 {
				t.Errorf("%s of %s: beside it lie %q", verb, what, names)
			}
			if _, err := os.Stat(path); c.data == nil && err == nil {
				t.Errorf("%s of %s must not make one", verb, what)
			}
		}
	}
	for verb, do := range offlineVerbs() {
		if err := do(t.Context(), t.TempDir(), nil); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s of a folder: got error %v", verb, err)
		}
		if err := do(t.Context(), writeFile(t, closed), &Options{LockTimeout: -1}); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%s for a negative time: got error %v", verb, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		path := wealthy(t)
		data := spoil(t, path, dropAll(bucketFence))
		if err := do(ctx, path, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s when it was cancelled: got error %v", verb, err)
		}
		if !bytes.Equal(readFile(t, path), data) || len(beside(t, path)) > 0 {
			t.Errorf("%s when it was cancelled must leave nothing, and the file as it was", verb)
		}
	}
}

// A file that is in use is left alone.
func TestOfflineLocked(t *testing.T) {
	b, s := rig(t)
	insertOne(t, s, 1, "ann")
	for verb, do := range offlineVerbs() {
		if err := do(t.Context(), b.db.Path(), &Options{LockTimeout: 50 * time.Millisecond}); !errors.Is(err, ErrLocked) {
			t.Errorf("%s of a file in use: got error %v, want ErrLocked", verb, err)
		}
	}
	insertOne(t, s, 2, "ann")
	if names := beside(t, b.db.Path()); len(names) > 0 {
		t.Errorf("beside it lie %q", names)
	}
	path := b.db.Path()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := look(path, lockTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.close()
	if _, err := CheckFile(t.Context(), path, nil); err != nil {
		t.Errorf("two may look at a file: %v", err)
	}
	if _, err := Compact(t.Context(), path, &Options{LockTimeout: 50 * time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("Compact while another looks at it: got error %v, want ErrLocked", err)
	}
}

// A file that has lost its place while somebody waited for its lock is not written to, whenever it happened.
func TestOpenOfAFileThatLostItsPlace(t *testing.T) {
	path := swept(t)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := stillThere(file, path); err != nil {
		t.Errorf("it is there: got %v", err)
	}
	if _, err := Compact(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if err := stillThere(file, path); !errors.Is(err, errReplaced) || !errors.Is(err, ErrUnusable) {
		t.Errorf("another has taken its place: got %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := stillThere(file, path); !errors.Is(err, errReplaced) {
		t.Errorf("it is gone: got %v", err)
	}
}

// A file that has another name would be split in two. The names that a crash has left it are none that matter.
func TestCompactAndRepairOfAHardLink(t *testing.T) {
	verbs := offlineVerbs()
	for _, verb := range []string{"Compact", "Repair"} {
		for other, refused := range map[string]bool{"other.db": true, "tokens.db.bak": true, "tokens.db.damaged": false, "tokens.db.damaged-2": false, ".tokens.db.new-123": false} {
			path := wealthy(t)
			if verb == "Repair" {
				spoil(t, path, dropAll(bucketFence))
			}
			data := readFile(t, path)
			link := filepath.Join(filepath.Dir(path), other)
			if err := os.Link(path, link); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".tokens.db.new-999"), nil, 0o600); err != nil { // no name of this file
				t.Fatal(err)
			}
			err := verbs[verb](t.Context(), path, nil)
			if refused != (errors.Is(err, errLinked) && errors.Is(err, ErrUnusable)) || !refused && err != nil {
				t.Errorf("%s beside %s: got error %v, want it refused: %v", verb, other, err, refused)
			}
			if refused && (!bytes.Equal(readFile(t, path), data) || len(beside(t, path)) != 2) {
				t.Errorf("%s beside %s must leave the file as it was, and alone", verb, other)
			}
			if findings, err := CheckFile(t.Context(), link, nil); refused && (err != nil || verb == "Compact" && len(findings) > 0) {
				t.Errorf("%s beside %s: it may be looked at: found %q, error %v", verb, other, findings, err)
			}
		}
	}
}

// What is looked at is what is locked, also where another file takes its place between the two.
func TestOfflineLooksAtWhatItLocks(t *testing.T) {
	path := writeFile(t, readFile(t, swept(t)))
	data := readFile(t, path)
	for _, c := range []struct {
		replaced int
		want     error
	}{{1, nil}, {3, nil}, {1000, ErrLocked}} {
		opened := 0
		f, err := lookThrough(path, lockTimeout, func(name string, flag int, mode os.FileMode) (*os.File, error) {
			if opened++; opened <= c.replaced {
				next := name + ".next"
				if err := errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, name)); err != nil {
					t.Error(err)
				}
			}
			return os.OpenFile(name, flag, mode)
		})
		if !errors.Is(err, c.want) {
			t.Fatalf("replaced %d times: got error %v, want %v", c.replaced, err, c.want)
		}
		if err != nil {
			continue
		}
		looked, err := f.file.Stat()
		locked, other := f.locked.Stat()
		if err := errors.Join(err, other); err != nil || !os.SameFile(looked, locked) || opened != c.replaced+1 {
			t.Errorf("replaced %d times, opened %d times: it must look at what it has locked: %v", c.replaced, opened, err)
		}
		f.close()
	}
}
