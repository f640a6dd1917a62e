package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
		return notWritten(err)
	}
	tx, err := db.Begin(true)
	if err == nil {
		if err = protect(func() error { return layOut(tx) }); err == nil {
			err = protect(tx.Commit)
		}
		if !rollBack(tx) {
			return notWritten(err) // nor can it be closed
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return notWritten(err)
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
	return about.Put(keyVersion, binary.BigEndian.AppendUint32(nil, formatVersion))
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

// notWritten is for a file that is being made, or given its name.
func notWritten(err error) error {
	if noRoom(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return unusable(err)
}

// inspectLocked inspects the file while no other process can write it.
func inspectLocked(path string, timeout time.Duration) error {
	f, err := look(path, timeout)
	if err != nil {
		return err
	}
	defer f.close()
	return f.inspect(context.Background(), scope{})
}
