//go:build !linux

package boltstore

// roomOnDisk is not known here.
func roomOnDisk(string) (bytes int64, known bool) { return 0, false }
