package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"example.com/tokenstore/store"
	"github.com/jackc/pgx/v5"
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
	// ErrCorrupt: a record is damaged: what stands in a row can't have been written by this package. Any verb that comes to it can meet it, and
	// writes nothing then, unless it is a [store.ErrUnknownOutcome] as well. What is named is the column, or the kind of value, and never the value.
	ErrCorrupt = errors.New("pgstore: record is corrupt")
)

// failure is an error of the database, and whether it leaves open what was committed.
type failure struct {
	cause   error
	unknown bool
}

func (f *failure) Error() string { return f.writing().Error() }

// Unwrap makes the error match what became of the commit, and its cause.
func (f *failure) Unwrap() error { return f.writing() }

// writing is the error for a verb that commits.
func (f *failure) writing() error {
	switch {
	case f.unknown:
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, f.cause)
	case errors.Is(f.cause, ErrCorrupt): // to repeat it is no use
		return f.cause
	}
	return fmt.Errorf("%w: %w", store.ErrNotCommitted, f.cause)
}

// reading is the error for a verb that commits nothing.
func (f *failure) reading() error {
	if errors.Is(f.cause, ErrCorrupt) {
		return f.cause
	}
	return fmt.Errorf("pgstore: %w", f.cause)
}

// again reports whether the transaction was broken off in favour of another one.
func (f *failure) again() bool {
	pgerr, ok := errors.AsType[*pgconn.PgError](f.cause)
	if f.unknown || !ok {
		return false
	}
	switch pgerr.Code {
	case "40001", // serialization_failure
		"40P01", // deadlock_detected
		"23505": // unique_violation: what was not there when it was looked for has come
		return true
	}
	return false
}

// waited reports whether the transaction was given up after it had waited for others for as long as it may, for which no call of it is to blame.
func (f *failure) waited() bool {
	pgerr, ok := errors.AsType[*pgconn.PgError](f.cause)
	return errors.Is(f.cause, context.DeadlineExceeded) || ok && pgerr.Code == "55P03" // lock_not_available
}

// damaged is the error for a value, or a row, that is read and can't have been written here.
func damaged(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// unscanned is the error for a row that could not be taken. It says no more of it than the column.
func unscanned(err error) error {
	if scan, ok := errors.AsType[pgx.ScanArgError](err); ok {
		return damaged("column " + scan.FieldName)
	}
	return err
}

// plain takes out of an error what says how to connect, and what it says twice.
func plain(err error) error {
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return unreached{errors.Unwrap(connect)}
	}
	return err
}

// unreached is why there is no connection: of each address, and with TLS and without, if either will do.
type unreached struct{ cause error }

func (u unreached) Unwrap() error { return u.cause }

// Error has each cause once, in one line.
func (u unreached) Error() string {
	var texts []string
	for _, text := range causes(u.cause) {
		if text = strings.Join(strings.Fields(text), " "); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return "no connection: " + strings.Join(texts, "; ")
}

// causes are the texts of those errors that one was joined from, or its own.
func causes(err error) (texts []string) {
	if list, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, err := range list.Unwrap() {
			texts = append(texts, causes(err)...)
		}
		return texts
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" { // the address is in it
		return []string{dial.Error()}
	}
	return []string{err.Error()}
}

func (b *Backend) notAcquired(err error) error {
	if errors.Is(err, puddle.ErrClosedPool) {
		return store.ErrClosed
	}
	return &failure{cause: plain(err)}
}
