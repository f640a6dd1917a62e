package etcdstore

import (
	"context"
	"errors"
	"fmt"

	"example.com/tokenstore/store"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

var (
	// ErrUnavailable: the cluster did not answer: it has no leader, most of its members are down, or none can be reached. The
	// cause is wrapped. Of a verb that writes it comes with [store.ErrNotCommitted] while nothing had been sent, and else with
	// [store.ErrUnknownOutcome].
	ErrUnavailable = errors.New("etcdstore: cluster is unavailable")
	// ErrFull: the database has reached its quota, and the cluster takes no writes until the alarm is disarmed. Reads go on, and
	// nothing that has been acknowledged is lost. It is a [store.ErrUnknownOutcome]: etcd makes the write that reaches the quota, and
	// answers it as it does those that it refuses afterwards.
	ErrFull = errors.New("etcdstore: database space exceeded")
	// ErrRefused: the cluster refuses the request, for example for want of permission. The cause is wrapped.
	ErrRefused = errors.New("etcdstore: request refused")
	// ErrCorrupt: a record is damaged.
	ErrCorrupt = errors.New("etcdstore: record is corrupt")
	// ErrFormat: the database, or a record, has a format that this version does not know: a newer one has written it.
	ErrFormat = errors.New("etcdstore: unknown format")
)

// notApplied are the errors after which a transaction certainly has had no effect: it was refused before it was proposed, or
// by every member alike when it was applied.
var notApplied = []error{
	rpctypes.ErrTooManyRequests, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey,
	rpctypes.ErrKeyNotFound, rpctypes.ErrCompacted, rpctypes.ErrFutureRev, rpctypes.ErrEmptyKey, rpctypes.ErrValueProvided,
	rpctypes.ErrPermissionDenied, rpctypes.ErrPermissionNotGranted, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound,
	rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthFailed, rpctypes.ErrAuthOldRevision, rpctypes.ErrAuthNotEnabled,
	rpctypes.ErrNotCapable, rpctypes.ErrGRPCNotSupportedForLearner,
}

func isOneOf(err error, list []error) bool {
	for _, one := range list {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// explain wraps an error of a request that read, or that wrote nothing for certain.
func explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case isOneOf(err, notApplied):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// unwritten is the error of a verb that writes, of which nothing was sent to be written.
func unwritten(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrNotCommitted, err)
}

// uncommitted is the error of a transaction that failed.
func uncommitted(ctx context.Context, err error) error {
	if isOneOf(err, notApplied) {
		return fmt.Errorf("%w: %w", store.ErrNotCommitted, explain(context.WithoutCancel(ctx), err))
	}
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, explain(ctx, err))
}
