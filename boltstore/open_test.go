package boltstore_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"go.etcd.io/bbolt"
)

// example is the bytes of a file with tokens, tombstones and guards in it.
func example(t testing.TB) []byte {
	t.Helper()
	path := temporary(t)
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := tenant(t, b, "acme")
	fill(t, s, 1000)
	revoke(t, s, 1_000_001, domain.Target{UserID: "user-1"})
	if err := sweep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	revoke(t, s, 1_000_002, domain.Target{UserID: "user-2"}, domain.Target{ClientID: "other"})
	shut(t, b)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := temporary(t)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused expects that a file does not open, for one of the given reasons, and that it is left as it was.
func refused(t testing.TB, what, path string, want ...error) {
	t.Helper()
	before, readErr := os.ReadFile(path)
	b, err := boltstore.Open(path, &boltstore.Options{LockTimeout: 50 * time.Millisecond})
	if err == nil {
		shut(t, b)
		t.Errorf("%s: must not open", what)
		return
	}
	known := false
	for _, w := range want {
		known = known || errors.Is(err, w)
	}
	if !known {
		t.Errorf("%s: got error %v, want one of %v", what, err, want)
	}
	after, err := os.ReadFile(path)
	if (err == nil) != (readErr == nil) || !bytes.Equal(before, after) {
		t.Errorf("%s: the file must be left byte for byte as it was", what)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err == nil && len(entries) > 1 {
		t.Errorf("%s: something else was left in the folder: %v", what, entries)
	}
}

func TestOpenNotOurs(t *testing.T) {
	random := make([]byte, 1<<16)
	source := rand.NewChaCha8([32]byte{7})
	_, _ = source.Read(random)
	for name, data := range map[string][]byte{
		"text": []byte("tokens, tokens"), "random bytes": random, "an empty file": nil, "zeros": make([]byte, 1<<16),
	} {
		refused(t, name, write(t, data), boltstore.ErrNotOurs)
	}

	path := temporary(t)
	change(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("mine")); return err })
	refused(t, "somebody else's bbolt file", path, boltstore.ErrNotOurs)
	for _, bucket := range []string{"about", "tenants", "pending"} {
		path := write(t, example(t))
		change(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bucket)) })
		refused(t, "a file without "+bucket, path, boltstore.ErrNotOurs)
	}

	path = write(t, example(t))
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("about")).Delete([]byte("version")) })
	refused(t, "a file of no format", path, boltstore.ErrNotOurs)

	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, "a folder", folder, boltstore.ErrNotOurs)
}

