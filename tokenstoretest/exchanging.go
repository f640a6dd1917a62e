package tokenstoretest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// outcome is what an exchange must end with.
type outcome uint8

const (
	succeeds  outcome = iota // with a new secret, or that of a static token again
	retries                  // with the successor that was handed out before
	replays                  // refused, and the token is revoked
	limited                  // refused, and nothing is revoked
	revoked                  // refused, as revoked or, once swept, as unknown
	keyless                  // refused, for want of the key, or, once removed, as unknown
	expired                  // refused, as expired or, once removed, as unknown
	otherwise                // refused as unknown
)

// expect says what an exchange of the secret of a generation by the right client must end with.
func (m *machine) expect(w *tenant, l *life, generation int) outcome {
	now := m.clock.now()
	switch {
	case l.gone:
		return otherwise
	case m.keyless(l):
		return keyless
	case w.model.covered(l):
		return revoked
	case l.expiredAt(now):
		return expired
	case generation == l.generation():
		return succeeds
	case l.weak && l.isForeign(generation):
		return replays
	case generation+1 < l.generation() || l.used || m.options.Leeway <= 0 || now.Sub(l.rotated) >= m.options.Leeway:
		return replays
	case m.options.RetryLimit > 0 && l.retries >= m.options.RetryLimit:
		return limited
	}
	return retries
}

// exchange presents the current secret of a token.
func (m *machine) exchange(t *rapid.T) {
	w := m.tenant(t)
	l := w.drawSecret(t, 0)
	m.present(t, w, l, l.generation())
}

// retry presents the parent of the current secret, mostly right after the exchange that made it outdated.
func (m *machine) retry(t *rapid.T) {
	w := m.tenant(t)
	l := w.drawSecret(t, 0)
	if rapid.Bool().Draw(t, "rotateFirst") {
		m.present(t, w, l, l.generation())
	}
	if l.generation() < 1 {
		return
	}
	for range pick(t, "retries", 1, 1, 2, 3) {
		if m.config.draws("fault") && chance(t, "unknown", 4) {
			m.faults.arm(0, 1, unknownDone)
		}
		m.present(t, w, l, l.generation()-1)
	}
}

// outdated presents any secret that the token ever had.
func (m *machine) outdated(t *rapid.T) {
	w := m.tenant(t)
	l := w.drawSecret(t, 1)
	m.present(t, w, l, rapid.IntRange(0, l.generation()).Draw(t, "generation"))
}

// use presents the secret of a token that does not rotate several times, so far apart that a use just has to be noted, or
// just has not.
func (m *machine) use(t *rapid.T) {
	w := m.tenant(t)
	l := drawGrant(t)
	if rapid.Bool().Draw(t, "new") {
		m.grant(t, w, l)
	} else {
		l = w.drawSecret(t, 0)
	}
	if len(l.secrets) == 0 || l.rotating {
		return
	}
	for range rapid.IntRange(2, 4).Draw(t, "uses") {
		m.present(t, w, l, l.generation())
		const instant = time.Millisecond // as fine as the JSON of an import
		every, tenth := m.options.LastUsedEvery, l.idle/10
		m.clock.step(pick(t, "apart", 0, -instant, every, every-instant, tenth, tenth-instant))
		if chance(t, "otherPolicy", 4) {
			m.changePolicy(t)
		}
	}
}

// present exchanges a secret, compares the outcome with what must be, and takes it in.
func (m *machine) present(t *rapid.T, w *tenant, l *life, generation int) {
	l = w.owner(l, generation)
	want := m.expect(w, l, generation)
	request := tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(l.secrets[generation]), ClientID: l.client, Confirmation: l.key}
	request.Device = exchangedFrom(drawDevice(t))
	if l.key == (tokenstore.Confirmation{}) {
		request.Confirmation = pick(t, "proved", keys...) // what the sender proves is nothing to a token that is not bound
	}
	if chance(t, "expiresBy", 6) {
		request.ExpiresBy = m.clock.now().Add(pick(t, "by", time.Minute, time.Hour, 3*absolute))
	}
	becomes := m.change(w, l, request.ExpiresBy)
	becomes.device = request.Device
	if want != succeeds || m.options.Leeway <= 0 || l.weak && l.isForeign(generation) {
		m.faults.atMost(attempts - 1) // the client's own repetition would be another use
	}
	failed := m.faults.failed()
	got, err := w.Exchange(m.ctx, request)
	if want == succeeds && got.Retried && m.faults.failed() == failed {
		fail(t, "a first exchange is no retry", "%s generation %d", l.id, generation)
	}
	m.checkExchanged(t, w, l, generation, want, becomes, got, err)
}

