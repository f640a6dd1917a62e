package filetest

import (
	"errors"
	"os"

	"go.etcd.io/bbolt"
)

// Spoil takes away what a repair makes again: the fence of the tenant acme, and the index of its tokens.
func Spoil(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		acme := tx.Bucket([]byte("tenants")).Bucket([]byte("acme"))
		return errors.Join(acme.DeleteBucket([]byte("fence")), acme.DeleteBucket([]byte("fresh")))
	})
	return errors.Join(err, db.Close())
}

// Shorten cuts off what a file has beyond its last page.
func Shorten(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	var size int64
	err = db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	return errors.Join(err, db.Close(), os.Truncate(path, size))
}
