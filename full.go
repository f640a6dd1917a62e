package tokenstore

import (
	"time"

	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// fullVersion is the version of the form of a full export. A reader refuses any other.
const fullVersion = 1

// fullLine is a line of a full export: one of its members is set. The header comes first, then guards, tokens, and the end.
type fullLine struct {
	Export *fullHeader `json:"tokenstore_export,omitempty"`
	Guard  *fullGuard  `json:"guard,omitempty"`
	Token  *fullToken  `json:"token,omitempty"`
	End    *fullEnd    `json:"end,omitempty"`
}

// fullHeader says what is exported, and as of when. Sequences are written as text: they use all of their 64 bits.
type fullHeader struct {
	Version         int       `json:"version"`
	ID              ulid.ULID `json:"id"`
	Tenant          string    `json:"tenant"`
	Sequence        uint64    `json:"sequence,string"`
	HorizonSequence uint64    `json:"horizon_sequence,string"`
	HorizonTime     time.Time `json:"horizon_time,omitzero"`
	ErasureKey      []byte    `json:"erasure_key,omitempty"`
	LastEvent       uint64    `json:"last_event,omitempty,string"`
}

func (h *fullHeader) horizon() domain.Horizon {
	return domain.Horizon{Sequence: h.HorizonSequence, Time: h.HorizonTime}
}

func (h *fullHeader) erasureKey() (key domain.ErasureKey) {
	copy(key[:], h.ErasureKey)
	return key
}

func (h *fullHeader) check(tenant string) error {
	switch {
	case h == nil:
		return &FieldError{Field: "export", Limit: "a full export, which begins with its header"}
	case h.Version != fullVersion:
		return &FieldError{Field: "version", Limit: "1, the one that this program knows", Size: h.Version}
	case h.Tenant != tenant: // it is part of how successors and the ids of foreign tokens are derived
		return &FieldError{Field: "tenant", Limit: "the tenant that was exported, by name", Size: len(h.Tenant)}
	case len(h.ErasureKey) != 0 && len(h.ErasureKey) != len(domain.ErasureKey{}):
		return &FieldError{Field: "erasure_key", Limit: "32 bytes", Size: len(h.ErasureKey)}
	}
	return nil
}

// fullEnd says that nothing is missing.
type fullEnd struct {
	Guards int `json:"guards"`
	Tokens int `json:"tokens"`
}

// fullGuard is what is remembered of a revocation's target.
type fullGuard struct {
	TokenID      ulid.ULID `json:"token_id,omitzero"`
	UserID       string    `json:"user_id,omitempty"`
	ClientID     string    `json:"client_id,omitempty"`
	SessionID    string    `json:"session_id,omitempty"`
	Audience     string    `json:"audience,omitempty"`
	IssuedBefore time.Time `json:"issued_before,omitzero"`
	LegacyBefore time.Time `json:"legacy_before,omitzero"`
	Offline      uint8     `json:"offline,omitempty"`
	Everything   bool      `json:"everything,omitempty"`
	Watermark    uint64    `json:"watermark,string"`
	Time         time.Time `json:"time"`
	Through      time.Time `json:"through"`
}

func newFullGuard(g domain.Guard) *fullGuard {
	t := g.Target
	return &fullGuard{
		TokenID: t.TokenID, UserID: t.UserID, ClientID: t.ClientID, SessionID: t.SessionID, Audience: t.Audience,
		IssuedBefore: t.IssuedBefore, LegacyBefore: t.LegacyBefore, Offline: uint8(t.Offline), Everything: t.Everything,
		Watermark: g.Watermark, Time: g.Time, Through: g.Through,
	}
}

func (g *fullGuard) guard() domain.Guard {
	return domain.Guard{
		Target: Target{
			TokenID: g.TokenID, UserID: g.UserID, ClientID: g.ClientID, SessionID: g.SessionID, Audience: g.Audience,
			IssuedBefore: g.IssuedBefore, LegacyBefore: g.LegacyBefore, Offline: domain.Offline(g.Offline), Everything: g.Everything,
		},
		Watermark: g.Watermark, Time: g.Time, Through: g.Through,
	}
}

// fullToken is every field of a record. Times are exact: whether a secret is a retry depends on two of them being equal.
type fullToken struct {
	ID              ulid.ULID              `json:"id"`
	ForeignID       string                 `json:"foreign_id,omitempty"`
	UserID          string                 `json:"user_id"`
	ClientID        string                 `json:"client_id"`
	SessionID       SessionID              `json:"session_id"`
	CreatedAt       time.Time              `json:"created_at"`
	AuthenticatedAt time.Time              `json:"authenticated_at,omitzero"`
	ExpiresAt       time.Time              `json:"expires_at,omitzero"`
	IdleLifetime    Lifetime               `json:"idle_lifetime,omitempty"` // nanoseconds, or -1 for never
	IdleExpiresAt   time.Time              `json:"idle_expires_at,omitzero"`
	LastExchangedAt time.Time              `json:"last_exchanged_at,omitzero"`
	Device          Device                 `json:"device,omitzero"`
	Rotating        bool                   `json:"rotating,omitempty"`
	Offline         bool                   `json:"offline,omitempty"`
	ResourceServers domain.ResourceServers `json:"resource_servers"`
	Metadata        domain.Metadata        `json:"refresh_token_metadata"`
	Kind            string                 `json:"confirmation_kind,omitempty"`
	Confirmation    string                 `json:"confirmation,omitempty"`
	Sequence        uint64                 `json:"sequence,string"`
	Generation      uint32                 `json:"generation,omitempty"`
	RotatedAt       time.Time              `json:"rotated_at,omitzero"`
	Retries         uint32                 `json:"retries,omitempty"`
	Salt            []byte                 `json:"salt,omitempty"`
	FamilyDigest    []byte                 `json:"family_digest,omitempty"`
	SecretDigest    []byte                 `json:"secret_digest,omitempty"`
	ForeignDigest   []byte                 `json:"foreign_digest,omitempty"`
	ForeignWeak     bool                   `json:"foreign_weak,omitempty"`
	PepperKeyID     string                 `json:"pepper_key_id,omitempty"`
}

func newFullToken(t *RefreshToken) *fullToken {
	return &fullToken{
		ID: t.ID, ForeignID: t.ForeignID, UserID: t.UserID, ClientID: t.ClientID, SessionID: t.SessionID,
		CreatedAt: t.CreatedAt, AuthenticatedAt: t.AuthenticatedAt, ExpiresAt: t.ExpiresAt,
		IdleLifetime: t.IdleLifetime, IdleExpiresAt: t.IdleExpiresAt, LastExchangedAt: t.LastExchangedAt,
		Device: t.Device, Rotating: t.Rotating, Offline: t.Offline, ResourceServers: t.ResourceServers, Metadata: t.Metadata,
		Kind: t.Confirmation.Kind, Confirmation: t.Confirmation.Value, Sequence: t.Sequence, Generation: t.Generation,
		RotatedAt: t.RotatedAt, Retries: t.Retries, Salt: unlessZero(t.Salt[:]), FamilyDigest: unlessZero(t.FamilyDigest[:]),
		SecretDigest: unlessZero(t.SecretDigest[:]), ForeignDigest: unlessZero(t.ForeignDigest[:]),
		ForeignWeak: t.ForeignWeak, PepperKeyID: t.PepperKeyID,
	}
}

// token returns the record, or a [FieldError] for a digest of a wrong size.
func (f *fullToken) token() (RefreshToken, error) {
	t := RefreshToken{
		ID: f.ID, ForeignID: f.ForeignID, UserID: f.UserID, ClientID: f.ClientID, SessionID: f.SessionID,
		CreatedAt: f.CreatedAt, AuthenticatedAt: f.AuthenticatedAt, ExpiresAt: f.ExpiresAt,
		IdleLifetime: f.IdleLifetime, IdleExpiresAt: f.IdleExpiresAt, LastExchangedAt: f.LastExchangedAt,
		Device: f.Device, Rotating: f.Rotating, Offline: f.Offline, ResourceServers: f.ResourceServers, Metadata: f.Metadata,
		Confirmation: Confirmation{Kind: f.Kind, Value: f.Confirmation}, Sequence: f.Sequence, Generation: f.Generation,
		RotatedAt: f.RotatedAt, Retries: f.Retries, ForeignWeak: f.ForeignWeak, PepperKeyID: f.PepperKeyID,
	}
	for _, part := range []struct {
		field    string
		from, to []byte
	}{
		{"salt", f.Salt, t.Salt[:]},
		{"family_digest", f.FamilyDigest, t.FamilyDigest[:]},
		{"secret_digest", f.SecretDigest, t.SecretDigest[:]},
		{"foreign_digest", f.ForeignDigest, t.ForeignDigest[:]},
	} {
		if n := len(part.from); n != 0 && n != len(part.to) {
			return RefreshToken{}, &FieldError{Field: part.field, Limit: "of its one size", Size: n}
		}
		copy(part.to, part.from)
	}
	return t, nil
}

// unlessZero returns a copy of the bytes, or nil if none is set.
func unlessZero(b []byte) []byte {
	for _, c := range b {
		if c != 0 {
			return append([]byte(nil), b...)
		}
	}
	return nil
}
