package boltstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/boltstore/internal/filetest"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/internal/restoretest"
	"example.com/tokenstore/store"
)

// backups makes backups by Backup, and opens copies of them that are put to use as they are.
var backups = restoretest.Config{
	New: func(t testing.TB) store.Backend { return open(t, temporary(t), nil) },
	Backup: func(t testing.TB, b store.Backend) func(testing.TB) store.Backend {
		backup := temporary(t)
		if err := b.(*boltstore.Backend).Backup(t.Context(), backup); err != nil {
			t.Fatal(err)
		}
		return func(t testing.TB) store.Backend {
			data, err := os.ReadFile(backup)
			path := temporary(t)
			if err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			return open(t, path, nil)
		}
	},
}

func TestRestore(t *testing.T) { restoretest.Run(t, backups) }

// backedUp is a backup, and the life of what it was made of.
func backedUp(t testing.TB) (path string, l *restoretest.Life) {
	t.Helper()
	path = temporary(t)
	c := backups
	c.Backup = func(t testing.TB, b store.Backend) func(testing.TB) store.Backend {
		if err := b.(*boltstore.Backend).Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	return path, restoretest.Live(t, c)
}

func digest(t testing.TB, path string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// restoreFile makes a file of a backup.
func restoreFile(ctx context.Context, backup, path string, r tokenstore.RestoreRequest) error {
	return boltstore.Restore(ctx, backup, path, func(ctx context.Context, b *boltstore.Backend) error {
		_, err := tokenstore.Restore(ctx, b, r)
		return err
	})
}

// alone is the only name in a directory.
func alone(t testing.TB, path string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(all) > 1 || len(all) == 1 && all[0].Name() != filepath.Base(path) {
		t.Errorf("nothing may stay beside %s: got %v, error %v", filepath.Base(path), all, err)
	}
}

// A file is restored as a whole, or not there; the backup stays as it is.
func TestRestoreFile(t *testing.T) {
	backup, l := backedUp(t)
	was := digest(t, backup)
	path := temporary(t)
	if err := restoreFile(t.Context(), backup, path, tokenstore.RestoreRequest{}); !errors.Is(err, tokenstore.ErrInvalid) {
		t.Errorf("a restoration that is refused must say so: got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what could not be restored must not be there: got %v", err)
	}
	alone(t, path)
	seen := false
	err := boltstore.Restore(t.Context(), backup, path, func(ctx context.Context, b *boltstore.Backend) error {
		_, err := os.Stat(path)
		seen = !errors.Is(err, fs.ErrNotExist)
		_, err = tokenstore.Restore(ctx, b, l.Request())
		return err
	})
	if err != nil || seen {
		t.Fatalf("a file must get its name when it is ready: got %v, there before: %t", err, seen)
	}
	alone(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a restored file must be readable by its owner alone: got %v, error %v", info.Mode(), err)
	}
	if digest(t, backup) != was {
		t.Error("the backup must stay as it was")
	}
	b := open(t, path, nil)
	wantClean(t, b)
	l.CheckEvents(t, b)
	wantClean(t, b)
	if err := restoreFile(t.Context(), backup, path, l.Request()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there must be left alone: got %v", err)
	}
	if err := b.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that is there must be left alone: got %v", err)
	}
	if err := restoreFile(t.Context(), path, temporary(t), l.Request()); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("a file in use is no backup: got %v", err)
	}
}

// What is no whole file of tokens is not restored.
func TestRestoreDamaged(t *testing.T) {
	backup, l := backedUp(t)
	whole, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":     {nil, boltstore.ErrNotOurs},
		"another":   {bytes.Repeat([]byte("text\n"), 10_000), boltstore.ErrNotOurs},
		"cut short": {whole[:len(whole)/2], boltstore.ErrTruncated},
		"a record":  {bytes.ReplaceAll(whole, []byte("session of kept"), []byte("session of k3pt")), boltstore.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			bad, path := temporary(t), temporary(t)
			if err := os.WriteFile(bad, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := restoreFile(t.Context(), bad, path, l.Request()); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			alone(t, path)
		})
	}
	if err := restoreFile(t.Context(), temporary(t), temporary(t), l.Request()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a backup that is not there: got %v", err)
	}
}

