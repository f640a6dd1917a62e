package domain

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"
)

// ResourceServer is an API that a token was granted for: its audience, and the granted scopes as RFC 6749 §3.3 writes
// them, separated by single spaces.
type ResourceServer struct {
	Audience string `json:"audience"`
	Scopes   string `json:"scopes"`
}

// ResourceServers is an immutable list of resource servers. The zero value is an empty one.
type ResourceServers struct{ list []ResourceServer }

// NewResourceServers checks and copies the list: at most [MaxResourceServers], audiences of 1..[MaxAudience] characters,
// scopes of up to [MaxScopes]. It returns a [FieldError] otherwise.
func NewResourceServers(list ...ResourceServer) (ResourceServers, error) {
	if len(list) > MaxResourceServers {
		return ResourceServers{}, &FieldError{Field: "resource_servers", Limit: "0..50 entries", Size: len(list)}
	}
	for _, rs := range list {
		err := checkAll(CheckAudience(rs.Audience), checkText("scopes", rs.Scopes, 0, MaxScopes))
		if err != nil {
			return ResourceServers{}, err
		}
	}
	if len(list) == 0 {
		return ResourceServers{}, nil
	}
	return ResourceServers{list: slices.Clone(list)}, nil
}

// Len returns the number of resource servers.
func (r ResourceServers) Len() int { return len(r.list) }

// All walks the resource servers in their order.
func (r ResourceServers) All() iter.Seq[ResourceServer] { return slices.Values(r.list) }

// Audiences returns the audiences, once each, in their order.
func (r ResourceServers) Audiences() []string {
	all := make([]string, len(r.list))
	for i, rs := range r.list {
		all[i] = rs.Audience
	}
	return distinct(all)
}

// Scopes returns the scopes of all resource servers, once each, in their order.
func (r ResourceServers) Scopes() []string {
	var all []string
	for _, rs := range r.list {
		all = slices.AppendSeq(all, strings.FieldsSeq(rs.Scopes))
	}
	return distinct(all)
}

// distinct keeps each text once, where it came first.
func distinct(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(text string) bool {
		again := seen[text]
		seen[text] = true
		return again
	})
}

// HasAudience reports whether any resource server has the audience.
func (r ResourceServers) HasAudience(audience string) bool {
	for i := range r.list {
		if r.list[i].Audience == audience {
			return true
		}
	}
	return false
}

// MarshalJSON writes an array of objects.
func (r ResourceServers) MarshalJSON() ([]byte, error) {
	if len(r.list) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal(r.list)
}

// UnmarshalJSON reads an array of objects, or null for none.
func (r *ResourceServers) UnmarshalJSON(data []byte) error {
	var list []ResourceServer
	if err := json.Unmarshal(data, &list); err != nil {
		return &FieldError{Field: "resource_servers", Limit: "an array of {audience, scopes}", Size: len(data)}
	}
	rs, err := NewResourceServers(list...)
	if err != nil {
		return err
	}
	*r = rs
	return nil
}

// Metadata is an immutable set of up to [MaxMetadata] entries that a host keeps with a token. It is not for secrets. The
// zero value is an empty one.
type Metadata struct{ entries []metadataEntry } // sorted by key

type metadataEntry struct{ key, value string }

// NewMetadata checks and copies the entries: at most [MaxMetadata], keys of 1..[MaxMetadataText] characters out of
// A-Z, a-z, 0-9, _ and -, values of up to [MaxMetadataText] characters. It returns a [FieldError] otherwise.
func NewMetadata(entries map[string]string) (Metadata, error) {
	const field = "refresh_token_metadata"
	if len(entries) > MaxMetadata {
		return Metadata{}, &FieldError{Field: field, Limit: "0..25 entries", Size: len(entries)}
	}
	var m Metadata
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		value := entries[key]
		if len(key) < 1 || len(key) > MaxMetadataText || strings.ContainsFunc(key, notMetadataKey) {
			return Metadata{}, &FieldError{Field: field, Limit: "of keys of 1..255 characters out of A-Z a-z 0-9 _ -", Size: len(key)}
		}
		if err := checkText(field, value, 0, MaxMetadataText); err != nil {
			return Metadata{}, err
		}
		m.entries = append(m.entries, metadataEntry{key, value})
	}
	return m, nil
}

func notMetadataKey(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
}

// Len returns the number of entries.
func (m Metadata) Len() int { return len(m.entries) }

// All walks the entries in the order of their keys.
func (m Metadata) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, e := range m.entries {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Get returns the value of a key, and whether there is one.
func (m Metadata) Get(key string) (string, bool) {
	for _, e := range m.entries {
		if e.key == key {
			return e.value, true
		}
	}
	return "", false
}

// MarshalJSON writes an object, or null for no entries.
func (m Metadata) MarshalJSON() ([]byte, error) {
	if len(m.entries) == 0 {
		return []byte("null"), nil
	}
	object := make(map[string]string, len(m.entries))
	for key, value := range m.All() {
		object[key] = value
	}
	return json.Marshal(object)
}

// UnmarshalJSON reads an object of strings, or null for no entries.
func (m *Metadata) UnmarshalJSON(data []byte) error {
	var object map[string]*string
	wrong := &FieldError{Field: "refresh_token_metadata", Limit: "null or an object of strings", Size: len(data)}
	if err := json.Unmarshal(data, &object); err != nil {
		return wrong
	}
	entries := make(map[string]string, len(object))
	for key, value := range object {
		if value == nil {
			return wrong
		}
		entries[key] = *value
	}
	made, err := NewMetadata(entries)
	if err != nil {
		return err
	}
	*m = made
	return nil
}
