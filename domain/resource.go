package domain

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"
)

// resource is the public JSON shape of a token, as Auth0's Management API shows it, and beside it foreign_id and offline:
// a token that is read again must be the one that it was to every revocation. Digests, sequence and generation are
// no part of it.
type resource struct {
	ID              string          `json:"id"`
	ForeignID       string          `json:"foreign_id,omitempty"`
	UserID          string          `json:"user_id"`
	CreatedAt       *instant        `json:"created_at"`
	IdleExpiresAt   *instant        `json:"idle_expires_at"`
	ExpiresAt       *instant        `json:"expires_at"`
	LastExchangedAt *instant        `json:"last_exchanged_at"`
	Device          *Device         `json:"device,omitempty"`
	ClientID        string          `json:"client_id"`
	SessionID       SessionID       `json:"session_id"`
	Rotating        bool            `json:"rotating"`
	Offline         bool            `json:"offline,omitempty"`
	ResourceServers ResourceServers `json:"resource_servers"`
	Metadata        Metadata        `json:"refresh_token_metadata"`
}

// instant is a time as the resource writes it: RFC 3339 in UTC, to the millisecond.
type instant time.Time

func (i instant) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(i).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

func (i *instant) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	*i = instant(t.UTC())
	return err
}

func toInstant(t time.Time) *instant {
	if t.IsZero() {
		return nil
	}
	return (*instant)(&t)
}

func (i *instant) time() time.Time {
	if i == nil {
		return time.Time{}
	}
	return time.Time(*i)
}

// MarshalJSON writes the public resource: RFC 3339 times in UTC with milliseconds, or null for none; session_id always
// present; foreign_id for a token that came from elsewhere.
func (t RefreshToken) MarshalJSON() ([]byte, error) {
	r := resource{
		ID: t.ID.String(), ForeignID: t.ForeignID, UserID: t.UserID, ClientID: t.ClientID, SessionID: t.SessionID, Rotating: t.Rotating, Offline: t.Offline,
		CreatedAt: toInstant(t.CreatedAt), ExpiresAt: toInstant(t.ExpiresAt),
		IdleExpiresAt: toInstant(t.IdleExpiresAt), LastExchangedAt: toInstant(t.LastExchangedAt),
		ResourceServers: t.ResourceServers, Metadata: t.Metadata,
	}
	if t.ID.IsZero() { // not yet given one by ForeignTokenID: written as it was read
		r.ID, r.ForeignID = t.ForeignID, ""
	}
	if t.Device != (Device{}) {
		r.Device = &t.Device
	}
	return json.Marshal(r)
}

// UnmarshalJSON reads the public resource. Unknown keys are ignored, an absent key is null. An id that is no ULID goes to
// ForeignID, and ID is left zero: [ForeignTokenID] gives it, but needs the tenant. A time that is no RFC 3339 text or a
// member of a wrong type is a [FieldError].
func (t *RefreshToken) UnmarshalJSON(data []byte) error {
	if !ValidUnicode(data) {
		return &FieldError{Field: "token", Limit: "valid UTF-8", Size: len(data)}
	}
	var r resource
	if err := json.Unmarshal(data, &r); err != nil {
		if field, ok := errors.AsType[*FieldError](err); ok {
			return field
		}
		return &FieldError{Field: "token", Limit: "a JSON object of the resource's shape", Size: len(data)}
	}
	*t = RefreshToken{
		UserID: r.UserID, ClientID: r.ClientID, SessionID: r.SessionID, Rotating: r.Rotating, Offline: r.Offline,
		CreatedAt: r.CreatedAt.time(), ExpiresAt: r.ExpiresAt.time(),
		IdleExpiresAt: r.IdleExpiresAt.time(), LastExchangedAt: r.LastExchangedAt.time(),
		ResourceServers: r.ResourceServers, Metadata: r.Metadata,
	}
	if r.Device != nil {
		t.Device = *r.Device
	}
	t.ForeignID = r.ForeignID
	if id, ok := ParseID(r.ID); ok {
		t.ID = id
	} else if r.ID != "" {
		t.ForeignID = r.ID
	}
	return nil
}

// ParseID reads a ULID in its one canonical spelling, and reports whether the text is one.
func ParseID(text string) (ulid.ULID, bool) {
	id, err := ulid.ParseStrict(text)
	if err != nil || id.IsZero() || id.String() != text {
		return ulid.ULID{}, false
	}
	return id, true
}

// ForeignTokenID is the id of a token that had another one elsewhere: the creation time, and 80 bits of a digest of tenant
// and foreign id. The same token always gets the same id, so that importing it again is recognised.
func ForeignTokenID(tenant, foreignID string, createdAt time.Time) (ulid.ULID, error) {
	var id ulid.ULID
	if year := createdAt.UTC().Year(); year < 1970 || year > 9999 {
		return id, &FieldError{Field: "created_at", Limit: "in the years 1970..9999", Size: year}
	}
	_ = id.SetTime(uint64(createdAt.UnixMilli()))
	sum := sha256.Sum256([]byte("tokenstore foreign id\x00" + tenant + "\x00" + foreignID))
	return id, id.SetEntropy(sum[:10])
}
