package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Backup writes a consistent copy of the whole file to a new file, as [Backend.Snapshot] does, while readers and writers go on. The
// copy is opened and checked ([Backend.Check]) before it gets its name, so that a crash at any instant leaves either no file of that
// name or a whole one; beside it may stay a file whose name begins with a dot and has .part- in it. A name that is taken is
// an error that matches [fs.ErrExist], and what has it is left alone. After [ErrUnsettled] the file is there, and whole.
func (b *Backend) Backup(ctx context.Context, path string) error {
	return placeFile(ctx, path, func(w io.Writer) error { return b.Snapshot(ctx, w) }, nil)
}

// Restore makes a new file of a backup, which stays as it is: the copy is checked, and prepare is called with it, before it gets its
// name. So whoever opens the file by its name finds it prepared, or not there, as with [Backend.Backup]. Prepare has to see to
// it that what was revoked since the backup is not live again: Restore of package tokenstore does. A backup that another process
// holds open for writing is [ErrLocked].
func Restore(ctx context.Context, backup, path string, prepare func(context.Context, *Backend) error) error {
	return placeFile(ctx, path, func(w io.Writer) error {
		f, err := look(backup, lockTimeout)
		if err != nil {
			return err
		}
		defer f.close()
		if err := f.inspect(ctx, scope{}); err != nil {
			return err
		}
		_, err = io.Copy(stoppable{ctx, w}, io.NewSectionReader(f.file, 0, f.size))
		return err
	}, prepare)
}

// placeFile makes a new file: fill writes it, and prepare changes it, before it gets its name.
func placeFile(ctx context.Context, path string, fill func(io.Writer) error, prepare func(context.Context, *Backend) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%w: %s", fs.ErrExist, path)
	}
	d, err := newDraft(path, "part")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop()) }()
	if err := d.fill(fill); err != nil {
		return err
	}
	if err := ready(ctx, d.name, prepare); err != nil {
		return err
	}
	return d.takeFree() // it fails where the name has been taken meanwhile
}

// fill has it filled, and brings that to the disk.
func (d draft) fill(f func(io.Writer) error) error {
	file, err := os.OpenFile(d.name, os.O_WRONLY, 0)
	if err != nil {
		return notWritten(err)
	}
	err = f(writerFunc(func(p []byte) (n int, err error) {
		if n, err = file.Write(p); err != nil {
			err = notWritten(err)
		}
		return n, err
	}))
	if err == nil {
		if err = file.Sync(); err != nil {
			err = notWritten(err)
		}
	}
	if closed := file.Close(); closed != nil {
		err = errors.Join(err, notWritten(closed))
	}
	return err
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
