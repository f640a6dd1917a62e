package domain

import "time"

// The two published cut-offs of null session ids, in seconds of Unix time: tokens created before them carry none.
const (
	CutOff    = 1695254400 // CutOff is 2023-09-21T00:00:00Z, the rule of every region but US-3.
	CutOffUS3 = 1708560000 // CutOffUS3 is 2024-02-22T00:00:00Z, the rule of tenants of the US-3 region.
)

// LegacyRule says which tokens carry a null session id. The zero value is the published rule with [CutOff]. Created
// before the cut-off: the session id must be null. On or after it: a session id is required, unless AllowNoSession.
type LegacyRule struct {
	// CutOff is the first instant whose tokens carry a session id. Defaults to [CutOff].
	CutOff time.Time
	// AllowNoSession says that grants without a session exist, so that a token created on or after the cut-off may
	// carry a null session id.
	AllowNoSession bool
}

// US3 is the rule of tenants of the US-3 region.
func US3() LegacyRule { return LegacyRule{CutOff: time.Unix(CutOffUS3, 0).UTC()} }

// At returns the rule's cut-off, the default resolved.
func (r LegacyRule) At() time.Time {
	if r.CutOff.IsZero() {
		return time.Unix(CutOff, 0).UTC()
	}
	return r.CutOff
}

// Legacy reports whether a token created at the given instant is a legacy token.
func (r LegacyRule) Legacy(createdAt time.Time) bool { return createdAt.Before(r.At()) }

// Check returns a [FieldError] for session_id if a token created at the given instant may not carry the given one.
func (r LegacyRule) Check(createdAt time.Time, session SessionID) error {
	id, ok := session.Get()
	switch legacy := r.Legacy(createdAt); {
	case legacy && ok:
		return &FieldError{Field: "session_id", Limit: "null for a token created before the legacy cut-off", Size: len(id)}
	case !legacy && !ok && !r.AllowNoSession:
		return &FieldError{Field: "session_id", Limit: "set for a token created on or after the legacy cut-off"}
	}
	return nil
}
