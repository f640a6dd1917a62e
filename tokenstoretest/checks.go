package tokenstoretest

import (
	"errors"
	"maps"
	"slices"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// check compares all that can be seen of a tenant with its model. It runs after every step.
func (m *machine) check(t *rapid.T, w *tenant) {
	m.checkHorizon(t, w)
	m.noteEvents(t, w)
	stored := m.all(t, w, tokenstore.Eventual)
	fenced := m.all(t, w, tokenstore.Fenced)
	known := map[ulid.ULID]*life{}
	for _, l := range w.model.lives {
		known[l.id] = l
	}
	for _, token := range stored {
		switch l := known[token.ID]; {
		case l == nil:
			fail(t, "S6 isolated: a token that was never let in must not be there", "%s: %s", w.name, token.ID)
		case l.gone:
			fail(t, "S4 no resurrection: a token that was removed must not come back", "%s: %s", w.name, token.ID)
		}
	}
	for _, l := range w.model.lives {
		at := index(stored, l.id)
		if known[l.id] != l || l.gone {
			m.checkGone(t, w, l, at >= 0)
			continue
		}
		switch {
		case w.model.covered(l):
			m.checkCovered(t, w, l, at >= 0, index(fenced, l.id) >= 0)
		case at < 0 && l.expiredAt(m.clock.now()): // may be removed, by whatever does
		case at < 0 && m.bubble && l.expiredAt(m.clock.latest): // by an engine that was at it when the clock stepped back
		case at < 0:
			fail(t, "S2 exact: a token that no revocation covers must stay", "%s: %s", w.name, l.id)
		default:
			if index(fenced, l.id) < 0 {
				fail(t, "S2 exact: a fenced list must show what no revocation covers", "%s: %s", w.name, l.id)
			}
			m.checkRecord(t, l, &stored[at])
			m.checkLive(t, w, l)
		}
		l.gone = at < 0
	}
	m.checkCounts(t, w, len(stored))
}

// checkGone sees to it that a token that was removed is not known. The id may have another life.
func (m *machine) checkGone(t *rapid.T, w *tenant, l *life, reborn bool) {
	if _, err := w.Get(m.ctx, l.id, tokenstore.Eventual); !reborn && !errors.Is(err, tokenstore.ErrNotFound) {
		fail(t, "S4 no resurrection: a token that was removed must not come back", "Get %s: %v", l.id, err)
	}
	if w.owner(l, l.generation()) != l { // the secret has come back with another token
		return
	}
	if cause := m.introspect(t, w, l.current()); l.current() != "" && cause == "" {
		fail(t, "S4 no resurrection: the secret of a token that was removed must not work again", "%s", l.id)
	}
}

// checkCovered sees to it that a revoked token is refused everywhere, whether it has been swept or not.
func (m *machine) checkCovered(t *rapid.T, w *tenant, l *life, stored, listed bool) {
	promise := "S1 fence: a revoked token must not be live"
	if l.refused {
		promise = "S3 monotone: a token that was refused as revoked must not be live again"
	}
	if listed {
		fail(t, promise, "fenced list of %s: %s", w.name, l.id)
	}
	if l.current() != "" {
		switch cause := m.introspect(t, w, l.current()); cause {
		case "":
			fail(t, promise, "Introspect %s: active, revoked by %#v", l.id, w.model.coveredBy(l))
		case tokenstore.ErrRevoked:
			l.refused = true
		case tokenstore.ErrKeyMissing:
			if !m.keyless(l) {
				fail(t, "a key that is there must be used", "Introspect %s: %v", l.id, cause)
			}
		case tokenstore.ErrUnknownToken:
			if stored {
				fail(t, "a stored token must be known", "Introspect %s: %v", l.id, cause)
			}
		default:
			fail(t, "a token must be inactive for the right cause", "Introspect %s: %v", l.id, cause)
		}
	}
	if _, err := w.Get(m.ctx, l.id, tokenstore.Fenced); !errors.Is(err, tokenstore.ErrNotFound) {
		fail(t, promise, "fenced Get %s: %v", l.id, err)
	}
	_, err := w.UpdateMetadata(m.ctx, l.id, metadata("stolen"))
	switch {
	case errors.Is(err, tokenstore.ErrRevoked):
		l.refused = true
	case err == nil:
		fail(t, promise, "UpdateMetadata %s succeeded", l.id)
	case !errors.Is(err, tokenstore.ErrNotFound):
		fail(t, "an update of a revoked token must be refused for the right cause", "UpdateMetadata %s: %v", l.id, err)
	}
}

// checkLive sees to it that a token that is not covered shows all that it should.
func (m *machine) checkLive(t *rapid.T, w *tenant, l *life) {
	token, err := w.Get(m.ctx, l.id, tokenstore.Fenced)
	if err != nil {
		fail(t, "S2 exact: a token that no revocation covers must stay", "fenced Get %s: %v", l.id, err)
	}
	m.checkRecord(t, l, &token)
	if l.current() == "" {
		return
	}
	now := m.clock.now()
	cause := m.introspect(t, w, l.current())
	if m.keyless(l) {
		if cause != tokenstore.ErrKeyMissing {
			fail(t, "without its key a token must be inactive for that cause", "%s: %v", l.id, cause)
		}
		return
	}
	switch {
	case cause == tokenstore.ErrExpired && reached(l.expires, now):
	case cause == tokenstore.ErrIdleExpired && reached(l.idleExpires, now):
	case cause == "" && !l.expiredAt(now):
	case cause == "":
		fail(t, "an expired token must be inactive", "%s", l.id)
	default:
		fail(t, "S2 exact: the current secret of a live token must be active", "%s: %v", l.id, cause)
	}
	if g := l.generation(); g > 0 {
		if cause := m.introspect(t, w, l.secrets[g-1]); cause != tokenstore.ErrReused {
			fail(t, "an outdated secret must be inactive", "%s: %v", l.id, cause)
		}
		known, err := w.Recognise(m.ctx, tokenstore.NewSecret(l.secrets[g-1]))
		if err != nil || known.Active || known.Token.ID != l.id {
			fail(t, "an outdated secret must be recognised as its token's, and be inactive", "%s: %+v, %v", l.id, known, err)
		}
	}
}

// introspect returns why a secret is not active, or "" if it is.
func (m *machine) introspect(t *rapid.T, w *tenant, secret string) tokenstore.Refusal {
	got, err := w.Introspect(m.ctx, tokenstore.NewSecret(secret))
	if err != nil || got.Active != (got.Cause == "") {
		fail(t, "Introspect must say yes or no", "%+v, %v", got, err)
	}
	return got.Cause
}

// checkRecord compares a record with the model.
func (m *machine) checkRecord(t *rapid.T, l *life, got *tokenstore.RefreshToken) {
	same := got.ID == l.id && got.ForeignID == l.foreign && got.UserID == l.user && got.ClientID == l.client &&
		got.SessionID == sessionID(l.session) && got.CreatedAt.Equal(l.created) && got.Offline == l.offline &&
		got.Confirmation == l.key && got.PepperKeyID == l.pepper && got.ForeignDigest == l.foreignDigest() && got.ForeignWeak == l.weak &&
		got.Rotating == l.rotating && got.ExpiresAt.Equal(l.expires) && got.IdleExpiresAt.Equal(l.idleExpires) &&
		got.LastExchangedAt.Equal(l.exchanged) && int(got.Generation) == l.generation() && got.Sequence == l.sequence &&
		got.Device == l.device && got.AuthenticatedAt.Equal(l.authenticated)
	var heard []string
	for rs := range got.ResourceServers.All() {
		heard = append(heard, rs.Audience)
	}
	if !same || !slices.Equal(heard, l.audiences) || !maps.Equal(maps.Collect(got.Metadata.All()), metadata(l.metadata)) {
		fail(t, "S2 exact: a record must be what its own operations made of it", "got %+v\nwant %+v", got, l)
	}
}

// checkHorizon sees to it that nothing has been forgotten but what a trim was allowed to.
func (m *machine) checkHorizon(t *rapid.T, w *tenant) {
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	var most domain.Horizon
	for _, r := range slices.Concat(w.model.revocations, w.model.evictions) {
		if r.forgettable {
			most.Sequence = max(most.Sequence, r.watermark)
			if r.through.After(most.Time) {
				most.Time = r.through
			}
		}
	}
	if h := state.Horizon; h.Sequence > most.Sequence || h.Time.After(most.Time) {
		fail(t, "S4 no resurrection: what is not old enough must be remembered", "horizon %+v, at most %+v", h, most)
	}
	if h := state.Horizon; h.Sequence < w.model.horizon.Sequence || h.Time.Before(w.model.horizon.Time) {
		fail(t, "S4 no resurrection: what has been forgotten stays forgotten", "horizon %+v, was %+v", h, w.model.horizon)
	}
	w.model.horizon = state.Horizon
}

// checkCounts compares what the tenant says of itself with what it shows.
func (m *machine) checkCounts(t *rapid.T, w *tenant, stored int) {
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	pending := w.pending(t, m)
	if state.Tokens != stored || state.Pending != len(pending) {
		fail(t, "State must count what is there", "%+v, listed %d tokens and %d pending", state, stored, len(pending))
	}
	for _, id := range pending {
		if !slices.ContainsFunc(w.model.revocations, func(r *acknowledged) bool { return r.id == id || r.id.IsZero() }) {
			fail(t, "S6 isolated: a revocation must stay in its tenant", "%s: %s", w.name, id)
		}
	}
	names, err := m.backend.Pending(m.ctx, "", 10)
	if err != nil || slices.Contains(names, w.name) != (len(pending) > 0) {
		fail(t, "L1 converge: a tenant with pending revocations must be named", "%v, %v; %s has %d", names, err, w.name, len(pending))
	}
}

// all lists all tokens of the tenant, in pages whose size varies from call to call.
func (m *machine) all(t *rapid.T, w *tenant, c tokenstore.Consistency) []tokenstore.RefreshToken {
	w.pages++
	return m.listed(t, w, tokenstore.ListRequest{Consistency: c, Limit: 1 + w.pages%7})
}

// listed walks a list and returns what it shows.
func (m *machine) listed(t *rapid.T, w *tenant, r tokenstore.ListRequest) []tokenstore.RefreshToken {
	var all []tokenstore.RefreshToken
	for token, err := range w.All(m.ctx, r) {
		if err != nil {
			fail(t, "a list must be read to its end", "%v", err)
		}
		if n := len(all); n > 0 && all[n-1].ID.Compare(token.ID) >= 0 {
			fail(t, "a list must be in ascending order", "%s after %s", token.ID, all[n-1].ID)
		}
		all = append(all, token)
	}
	return all
}

// index returns where in an ascending list a token is, or -1.
func index(tokens []tokenstore.RefreshToken, id ulid.ULID) int {
	at, found := slices.BinarySearchFunc(tokens, id, func(token tokenstore.RefreshToken, id ulid.ULID) int { return token.ID.Compare(id) })
	if !found {
		return -1
	}
	return at
}

// list compares a narrowed list with the model.
func (m *machine) list(t *rapid.T) {
	w := m.tenant(t)
	r := tokenstore.ListRequest{Limit: rapid.IntRange(1, 4).Draw(t, "limit"), Consistency: tokenstore.Fenced}
	r.SessionID = pick(t, "session", "", sessions[0], sessions[1])
	r.UserID = pick(t, "user", "", users[0], users[1])
	if r.UserID != "" || r.SessionID != "" {
		r.ClientID = pick(t, "client", "", clients[0])
	}
	got := m.listed(t, w, r)
	for _, l := range w.model.lives {
		if l.gone || l.expiredAt(m.clock.now()) {
			continue
		}
		named := r == tokenstore.ListRequest{Limit: r.Limit, Consistency: r.Consistency} ||
			names(tokenstore.Target{UserID: r.UserID, ClientID: r.ClientID, SessionID: r.SessionID}, l)
		if want := named && !w.model.covered(l); want != (index(got, l.id) >= 0) {
			fail(t, "S2 exact: a fenced list must show what it asks for and is not revoked", "%+v shows %s: %t", r, l.id, !want)
		}
	}
}
