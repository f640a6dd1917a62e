package boltstore

import "syscall"

// roomOnDisk returns how many bytes the file system of a file has left for it, if it says so.
func roomOnDisk(path string) (bytes int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}
