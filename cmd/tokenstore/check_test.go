package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// What is no file of ours, is not there, is damaged, of before, or in use is told apart; nothing is made, and nothing changed.
func TestCheckOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	db, _ := fileOf(t, 500)
	sound := read(t, db)
	flipped := bytes.Clone(sound)
	for at := 2 * os.Getpagesize(); at < len(flipped); at += os.Getpagesize() {
		flipped[at] ^= 0x40
	}
	trial, _ := fileOf(t, 1)
	file, err := bbolt.Open(trial, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = file.Update(func(tx *bbolt.Tx) error {
		about := tx.Bucket([]byte("about"))
		return errors.Join(about.Delete([]byte("version")), about.Put([]byte("format"), []byte{0, 0, 0, 3}))
	})
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		db, want            string
		check, repair, both int
	}{
		"nothing":        {filepath.Join(dir, "none.db"), "there is no file", exitUsage, exitUsage, exitUsage},
		"no folder":      {filepath.Join(dir, "none", "x.db"), "there is no file", exitUsage, exitUsage, exitUsage},
		"a folder":       {dir, "not a tokenstore file", exitFailed, exitFailed, exitFailed},
		"text":           {put("text", []byte("some text")), "not a tokenstore file", exitFailed, exitFailed, exitFailed},
		"an empty file":  {put("empty", nil), "not a tokenstore file", exitFailed, exitFailed, exitFailed},
		"a cut file":     {put("cut", sound[:4*os.Getpagesize()]), "file is truncated", exitFound, exitFound, exitFailed},
		"flipped bits":   {put("flipped", flipped), "file is corrupt", exitFound, exitFound, exitFailed},
		"a trial format": {trial, "a trial format of before the first release", exitFailed, exitFailed, exitFailed},
	} {
		before, _ := os.ReadFile(c.db)
		for args, want := range map[string]int{"check": c.check, "check --repair --yes": c.repair, "compact --yes": c.both} {
			code, stdout, stderr := toEnd(t, append(strings.Fields(args), "--db", c.db)...)
			if code != want || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("%s of %s: exit code %d, %q, %q", args, what, code, stdout, stderr)
			}
		}
		if after, _ := os.ReadFile(c.db); !bytes.Equal(after, before) {
			t.Errorf("%s was changed", what)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("something was made: %v, %v", entries, err)
	}
	p := serve(t, db)
	for _, args := range [][]string{{"check"}, {"check", "--repair", "--yes"}, {"compact", "--yes"}} {
		if code, _, stderr := toEnd(t, append(args, "--db", db)...); code != exitFailed || stderr != "tokenstore: "+db+" is in use: end the process that holds it first\n" {
			t.Errorf("%s of a file in use: exit code %d, %q", args, code, stderr)
		}
	}
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	for _, url := range []string{"postgres://db.example/tokens", "etcd://127.0.0.1:1/tokens"} {
		for _, args := range [][]string{{"check"}, {"compact", "--yes"}} {
			if code, _, stderr := toEnd(t, append(args, "--db", url)...); code != exitUsage || !strings.Contains(stderr, "is for a file") {
				t.Errorf("%s of %s: exit code %d, %q", args, url, code, stderr)
			}
		}
	}
}
