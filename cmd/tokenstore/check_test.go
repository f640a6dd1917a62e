package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// damage has bbolt alone change the tenant's part of a file.
func damage(t *testing.T, db string, change func(tenant *bbolt.Bucket) error) []byte {
	t.Helper()
	file, err := bbolt.Open(db, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = file.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("tenants")).Bucket([]byte("default"))) })
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return read(t, db)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file is looked at, and not changed; what is wrong with its index is told by the exit code, and mended on request.
func TestCheckAndRepair(t *testing.T) {
	db, ids := fileOf(t, 100)
	if code, stdout, stderr := toEnd(t, "check", "--db", db); code != 0 || stdout != "" || stderr != db+" is in order\n" {
		t.Errorf("a sound file: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := toEnd(t, "check", "--db", db, "--repair", "--yes"); code != 0 || stdout != "" || stderr != db+" is in order\n" {
		t.Errorf("to repair a sound file: exit code %d, %q, %q", code, stdout, stderr)
	}
	bad := damage(t, db, func(tenant *bbolt.Bucket) error { return tenant.DeleteBucket([]byte("fresh")) })
	code, stdout, stderr := toEnd(t, "check", "--db", db)
	if code != exitFound || !strings.Contains(stdout, "is not in the index") || stderr != "tokenstore: "+db+" is not in order\n" {
		t.Errorf("a damaged file: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ := toEnd(t, "check", "--db", db, "--repair"); code != exitUsage || stdout != "" {
		t.Errorf("without a terminal to ask on: exit code %d, %q", code, stdout)
	}
	if code, _, _ := toEnd(t, "check", "--db", db, "--yes"); code != exitUsage {
		t.Errorf("--yes to nothing: exit code %d", code)
	}
	if !bytes.Equal(read(t, db), bad) {
		t.Fatal("none of these may change the file")
	}
	code, stdout, stderr = toEnd(t, "check", "--db", db, "--repair", "--yes")
	if code != 0 || !strings.Contains(stdout, "is not in the index") || !strings.Contains(stderr, "the damaged file is "+db+".damaged") {
		t.Errorf("repair: exit code %d, %q, %q", code, stdout, stderr)
	}
	if !bytes.Equal(read(t, db+".damaged"), bad) {
		t.Error("the damaged file must be kept")
	}
	if code, _, stderr := toEnd(t, "check", "--db", db); code != 0 {
		t.Errorf("after the repair: exit code %d, %q", code, stderr)
	}
	if n := stillThere(t, db, ids); n != len(ids) {
		t.Errorf("%d tokens of %d are there", n, len(ids))
	}
}

// A record that can't be read is named, by a check and by a repair, which then does nothing.
func TestRepairNamesWhatIsLost(t *testing.T) {
	db, ids := fileOf(t, 3)
	bad := damage(t, db, func(tenant *bbolt.Bucket) error {
		return tenant.Bucket([]byte("tokens")).Put(ids[1][:], []byte("damaged"))
	})
	if code, stdout, _ := toEnd(t, "check", "--db", db); code != exitFound || !strings.Contains(stdout, "checksum is wrong") {
		t.Errorf("check: exit code %d, %q", code, stdout)
	}
	code, stdout, stderr := toEnd(t, "check", "--db", db, "--repair", "--yes")
	if code != exitFound || !strings.Contains(stdout, "token "+ids[1].String()+" can't be read") || !strings.Contains(stderr, "beyond repair") || !strings.Contains(stderr, "backup") {
		t.Errorf("repair: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := toEnd(t, "compact", "--db", db, "--yes"); code != exitFailed || !strings.Contains(stderr, "is as it was") {
		t.Errorf("compact: exit code %d, %q", code, stderr)
	}
	if entries, err := os.ReadDir(filepath.Dir(db)); err != nil || len(entries) != 1 || !bytes.Equal(read(t, db), bad) {
		t.Errorf("the file must stay as it was, and alone: %v, %v", entries, err)
	}
	out := filepath.Join(t.TempDir(), "out.db")
	for _, args := range [][]string{{"backup", "--db", db, out}, {"restore", "--db", out, "--override", "--yes", db}} {
		code, _, stderr := toEnd(t, args...)
		if _, err := os.Lstat(out); code != exitFailed || !strings.Contains(stderr, out+" was not made: "+db+": ") || err == nil {
			t.Errorf("%s: exit code %d, %q; the file that was to be made: %v", args[0], code, stderr, err)
		}
	}
}

func TestCompactFile(t *testing.T) {
	db, ids := fileOf(t, 100)
	size := len(read(t, db))
	code, stdout, stderr := toEnd(t, "compact", "--db", db, "--yes")
	if code != 0 || !strings.HasSuffix(stdout, " after\n") || stderr != "" || len(read(t, db)) >= size {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if n := stillThere(t, db, ids); n != len(ids) {
		t.Errorf("%d tokens of %d are there", n, len(ids))
	}
	if code, _, _ := toEnd(t, "compact", "--db", db); code != exitUsage {
		t.Errorf("without a terminal to ask on: exit code %d", code)
	}
}

// A server is asked, and repairs itself: what is for a file is refused there.
func TestCheckOfServers(t *testing.T) {
	for _, url := range []string{"postgres://127.0.0.1:1/tokens?sslmode=disable&connect_timeout=5", "etcd://127.0.0.1:1/tokens"} {
		for _, args := range [][]string{{"check", "--repair", "--yes"}, {"compact", "--yes"}} {
			if code, _, stderr := toEnd(t, append(args, "--db", url)...); code != exitUsage || !strings.Contains(stderr, "is for a file") {
				t.Errorf("%s of %s: exit code %d, %q", args, url, code, stderr)
			}
		}
	}
	if code, _, stderr := toEnd(t, "check", "--db", "postgres://127.0.0.1:1/tokens?sslmode=disable&connect_timeout=5"); code != exitFailed || !strings.Contains(stderr, "can't be opened") {
		t.Errorf("where nobody answers: exit code %d, %q", code, stderr)
	}
}