func (m *machine) checkExchanged(t *rapid.T, w *tenant, l *life, generation int, want outcome, becomes change, got tokenstore.Exchanged, err error) {
	ok := false
	switch want {
	case succeeds:
		if err != nil {
			fail(t, "S2 exact: the current secret of a live token must be exchanged", "%s generation %d: %v", l.id, generation, err)
		}
		m.rotate(t, w, l, becomes, got)
		return
	case retries:
		if err != nil {
			fail(t, "a retry within the leeway must succeed", "%s generation %d: %v", l.id, generation, err)
		}
		if got.Secret.Reveal() != l.secrets[generation+1] || !got.Retried {
			fail(t, "S7 single use: a retry must receive the same successor", "%s generation %d", l.id, generation)
		}
		if m.options.RetryLimit > 0 {
			l.retries++
		}
		return
	case replays:
		if ok = errors.Is(err, tokenstore.ErrReused); ok {
			m.reuse(t, w, l)
		}
	case limited:
		ok = errors.Is(err, tokenstore.ErrRetryLimit)
	case revoked:
		l.refused = l.refused || errors.Is(err, tokenstore.ErrRevoked)
		ok = errors.Is(err, tokenstore.ErrRevoked) || errors.Is(err, tokenstore.ErrUnknownToken)
	case keyless:
		ok = errors.Is(err, tokenstore.ErrKeyMissing) ||
			(w.model.covered(l) || l.expiredAt(m.clock.now())) && errors.Is(err, tokenstore.ErrUnknownToken)
	case expired:
		cause := tokenstore.ErrIdleExpired
		if reached(l.expires, m.clock.now()) {
			cause = tokenstore.ErrExpired
		}
		ok = errors.Is(err, cause) || errors.Is(err, tokenstore.ErrUnknownToken)
	case otherwise:
		ok = errors.Is(err, tokenstore.ErrUnknownToken)
	}
	switch {
	case ok:
	case want == revoked && err == nil:
		fail(t, "S1 fence: a revoked token must not be exchanged", "%s generation %d", l.id, generation)
	case want == otherwise && err == nil:
		fail(t, "S4 no resurrection: a token that was removed must not be exchanged", "%s generation %d", l.id, generation)
	case want == expired && err == nil:
		fail(t, "an expired token must not be exchanged", "%s generation %d", l.id, generation)
	case err == nil:
		fail(t, "S7 single use: an outdated secret must not be exchanged", "%s generation %d, want %d", l.id, generation, want)
	default:
		fail(t, "an exchange must be refused for the right cause", "%s generation %d: %v, want %d", l.id, generation, err, want)
	}
}

// rotate takes in an exchange that succeeded.
func (m *machine) rotate(t *rapid.T, w *tenant, l *life, becomes change, got tokenstore.Exchanged) {
	now := m.clock.now()
	secret := got.Secret.Reveal()
	if becomes.terms.rotating || m.reseals(l) {
		l.pepper = m.options.Pepper.Current()
	}
	l.rotating, l.idle, l.expires = becomes.terms.rotating, becomes.terms.idle, becomes.terms.expires
	if !becomes.unnoted {
		l.exchanged, l.idleExpires = now, time.Time{}
		l.device = m.kept(seen(l.device, becomes.device))
		if l.idle > 0 {
			l.idleExpires = now.Add(l.idle)
		}
	}
	if l.rotating {
		for _, old := range l.secrets {
			if old == secret {
				fail(t, "S7 single use: a rotation must hand out a new secret", "%s", l.id)
			}
		}
		l.secrets = append(l.secrets, secret)
		l.rotated, l.retries, l.used = now, 0, false
		if got.Retried && m.options.RetryLimit > 0 { // the answer to the first was lost
			l.retries = 1
		}
	} else {
		if secret != l.current() {
			fail(t, "a static token must keep its secret", "%s", l.id)
		}
		l.used = true
	}
	m.checkRecord(t, l, &got.Token)
	if len(becomes.siblings) > 0 {
		m.takeOwn(t, w, becomes.siblings, tokenstore.ReasonRotation)
	}
}

