package tokenstoretest

import (
	"errors"

	"example.com/tokenstore"
	"pgregory.net/rapid"
)

var revokeSecretOperation = operation{"revokeSecret", 1, (*machine).revokeSecret}

// revokeSecret has a client give up any secret that a token ever had; sometimes it is not that client's.
func (m *machine) revokeSecret(t *rapid.T) {
	w := m.tenant(t)
	l := w.drawSecret(t, 0)
	generation := rapid.IntRange(0, l.generation()).Draw(t, "generation")
	secret := tokenstore.NewSecret(l.secrets[generation])
	l = w.owner(l, generation)
	client, wrong := l.client, chance(t, "wrongClient", 4)
	if wrong {
		client = "another"
	}
	covered, keyless := w.model.covered(l), m.keyless(l)
	mayBeGone := l.gone || covered || l.expiredAt(m.clock.now()) || l.expiredAt(m.clock.latest)
	targets := []tokenstore.Target{{TokenID: l.id}}
	at, failed := m.clock.now(), m.faults.failed()
	got, err := w.RevokeSecret(m.ctx, client, secret)
	t.Logf("%s: revoke a secret of %s: %q, %v", w.name, l.id, got.Cause, err)
	ok := false
	switch {
	case err != nil:
		ok = keyless && !wrong && errors.Is(err, tokenstore.ErrKeyMissing)
	case got.Cause == tokenstore.ErrUnknownToken:
		ok = mayBeGone
	case got.Cause == tokenstore.ErrWrongClient:
		ok = wrong && !l.gone
	case got.Cause == tokenstore.ErrRevoked && !covered: // by an earlier attempt, of unknown outcome
		if ok = !wrong && !keyless && m.faults.failed() > failed; ok {
			m.takeOwn(t, w, targets, tokenstore.ReasonClient)
		}
	case got.Cause == tokenstore.ErrRevoked:
		ok = !wrong && !keyless
	case got.Cause == "":
		if ok = !wrong && !keyless && !covered && !l.gone; ok {
			m.takeReceipt(t, w, got.Receipt, targets, at)
		}
	}
	if !ok {
		fail(t, "a client must be able to give up its own token, and no other", "%s generation %d, wrong client %t: %+v, %v", l.id, generation, wrong, got, err)
	}
}
