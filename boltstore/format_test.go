package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// addTenants is a step that adds a bucket beside those of each tenant, as a version to come may.
func addTenants(tx *bbolt.Tx) error {
	about := tx.Bucket(bucketAbout)
	return tx.Bucket(bucketTenants).ForEach(func(name, _ []byte) error { return about.Put(append([]byte("seen "), name...), nil) })
}

// versionOf reads the version of a file, and which tenants a step has seen.
func versionOf(t *testing.T, path string) (version uint32, seen bool) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		version = binary.BigEndian.Uint32(tx.Bucket(bucketAbout).Get(keyVersion))
		seen = tx.Bucket(bucketAbout).Get([]byte("seen acme")) != nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return version, seen
}

// A file comes to a later version in one commit, by all steps in their order, and holds what it held; where a step fails it
// stays as it was.
func TestMigrate(t *testing.T) {
	path := wealthy(t)
	before := contents(t, path)
	bytesBefore := readFile(t, path)
	failed := errors.New("failed")
	const next = formatVersion + 1
	var order []int
	noted := func(n int, next migration) migration {
		return func(tx *bbolt.Tx) error { order = append(order, n); return next(tx) }
	}
	for _, c := range []struct {
		what    string
		steps   map[uint32]migration
		want    error
		through bool
	}{
		{"no step", nil, ErrFormat, false},
		{"a step fails", map[uint32]migration{formatVersion: addTenants, next: func(*bbolt.Tx) error { return failed }}, ErrUnusable, false},
		{"a step panics", map[uint32]migration{formatVersion: addTenants, next: func(*bbolt.Tx) error { panic("by a step") }}, ErrCorrupt, false},
		{"a step is missing", map[uint32]migration{formatVersion: addTenants}, ErrFormat, false},
		{"a step leaves what is not known", map[uint32]migration{formatVersion: addTenants, next: func(tx *bbolt.Tx) error {
			_, err := tx.Bucket(bucketTenants).Bucket([]byte("acme")).CreateBucket([]byte("new"))
			return err
		}}, ErrCorrupt, false},
		{"all steps", map[uint32]migration{formatVersion: noted(1, addTenants), next: noted(2, func(*bbolt.Tx) error { return nil })}, nil, true},
		{"again", nil, nil, true},
	} {
		db, err := open(path, Options{LockTimeout: lockTimeout}, format{version: next + 1, steps: c.steps})
		if !errors.Is(err, c.want) {
			t.Fatalf("%s: got error %v, want %v", c.what, err, c.want)
		}
		if err == nil {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		version, seen := versionOf(t, path)
		if want := uint32(formatVersion); c.through {
			want = next + 1
			if version != want || !seen {
				t.Errorf("%s: version %d, the step was made: %v", c.what, version, seen)
			}
		} else if version != want || seen {
			t.Errorf("%s: version %d, the step was made: %v; it must be as it was", c.what, version, seen)
		}
		if !c.through && !bytes.Equal(readFile(t, path), bytesBefore) {
			t.Errorf("%s: the file was changed", c.what)
		}
	}
	if len(order) != 2 || order[0] != 1 || order[1] != 2 {
		t.Errorf("steps %v, want each once in its order", order)
	}
	if _, err := Open(path, nil); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "newer than this program") {
		t.Errorf("a program from before must refuse it: got %v", err)
	}
	back(t, path)
	if after := contents(t, path); after != before {
		t.Errorf("it holds something else:\n%s\nand before:\n%s", after, before)
	}
}

// A file of an earlier version is held against its own shape, which a step may change.
func TestMigrateOfAnotherShape(t *testing.T) {
	path, old := wealthy(t), []byte("old")
	spoil(t, path, func(_ *bbolt.Tx, acme *bbolt.Bucket) error {
		_, err := acme.CreateBucket(old)
		return err
	})
	db, err := open(path, Options{LockTimeout: lockTimeout}, format{version: formatVersion + 1, steps: map[uint32]migration{formatVersion: func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTenants).Bucket([]byte("acme")).DeleteBucket(old)
	}}})
	if err != nil {
		t.Fatalf("a bucket that the step removes is no damage: got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file of the format before, which has records in their places only, is looked at as it is, and is of this format once it is made anew:
// also one that is damaged, and can't be opened.
func TestOlderFormatIsMended(t *testing.T) {
	for what, c := range map[string]struct {
		damage change
		mend   func(path string) error
	}{
		"compacted": {nil, func(path string) error { _, err := Compact(t.Context(), path, nil); return err }},
		"repaired":  {dropAll(bucketFence), func(path string) error { _, err := Repair(t.Context(), path, nil); return err }},
	} {
		t.Run(what, func(t *testing.T) {
			path := writeFile(t, readFile(t, "testdata/format1.db"))
			if c.damage != nil {
				spoil(t, path, c.damage)
			}
			findings, err := CheckFile(t.Context(), path, nil)
			if version, _ := versionOf(t, path); err != nil || len(findings) > 0 != (c.damage != nil) || version != 1 {
				t.Errorf("found %q, %v, in a file of version %d", findings, err, version)
			}
			if err := c.mend(path); err != nil {
				t.Fatal(err)
			}
			findings, err = CheckFile(t.Context(), path, nil)
			if version, _ := versionOf(t, path); err != nil || len(findings) > 0 || version != formatVersion {
				t.Errorf("after that it found %q, %v, in a file of version %d", findings, err, version)
			}
			b, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if findings, err := b.Check(t.Context()); err != nil || len(findings) > 0 {
				t.Errorf("open it found %q, %v", findings, err)
			}
		})
	}
}

// A file of an older format that does not open is left as it was.
func TestOpenLeavesADamagedOlderFormat(t *testing.T) {
	path := writeFile(t, readFile(t, "testdata/format1.db"))
	before := spoil(t, path, inBucket(bucketLive, func(live *bbolt.Bucket) error { return live.Put(nth(live, 0), []byte("damaged")) }))
	if _, err := Open(path, nil); !errors.Is(err, ErrCorrupt) || !bytes.Equal(readFile(t, path), before) {
		t.Errorf("got %v; the file is as it was: %v", err, bytes.Equal(readFile(t, path), before))
	}
}

// A file of this format has the bucket that came with it.
func TestFormatHasItsBuckets(t *testing.T) {
	path := wealthy(t)
	spoil(t, path, func(tx *bbolt.Tx, _ *bbolt.Bucket) error { return tx.DeleteBucket(bucketRewrites) })
	if _, err := Open(path, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened it: got %v, want ErrCorrupt", err)
	}
	if findings, err := CheckFile(t.Context(), path, nil); err != nil || len(findings) != 1 {
		t.Errorf("found %q, %v", findings, err)
	}
}

// back gives a file the version of this program.
func back(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketAbout).Put(keyVersion, binary.BigEndian.AppendUint32(nil, formatVersion))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// What is only looked at is not brought to another version.
func TestFormatOffline(t *testing.T) {
	path := wealthy(t)
	later := format{version: formatVersion + 1, steps: map[uint32]migration{formatVersion: addTenants}}
	f, err := look(path, lockTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	err = f.db.View(later.checkReadable)
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "has to be opened once") {
		t.Errorf("got %v, want that it has to be opened once", err)
	}
	if findings, err := CheckFile(context.Background(), path, nil); err != nil || len(findings) > 0 {
		t.Errorf("found %q, %v", findings, err)
	}
}
