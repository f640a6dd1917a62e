package tokenstore

import (
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
)

// The types that a host meets, so that it rarely needs another package than this one and a backend.
type (
	// RefreshToken is the record of a token; its JSON is the public resource.
	RefreshToken = domain.RefreshToken
	// Secret is the text that a client holds and exchanges.
	Secret = domain.Secret
	// SessionID is the nullable id of the session that created a token.
	SessionID = domain.SessionID
	// Device is where a token was issued to, and where it was last seen.
	Device = domain.Device
	// DevicePolicy says how much of a device's addresses is kept.
	DevicePolicy = domain.DevicePolicy
	// ResourceServer is an API that a token was granted for.
	ResourceServer = domain.ResourceServer
	// Digest is a digest of a secret, or of its parts.
	Digest = domain.Digest
	// PepperRing holds the keys under which digests are made.
	PepperRing = domain.PepperRing
	// Confirmation binds a token to its sender's key.
	Confirmation = domain.Confirmation
	// LegacyRule says which tokens carry a null session id.
	LegacyRule = domain.LegacyRule
	// Lifetime is how long a token lives, or may lie idle.
	Lifetime = domain.Lifetime
	// Rotation is a client's policy on the rotation of its tokens' secrets.
	Rotation = domain.Rotation
	// AsOf is the point that an issue or an import claims to stem from.
	AsOf = domain.AsOf
	// Target is what a revocation names.
	Target = domain.Target
	// Refusal is the cause for which a grant was refused.
	Refusal = domain.Refusal
	// FieldError says which field of a request broke which limit.
	FieldError = domain.FieldError
	// Page is a page of tokens.
	Page = store.Page
	// RevocationPage is a page of revocations.
	RevocationPage = store.RevocationPage
	// State is what a tenant holds.
	State = store.State
	// Status is a revocation and how far its sweep has come.
	Status = store.Status
	// Receipt is what Revoke returns.
	Receipt = revocation.Receipt
	// Health is how the sweep stands.
	Health = revocation.Health
	// Event is one change, as the feed reports it.
	Event = store.Event
	// EventToken names a token that an event is about.
	EventToken = store.EventToken
	// Kinds is a set of kinds of events.
	Kinds = store.Kinds
	// FeedPage is a page of events.
	FeedPage = store.FeedPage
	// CursorGoneError says from where a feed goes on whose events have been dropped.
	CursorGoneError = store.CursorGoneError
)

// The kinds of events, the default of [Options], and what stands for none.
const (
	KindRevoked   = store.KindRevoked
	KindReused    = store.KindReused
	KindErased    = store.KindErased
	KindIssued    = store.KindIssued
	KindExchanged = store.KindExchanged
	KindRetried   = store.KindRetried
	KindSwept     = store.KindSwept
	KindExpired   = store.KindExpired
	KindEvicted   = store.KindEvicted
	AllKinds      = store.AllKinds
	DefaultOutbox = revocation.DefaultOutbox
	NoOutbox      = revocation.NoOutbox
)

// Never is the lifetime of what does not expire.
const Never = domain.Never

// ReasonReuse is the reason of a revocation that replay caused.
const ReasonReuse = domain.ReasonReuse

// The constraints of a [Target] on offline access.
const (
	OfflineAny = domain.OfflineAny
	OfflineNo  = domain.OfflineNo
	OfflineYes = domain.OfflineYes
)

// The policies on rotation.
const (
	RotationAsIssued = domain.RotationAsIssued
	RotationOn       = domain.RotationOn
	RotationOff      = domain.RotationOff
)

// The policies on the addresses of devices.
const (
	DeviceAsGiven   = domain.DeviceAsGiven
	DeviceTruncated = domain.DeviceTruncated
	DeviceLeftOut   = domain.DeviceLeftOut
)

// ReasonRotation is the reason of a revocation that came with switching rotation on.
const ReasonRotation = "rotation switched on"

// The causes of a refusal. Each matches itself and [ErrInvalidGrant].
const (
	ErrMalformed    = domain.ErrMalformed
	ErrUnknownToken = domain.ErrUnknownToken
	ErrWrongClient  = domain.ErrWrongClient
	ErrConfirmation = domain.ErrConfirmation
	ErrKeyMissing   = domain.ErrKeyMissing
	ErrRevoked      = domain.ErrRevoked
	ErrExpired      = domain.ErrExpired
	ErrIdleExpired  = domain.ErrIdleExpired
	ErrReused       = domain.ErrReused
	ErrRetryLimit   = domain.ErrRetryLimit
	ErrAhead        = domain.ErrAhead
	ErrBeyondMemory = domain.ErrBeyondMemory
)

// The errors of requests and of the backend; docs/errors.md says what to do about each.
var (
	ErrInvalid        = domain.ErrInvalid
	ErrInvalidGrant   = domain.ErrInvalidGrant
	ErrNotFound       = store.ErrNotFound
	ErrExists         = store.ErrExists
	ErrConflict       = store.ErrConflict
	ErrBusy           = store.ErrBusy
	ErrDigestTaken    = store.ErrDigestTaken
	ErrCap            = store.ErrCap
	ErrCursorGone     = store.ErrCursorGone
	ErrOccupied       = store.ErrOccupied
	ErrClosed         = store.ErrClosed
	ErrNotCommitted   = store.ErrNotCommitted
	ErrUnknownOutcome = store.ErrUnknownOutcome
	ErrRunning        = revocation.ErrRunning
)

// NewSecret wraps a text that a client presented.
func NewSecret(text string) Secret { return domain.NewSecret(text) }

// NewPepperRing copies 1..16 keys of 16..256 bytes, by ids of 1..32 characters. current is the id of the one for what is written
// from now on, or empty, to write digests without a key.
func NewPepperRing(current string, keys map[string][]byte) (*PepperRing, error) {
	return domain.NewPepperRing(current, keys)
}

// DigestForeign is the SHA-256 of a foreign secret, by which it is known unless [Options] say otherwise.
func DigestForeign(secret string) Digest { return domain.DigestForeign(secret) }

// ParseForeignDigest reads a digest of 32 bytes in hexadecimal or base 64. It returns a [FieldError] for any other text, and
// for a salted digest, which can't be looked up.
func ParseForeignDigest(text string) (Digest, error) { return domain.ParseForeignDigest(text) }

// NewSessionID returns the session id with the given text: 1..50 characters.
func NewSessionID(id string) (SessionID, error) { return domain.NewSessionID(id) }

// MustSessionID is [NewSessionID] for ids that are known to be good. It panics otherwise.
func MustSessionID(id string) SessionID { return domain.MustSessionID(id) }

// US3 is the legacy rule of tenants of the US-3 region: the cut-off is 2024-02-22.
func US3() LegacyRule { return domain.US3() }

// AsOfSequence is the tenant's sequence as it was when the user authenticated ([Manager.State]). It is exact.
func AsOfSequence(sequence uint64) AsOf { return domain.AsOfSequence(sequence) }

// AsOfTime is the time at which the user authenticated. It is as good as the clocks: skew is how far they may be apart.
func AsOfTime(t time.Time, skew time.Duration) AsOf { return domain.AsOfTime(t, skew) }
