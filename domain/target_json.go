package domain

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"
)

// targetJSON is the JSON shape of a target, which the feed, the management API and the operator's command share. What does not
// constrain is not there.
type targetJSON struct {
	TokenID      ulid.ULID    `json:"refresh_token_id,omitzero"`
	UserID       string       `json:"user_id,omitempty"`
	ClientID     string       `json:"client_id,omitempty"`
	SessionID    string       `json:"session_id,omitempty"`
	Audience     string       `json:"audience,omitempty"`
	IssuedBefore exactInstant `json:"issued_before,omitzero"`
	LegacyBefore exactInstant `json:"legacy_before,omitzero"`
	Offline      offlineJSON  `json:"offline,omitzero"`
	Everything   bool         `json:"everything,omitempty"`
}

// exactInstant is a time to the nanosecond. One that is of whole milliseconds is written as the resource writes its times.
type exactInstant time.Time

func (i exactInstant) MarshalJSON() ([]byte, error) {
	t := time.Time(i).UTC()
	if t.Nanosecond()%int(time.Millisecond) == 0 {
		return instant(t).MarshalJSON()
	}
	return []byte(t.Format(`"2006-01-02T15:04:05.000000000Z"`)), nil
}

func (i *exactInstant) UnmarshalJSON(data []byte) error { return (*instant)(i).UnmarshalJSON(data) }

// offlineJSON is true or false; that it does not constrain is not written, and never read from null.
type offlineJSON Offline

func (o offlineJSON) MarshalJSON() ([]byte, error) { return json.Marshal(Offline(o) == OfflineYes) }

func (o *offlineJSON) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "false":
		*o = offlineJSON(OfflineNo)
	case "true":
		*o = offlineJSON(OfflineYes)
	default:
		return &FieldError{Field: "offline", Limit: "true or false", Size: len(data)}
	}
	return nil
}

// MarshalJSON writes what the target constrains. Times are in RFC 3339, in UTC and exact; offline is true or false.
func (t Target) MarshalJSON() ([]byte, error) {
	t = t.plain()
	return json.Marshal(targetJSON{
		TokenID: t.TokenID, UserID: t.UserID, ClientID: t.ClientID, SessionID: t.SessionID, Audience: t.Audience,
		IssuedBefore: exactInstant(t.IssuedBefore), LegacyBefore: exactInstant(t.LegacyBefore), Offline: offlineJSON(t.Offline),
		Everything: t.Everything,
	})
}

// UnmarshalJSON reads what MarshalJSON writes. A target that is empty or breaks a limit is a [FieldError]. So is an unknown
// member: to leave it out could widen the target.
func (t *Target) UnmarshalJSON(data []byte) error {
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	var j targetJSON
	if err := in.Decode(&j); err != nil {
		return &FieldError{Field: "target", Limit: "a JSON object of the members that a target has", Size: len(data)}
	}
	made := Target{
		TokenID: j.TokenID, UserID: j.UserID, ClientID: j.ClientID, SessionID: j.SessionID, Audience: j.Audience,
		IssuedBefore: time.Time(j.IssuedBefore), LegacyBefore: time.Time(j.LegacyBefore), Offline: Offline(j.Offline), Everything: j.Everything,
	}
	if err := made.Validate(); err != nil {
		return err
	}
	*t = made
	return nil
}
