package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// ErrUnfinished: a restoration of the database was broken off, and nothing else may use it. The error is an [UnfinishedError], which
// names it.
var ErrUnfinished = errors.New("tokenstore: a restoration is unfinished")

// UnfinishedError names a restoration that was broken off, and that has to be repeated, by its method, before another one begins, or
// the database is used. It matches [ErrUnfinished].
type UnfinishedError struct {
	Tenant string // Tenant is one for which it is unfinished.
	ID     ulid.ULID
	Method store.RestoreMethod
}

// Error says which one it is.
func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("%v: %s, by %s, of tenant %q", ErrUnfinished, e.ID, e.Method, e.Tenant)
}

// Unwrap makes the error match [ErrUnfinished].
func (e *UnfinishedError) Unwrap() error { return ErrUnfinished }

// Unfinished returns an [UnfinishedError] if a restoration of the database was broken off, for whichever tenant, and nil if none was, or
// if the backend can't be restored. Until it is repeated, what the lost time has revoked may be live: so a program asks before it uses
// a database that others may have restored. It reads the record of each tenant, and writes nothing.
func Unfinished(ctx context.Context, backend store.Backend) error {
	for tenant, err := range tenants(ctx, backend) {
		if err != nil {
			return err
		}
		s, err := backend.Tenant(tenant)
		if err != nil {
			return err
		}
		restorer, is := store.As[store.Restorer](s)
		if !is {
			return nil
		}
		known, err := restorer.Restorations(ctx)
		if err != nil {
			return err
		}
		for open := range unfinished(known) {
			return &UnfinishedError{Tenant: tenant, ID: open.ID, Method: open.Method}
		}
	}
	return nil
}

// unfinished are the restorations that have not come to their end.
func unfinished(known []store.Restored) iter.Seq[store.Restored] {
	return func(yield func(store.Restored) bool) {
		for _, r := range known {
			if !r.Complete && !yield(r) {
				return
			}
		}
	}
}
