package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// copyAtOnce is how many bytes are written to a draft in one transaction, which bbolt holds in memory until it commits.
const copyAtOnce = 8 << 20

// fillCopy is for buckets that are copied in the order of their keys, and written to in no order afterwards.
const fillCopy = 0.9

// selection says which part of a file is copied as it is.
type selection struct {
	leaves func(path [][]byte) bool                   // a bucket that is left out, by its path from the root of the file on
	alike  func(path [][]byte, key, a, b []byte) bool // a value that may be b where it was a
}

// everything is a selection.
func everything() selection {
	return selection{
		leaves: func([][]byte) bool { return false },
		alike:  func([][]byte, []byte, []byte, []byte) bool { return false },
	}
}

// broughtUp is what of a selection is the same in a file that may be of an older format, and in one that was brought up from it.
func (s selection) broughtUp(from *bbolt.Tx) selection {
	older := from.Bucket(bucketRewrites) == nil
	return selection{
		leaves: func(path [][]byte) bool {
			return older && len(path) == 1 && bytes.Equal(path[0], bucketRewrites) || s.leaves(path)
		},
		alike: func(path [][]byte, key, a, b []byte) bool {
			return older && len(path) == 1 && bytes.Equal(path[0], bucketAbout) && bytes.Equal(key, keyVersion) || s.alike(path, key, a, b)
		},
	}
}

// below is the path of what lies in a bucket.
func below(path [][]byte, name []byte) [][]byte { return append(slices.Clip(path), name) }

// copier writes to a draft, in transactions of limited size. Nothing of it is synced before the draft takes its place.
type copier struct {
	ctx     context.Context
	db      *bbolt.DB
	tx      *bbolt.Tx
	written int
}

// write fills a draft, and leaves its list of free pages in it, as a file that is closed has one.
func (d draft) write(ctx context.Context, fill func(*copier) error) error {
	db, err := bbolt.Open(d.name, 0o600, &bbolt.Options{
		Timeout: lockTimeout, NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistArrayType,
	})
	if err != nil {
		return notWritten(err)
	}
	c := &copier{ctx: ctx, db: db}
	var size int64
	err = protect(func() error {
		if c.tx, err = db.Begin(true); err != nil {
			return err
		}
		if err := fill(c); err != nil {
			return err
		}
		db.NoFreelistSync = false
		if err := c.tx.Commit(); err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	})
	if c.tx != nil && !rollBack(c.tx) {
		return unusable(err) // nor can it be closed
	}
	if err = errors.Join(err, db.Close()); err == nil {
		err = os.Truncate(d.name, size) // the last pages may be free ones that were never written
	}
	if err == nil || isDamage(err) || ctx.Err() != nil {
		return err
	}
	return notWritten(err)
}

// wrote notes what was written, and begins another transaction when it is enough. What was got from the one before is not to be
// used then.
func (c *copier) wrote(bytes int) (another bool, err error) {
	if c.written += bytes; c.written < copyAtOnce {
		return false, nil
	}
	return true, c.commit()
}

func (c *copier) commit() (err error) {
	c.written = 0
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.tx.Commit(); err != nil {
		return err
	}
	c.tx, err = c.db.Begin(true)
	return err
}

// root is the bucket that all others of a file lie in.
func root(tx *bbolt.Tx) *bbolt.Bucket { return tx.Cursor().Bucket() }

// bucket returns a bucket of the draft.
func (c *copier) bucket(path [][]byte) *bbolt.Bucket {
	b := root(c.tx)
	for _, name := range path {
		b = b.Bucket(name)
	}
	b.FillPercent = fillCopy
	if n := len(path); n > 0 && (bytes.Equal(path[n-1], bucketRuns) || bytes.Equal(path[n-1], bucketFresh)) {
		b.FillPercent = fillRuns
	}
	return b
}

// copy copies what a bucket holds, but for what is to be left out. Of a bucket that is left out nothing is there.
func (c *copier) copy(path [][]byte, from *bbolt.Bucket, s selection) error {
	to, cursor := c.bucket(path), from.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if v == nil {
			if s.leaves(below(path, k)) {
				continue
			}
			if _, err := to.CreateBucket(k); err != nil {
				return err
			}
			if err := c.copy(below(path, k), from.Bucket(k), s); err != nil {
				return err
			}
			to = c.bucket(path)
			continue
		}
		if err := to.Put(k, v); err != nil {
			return err
		}
		switch another, err := c.wrote(elementSize + len(k) + len(v)); {
		case err != nil:
			return err
		case another:
			to = c.bucket(path)
		}
	}
	return nil
}

// compare returns an error unless two buckets hold the same, as far as they are selected.
func compare(ctx context.Context, path [][]byte, from, to *bbolt.Bucket, s selection) error {
	a, b := from.Cursor(), to.Cursor()
	selected := func(c *bbolt.Cursor, k, v []byte) ([]byte, []byte) {
		for k != nil && v == nil && s.leaves(below(path, k)) {
			k, v = c.Next()
		}
		return k, v
	}
	differ := func(k []byte) error {
		return fmt.Errorf("%w: what was made differs from the file at %x in %q", ErrCorrupt, k, bytes.Join(path, []byte("/")))
	}
	k, v := a.First()
	l, w := b.First()
	for {
		k, v = selected(a, k, v)
		l, w = selected(b, l, w)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !bytes.Equal(k, l), (v == nil) != (w == nil):
			return differ(k)
		case k == nil:
			return nil
		case v == nil:
			if err := compare(ctx, below(path, k), from.Bucket(k), to.Bucket(k), s); err != nil {
				return err
			}
		case !bytes.Equal(v, w) && !s.alike(path, k, v, w):
			return differ(k)
		}
		k, v = a.Next()
		l, w = b.Next()
	}
}
