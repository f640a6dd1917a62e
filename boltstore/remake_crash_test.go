package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/store"
	"go.etcd.io/bbolt"
)

// remakeChild compacts or repairs the file in args[1].
func remakeChild(args []string) error {
	fmt.Println("begins")
	var err error
	switch args[0] {
	case "compact":
		_, err = boltstore.Compact(context.Background(), args[1], nil)
	case "repair":
		_, err = boltstore.Repair(context.Background(), args[1], nil)
	}
	return err
}

// grownFile makes a file with tokens, guards and what is pending, of which a part is free, and closes it.
func grownFile(t *testing.T) string {
	t.Helper()
	path := temporary(t)
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := tenant(t, b, "acme")
	fill(t, s, 8_000)
	for n := range 200 {
		revoke(t, s, 1_000_000+n, domain.Target{UserID: fmt.Sprint("user-", n)})
	}
	if err := sweep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		revoke(t, s, 2_000_000+n, domain.Target{UserID: fmt.Sprint("user-", 300+n)})
	}
	shut(t, b)
	return path
}

// holds tells what a file that is in order holds, and which tokens are revoked.
func holds(t *testing.T, path string) string {
	t.Helper()
	if findings, err := boltstore.CheckFile(t.Context(), path, nil); err != nil || len(findings) > 0 {
		t.Fatalf("S5: the file must be in order: found %q, error %v", findings, err)
	}
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, b)
	s := tenant(t, b, "acme")
	var all strings.Builder
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&all, state)
	for _, fenced := range []bool{false, true} {
		err := list(t.Context(), s, store.Query{Fenced: fenced}, func(token domain.RefreshToken) { fmt.Fprintln(&all, token.ID, token.Sequence, token.UserID) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, retired := range []bool{false, true} {
		page, err := s.Revocations(t.Context(), store.RevocationQuery{Limit: store.MaxPage, Retired: retired})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, page)
	}
	return all.String()
}

// Whoever is killed while it makes a file anew leaves the one that was there, as it was, or all of the new one; and what it leaves
// beside is gone after the next that comes through.
func TestRemakeKilled(t *testing.T) {
	sound := grownFile(t)
	want := holds(t, sound)
	data, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	data = data[:neededPages(t, data, os.Getpagesize())*os.Getpagesize()]
	sound = write(t, data)
	change(t, sound, func(tx *bbolt.Tx) error {
		acme := tx.Bucket([]byte("tenants")).Bucket([]byte("acme"))
		return errors.Join(acme.DeleteBucket([]byte("runs")), acme.DeleteBucket([]byte("fence")), tx.Bucket([]byte("pending")).Delete([]byte("acme")))
	})
	damaged, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	for kind, before := range map[string][]byte{"compact": data, "repair": damaged} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rounds := crashtest.Rounds(t, "CRASH_ROUNDS", 25)
			path := write(t, before)
			began := time.Now()
			if !remakeAndKill(t, kind, path, 0) {
				t.Fatal("it must come to its end by itself")
			}
			whole := time.Since(began)
			left, complete := 0, 0
			for range rounds {
				if err := os.WriteFile(path, before, 0o600); err != nil {
					t.Fatal(err)
				}
				remakeAndKill(t, kind, path, time.Duration(rand.Int64N(int64(whole))))
				after, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(after, before) {
					left++
				} else {
					complete++
					if got := holds(t, path); got != want {
						t.Fatalf("S5: what it holds must be what it held:\n%s\nwas\n%s", got, want)
					}
				}
				kept, err := filepath.Glob(path + ".damaged*")
				if err != nil || kind == "compact" && len(kept) > 0 || kind == "repair" && !bytes.Equal(after, before) && len(kept) == 0 {
					t.Fatalf("a damaged file must be kept, and no other: kept %q, error %v", kept, err)
				}
				for _, name := range kept {
					if text, err := os.ReadFile(name); err != nil || !bytes.Equal(text, before) {
						t.Fatalf("what is kept must be the damaged file: %v", err)
					}
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			if !remakeAndKill(t, kind, path, 0) {
				t.Fatal("it must come to its end by itself")
			}
			if got := holds(t, path); got != want {
				t.Fatalf("S5: what it holds must be what it held:\n%s\nwas\n%s", got, want)
			}
			drafts, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
			if err != nil || len(drafts) > 0 {
				t.Errorf("what was left beside it must be gone: %q, %v", drafts, err)
			}
			t.Logf("killed %d times: %d left the file as it was, %d had made it anew", rounds, left, complete)
			t.Attr("kills", strconv.Itoa(rounds))
		})
	}
}

// remakeAndKill kills a child so long after it has begun, or never for 0, and reports whether it came to its end.
func remakeAndKill(t *testing.T, kind, path string, after time.Duration) (ended bool) {
	t.Helper()
	cmd := child(t, bounded(t, time.Minute), "remake", kind, path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if after > 0 {
		instant := time.NewTimer(after)
		<-instant.C
		_ = cmd.Process.Kill()
	}
	return cmd.Wait() == nil
}
