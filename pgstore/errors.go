package pgstore

import (
	"errors"
	"fmt"

	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

var (
	// ErrServer: the server is not one that the promises hold on: it is no PostgreSQL, too old, in recovery, or set up so that it
	// forgets what it has acknowledged.
	ErrServer = errors.New("pgstore: unsuitable server")
	// ErrSchema: the database has no schema of this package, or one of another version; see [Migrate].
	ErrSchema = errors.New("pgstore: unsuitable schema")
	// ErrAddress: the connection string can't be read. What is wrong with it is not said, since it may hold a password.
	ErrAddress = errors.New("pgstore: connection string can't be read")
)

// failure is an error of the database, and whether it leaves open what was committed.
type failure struct {
	cause   error
	unknown bool
}

func (f *failure) Error() string { return fmt.Sprintf("%v: %v", f.kind(), f.cause) }

func (f *failure) kind() error {
	if f.unknown {
		return store.ErrUnknownOutcome
	}
	return store.ErrNotCommitted
}

// Unwrap makes the error match what became of the commit, and its cause.
func (f *failure) Unwrap() []error { return []error{f.kind(), f.cause} }

// reading is the error for a verb that commits nothing.
func (f *failure) reading() error { return fmt.Errorf("pgstore: %w", f.cause) }

// again reports whether the transaction was broken off in favour of another one.
func (f *failure) again() bool {
	if f.unknown {
		return false
	}
	pgerr, ok := errors.AsType[*pgconn.PgError](f.cause)
	if !ok {
		return errors.Is(f.cause, errAgain)
	}
	switch pgerr.Code {
	case "40001", // serialization_failure
		"40P01", // deadlock_detected
		"23505": // unique_violation: what was not there when it was looked for has come
		return true
	}
	return false
}

// plain takes out of an error what says how to connect.
func plain(err error) error {
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return fmt.Errorf("no connection: %w", errors.Unwrap(connect))
	}
	return err
}

func (b *Backend) notAcquired(err error) error {
	if errors.Is(err, puddle.ErrClosedPool) {
		return store.ErrClosed
	}
	return &failure{cause: plain(err)}
}
