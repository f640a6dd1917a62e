package domain

import (
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// RefreshToken is the record of a token. It holds no secret, only digests. A RefreshToken may be copied by assignment.
// Times are instants; their zero value stands for "none" where the field says so.
//
// A store keeps every field as it is given, but assigns Sequence. After a token has been stored, its id, foreign id, user,
// client, session, resource servers, creation time, sequence, and what is known of its foreign secret never change.
type RefreshToken struct {
	ID              ulid.ULID       // ID is public and stable for the token's whole life, rotation included.
	ForeignID       string          // ForeignID is the id that an imported token had elsewhere; empty for our own.
	UserID          string          // UserID is the resource owner (RFC 6749 §1.1): 1..300 characters.
	ClientID        string          // ClientID is the client that the token was issued to: 1..64 characters.
	SessionID       SessionID       // SessionID is the session that created the token; null for legacy tokens.
	CreatedAt       time.Time       // CreatedAt is when the token was issued.
	AuthenticatedAt time.Time       // AuthenticatedAt is when the user authenticated; zero if not known.
	ExpiresAt       time.Time       // ExpiresAt is the end of the absolute lifetime; zero for never.
	IdleLifetime    Lifetime        // IdleLifetime renews IdleExpiresAt at every exchange; zero or Never for none.
	IdleExpiresAt   time.Time       // IdleExpiresAt is the end of the idle lifetime; zero for never.
	LastExchangedAt time.Time       // LastExchangedAt is when the token was last exchanged; zero before the first time.
	Device          Device          // Device is where the token was issued to, and where it was last seen.
	Rotating        bool            // Rotating tokens get a new secret at every exchange.
	Offline         bool            // Offline tokens were granted offline_access and may outlive a logout.
	ResourceServers ResourceServers // ResourceServers are the audiences and scopes of the grant.
	Metadata        Metadata        // Metadata is the host's; the only property that it may change.
	Confirmation    Confirmation    // Confirmation binds the token to a sender's key; zero for none.

	Sequence      uint64    // Sequence is the issue sequence, assigned by the store inside the creating commit.
	Generation    uint32    // Generation counts how often the secret has been replaced.
	RotatedAt     time.Time // RotatedAt is when the current generation was made; zero for generation 0.
	Retries       uint32    // Retries counts how often the current generation was handed out again, where that is limited.
	Salt          Salt      // Salt is that of the exchange that made the current generation.
	FamilyDigest  Digest    // FamilyDigest recognises any secret of the token, old or current.
	SecretDigest  Digest    // SecretDigest recognises the current secret.
	ForeignDigest Digest    // ForeignDigest recognises the secret that an imported token had elsewhere; zero for none. No key is in it.
	ForeignWeak   bool      // ForeignWeak says that the foreign secret has less than [MinForeignEntropy] bits of entropy.
	PepperKeyID   string    // PepperKeyID names the key under which the digests of our own secrets were made; empty for none.
}

// The kinds of confirmation.
const (
	ConfirmationJKT  = "jkt"      // ConfirmationJKT is the thumbprint of a DPoP key (RFC 9449 §6).
	ConfirmationX5TS = "x5t#S256" // ConfirmationX5TS is the thumbprint of a client certificate (RFC 8705 §3.1).
)

// Confirmation binds a token to its sender's key. The zero value is no binding. Confirmations are comparable.
type Confirmation struct {
	Kind  string // Kind is ConfirmationJKT or ConfirmationX5TS.
	Value string // Value is the thumbprint: 1..128 characters.
}

func (c Confirmation) validate() error {
	switch c.Kind {
	case "":
		if c.Value != "" {
			return &FieldError{Field: "confirmation", Limit: "of a kind: jkt or x5t#S256", Size: len(c.Value)}
		}
		return nil
	case ConfirmationJKT, ConfirmationX5TS:
		return checkText("confirmation", c.Value, 1, MaxConfirmation)
	}
	return &FieldError{Field: "confirmation", Limit: "of a kind: jkt or x5t#S256", Size: len(c.Kind)}
}

// Validate checks every field that a caller supplies against its limit, and returns a [FieldError] for the first that
// breaks it. It doesn't check the [LegacyRule], which is the tenant's.
func (t *RefreshToken) Validate() error {
	if t.ID.IsZero() {
		return &FieldError{Field: "id", Limit: "a ULID other than zero"}
	}
	if t.CreatedAt.IsZero() {
		return &FieldError{Field: "created_at", Limit: "set"}
	}
	return checkAll(
		checkText("foreign_id", t.ForeignID, 0, MaxForeignID),
		CheckUserID(t.UserID),
		CheckClientID(t.ClientID),
		checkInstant("created_at", t.CreatedAt),
		checkInstant("authenticated_at", t.AuthenticatedAt),
		checkInstant("expires_at", t.ExpiresAt),
		checkInstant("idle_expires_at", t.IdleExpiresAt),
		checkInstant("last_exchanged_at", t.LastExchangedAt),
		t.Device.Validate(),
		t.Confirmation.validate(),
		checkText("pepper_key_id", t.PepperKeyID, 0, MaxPepperKeyID),
		t.checkForeign(),
	)
}

// SameIdentity reports whether two records agree in everything that never changes in a token's life.
func (t *RefreshToken) SameIdentity(other *RefreshToken) bool {
	return slices.Equal(t.ResourceServers.list, other.ResourceServers.list) && t.ID == other.ID && t.ForeignID == other.ForeignID && t.UserID == other.UserID &&
		t.ClientID == other.ClientID && t.SessionID == other.SessionID &&
		t.CreatedAt.Equal(other.CreatedAt) && t.Sequence == other.Sequence &&
		t.ForeignDigest == other.ForeignDigest && t.ForeignWeak == other.ForeignWeak
}
