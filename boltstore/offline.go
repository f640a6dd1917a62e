package boltstore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/tokenstore/domain"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// offline is a file that is looked at, and not written to, while no other process can write to it.
type offline struct {
	path   string
	file   *os.File // for what is read without mapping it
	size   int64
	db     *bbolt.DB // read-only; nil if bbolt could not open it
	locked *os.File  // the one that bbolt has locked
	failed error     // why bbolt could not
}

// look opens a file for reading. bbolt's read-only mode holds the lock; it looks at no more than the meta pages.
func look(path string, timeout time.Duration) (*offline, error) {
	return lookThrough(path, timeout, os.OpenFile)
}

// opener is how bbolt opens files.
type opener = func(name string, flag int, mode os.FileMode) (*os.File, error)

// lookThrough looks again where another file has taken the place of the one that it was about to look at. A file that is replaced
// over and over is in use.
func lookThrough(path string, timeout time.Duration, open opener) (*offline, error) {
	for range 10 {
		if f, err := lookOnce(path, timeout, open); !errors.Is(err, errReplaced) {
			return f, err
		}
	}
	return nil, ErrLocked
}

// lookOnce returns errReplaced if bbolt has got another file.
func lookOnce(path string, timeout time.Duration, open opener) (*offline, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, unusable(err)
	case !info.Mode().IsRegular():
		return nil, ErrNotOurs // opening a named pipe would wait for its other end
	}
	f := &offline{path: path}
	if f.file, err = os.Open(path); err != nil {
		return nil, unusable(err)
	}
	var locked fs.FileInfo // of what bbolt closes itself if it can't use it
	settings := bbolt.Options{ReadOnly: true, Timeout: timeout, OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		if f.locked, err = open(name, flag, mode); err == nil {
			locked, err = f.locked.Stat()
		}
		return f.locked, err
	}}
	f.failed = protect(func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &settings)
		return err
	})
	if f.failed != nil {
		f.db = nil
	}
	if f.locked != nil && errors.Is(f.failed, ErrCorrupt) {
		_ = f.locked.Close() // bbolt panicked, and holds the lock still
	}
	if errors.Is(f.failed, berrors.ErrTimeout) {
		f.close()
		return nil, ErrLocked
	}
	if info, err = f.file.Stat(); err != nil { // under the lock
		f.close()
		return nil, unusable(err)
	}
	if locked != nil && !os.SameFile(info, locked) {
		f.close()
		return nil, errReplaced
	}
	f.size = info.Size()
	return f, nil
}

// close lets go of the file. Nothing was written, so no error of it matters.
func (f *offline) close() {
	if f.db != nil {
		_ = f.db.Close()
	}
	_ = f.file.Close()
}

// inspect inspects it, before bbolt reads more than the meta pages.
func (f *offline) inspect(ctx context.Context, s scope) error {
	if err := inspect(ctx, f.file, f.size, s); err != nil {
		return err
	}
	if f.failed != nil {
		return unusable(f.failed)
	}
	return nil
}

// view runs f on what the file holds, if this program can read its format as it is. It has to be inspected before.
func (f *offline) view(do func(*bbolt.Tx) error) error {
	return protect(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			if err := current().checkReadable(tx); err != nil {
				return err
			}
			return do(tx)
		})
	})
}

// alone keeps everybody else out, also those who only read. Who opened the file before another took its place is told so.
func (f *offline) alone() error {
	if f.db == nil {
		return unusable(f.failed)
	}
	switch err := lockAlone(f.locked); {
	case errors.Is(err, ErrLocked):
		return err
	case err != nil:
		return unusable(err)
	}
	return stillThere(f.locked, f.path)
}

// errReplaced is for a file of which another has taken the place.
var errReplaced = errors.New("another file has taken its place")

// stillThere returns errReplaced for an open file that is not, or not any more, the one that the path leads to: what is written to
// it is lost.
func stillThere(file *os.File, path string) error {
	mine, err := file.Stat()
	if err != nil {
		return unusable(err)
	}
	there, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(mine, there):
		return unusable(errReplaced)
	case err != nil:
		return unusable(err)
	}
	return nil
}

// lockTimeout is how long to wait for the lock.
func (o *Options) lockTimeout() (time.Duration, error) {
	if o == nil {
		return lockTimeout, nil
	}
	if o.LockTimeout < 0 {
		return 0, &domain.FieldError{Field: "lock_timeout", Limit: "positive", Size: int(o.LockTimeout)}
	}
	return cmp.Or(o.LockTimeout, lockTimeout), nil
}

// lookAlone opens a file that nobody else may use until it is closed. A symbolic link is followed: what it leads to is replaced, not the
// link. A file that has another name, a hard link, is refused: that name would go on leading to the old one.
func lookAlone(ctx context.Context, path string, opts *Options) (*offline, error) {
	timeout, err := opts.lockTimeout()
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, unusable(err)
	}
	f, err := look(path, timeout)
	if err != nil {
		return nil, err
	}
	if f.db == nil {
		err = f.inspect(ctx, scope{}) // which knows better why
		f.close()
		return nil, err
	}
	err = f.alone()
	if err == nil {
		err = soleName(path)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
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
