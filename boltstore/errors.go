package boltstore

import (
	"errors"
	"fmt"

	berrors "go.etcd.io/bbolt/errors"
)

// The errors of opening a file. Each leaves the file byte for byte as it was.
var (
	// ErrNotOurs: the file exists, but is no database of this package.
	ErrNotOurs = errors.New("boltstore: not a tokenstore file")
	// ErrTruncated: the file is shorter than its own records say.
	ErrTruncated = errors.New("boltstore: file is truncated")
	// ErrCorrupt: the file's structure, or a record in it, is damaged. Other verbs can meet it too.
	ErrCorrupt = errors.New("boltstore: file is corrupt")
	// ErrFormat: the file, or a record in it, has a format that this version does not know.
	ErrFormat = errors.New("boltstore: unknown format")
	// ErrLocked: another process holds the file.
	ErrLocked = errors.New("boltstore: file is in use by another process")
	// ErrUnusable: the file can't be opened, created or written where it lies; the cause is wrapped. Other verbs say so too, until
	// a commit has succeeded; or, where a file that has grown could not be mapped into memory, until it is closed and opened again; or, where what a
	// transaction needs to end could not be read, until the process ends, and so says Close, which then can't let go of the file.
	ErrUnusable = errors.New("boltstore: file can't be used")
)

// ErrFull: there is no room for the commit, which was not made (it is a [store.ErrNotCommitted]), or for the file that was to be made.
// What was acknowledged stays; the store goes on when there is room again.
var ErrFull = errors.New("boltstore: no room")

// ErrUnsettled: what was to be made has its name and is whole, but the folder could not be synced, so that after a loss of power the name
// may be gone, or lead to the file that was there before. The error is an [ErrUnusable] or an [ErrFull], too.
var ErrUnsettled = errors.New("boltstore: the file's name may not be on the disk yet")

// ErrBeyondRepair: [Repair] has met damage to records, which nothing else in the file tells of; a [DamageError] names them. The file
// is as it was.
var ErrBeyondRepair = errors.New("boltstore: beyond repair")

// DamageError is an [ErrCorrupt] that says all that is damaged, as far as it was looked for.
type DamageError struct {
	Findings []string // Findings are what [Backend.Check] would say of it; at least one.
}

// Error has the first findings, and how many there are.
func (e *DamageError) Error() string {
	text := fmt.Sprintf("%v: %s", ErrCorrupt, e.Findings[0])
	if n := len(e.Findings); n > 1 {
		text += fmt.Sprintf(", and %d more", n-1)
	}
	return text
}

// Unwrap returns [ErrCorrupt].
func (e *DamageError) Unwrap() error { return ErrCorrupt }

// unusable gives what the file or its folder did its typed error.
func unusable(err error) error {
	if errors.Is(err, berrors.ErrTimeout) {
		return ErrLocked
	}
	return fmt.Errorf("%w: %w", ErrUnusable, err)
}

// notWritten is for a file that is being made, or given its name.
func notWritten(err error) error {
	if noRoom(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return unusable(err)
}
