package store

import "errors"

// The errors of a store. Wrapping them is allowed; compare with errors.Is.
var (
	// ErrNotFound: there is no such token, or no such revocation.
	ErrNotFound = errors.New("tokenstore: not found")
	// ErrExists: the id of an inserted token is taken.
	ErrExists = errors.New("tokenstore: already exists")
	// ErrConflict: the id of a revocation is taken by one with other targets, or that of a restoration by one of another method.
	ErrConflict = errors.New("tokenstore: revocation id used for other targets")
	// ErrCovered: an update would replace the record of a token that a tombstone covers.
	ErrCovered = errors.New("tokenstore: token is revoked")
	// ErrImmutable: an update would change a property that never changes.
	ErrImmutable = errors.New("tokenstore: property never changes")
	// ErrBusy: too many revocations without an anchor are pending; try again when some have been swept.
	ErrBusy = errors.New("tokenstore: too many pending revocations without an anchor")
	// ErrDigestTaken: the foreign digest of an inserted token is that of another token.
	ErrDigestTaken = errors.New("tokenstore: foreign digest belongs to another token")
	// ErrCap: the user has as many live tokens of the client as an insertion allows, and it does not evict.
	ErrCap = errors.New("tokenstore: too many live tokens of this user and client")
	// ErrCursorGone: events after a cursor have been dropped. The error is a [CursorGoneError], which says from where the feed
	// goes on.
	ErrCursorGone = errors.New("tokenstore: events after this cursor have been dropped")
	// ErrOccupied: a tenant can't take over what another one remembers, since it has lived a life of its own.
	ErrOccupied = errors.New("tokenstore: tenant is not empty")
	// ErrClosed: the backend has been closed.
	ErrClosed = errors.New("tokenstore: backend is closed")
	// ErrNotCommitted: the commit failed, and nothing of it was or will be written. The call may be repeated.
	ErrNotCommitted = errors.New("tokenstore: not committed")
	// ErrUnknownOutcome: the commit failed in a way that leaves open whether it was written. Revoke, Apply, Expire, Trim, Remember,
	// Restore and an Insert of the same tokens may be repeated as they are; Manager says how to repeat an exchange.
	ErrUnknownOutcome = errors.New("tokenstore: outcome unknown")
)