// restoreChild restores the backup in args[0] to args[1], by the events in args[2] and args[3], and says when it has.
func restoreChild(args []string) error {
	acme, err := os.Open(args[2])
	if err != nil {
		return err
	}
	globex, err := os.Open(args[3])
	if err != nil {
		return err
	}
	err = restoreFile(context.Background(), args[0], args[1], tokenstore.RestoreRequest{
		Events: map[string]io.ReadSeeker{restoretest.Acme: acme, restoretest.Globex: globex}, Reason: "disk lost", Actor: "operator",
	})
	fmt.Println("restored")
	return err
}

// TestRestoreKilled kills restorations at random instants: the file is absent or complete, and the backup as it was.
func TestRestoreKilled(t *testing.T) {
	rounds := crashtest.Rounds(t, "CRASH_ROUNDS", 60)
	backup, l := backedUp(t)
	was := digest(t, backup)
	args := []string{backup, ""}
	for _, tenant := range []string{restoretest.Acme, restoretest.Globex} {
		events := temporary(t)
		if err := os.WriteFile(events, []byte(l.Events[tenant]), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, events)
	}
	restore := func(path string, after time.Duration) (took time.Duration) {
		args[1] = path
		cmd := child(t, bounded(t, time.Minute), "restore", args...)
		said, err := cmd.StdoutPipe()
		began := time.Now()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_, _ = said.Read(make([]byte, 1)) // or it has been killed
		took = time.Since(began)
		_ = cmd.Wait()
		return took
	}
	kills, absent, complete := 0, 0, 0
	defer func() { t.Attr("kills", strconv.Itoa(kills)) }()
	look := func(path string) {
		if digest(t, backup) != was {
			t.Fatal("the backup must stay as it was")
		}
		if _, err := os.Stat(path); err != nil {
			absent++
			return
		}
		complete++
		b := open(t, path, nil)
		wantClean(t, b)
		l.CheckEvents(t, b)
		shut(t, b)
		if t.Failed() {
			t.FailNow()
		}
	}
	path := temporary(t)
	whole := restore(path, time.Minute)
	if look(path); complete != 1 {
		t.Fatal("who is not killed must come to the end")
	}
	for range rounds {
		path := temporary(t)
		restore(path, rand.N(whole*5/4))
		kills++
		look(path)
	}
	t.Logf("of %d, %d were absent and %d complete", rounds+1, absent, complete)
	if absent == 0 {
		t.Error("some rounds must end before the file has its name")
	}
}

// backupChild works on the file in args[0], and backs it up into the directory args[1] again and again, until it is killed.
func backupChild(args []string) error {
	b, err := boltstore.Open(args[0], nil)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- crashtest.Work(context.Background(), b, crashtest.NewJob(4), os.Stdout) }()
	go func() {
		for n := 0; err == nil; n++ {
			err = b.Backup(context.Background(), filepath.Join(args[1], strconv.Itoa(n)+".db"))
		}
		failed <- err
	}()
	return <-failed
}

// TestBackupKilled kills processes that work and make backups: the file has all that was acknowledged, and every backup that has a
// name is whole.
func TestBackupKilled(t *testing.T) {
	rounds := crashtest.Rounds(t, "CRASH_ROUNDS", 60)
	path := temporary(t)
	kills, made, parts := 0, 0, 0
	defer func() { t.Attr("kills", strconv.Itoa(kills)) }()
	var heard *crashtest.Heard
	for round := range rounds {
		heard = crashtest.NewHeard(heard)
		dir := t.TempDir()
		workAndKill(t, heard, "backup", path, dir)
		kills++
		filetest.Check(t, heard, path)
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range all {
			if strings.Contains(entry.Name(), ".part-") {
				parts++
				continue
			}
			made++
			b := open(t, filepath.Join(dir, entry.Name()), nil)
			wantClean(t, b)
			shut(t, b)
		}
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
		if err := os.Remove(path); err != nil { // so that a round takes no longer than the one before
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times: %d backups were whole, %d had no name", kills, made, parts)
	if made == 0 || parts == 0 {
		t.Errorf("the rounds must have both: %d backups were whole, %d had no name", made, parts)
	}
}
