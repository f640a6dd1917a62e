// Package observe shows what is asked of a backend, and what came of it, to whoever counts, measures or traces it. It has no
// instruments itself: a module below this one, telemetry, has those of OpenTelemetry, and tokenstore serve those of Prometheus.
//
// It shows no name, id, secret or text of an error, so that what is made of it can't: an operation and an outcome are each
// one of a few words.
package observe

import (
	"context"
	"errors"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Operation is a verb of a backend or a store.
type Operation string

// The operations.
const (
	Insert          Operation = "insert"
	Get             Operation = "get"
	Find            Operation = "find"
	List            Operation = "list"
	Update          Operation = "update" // Update is what an exchange does, and a change of metadata.
	Revoke          Operation = "revoke"
	Sweep           Operation = "sweep" // Sweep is one slice, by Apply.
	Expire          Operation = "expire"
	Trim            Operation = "trim"
	GetRevocation   Operation = "get_revocation"
	ListRevocations Operation = "list_revocations"
	State           Operation = "state"
	ListPending     Operation = "list_pending"
	ListTenants     Operation = "list_tenants"
	CreateTenant    Operation = "create_tenant"
)

// Operations are all operations.
func Operations() []Operation {
	return []Operation{
		Insert, Get, Find, List, Update, Revoke, Sweep, Expire, Trim, GetRevocation, ListRevocations, State, ListPending, ListTenants,
		CreateTenant,
	}
}

// Outcome is what came of a call.
type Outcome string

// The outcomes.
const (
	OK       Outcome = "ok"
	Retried  Outcome = "retried" // Retried: an exchange was answered once more with the same secret, within the leeway.
	NotFound Outcome = "not_found"
	Refused  Outcome = "refused"  // Refused: the client, the token or the session may not.
	Reused   Outcome = "reused"   // Reused: an outdated secret was presented, and the token has been revoked.
	Ahead    Outcome = "ahead"    // Ahead: a secret is newer than its record, so the database has been rolled back.
	Invalid  Outcome = "invalid"  // Invalid: the request breaks a limit, or contradicts what is there.
	Busy     Outcome = "busy"     // Busy: too many revocations without an anchor are pending.
	Canceled Outcome = "canceled" // Canceled: the caller has gone, or its time was up.
	Unknown  Outcome = "unknown"  // Unknown: the backend can't tell whether it was committed.
	Failed   Outcome = "failed"   // Failed: anything else.
)

// Outcomes are all outcomes.
func Outcomes() []Outcome {
	return []Outcome{OK, Retried, NotFound, Refused, Reused, Ahead, Invalid, Busy, Canceled, Unknown, Failed}
}

// Fault reports whether the outcome is the fault of the host or its database, and not of who asked.
func (o Outcome) Fault() bool {
	switch o {
	case Ahead, Busy, Unknown, Failed:
		return true
	}
	return false
}

// kinds are the outcomes of errors: the first that matches counts. An outcome that is unknown is so although the caller has gone.
var kinds = []struct {
	of      error
	outcome Outcome
}{
	{store.ErrUnknownOutcome, Unknown},
	{domain.ErrReused, Reused},
	{domain.ErrAhead, Ahead},
	{domain.ErrInvalidGrant, Refused},
	{store.ErrCovered, Refused},
	{store.ErrCap, Refused},
	{store.ErrNotFound, NotFound},
	{domain.ErrInvalid, Invalid},
	{store.ErrConflict, Invalid},
	{store.ErrExists, Invalid},
	{store.ErrDigestTaken, Invalid},
	{store.ErrImmutable, Invalid},
	{store.ErrBusy, Busy},
	{context.Canceled, Canceled},
	{context.DeadlineExceeded, Canceled},
}

// Of is the outcome of a call that returned err.
func Of(err error) Outcome {
	if err == nil {
		return OK
	}
	for _, kind := range kinds {
		if errors.Is(err, kind.of) {
			return kind.outcome
		}
	}
	return Failed
}
