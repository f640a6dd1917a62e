package boltstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// formatVersion is the version of the format that this program reads and writes: of the buckets, their keys, and what is in their
// records. It is frozen. Whatever is stored otherwise, were it one field more, is the next version, to which a step leads.
const formatVersion = 2

// migration changes a file from one version of the format to the next, in the transaction that also notes the new version.
type migration func(*bbolt.Tx) error

// format is a version, and how files come to it.
type format struct {
	version uint32
	steps   map[uint32]migration // by the version that they begin with
	reads   uint32               // the oldest version that can be read as it is; defaults to version
}

// current is the format of this program.
func current() format {
	return format{version: formatVersion, steps: map[uint32]migration{1: addRewrites}, reads: 1}
}

// addRewrites leads from format 1, which wrote records in their places only. A file of that is read as one that has no such bucket.
func addRewrites(tx *bbolt.Tx) error {
	_, err := tx.CreateBucket(bucketRewrites)
	return err
}

// check refuses a file that can't be used: none of ours, of a trial format, or newer. It returns which version another has.
func (f format) check(tx *bbolt.Tx) (version uint32, err error) {
	about := tx.Bucket(bucketAbout)
	if about == nil || tx.Bucket(bucketTenants) == nil || tx.Bucket(bucketPending) == nil {
		return 0, ErrNotOurs
	}
	stored := about.Get(keyVersion)
	switch {
	case stored == nil && about.Get(keyTrial) != nil:
		return 0, fmt.Errorf("%w: the file has a trial format of before the first release", ErrFormat)
	case len(stored) != 4:
		return 0, ErrNotOurs
	}
	switch version = binary.BigEndian.Uint32(stored); {
	case version > f.version:
		return 0, fmt.Errorf("%w: the file has format %d, which is newer than this program; it knows %d", ErrFormat, version, f.version)
	case version < f.version && f.steps[version] == nil:
		return 0, fmt.Errorf("%w: the file has format %d, from which no step leads to %d", ErrFormat, version, f.version)
	}
	return version, nil
}

// accept checks a file that is open for writing, has what was left undone settled, and brings it to this version.
func (f format) accept(db *bbolt.DB, settle func() error) error {
	var version uint32
	err := protect(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			if version, err = f.check(tx); err == nil && version == f.version {
				err = checkShape(tx, version)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if err := settle(); err != nil {
		return notWritten(err)
	}
	if version == f.version {
		return nil
	}
	switch err := protect(func() error { return f.migrate(db) }); {
	case err == nil, isDamage(err), errors.Is(err, ErrFormat):
		return err
	case errors.Is(err, berrors.ErrMaxSizeReached):
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return notWritten(err)
	}
}

// migrate brings a file to this version, in one commit: so after a crash it has one version or the other.
func (f format) migrate(db *bbolt.DB) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if err := f.bringUp(tx); err != nil {
			return err
		}
		return (&txn{tx: tx, fence: &fence{anchors: map[fenceKey]int{}}, rewrites: &rewrites{}}).fill() // what does not open is left as it was
	})
}

// bringUp brings what a transaction sees to this version.
func (f format) bringUp(tx *bbolt.Tx) error {
	version, err := f.check(tx)
	if err != nil {
		return err
	}
	for ; version < f.version; version++ {
		next := f.steps[version]
		if next == nil {
			return fmt.Errorf("%w: no step leads from format %d to the next", ErrFormat, version)
		}
		if err := next(tx); err != nil {
			return err
		}
	}
	if err := checkShape(tx, version); err != nil {
		return err
	}
	return tx.Bucket(bucketAbout).Put(keyVersion, binary.BigEndian.AppendUint32(nil, version))
}

// checkReadable checks that a file that is open for reading can be read by this program as it is.
func (f format) checkReadable(tx *bbolt.Tx) error {
	switch version, err := f.check(tx); {
	case err != nil:
		return err
	case version < cmp.Or(f.reads, f.version):
		return fmt.Errorf("%w: the file has format %d, and has to be opened once to come to %d", ErrFormat, version, f.version)
	default:
		return checkShape(tx, version)
	}
}

// checkShape checks that what should be a bucket is one. The pages of one that lost its mark would count as free.
func checkShape(tx *bbolt.Tx, version uint32) error {
	if version > 1 && tx.Bucket(bucketRewrites) == nil {
		return fmt.Errorf("%w: there is no bucket %q", ErrCorrupt, bucketRewrites)
	}
	tenants := tx.Bucket(bucketTenants)
	known := [][]byte{bucketTokens, bucketFresh, bucketRuns, bucketLive, bucketWalkers, bucketRetired, bucketFence, bucketGuards, bucketAges, bucketHistory, bucketOutbox}
	values := [][]byte{keyMeta, keyOrigin, keyRestored}
	return tenants.ForEach(func(name, _ []byte) error {
		tenant := tenants.Bucket(name)
		if tenant == nil {
			return fmt.Errorf("%w: tenant %q has no bucket", ErrCorrupt, name)
		}
		return tenant.ForEach(func(key, _ []byte) error {
			isBucket := slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, key) })
			if isBucket != (tenant.Bucket(key) != nil) || !isBucket && !slices.ContainsFunc(values, func(k []byte) bool { return bytes.Equal(k, key) }) {
				return fmt.Errorf("%w: tenant %q has a wrong bucket %q", ErrCorrupt, name, key)
			}
			return nil
		})
	})
}
