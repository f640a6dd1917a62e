package domain

import (
	"bytes"
	"encoding/json"
)

// SessionID is the nullable id of the session that created a token. The zero value is null, which is what legacy tokens
// carry (see [LegacyRule]); an id that is there is 1..[MaxSessionID] characters, so null can't be mistaken for an empty
// string. A token keeps its session id after the session has ended. SessionIDs are comparable.
type SessionID struct{ id string }

// NewSessionID returns the session id with the given text. It returns a [FieldError] for an empty or a too long one.
func NewSessionID(id string) (SessionID, error) {
	if err := checkText("session_id", id, 1, MaxSessionID); err != nil {
		return SessionID{}, err
	}
	return SessionID{id: id}, nil
}

// MustSessionID is [NewSessionID] for ids that are known to be good. It panics otherwise.
func MustSessionID(id string) SessionID {
	s, err := NewSessionID(id)
	if err != nil {
		panic(err)
	}
	return s
}

// Get returns the text of the id, and false if the id is null.
func (s SessionID) Get() (string, bool) { return s.id, s.id != "" }

// IsNull reports whether there is no session id.
func (s SessionID) IsNull() bool { return s.id == "" }

// String returns the text of the id, or "null".
func (s SessionID) String() string {
	if s.IsNull() {
		return "null"
	}
	return s.id
}

// MarshalJSON writes null or a string.
func (s SessionID) MarshalJSON() ([]byte, error) {
	if s.IsNull() {
		return []byte("null"), nil
	}
	return json.Marshal(s.id)
}

// UnmarshalJSON reads null or a string of 1..[MaxSessionID] characters.
func (s *SessionID) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		*s = SessionID{}
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return &FieldError{Field: "session_id", Limit: "null or a string", Size: len(data)}
	}
	id, err := NewSessionID(text)
	if err != nil {
		return err
	}
	*s = id
	return nil
}
