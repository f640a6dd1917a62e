package management

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net/http"
	"slices"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
)

// StaticTokens are bearer tokens that are fixed when a process starts: for trials and for tests. It keeps only their digests,
// and compares in constant time.
type StaticTokens struct{ entries []staticToken }

type staticToken struct {
	digest [sha256.Size]byte
	caller Caller
}

// MinStaticToken is the shortest static token, in bytes: a shorter one could be guessed.
const MinStaticToken = 16

// NewStaticTokens returns the authorizer that lets in the given callers, each by its token: [MinStaticToken]..[MaxBearer]
// bytes. Any other token is a [tokenstore.FieldError], and so is an actor that no revocation could note.
func NewStaticTokens(tokens map[string]Caller) (*StaticTokens, error) {
	s := &StaticTokens{}
	for _, token := range slices.Sorted(maps.Keys(tokens)) { // so that of several errors it is always the same one
		caller := tokens[token]
		if len(token) < MinStaticToken || len(token) > MaxBearer {
			return nil, &tokenstore.FieldError{Field: "static_token", Limit: "16..16384 bytes", Size: len(token)}
		}
		if err := domain.CheckActor(caller.Actor); err != nil {
			return nil, err
		}
		caller.Scopes = slices.Clone(caller.Scopes)
		s.entries = append(s.entries, staticToken{sha256.Sum256([]byte(token)), caller})
	}
	return s, nil
}

// Authorize returns the caller that the bearer token of the request stands for.
func (s *StaticTokens) Authorize(r *http.Request) (Caller, error) {
	token, err := Bearer(r)
	if err != nil {
		return Caller{}, err
	}
	digest := sha256.Sum256([]byte(token))
	found := -1
	for i := range s.entries {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], s.entries[i].digest[:]), i, found)
	}
	if found < 0 {
		return Caller{}, ErrBadCredentials
	}
	caller := s.entries[found].caller
	caller.Scopes = slices.Clone(caller.Scopes)
	return caller, nil
}