// reuse takes in the revocation that a replay caused.
func (m *machine) reuse(t *rapid.T, w *tenant, l *life) {
	l.refused = true
	targets := []tokenstore.Target{{TokenID: l.id}}
	switch {
	case m.options.Replay == tokenstore.ReplayUser:
		targets = []tokenstore.Target{{UserID: l.user}}
	case m.options.Replay == tokenstore.ReplaySession && l.session != "":
		targets = append(targets, tokenstore.Target{SessionID: l.session})
	}
	m.takeOwn(t, w, targets, tokenstore.ReasonReuse)
}

// misuse presents a secret by the wrong client, at the wrong tenant, or one that is not genuine. Nothing must come of it,
// which the checks after the step see.
func (m *machine) misuse(t *rapid.T) {
	i := pick(t, "tenant", 0, 0, 1)
	w, other := m.tenants[i], m.tenants[1-i]
	l := w.drawSecret(t, 0)
	generation := rapid.IntRange(0, l.generation()).Draw(t, "generation")
	secret, client := l.secrets[generation], l.client
	switch pick(t, "misuse", "client", "key", "key", "tenant", "forged", "mistyped") {
	case "key": // not even replay: a thief without the key must not be able to have the token revoked
		if l.key == (tokenstore.Confirmation{}) {
			return
		}
		wrong := pick(t, "wrong", tokenstore.Confirmation{},
			tokenstore.Confirmation{Kind: l.key.Kind, Value: "of a thief"}, tokenstore.Confirmation{Kind: "another", Value: l.key.Value})
		_, err := w.Exchange(m.ctx, tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(secret), ClientID: client, Confirmation: wrong})
		if !errors.Is(err, tokenstore.ErrConfirmation) && !refusedAsSuch(err) {
			fail(t, "a sender without the key must be refused", "%s: %v", l.id, err)
		}
		return
	case "client":
		client = "another"
		_, err := w.Exchange(m.ctx, tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(secret), ClientID: client, Confirmation: l.key})
		if !errors.Is(err, tokenstore.ErrWrongClient) && !refusedAsSuch(err) {
			fail(t, "the wrong client must be refused", "%s: %v", l.id, err)
		}
		return
	case "tenant":
		w = other
		if l.isForeign(generation) && w.model.holder(l.opaque) != nil { // there it is another token's
			return
		}
	case "forged": // the right form and the right id, but nothing that was ever handed out
		forged, err := domain.NewCredential(l.id, m.options.Rand)
		if err != nil {
			fail(t, "a credential must be drawn", "%v", err)
		}
		secret = forged.Secret().Reveal()
	case "mistyped":
		secret = secret[:len(secret)-1] + "!"
	}
	_, err := w.Exchange(m.ctx, tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(secret), ClientID: client})
	if !errors.Is(err, tokenstore.ErrMalformed) && !refusedAsSuch(err) {
		fail(t, "S6 isolated: a secret that is not this tenant's must be refused", "%s: %v", l.id, err)
	}
}

// refusedAsSuch reports whether a secret was not told from one that nobody has, or could not be for want of the key.
func refusedAsSuch(err error) bool {
	return errors.Is(err, tokenstore.ErrUnknownToken) || errors.Is(err, tokenstore.ErrKeyMissing)
}

