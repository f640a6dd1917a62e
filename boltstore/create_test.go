package boltstore_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
)

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
