//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package boltstore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lockAlone turns the lock that bbolt has taken for reading into one that keeps everybody else out.
func lockAlone(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// takeOwner gives a file to the owner of another one.
func takeOwner(name string, of fs.FileInfo) error {
	mine, err := os.Stat(name)
	if err != nil {
		return err
	}
	want, have := of.Sys().(*syscall.Stat_t), mine.Sys().(*syscall.Stat_t)
	if want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return os.Chown(name, int(want.Uid), int(want.Gid))
}

// links is how many names a file has.
func links(file fs.FileInfo) int { return int(file.Sys().(*syscall.Stat_t).Nlink) }
