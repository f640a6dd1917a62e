package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"maps"
	"slices"
)

// Limits of a pepper ring.
const (
	MaxPepperKeys = 16  // MaxPepperKeys is the largest number of keys of a ring.
	MinPepperKey  = 16  // MinPepperKey is the shortest key, in bytes.
	MaxPepperKey  = 256 // MaxPepperKey is the longest key, in bytes.
)

// PepperRing holds the keys under which digests are made, each by its id, so that who reads the database alone can't try
// secrets against it. The current key is for what is written from now on, the others for what was written before. It is
// immutable and shows as little of itself as a [Secret]. A nil ring has no key: digests are made without one.
type PepperRing struct {
	hidden
	current string
	keys    map[string]*pepperKey
}

// pepperKey is behind a pointer wherever it is, so that what prints a struct by reflection finds an address. Nil is no key.
type pepperKey string

// NewPepperRing copies the keys, 1..[MaxPepperKeys] of [MinPepperKey]..[MaxPepperKey] bytes, which should be drawn at random. Ids
// have 1..[MaxPepperKeyID] characters and name a key for good: they are stored with the tokens. current is the id of one of
// the keys, or empty, to make digests without a key from now on. It returns a [FieldError] otherwise.
func NewPepperRing(current string, keys map[string][]byte) (*PepperRing, error) {
	if n := len(keys); n < 1 || n > MaxPepperKeys {
		return nil, &FieldError{Field: "pepper_keys", Limit: "1..16 keys", Size: n}
	}
	r := &PepperRing{current: current, keys: make(map[string]*pepperKey, len(keys))}
	for _, id := range slices.Sorted(maps.Keys(keys)) { // so that of several errors it is always the same one
		key := keys[id]
		if err := checkText("pepper_key_id", id, 1, MaxPepperKeyID); err != nil {
			return nil, err
		}
		if n := len(key); n < MinPepperKey || n > MaxPepperKey {
			return nil, &FieldError{Field: "pepper_key", Limit: "16..256 bytes", Size: n}
		}
		kept := pepperKey(key)
		r.keys[id] = &kept
	}
	if !r.Holds(current) {
		return nil, &FieldError{Field: "pepper_current", Limit: "the id of a key of the ring, or empty", Size: len(current)}
	}
	return r, nil
}

// Current returns the id of the key for what is written from now on, or an empty one for none.
func (r *PepperRing) Current() string {
	if r == nil {
		return ""
	}
	return r.current
}

// Holds reports whether digests that were made under the key of the id can be checked. It holds the empty id, which stands
// for no key.
func (r *PepperRing) Holds(id string) bool {
	_, ok := r.key(id)
	return ok
}

// IDs returns the ids of all keys, ascending.
func (r *PepperRing) IDs() []string {
	if r == nil {
		return nil
	}
	ids := make([]string, 0, len(r.keys))
	for id := range r.keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (r *PepperRing) key(id string) (*pepperKey, bool) {
	if id == "" {
		return nil, true
	}
	if r == nil {
		return nil, false
	}
	key, ok := r.keys[id]
	return key, ok
}

// Seal gives the token the digests of the credential, made under the current key.
func (r *PepperRing) Seal(token *RefreshToken, c Credential) {
	token.PepperKeyID = r.Current()
	key, _ := r.key(token.PepperKeyID)
	token.FamilyDigest, token.SecretDigest = c.familyDigest(key), c.secretDigest(key)
}

// digest is a keyed hash. What it is of begins with a byte or a label that no other use of the key begins with. It takes a
// string so that what stands on the caller's stack stays there.
func (k *pepperKey) digest(of string) (d Digest) {
	mac := hmac.New(sha256.New, []byte(*k))
	mac.Write([]byte(of))
	mac.Sum(d[:0])
	return d
}
