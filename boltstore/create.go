package boltstore

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"go.etcd.io/bbolt"
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
	for _, name := range [][]byte{bucketTenants, bucketRewrites, bucketPending} {
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
