package boltstore_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
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
		{"the next format", "has format 2, which is newer than this program", func(about *bbolt.Bucket) error {
			return about.Put(version, []byte{0, 0, 0, 2})
		}},
		{"one that never was", "has format 0, from which no step leads to 1", func(about *bbolt.Bucket) error {
			return about.Put(version, []byte{0, 0, 0, 0})
		}},
		{"a trial format", "a trial format of before the first release", func(about *bbolt.Bucket) error {
			return errors.Join(about.Delete(version), about.Put([]byte("format"), []byte{0, 0, 0, 3}))
		}},
		{"the trial format of the same number", "a trial format of before the first release", func(about *bbolt.Bucket) error {
			return errors.Join(about.Delete(version), about.Put([]byte("format"), []byte{0, 0, 0, 1}))
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

func TestCreated(t *testing.T) {
	path := temporary(t)
	open(t, path, nil)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a file must be created for its owner alone: got %v, error %v", info.Mode(), err)
	}
}

// Of several that find no file at once, one makes it, and none loses what another has written.
func TestCreatedAtOnce(t *testing.T) {
	path := temporary(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b, err := boltstore.Open(path, &boltstore.Options{LockTimeout: 30 * time.Second})
			if err != nil {
				t.Errorf("one after the other must get the file: got %v", err)
				return
			}
			insert(t, tenant(t, b, "acme"), plain(i, "user", ""))
			shut(t, b)
		})
	}
	wg.Wait()
	b := open(t, path, nil)
	state, err := tenant(t, b, "acme").State(t.Context())
	if err != nil || state.Tokens != 8 {
		t.Errorf("nothing must be lost: got %d tokens of 8, error %v", state.Tokens, err)
	}
}

// createChild makes one file after the other until it is killed.
func createChild(args []string) error {
	for i := 0; ; i++ {
		b, err := boltstore.Open(filepath.Join(args[0], strconv.Itoa(i)+".db"), nil)
		if err != nil {
			return err
		}
		if err := b.Close(); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// A crash while a file is being made leaves no file, or a whole one.
func TestCreateCrash(t *testing.T) {
	for round := range 5 {
		dir := t.TempDir()
		cmd := child(t, bounded(t, time.Minute), "create", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + round {
			lines.Scan()
		}
		spin(round)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		files, err := filepath.Glob(filepath.Join(dir, "[0-9]*.db"))
		if err != nil || len(files) == 0 {
			t.Fatalf("the child must make files: got %d, error %v", len(files), err)
		}
		for _, file := range files {
			wantClean(t, open(t, file, nil))
		}
	}
}

// spin takes a little time, a different one each time, without sleeping.
func spin(n int) {
	sum := sha256.Sum256([]byte{byte(n)})
	for range rand.IntN(20_000) {
		sum = sha256.Sum256(sum[:])
	}
}

// damagedChild uses each file that it is given, whatever is wrong with it, and says what it thinks of it. All that must
// not happen is that it dies.
func damagedChild(args []string) error {
	for _, path := range args {
		verdict, err := useDamaged(path)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		fmt.Println(verdict)
	}
	return nil
}

func useDamaged(path string) (string, error) {
	before, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	b, err := boltstore.Open(path, nil)
	if err != nil {
		after, readErr := os.ReadFile(path)
		if readErr != nil || !bytes.Equal(before, after) {
			return "", errors.New("a file that did not open was changed")
		}
		return "refused", typed(err)
	}
	defer b.Close()
	return "opened", errors.Join(useStore(b)...)
}

// typed returns nil for the errors that a damaged file may give.
func typed(err error) error {
	for _, known := range []error{
		nil, boltstore.ErrCorrupt, boltstore.ErrFormat, boltstore.ErrNotOurs, boltstore.ErrTruncated, store.ErrNotFound,
		store.ErrNotCommitted, store.ErrCovered, store.ErrConflict,
	} {
		if errors.Is(err, known) {
			return nil
		}
	}
	return fmt.Errorf("an error without a type: %w", err)
}

func TestDamaged(t *testing.T) {
	const files, perChild = 150, 50
	data := example(t)
	data = data[:neededPages(t, data, os.Getpagesize())*os.Getpagesize()] // what bbolt has grown the file by holds nothing
	random := rand.New(rand.NewPCG(1, 2))
	counts := map[string]int{}
	for range files / perChild {
		dir := t.TempDir()
		var paths []string
		for i := range perChild {
			damaged := bytes.Clone(data)
			for range 1 + random.IntN(4) {
				at := random.IntN(len(damaged))
				if random.IntN(2) == 0 { // where the structure is: at the head of a page
					at = at/os.Getpagesize()*os.Getpagesize() + random.IntN(64)
				}
				damaged[at] ^= byte(1 + random.IntN(255))
			}
			path := filepath.Join(dir, strconv.Itoa(i)+".db")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		out, err := child(t, bounded(t, 2*time.Minute), "damaged", paths...).Output()
		if err != nil {
			t.Fatalf("a damaged file must give an error, not end the process: %v", err)
		}
		for line := range bytes.Lines(out) {
			counts[string(bytes.TrimSpace(line))]++
		}
	}
	t.Logf("of %d damaged files: %v", files, counts)
	if counts["refused"] == 0 || counts["opened"] == 0 || counts["refused"]+counts["opened"] != files {
		t.Errorf("some must be refused, some be opened, and none be lost: got %v", counts)
	}
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
