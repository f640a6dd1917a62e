package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
)

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
