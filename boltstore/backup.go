package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Backup writes a consistent copy of the whole file to a new file, as [Backend.Snapshot] does, while readers and writers go on. The
// copy is opened and checked ([Backend.Check]) before it gets its name, so that a crash at any instant leaves either no file of that
// name or a whole one; beside it may stay a file whose name begins with a dot and ends with .part. A name that is taken is
// an error that matches [fs.ErrExist], and what has it is left alone.
func (b *Backend) Backup(ctx context.Context, path string) error {
	return placeFile(ctx, path, func(w io.Writer) error { return b.Snapshot(ctx, w) }, nil)
}

// Restore makes a new file of a backup, which stays as it is: the copy is checked, and prepare is called with it, before it gets its
// name. So whoever opens the file by its name finds it prepared, or not there, as with [Backend.Backup]. Prepare has to see to
// it that what was revoked since the backup is not live again: Restore of package tokenstore does. A backup that another process
// holds open for writing is [ErrLocked].
func Restore(ctx context.Context, backup, path string, prepare func(context.Context, *Backend) error) error {
	return placeFile(ctx, path, func(w io.Writer) error {
		return readLocked(backup, lockTimeout, func(file *os.File, size int64) error {
			if err := inspect(file, size, false); err != nil {
				return err
			}
			_, err := io.Copy(stoppable{ctx, w}, io.NewSectionReader(file, 0, size))
			return err
		})
	}, prepare)
}

// placeFile makes a new file: fill writes it, and prepare changes it, before it gets its name.
func placeFile(ctx context.Context, path string, fill func(io.Writer) error, prepare func(context.Context, *Backend) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%w: %s", fs.ErrExist, path)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return unusable(err)
	}
	defer func() {
		if removed := os.Remove(temp.Name()); removed != nil {
			err = errors.Join(err, unusable(removed))
		}
	}()
	filled := fill(temp)
	if filled == nil {
		filled = temp.Sync()
	}
	if err := errors.Join(filled, temp.Close()); err != nil {
		if noRoom(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return err
	}
	if err := ready(ctx, temp.Name(), prepare); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil { // it fails where the name has been taken meanwhile
		return unusable(err)
	}
	named, err := os.Open(path)
	if err == nil {
		err = errors.Join(settleName(named), named.Close())
	}
	if err != nil {
		return unusable(err)
	}
	return nil
}

// ready checks a copy, and has it prepared.
func ready(ctx context.Context, path string, prepare func(context.Context, *Backend) error) (err error) {
	b, err := Open(path, &Options{MustExist: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	found, err := b.Check(ctx)
	switch {
	case err != nil:
		return err
	case len(found) > 0:
		return fmt.Errorf("%w: %s", ErrCorrupt, strings.Join(found[:min(len(found), 3)], "; "))
	case prepare == nil:
		return nil
	}
	return prepare(ctx, b)
}
