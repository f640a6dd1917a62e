package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// create makes a complete, empty database and only then gives it its name. A file that another process creates meanwhile is left
// alone. Whoever opens it settles it.
func create(path string) error {
	d, err := newDraft(path, "new")
	if err != nil {
		return err
	}
	defer func() { _ = d.drop() }()
	db, err := bbolt.Open(d.name, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return unusable(err)
	}
	tx, err := db.Begin(true)
	if err == nil {
		if err = protect(func() error { return layOut(tx) }); err == nil {
			err = protect(tx.Commit)
		}
		if !rollBack(tx) {
			return unusable(err) // nor can it be closed
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return unusable(err)
	}
	if err := d.takeFree(); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// layOut writes what an empty database has.
func layOut(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketTenants, bucketPending} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	about, err := tx.CreateBucket(bucketAbout)
	if err != nil {
		return err
	}
	return about.Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion))
}

// settle brings to the disk what a process before may have left undone: its last commit. That one's last page is written again, as
// it is, for where its sync has failed the kernel may have dropped it, and another sync would not try.
func settle(file *os.File, pageSize int) error {
	metas := make([]byte, 2*pageSize)
	if _, err := file.ReadAt(metas, 0); err != nil {
		return err
	}
	if _, err := file.WriteAt(metas, 0); err != nil {
		return err
	}
	return file.Sync()
}

func unusable(err error) error {
	if errors.Is(err, berrors.ErrTimeout) {
		return ErrLocked
	}
	return fmt.Errorf("%w: %w", ErrUnusable, err)
}

// checkFormat reads the format version of an open database.
func checkFormat(tx *bbolt.Tx) error {
	about := tx.Bucket(bucketAbout)
	if about == nil || tx.Bucket(bucketTenants) == nil || tx.Bucket(bucketPending) == nil {
		return ErrNotOurs
	}
	version := about.Get(keyFormat)
	if len(version) != 4 {
		return ErrNotOurs
	}
	if v := binary.BigEndian.Uint32(version); v != formatVersion {
		return fmt.Errorf("%w: the file has version %d, this program knows %d", ErrFormat, v, formatVersion)
	}
	return checkShape(tx.Bucket(bucketTenants))
}

// checkShape checks that what should be a bucket is one. The pages of one that lost its mark would count as free.
func checkShape(tenants *bbolt.Bucket) error {
	known := [][]byte{bucketTokens, bucketFresh, bucketRuns, bucketLive, bucketWalkers, bucketRetired, bucketFence, bucketGuards, bucketAges, bucketHistory, bucketOutbox}
	return tenants.ForEach(func(name, _ []byte) error {
		tenant := tenants.Bucket(name)
		if tenant == nil {
			return fmt.Errorf("%w: tenant %q has no bucket", ErrCorrupt, name)
		}
		return tenant.ForEach(func(key, _ []byte) error {
			isBucket := slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, key) })
			if isBucket != (tenant.Bucket(key) != nil) || !isBucket && !bytes.Equal(key, keyMeta) && !bytes.Equal(key, keyOrigin) {
				return fmt.Errorf("%w: tenant %q has a wrong bucket %q", ErrCorrupt, name, key)
			}
			return nil
		})
	})
}

// inspectLocked inspects the file while no other process can write it. bbolt's read-only mode holds the lock; it looks at
// no more than the meta pages.
func inspectLocked(path string, timeout time.Duration) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return unusable(err)
	case !info.Mode().IsRegular():
		return ErrNotOurs // opening a named pipe would wait for its other end
	}
	file, err := os.Open(path)
	if err != nil {
		return unusable(err)
	}
	defer file.Close()
	var db *bbolt.DB
	opened := protect(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: timeout})
		return err
	})
	switch {
	case errors.Is(opened, berrors.ErrTimeout):
		return ErrLocked
	case opened == nil:
		defer db.Close()
	}
	if info, err = file.Stat(); err != nil { // under the lock
		return unusable(err)
	}
	switch found := inspect(file, info.Size(), false); {
	case found != nil:
		return found
	case opened != nil:
		return unusable(opened)
	}
	return nil
}