// change has bbolt alone write to a file.
func change(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTruncated(t *testing.T) {
	data := example(t)
	page := os.Getpagesize()
	for size := page; size < len(data); size += page * (1 + len(data)/page/64) {
		for _, n := range []int{size, size + 1, size + page/2} {
			if n < len(data) && neededPages(t, data, page) > n/page {
				refused(t, fmt.Sprintf("cut to %d bytes", n), write(t, data[:n]), boltstore.ErrTruncated, boltstore.ErrCorrupt)
			}
		}
	}
	for _, n := range []int{0, 1, 15, 64, page - 1} {
		refused(t, fmt.Sprintf("cut to %d bytes", n), write(t, data[:n]), boltstore.ErrNotOurs, boltstore.ErrTruncated)
	}
}

// neededPages is how many pages a file says it has: the higher of its two meta pages' marks.
func neededPages(t testing.TB, data []byte, page int) int {
	t.Helper()
	mark := uint64(0)
	for _, at := range []int{0, page} {
		mark = max(mark, binary.LittleEndian.Uint64(data[at+16+40:]))
	}
	return int(mark)
}

func TestOpenDamagedMeta(t *testing.T) {
	data := example(t)
	page := os.Getpagesize()
	both := bytes.Clone(data)
	both[16+30]++
	both[page+16+30]++
	refused(t, "both meta pages damaged", write(t, both), boltstore.ErrCorrupt)

	// bbolt keeps two of them, so that it can do without the one that it was writing.
	for _, at := range []int{0, page} {
		one := bytes.Clone(data)
		one[at+16+30]++
		b := open(t, write(t, one), nil)
		wantClean(t, b)
	}
}

func TestOpenOtherFormat(t *testing.T) {
	version := []byte("version")
	for _, c := range []struct {
		what, want string
		change     func(about *bbolt.Bucket) error
	}{
		{"a newer format", "has format 99, which is newer than this program", func(about *bbolt.Bucket) error {
			return about.Put(version, []byte{0, 0, 0, 99})
		}},
		{"the next format", "has format 3, which is newer than this program", func(about *bbolt.Bucket) error {
			return about.Put(version, []byte{0, 0, 0, 3})
		}},
		{"one that never was", "has format 0, from which no step leads to 2", func(about *bbolt.Bucket) error {
			return about.Put(version, []byte{0, 0, 0, 0})
		}},
		{"a trial format", "a trial format of before the first release", func(about *bbolt.Bucket) error {
			return errors.Join(about.Delete(version), about.Put([]byte("format"), []byte{0, 0, 0, 3}))
		}},
		{"the trial format of the same number", "a trial format of before the first release", func(about *bbolt.Bucket) error {
			return errors.Join(about.Delete(version), about.Put([]byte("format"), []byte{0, 0, 0, 2}))
		}},
	} {
		path := write(t, example(t))
		change(t, path, func(tx *bbolt.Tx) error { return c.change(tx.Bucket([]byte("about"))) })
		refused(t, c.what, path, boltstore.ErrFormat)
		_, opened := boltstore.Open(path, nil)
		_, checked := boltstore.CheckFile(t.Context(), path, nil)
		_, compacted := boltstore.Compact(t.Context(), path, nil)
		_, repaired := boltstore.Repair(t.Context(), path, nil)
		for by, err := range map[string]error{"Open": opened, "CheckFile": checked, "Compact": compacted, "Repair": repaired} {
			if !errors.Is(err, boltstore.ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s must say that it %s: got %v", c.what, by, c.want, err)
			}
		}
		refused(t, c.what, path, boltstore.ErrFormat)
	}
}

// What should be a bucket of a tenant is one, and nothing else is there.
func TestOpenWrongShape(t *testing.T) {
	for what, spoil := range map[string]func(tenants, acme *bbolt.Bucket) error{
		"a bucket that is a value": func(_, acme *bbolt.Bucket) error {
			return errors.Join(acme.DeleteBucket([]byte("tokens")), acme.Put([]byte("tokens"), []byte("x")))
		},
		"a value that is a bucket": func(_, acme *bbolt.Bucket) error {
			_, err := acme.CreateBucket([]byte("origin"))
			return err
		},
		"a value too many":         func(_, acme *bbolt.Bucket) error { return acme.Put([]byte("mine"), []byte("x")) },
		"a bucket too many":        func(_, acme *bbolt.Bucket) error { _, err := acme.CreateBucket([]byte("mine")); return err },
		"a tenant that is a value": func(tenants, _ *bbolt.Bucket) error { return tenants.Put([]byte("mine"), []byte("x")) },
	} {
		path := write(t, example(t))
		change(t, path, func(tx *bbolt.Tx) error {
			tenants := tx.Bucket([]byte("tenants"))
			return spoil(tenants, tenants.Bucket([]byte("acme")))
		})
		refused(t, what, path, boltstore.ErrCorrupt)
	}
}

func TestOpenUnusable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a folder that is not there": filepath.Join(dir, "missing", "tokens.db"),
		"a folder that is a file":    filepath.Join(file, "tokens.db"),
		"a path that is too long":    filepath.Join(dir, string(bytes.Repeat([]byte("x"), 300))),
	} {
		if _, err := boltstore.Open(path, nil); !errors.Is(err, boltstore.ErrUnusable) {
			t.Errorf("%s: got error %v, want ErrUnusable", name, err)
		}
	}
	_, err := boltstore.Open(temporary(t), &boltstore.Options{LockTimeout: -1})
	if !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("a negative timeout: got error %v, want a FieldError", err)
	}
}