// race exchanges one secret several times at once, perhaps while the token is revoked.
func (m *machine) race(t *rapid.T) {
	w := m.tenant(t)
	l := w.drawSecret(t, 0)
	generation := l.generation()
	if m.expect(w, l, generation) != succeeds {
		t.Skip("nothing to race for")
	}
	m.faults.disarm()
	n := rapid.IntRange(2, 4).Draw(t, "exchanges")
	withRevoke := chance(t, "revoke", 3)
	request := tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(l.current()), ClientID: l.client, Confirmation: l.key}
	var group sync.WaitGroup
	becomes := m.change(w, l, time.Time{})
	outcomes := make([]tokenstore.Exchanged, n)
	errs := make([]error, n)
	for i := range n {
		group.Go(func() { outcomes[i], errs[i] = w.Exchange(m.ctx, request) })
	}
	// Its id is drawn here, so that the order in which randomness is asked for changes nothing that lasts.
	id, err := ulid.New(ulid.Timestamp(m.clock.now()), m.options.Rand)
	if err != nil {
		fail(t, "an id must be drawn", "%v", err)
	}
	var receipt tokenstore.Receipt
	var revokeErr error
	targets := []tokenstore.Target{{UserID: l.user, ClientID: l.client}}
	at := m.clock.now()
	if withRevoke {
		group.Go(func() { receipt, revokeErr = w.Revoke(m.ctx, tokenstore.RevokeRequest{ID: id, Targets: targets}) })
	}
	group.Wait()

	m.takeRace(t, w, l, becomes, outcomes, errs, withRevoke)
	if withRevoke {
		if revokeErr != nil {
			fail(t, "a revocation that is within the limits must succeed", "%v", revokeErr)
		}
		m.takeReceipt(t, w, receipt, targets, at)
	}
}

// takeRace takes in the outcomes of exchanges of one current secret at one instant, in any order.
func (m *machine) takeRace(t *rapid.T, w *tenant, l *life, becomes change, outcomes []tokenstore.Exchanged, errs []error, withRevoke bool) {
	var first *tokenstore.Exchanged
	reused, refused, again := false, false, 0
	for i, err := range errs {
		switch {
		case err == nil && first == nil:
			first = &outcomes[i]
		case err == nil:
			again++
			if outcomes[i].Secret.Reveal() != first.Secret.Reveal() {
				fail(t, "S7 single use: all exchanges of one secret must receive the same successor", "%s", l.id)
			}
		case errors.Is(err, tokenstore.ErrReused):
			reused = true
		case errors.Is(err, tokenstore.ErrRevoked), errors.Is(err, tokenstore.ErrRetryLimit):
			refused = true
		default:
			fail(t, "an exchange must be refused for the right cause", "%s: %v", l.id, err)
		}
	}
	rotates := becomes.terms.rotating
	noLeeway, limit := m.options.Leeway <= 0 || l.weak && l.isForeign(l.generation()), int(m.options.RetryLimit)
	switch {
	case first == nil && !withRevoke:
		fail(t, "S7 single use: one of several exchanges of a live secret must succeed", "%s: %v", l.id, errs)
	case rotates && (noLeeway && again > 0 || limit > 0 && again > limit):
		fail(t, "a retry outside leeway and limit must be refused", "%s: %v", l.id, errs)
	case (reused || refused) && !withRevoke && (!rotates || !noLeeway && limit == 0) || reused && !noLeeway:
		fail(t, "a retry within the leeway must succeed", "%s: %v", l.id, errs)
	}
	if first != nil {
		m.rotate(t, w, l, becomes, *first)
		if limit > 0 && rotates {
			l.retries = uint32(again)
		}
	}
	if reused {
		m.reuse(t, w, l)
	}
}

func (w *tenant) hasSecrets() bool {
	return slices.ContainsFunc(w.model.lives, func(l *life) bool { return len(l.secrets) > 0 })
}

// drawSecret draws a token that had a secret, and has been rotated so many times.
func (w *tenant) drawSecret(t *rapid.T, rotations int) *life {
	var some []*life
	for _, l := range w.model.lives {
		if len(l.secrets) > rotations {
			some = append(some, l)
		}
	}
	if len(some) == 0 {
		t.Skip("no secret yet")
	}
	return rapid.SampledFrom(some).Draw(t, "token")
}
