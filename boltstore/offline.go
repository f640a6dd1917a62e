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

// view runs f on what the file holds, if it has the format that this program knows. It has to be inspected before.
func (f *offline) view(do func(*bbolt.Tx) error) error {
	return protect(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			if err := current().checkCurrent(tx); err != nil {
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

// examine looks at everything.
func (f *offline) examine(ctx context.Context) (findings []string, err error) {
	switch damage := f.inspect(ctx, scope{whole: true}); {
	case isDamage(damage):
		return []string{damage.Error()}, nil
	case damage != nil:
		return nil, damage
	}
	err = f.view(func(tx *bbolt.Tx) error {
		findings, err = (&txn{tx: tx}).examine(ctx)
		return err
	})
	if errors.Is(err, ErrCorrupt) { // of what every tenant's records lie in
		return []string{err.Error()}, nil
	}
	return findings, err
}

func isDamage(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated) }

// CheckFile is [Backend.Check] for a file that no process has open. It writes nothing, also not what [Open] would bring to an end, and
// finds damage too for which a file does not open. What is no file of ours is an error, as for Open, and so is one that is not there.
// Of the options, MaxSize has no part in it.
func CheckFile(ctx context.Context, path string, opts *Options) (findings []string, err error) {
	timeout, err := opts.lockTimeout()
	if err != nil {
		return nil, err
	}
	f, err := look(path, timeout)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return f.examine(ctx)
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

// Remade says what became of a file that another has taken the place of.
type Remade struct {
	Before, After int64  // Before and After are its sizes in bytes.
	Kept          string // Kept is where the file from before is now; "" if it is gone.
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

// remake lets a new file take the place of this one, which has to be open alone. It gets what fill puts into it, and has to be in order
// and to hold all that is selected. A draft that a crash has left is removed.
func (f *offline) remake(ctx context.Context, kind, keep string, fill func(*bbolt.Tx, *copier) error, s selection) (r Remade, err error) {
	if err := dropStale(f.path, kind); err != nil {
		return Remade{}, err
	}
	d, err := newDraft(f.path, kind)
	if err != nil {
		return Remade{}, err
	}
	defer func() { err = errors.Join(err, d.drop()) }()
	if err := f.view(func(from *bbolt.Tx) error { return d.write(ctx, func(to *copier) error { return fill(from, to) }) }); err != nil {
		return Remade{}, err
	}
	if r.After, err = f.approve(ctx, d, s); err != nil {
		return Remade{}, err
	}
	r.Before = f.size
	r.Kept, err = d.takeOver(keep)
	return r, err
}

// approve looks at a draft, as it was written: it has to be in order, and to hold every record of the file.
func (f *offline) approve(ctx context.Context, d draft, s selection) (size int64, err error) {
	made, err := look(d.name, lockTimeout)
	if err != nil {
		return 0, err
	}
	defer made.close()
	findings, err := made.examine(ctx)
	switch {
	case err != nil:
		return 0, err
	case len(findings) > 0:
		return 0, &DamageError{Findings: findings}
	}
	err = made.view(func(to *bbolt.Tx) error {
		return f.db.View(func(from *bbolt.Tx) error { return compare(ctx, nil, root(from), root(to), s) })
	})
	return made.size, err
}
