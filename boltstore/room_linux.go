package boltstore

import "syscall"

// roomOnDisk returns how many bytes the file system of a file has left for it, if it says so.
func roomOnDisk(path string) (bytes int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	bytes = int64(s.Bavail) * int64(s.Frsize)
	return bytes, bytes >= 0 // some claim more than can be counted
}
