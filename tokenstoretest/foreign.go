package tokenstoretest

import (
	"bytes"
	"slices"

	"example.com/tokenstore"
	"pgregory.net/rapid"
)

var (
	// opaques are the foreign secrets that imported tokens may come with: few, so that two tokens want the same one, and the
	// same in both tenants.
	opaques = []string{"opaque-1", "opaque-2", "opaque-3"}
	// pepperIDs are the ids of all keys there ever are.
	pepperIDs = []string{"k1", "k2", "k3"}

	pepperOperation = operation{"pepper", 1, (*machine).changePepper}
)

// drawOpaque gives an imported token a foreign secret, mostly.
func (l *life) drawOpaque(t *rapid.T) {
	l.opaque, l.weak = pick(t, "opaque", append([]string{""}, opaques...)...), false
	if l.opaque != "" {
		l.weak = chance(t, "weak", 3)
	}
	l.takeOpaque()
}

// takeOpaque has the foreign secret be the first of the token's secrets.
func (l *life) takeOpaque() {
	l.secrets, l.pepper = nil, ""
	if l.opaque != "" {
		l.secrets = []string{l.opaque}
	}
}

// foreignDigest is what an import brings of the foreign secret.
func (l *life) foreignDigest() tokenstore.Digest {
	if l.opaque == "" {
		return tokenstore.Digest{}
	}
	return tokenstore.DigestForeign(l.opaque)
}

// isForeign reports whether the secret of a generation is the foreign one.
func (l *life) isForeign(generation int) bool { return l.opaque != "" && generation == 0 }

// holder is the stored token with the foreign secret, or nil.
func (m *model) holder(opaque string) *life {
	for _, l := range slices.Backward(m.lives) {
		if !l.gone && l.opaque == opaque && opaque != "" {
			return l
		}
	}
	return nil
}

// owner is whose a secret is that was once a token's: that token's, unless it is a foreign one that another has brought
// since.
func (w *tenant) owner(l *life, generation int) *life {
	if holder := w.model.holder(l.opaque); l.isForeign(generation) && holder != nil {
		return holder
	}
	return l
}

// keyless reports whether the ring lacks the key of the token's digests.
func (m *machine) keyless(l *life) bool { return !m.options.Pepper.Holds(l.pepper) }

// reseals reports whether an exchange of the current secret makes digests under another key.
func (m *machine) reseals(l *life) bool {
	return !l.isForeign(l.generation()) && l.pepper != m.options.Pepper.Current()
}

// changePepper starts the managers anew with another ring: mostly with all keys, sometimes without one that is in use, or
// with none.
func (m *machine) changePepper(t *rapid.T) {
	current := pick(t, "current", append([]string{""}, pepperIDs...)...)
	keys := map[string][]byte{}
	for i, id := range pepperIDs {
		if id == current || !chance(t, "without", 4) {
			keys[id] = bytes.Repeat([]byte{byte(i + 1)}, 32)
		}
	}
	var ring *tokenstore.PepperRing
	if len(keys) > 0 {
		var err error
		if ring, err = tokenstore.NewPepperRing(current, keys); err != nil {
			fail(t, "a ring that is within the limits must be made", "%v", err)
		}
	}
	m.restart(t, func() { m.options.Pepper = ring })
	for _, w := range m.tenants {
		m.checkPepperUse(t, w)
	}
}

// checkPepperUse compares the counts of keys with the tokens that are stored.
func (m *machine) checkPepperUse(t *rapid.T, w *tenant) {
	uses, err := w.PepperUse(m.ctx)
	if err != nil {
		fail(t, "PepperUse must succeed", "%v", err)
	}
	stored := map[string]int{}
	for _, token := range m.all(t, w, tokenstore.Eventual) {
		stored[token.PepperKeyID]++
	}
	for _, use := range uses {
		if use.Tokens != stored[use.KeyID] || use.Missing == m.options.Pepper.Holds(use.KeyID) {
			fail(t, "PepperUse must count the tokens of every key", "%+v, stored %v", uses, stored)
		}
		delete(stored, use.KeyID)
	}
	if len(stored) > 0 {
		fail(t, "PepperUse must count the tokens of every key", "%+v, and not %v", uses, stored)
	}
}