// holdChild holds the file until its input ends.
func holdChild(args []string) error {
	b, err := boltstore.Open(args[0], nil)
	if err != nil {
		return err
	}
	fmt.Println("holding")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return b.Close()
}

func TestOpenLocked(t *testing.T) {
	path := temporary(t)
	cmd := child(t, bounded(t, time.Minute), "hold", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the child must open the file: got %q, error %v", line, err)
	}
	began := time.Now()
	refused(t, "held by another process", path, boltstore.ErrLocked)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a held file must be refused within a bounded time: took %v", took)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	b := open(t, path, nil)
	refused(t, "held by this process", path, boltstore.ErrLocked)
	if _, err := boltstore.Open(path, nil); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("a held file must be refused without options too: got %v", err)
	}
	wantClean(t, b)
}

// TestMustExist: a file that has to be there is not created, and one that is there is opened.
func TestMustExist(t *testing.T) {
	path := temporary(t)
	if _, err := boltstore.Open(path, &boltstore.Options{MustExist: true}); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, boltstore.ErrUnusable) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("it made %v, %v", entries, err)
	}
	for _, opts := range []*boltstore.Options{nil, {MustExist: true}} {
		b, err := boltstore.Open(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		shut(t, b)
	}
}

// A file at which bbolt panics is let go of: who puts a whole one in its place, in the same file, can open that.
func TestOpenLetsGoOfWhatPanics(t *testing.T) {
	data := example(t)
	spoilt := bytes.Clone(data)
	for _, at := range []int{0, os.Getpagesize()} { // both meta pages say that a page has no bytes
		meta := spoilt[at+16:]
		binary.LittleEndian.PutUint32(meta[8:], 0)
		sum := fnv.New64a()
		sum.Write(meta[:56])
		binary.LittleEndian.PutUint64(meta[56:], sum.Sum64())
	}
	path := write(t, spoilt)
	if err := os.Truncate(path, 1<<30+1); err != nil { // by which bbolt divides what it maps, of a file that is large: this one has a hole
		t.Fatal(err)
	}
	if !boltPanics(t, path) {
		t.Error("bbolt must panic, or this test shows nothing")
	}
	for what, use := range map[string]func() error{
		"Open": func() error { _, err := boltstore.Open(path, nil); return err },
		"CheckFile": func() error {
			findings, err := boltstore.CheckFile(t.Context(), path, nil)
			return found(findings, err)
		},
		"Compact": func() error { _, err := boltstore.Compact(t.Context(), path, nil); return err },
		"Repair":  func() error { _, err := boltstore.Repair(t.Context(), path, nil); return err },
	} {
		if err := use(); !errors.Is(err, boltstore.ErrCorrupt) {
			t.Errorf("%s: got error %v, want ErrCorrupt", what, err)
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(data, 0)
	if err := errors.Join(err, file.Truncate(int64(len(data))), file.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := boltstore.Open(path, &boltstore.Options{LockTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatalf("a file that is whole again must open: %v", err)
	}
	shut(t, b)
}

// boltPanics reports whether bbolt panics at a file, and closes that.
func boltPanics(t *testing.T, path string) (did bool) {
	t.Helper()
	var file *os.File
	defer func() {
		did = recover() != nil
		_ = file.Close()
	}()
	_, _ = bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}})
	return false
}

// found makes an error of what a check has found.
func found(findings []string, err error) error {
	if err == nil && len(findings) > 0 {
		return fmt.Errorf("%w: %q", boltstore.ErrCorrupt, findings)
	}
	return err
}
