package domain

import (
	"errors"
	"fmt"
)

// ErrInvalid is matched by every [FieldError]: a value that the caller supplied breaks a limit or a rule of the contract.
var ErrInvalid = errors.New("tokenstore: invalid value")

// FieldError says which field of a request broke which limit. It never carries the value itself, which may be personal
// or secret.
type FieldError struct {
	Field string // Field is the name of the field or option, spelt as in the resource's JSON: "client_id".
	Limit string // Limit is the rule in words, for example "1..300 characters".
	Size  int    // Size is the length or count that was found, where the limit is one of size.
}

// Error names the field and the limit, the size where it says something, and never the value.
func (e *FieldError) Error() string {
	text := "tokenstore: " + e.Field + ": must be " + e.Limit
	ofSize := e.Limit != "" && e.Limit[0] >= '0' && e.Limit[0] <= '9' // such as "1..300 characters"
	if e.Size != 0 || ofSize {
		text += fmt.Sprintf(" (size %d)", e.Size)
	}
	return text
}

// Is reports that a FieldError is an [ErrInvalid].
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// ErrInvalidGrant is matched by every [Refusal]: RFC 6749 §5.2's invalid_grant, and all that a client may be told.
var ErrInvalidGrant = errors.New("tokenstore: invalid grant")

// Refusal is the cause for which a grant was refused. Every Refusal matches [ErrInvalidGrant] through errors.Is, and the
// constants below match themselves. Once a token has been swept its cause is forgotten and reads [ErrUnknownToken]: the
// cause is for the host's own logs, never for the client.
type Refusal string

const (
	// ErrMalformed: the text is no secret: it is empty or too long, or it begins like one of ours, and its form or its
	// checksum is wrong.
	ErrMalformed Refusal = "malformed"
	// ErrUnknownToken: no such token, or the secret is not genuine. Nothing was written.
	ErrUnknownToken Refusal = "unknown"
	// ErrWrongClient: the token was issued to another client (RFC 6749 §6). Nothing was written.
	ErrWrongClient Refusal = "wrong client"
	// ErrConfirmation: the sender constraint does not match (RFC 9449, RFC 8705). Nothing was written.
	ErrConfirmation Refusal = "confirmation"
	// ErrKeyMissing: the token's digests were made under a key that the pepper ring lacks. Nothing was written.
	ErrKeyMissing Refusal = "key missing"
	// ErrRevoked: a revocation covers the token, or the point that an issue or import stems from.
	ErrRevoked Refusal = "revoked"
	// ErrExpired: the absolute lifetime is over.
	ErrExpired Refusal = "expired"
	// ErrIdleExpired: the idle lifetime is over.
	ErrIdleExpired Refusal = "idle expired"
	// ErrReused: an outdated secret was presented (RFC 9700 §4.14.2). The token has been revoked.
	ErrReused Refusal = "reused"
	// ErrRetryLimit: the secret was retried within the leeway more often than the host allows. Nothing was revoked.
	ErrRetryLimit Refusal = "retry limit"
	// ErrAhead: the secret is newer than the record, so the store has been rolled back. Nothing was written.
	ErrAhead Refusal = "ahead of the store"
	// ErrBeyondMemory: an issue or import stems from before the horizon, so what was revoked since is not known.
	ErrBeyondMemory Refusal = "beyond memory"
)

// Error is for logs: what a client may be told is the same for every refusal.
func (r Refusal) Error() string { return "tokenstore: refused: " + string(r) }

// Is reports that every Refusal is an [ErrInvalidGrant].
func (r Refusal) Is(target error) bool { return target == ErrInvalidGrant }
