package domain

import (
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"
)

// Target is what a revocation names: the conjunction of the fields that are set. A field's zero value does not constrain.
// A Target with no field set is an error; everything in the tenant is said explicitly. Targets are values, and hold no
// references.
type Target struct {
	TokenID      ulid.ULID // TokenID names one token. Several tokens are several targets of one revocation.
	UserID       string    // UserID names the tokens of a user.
	ClientID     string    // ClientID names the tokens issued to a client.
	SessionID    string    // SessionID names the tokens created by a session. It never matches a null session id.
	Audience     string    // Audience names the tokens that any resource server of this audience is in. The whole token goes.
	IssuedBefore time.Time // IssuedBefore names the tokens created before this instant.
	LegacyBefore time.Time // LegacyBefore names the legacy tokens: a null session id, and created before this cut-off.
	Offline      Offline   // Offline narrows the target to tokens with, or without, offline access.
	Everything   bool      // Everything names all tokens of the tenant. It stands alone.
}

// Offline is a target's constraint on offline access. OpenID Connect Back-Channel Logout 1.0 §2.7 spares tokens granted
// offline_access: that is a session's target with [OfflineNo].
type Offline uint8

// The constraints on offline access.
const (
	OfflineAny Offline = iota // OfflineAny does not constrain.
	OfflineNo                 // OfflineNo names tokens without offline access.
	OfflineYes                // OfflineYes names tokens with offline access.
)

// Validate returns a [FieldError] for a target that is empty, that says more beside Everything, or that breaks a limit.
func (t Target) Validate() error {
	t = t.plain()
	if t == (Target{}) {
		return &FieldError{Field: "target", Limit: "at least one constraint, or explicitly everything"}
	}
	if t.Everything && t != (Target{Everything: true}) {
		return &FieldError{Field: "target", Limit: "nothing beside everything"}
	}
	if t.Offline > OfflineYes {
		return &FieldError{Field: "offline", Limit: "any, no or yes", Size: int(t.Offline)}
	}
	return checkAll(
		checkText("user_id", t.UserID, 0, MaxUserID),
		checkText("client_id", t.ClientID, 0, MaxClientID),
		checkText("session_id", t.SessionID, 0, MaxSessionID),
		checkText("audience", t.Audience, 0, MaxAudience),
		checkInstant("issued_before", t.IssuedBefore),
		checkInstant("legacy_before", t.LegacyBefore),
	)
}

// Matches reports whether the target names the token, whenever it was issued. Whether a revocation reaches it is
// [Tombstone.Covers].
func (t *Target) Matches(token *RefreshToken) bool {
	if t.Everything {
		return true
	}
	if !t.TokenID.IsZero() && t.TokenID != token.ID {
		return false
	}
	if t.UserID != "" && t.UserID != token.UserID {
		return false
	}
	if t.ClientID != "" && t.ClientID != token.ClientID {
		return false
	}
	if t.SessionID != "" && t.SessionID != token.SessionID.id {
		return false
	}
	if t.Audience != "" && !token.ResourceServers.HasAudience(t.Audience) {
		return false
	}
	if !t.IssuedBefore.IsZero() && !token.CreatedAt.Before(t.IssuedBefore) {
		return false
	}
	if !t.LegacyBefore.IsZero() && !(token.SessionID.IsNull() && token.CreatedAt.Before(t.LegacyBefore)) {
		return false
	}
	switch t.Offline {
	case OfflineNo:
		return !token.Offline
	case OfflineYes:
		return token.Offline
	}
	return t.plain() != Target{}
}

// plain returns the target fit for ==: a time that is zero does not constrain, whatever zone it comes in.
func (t *Target) plain() Target {
	plain := *t
	if plain.IssuedBefore.IsZero() {
		plain.IssuedBefore = time.Time{}
	}
	if plain.LegacyBefore.IsZero() {
		plain.LegacyBefore = time.Time{}
	}
	return plain
}

// Anchor is the narrowest key under which a target can be found from a token that it matches, and a token from a target.
// Anchors are comparable.
type Anchor struct {
	Kind  AnchorKind
	Value string
}

// AnchorKind says what an [Anchor] is the key of.
type AnchorKind uint8

// The kinds of anchor, narrowest first. AnchorNone is that of targets which name no token, session, user or client.
const (
	AnchorToken AnchorKind = iota
	AnchorSession
	AnchorUser
	AnchorClient
	AnchorNone
)

// Anchor returns the target's anchor. Every token that the target matches has it among its own.
func (t *Target) Anchor() Anchor {
	switch {
	case !t.TokenID.IsZero():
		return Anchor{AnchorToken, string(t.TokenID[:])}
	case t.SessionID != "":
		return Anchor{AnchorSession, t.SessionID}
	case t.UserID != "":
		return Anchor{AnchorUser, t.UserID}
	case t.ClientID != "":
		return Anchor{AnchorClient, t.ClientID}
	}
	return Anchor{Kind: AnchorNone}
}

// Anchors returns the anchors under which a target that matches the token can stand, one of each kind. That of a null
// session has an empty value, which no target's anchor has.
func (t *RefreshToken) Anchors() [5]Anchor {
	return [5]Anchor{
		{AnchorToken, string(t.ID[:])},
		{AnchorSession, t.SessionID.id},
		{AnchorUser, t.UserID},
		{AnchorClient, t.ClientID},
		{Kind: AnchorNone},
	}
}

// Key returns the canonical encoding of the target: two targets are identical if and only if their keys are.
func (t *Target) Key() string {
	key := make([]byte, 0, 128)
	key = append(key, t.TokenID[:]...)
	for _, text := range [...]string{t.UserID, t.ClientID, t.SessionID, t.Audience} {
		key = binary.AppendUvarint(key, uint64(len(text)))
		key = append(key, text...)
	}
	for _, at := range [...]time.Time{t.IssuedBefore, t.LegacyBefore} {
		key = binary.BigEndian.AppendUint64(key, uint64(at.Unix()))
		key = binary.BigEndian.AppendUint32(key, uint32(at.Nanosecond()))
	}
	everything := byte(0)
	if t.Everything {
		everything = 1
	}
	return string(append(key, byte(t.Offline), everything))
}
