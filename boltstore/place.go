package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// keptDamaged ends the name under which a repair keeps the damaged file.
const keptDamaged = "damaged"

// draft is a file that is being made beside the place where it is to be. It has another name until it is whole and on the disk, and
// only then the one of that place, in one step: so a crash at any instant leaves there what was there, or all of the new file.
// Whoever made it drops it in the end, whatever became of it.
type draft struct {
	name string // where it is
	path string // where it is to be
}

// newDraft makes an empty file, readable by its owner alone. Its name begins with a dot, and tells of the kind of work.
func newDraft(path, kind string) (draft, error) {
	temp, err := os.CreateTemp(filepath.Dir(path), draftPrefix(path, kind)+"*")
	if err != nil {
		return draft{}, notWritten(err)
	}
	d := draft{name: temp.Name(), path: path}
	if err := temp.Close(); err != nil {
		return draft{}, errors.Join(notWritten(err), d.drop())
	}
	return d, nil
}

func draftPrefix(path, kind string) string { return "." + filepath.Base(path) + "." + kind + "-" }

// drop removes the name that it had while it was made.
func (d draft) drop() error {
	if err := os.Remove(d.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return notWritten(err)
	}
	return nil
}

// sync brings what it holds to the disk.
func (d draft) sync() error {
	file, err := os.OpenFile(d.name, os.O_RDWR, 0)
	if err != nil {
		return notWritten(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return notWritten(err)
	}
	return nil
}

// takeFree puts it where no file is. Where there is one, that is left alone, and the error is [fs.ErrExist].
func (d draft) takeFree() error {
	if err := d.sync(); err != nil {
		return err
	}
	err := os.Link(d.name, d.path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil:
		return notWritten(err)
	}
	return settled(d.path)
}

// settled brings the name of what is in its place to the disk.
func settled(path string) error {
	if err := settleFolder(path); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsettled, notWritten(err))
	}
	return nil
}

// placed ends a step that gives a file a second name: no other may reach the disk before it.
func placed(err error, path string) error {
	if err == nil {
		err = settleFolder(path)
	}
	if err != nil {
		return notWritten(err)
	}
	return nil
}

// takeOver puts it in the place of the file that is there, whose lock the caller has. It gets that one's owner and mode. If keep is
// not "", the old file stays, under a name that begins with its own and keep, and is returned.
func (d draft) takeOver(keep string) (kept string, err error) {
	old, err := os.Stat(d.path)
	if err != nil {
		return "", notWritten(err)
	}
	if err := errors.Join(takeOwner(d.name, old), os.Chmod(d.name, old.Mode().Perm())); err != nil {
		return "", notWritten(err)
	}
	if err := d.sync(); err != nil {
		return "", err
	}
	if keep != "" {
		if kept, err = keepAs(d.path, keep, old); err != nil {
			return "", err
		}
	}
	if err := os.Rename(d.name, d.path); err != nil {
		return kept, notWritten(err)
	}
	return kept, settled(d.path)
}

// keepAs gives a file a second name that nothing has yet, or finds the one that it was given before a crash.
func keepAs(path, keep string, file fs.FileInfo) (string, error) {
	for n := 1; ; n++ {
		name := path + "." + keep
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		err := os.Link(path, name)
		if !errors.Is(err, fs.ErrExist) {
			return name, placed(err, path)
		}
		if there, err := os.Lstat(name); err == nil && os.SameFile(there, file) {
			return name, placed(nil, path)
		}
	}
}

// errLinked is for a file that another would take the place of under one name only.
var errLinked = errors.New("it has another name, a hard link, which would go on leading to the old file: remove that first")

// soleName returns errLinked for a file that has other names than its own, and those that a crash has left it: that of the draft that
// it was, and that under which it was to be kept.
func soleName(path string) error {
	file, err := os.Stat(path)
	if err != nil {
		return unusable(err)
	}
	others := links(file) - 1
	if others == 0 {
		return nil
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return unusable(err)
	}
	base := filepath.Base(path)
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, "."+base+".") || strings.HasPrefix(name, base+"."+keptDamaged) {
			if there, err := entry.Info(); err == nil && os.SameFile(there, file) {
				others--
			}
		}
	}
	if others > 0 {
		return unusable(errLinked)
	}
	return nil
}

// dropStale removes what a crash has left of drafts of a kind. The caller is the only one to make any.
func dropStale(path, kind string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return unusable(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), draftPrefix(path, kind)) {
			err = errors.Join(err, draft{name: filepath.Join(dir, entry.Name())}.drop())
		}
	}
	return err
}

// settleFolder brings the names in a file's folder to the disk.
func settleFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
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
