package tokenstoretest

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// importTokens imports one to three tokens: new ones, with an id of ours or a foreign one, and such that were let in
// before, whatever became of them.
func (m *machine) importTokens(t *rapid.T) {
	w := m.tenant(t)
	var batch []tokenstore.RefreshToken
	var candidates []*life
	for range rapid.IntRange(1, 3).Draw(t, "tokens") {
		l := m.drawCandidate(t, w)
		candidates = append(candidates, l)
		batch = append(batch, m.resource(t, l))
	}
	stored := make([]*domain.RefreshToken, len(batch))
	ids := make([]ulid.ULID, len(batch))
	for i, l := range candidates {
		if ids[i] = l.id; l.foreign != "" {
			ids[i], _ = domain.ForeignTokenID(w.name, l.foreign, l.created)
		}
		if v, err := w.store.Get(m.ctx, ids[i]); err == nil {
			stored[i] = &v.Token
		} else if !errors.Is(err, store.ErrNotFound) {
			fail(t, "Get must succeed", "%v", err)
		}
	}
	if len(slices.Compact(slices.SortedFunc(slices.Values(ids), ulid.ULID.Compare))) < len(ids) {
		m.faults.disarm() // where an id comes twice, a repetition tells less of what became of each
	}
	failed := m.faults.failed()
	results, err := w.Import(m.ctx, batch)
	if err != nil || len(results) != len(batch) {
		fail(t, "an import must say what became of every token", "%d results for %d tokens, error %v", len(results), len(batch), err)
	}
	before := m.event
	for i, l := range candidates {
		l.id = ids[i]
		there := stored[i]
		if in := w.model.find(l.id); there == nil && in != nil && in.event > before { // by an earlier row
			there = &domain.RefreshToken{ForeignID: in.foreign, UserID: in.user, ClientID: in.client, SessionID: sessionID(in.session), ForeignDigest: in.foreignDigest(), ForeignWeak: in.weak}
		}
		m.takeRepeated(&results[i], there, failed)
		m.checkImported(t, w, l, there, results[i], w.model.admission(l, point{kind: fromTime, time: l.created}))
	}
}

// takeRepeated has a token count as imported that was there only when an import was repeated whose outcome was unknown.
func (m *machine) takeRepeated(result *tokenstore.ImportResult, there *domain.RefreshToken, failed int) {
	if m.faults.failed() > failed && result.Outcome == tokenstore.Unchanged && there == nil {
		result.Outcome = tokenstore.Imported
	}
}

// checkImported compares what became of one token of an import with what must, and takes in what was let in. there is
// what had the id before, want what its admission must be.
func (m *machine) checkImported(t *rapid.T, w *tenant, l *life, there *domain.RefreshToken, got tokenstore.ImportResult, want admission) {
	same := there != nil && there.UserID == l.user && there.ClientID == l.client && there.SessionID == sessionID(l.session) &&
		there.ForeignID == l.foreign && (l.opaque == "" || there.ForeignDigest == l.foreignDigest() && there.ForeignWeak == l.weak)
	switch {
	case l.created.After(m.clock.now().Add(skew)) || l.created.Before(cutOff) && l.session != "":
		if !errors.Is(got.Err, tokenstore.ErrInvalid) {
			fail(t, "an import must refuse an impossible creation time or session", "got %+v", got)
		}
	case same:
		if got.Outcome != tokenstore.Unchanged || got.Err != nil {
			fail(t, "importing a stored token again must leave it unchanged", "got %+v", got)
		}
	case there != nil:
		if got.Outcome != tokenstore.Refused || !errors.Is(got.Err, tokenstore.ErrExists) {
			fail(t, "an import must not replace another token", "got %+v", got)
		}
	default:
		if w.model.holder(l.opaque) != nil {
			if got.Err == nil {
				fail(t, "a foreign secret must be one token's", "got %+v, want %s refused", got, l.id)
			}
			if errors.Is(got.Err, tokenstore.ErrDigestTaken) {
				return
			}
		}
		m.checkAdmission(t, want, got.Err)
		if got.Err != nil {
			return
		}
		if got.Outcome != tokenstore.Imported || got.ID != l.id {
			fail(t, "an import must say under which id it let a token in", "got %+v, want %s", got, l.id)
		}
		m.letIn(t, w, l)
	}
}

// drawCandidate draws a token to be imported.
func (m *machine) drawCandidate(t *rapid.T, w *tenant) *life {
	if len(w.model.lives) > 0 && rapid.Bool().Draw(t, "known") {
		known := w.drawLife(t)
		l := *known
		l.key, l.authenticated = tokenstore.Confirmation{}, time.Time{} // the resource does not have them
		l.sequence, l.gone, l.refused, l.evicted, l.used = 0, false, false, false, false
		l.exchanged, l.rotated, l.retries = time.Time{}, time.Time{}, 0
		if l.idle = 0; !l.idleExpires.IsZero() { // of the idle lifetime the resource has the end
			l.idle = idle
		}
		if l.takeOpaque(); chance(t, "otherSecret", 4) {
			l.drawOpaque(t)
		}
		if chance(t, "otherTime", 3) && l.foreign == "" {
			l.created = m.drawTime(t, w).Truncate(time.Millisecond)
		}
		if chance(t, "nameless", 6) {
			l.foreign = "" // another one by the same id
		}
		return &l
	}
	l := drawGrant(t)
	l.created = m.drawTime(t, w)
	l.created = l.created.Add(pick(t, "age", 0, 0, -time.Hour, 30*time.Second, 10*time.Minute)).Truncate(time.Millisecond)
	if l.created.Before(cutOff) && !chance(t, "wrongSession", 8) {
		l.session = ""
	}
	l.drawOpaque(t)
	l.device = m.kept(issuedTo(drawDevice(t)))
	l.rotating = rapid.Bool().Draw(t, "rotating")
	l.metadata = pick(t, "metadata", labels...)
	if rapid.Bool().Draw(t, "foreign") {
		l.foreign = pick(t, "foreignID", foreignIDs...)
	} else {
		l.id = pick(t, "id", fixedIDs...)
	}
	return l
}

// resource is the token as it is handed to an import: made from its JSON, or as a value.
func (m *machine) resource(t *rapid.T, l *life) tokenstore.RefreshToken {
	servers, err := domain.NewResourceServers(resourceServers(l.audiences)...)
	if err != nil {
		fail(t, "resource servers must be accepted", "%v", err)
	}
	made, err := domain.NewMetadata(metadata(l.metadata))
	if err != nil {
		fail(t, "metadata must be accepted", "%v", err)
	}
	token := tokenstore.RefreshToken{
		ID: l.id, ForeignID: l.foreign, UserID: l.user, ClientID: l.client, SessionID: sessionID(l.session), CreatedAt: l.created,
		ExpiresAt: l.expires, IdleExpiresAt: l.idleExpires, Rotating: l.rotating, Offline: l.offline,
		ResourceServers: servers, Metadata: made, Device: l.device,
	}
	if l.foreign != "" {
		token.ID = ulid.ULID{}
	}
	if !rapid.Bool().Draw(t, "value") {
		data, err := json.Marshal(token)
		if err == nil {
			token = tokenstore.RefreshToken{}
			err = json.Unmarshal(data, &token)
		}
		if err != nil {
			fail(t, "a token must survive its JSON", "%v", err)
		}
	}
	token.ForeignDigest, token.ForeignWeak = l.foreignDigest(), l.weak
	return token
}
