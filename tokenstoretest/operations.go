package tokenstoretest

import (
	"cmp"
	"errors"
	"time"

	"example.com/tokenstore"
	"pgregory.net/rapid"
)

// operations are those that every machine draws from.
func operations() []operation {
	return []operation{
		{"issue", 5, (*machine).issue},
		{"import", 3, (*machine).importTokens},
		{"importLines", 2, (*machine).importLines},
		{"exchange", 4, (*machine).exchange},
		{"retry", 2, (*machine).retry},
		{"outdated", 1, (*machine).outdated},
		{"use", 2, (*machine).use},
		{"misuse", 1, (*machine).misuse},
		{"race", 2, (*machine).race},
		{"applyBoth", 2, (*machine).applyBoth},
		{"metadata", 1, (*machine).updateMetadata},
		{"list", 1, (*machine).list},
		{"revoke", 4, (*machine).revoke},
		{"revokeAgain", 1, (*machine).revokeAgain},
		eraseOperation,
		{"mark", 1, (*machine).mark},
		{"clock", 2, (*machine).stepClock},
		{"reopen", 1, (*machine).reopen},
		policyOperation,
		switchOperation,
		expireOperation,
		readOperation,
		pepperOperation,
		moveOperation,
		backupOperation,
		restoreOperation,
		aheadOperation,
		revokeSecretOperation,
		previewOperation,
		exportOperation,
		healthOperation,
		tenantsOperation,
		faultOperation,
	}
}

// issue grants one to three tokens.
func (m *machine) issue(t *rapid.T) {
	w := m.tenant(t)
	for range rapid.IntRange(1, 3).Draw(t, "tokens") {
		l := drawGrant(t)
		l.rotating = !chance(t, "static", 4)
		m.grant(t, w, l)
	}
}

// grant issues one token.
func (m *machine) grant(t *rapid.T, w *tenant, l *life) {
	now := m.clock.now()
	l.created = now
	l.metadata = pick(t, "metadata", labels...)
	l.key = pick(t, "key", keys...)
	l.pepper = m.options.Pepper.Current()
	request := tokenstore.IssueRequest{
		Confirmation: l.key,
		UserID:       l.user, ClientID: l.client, SessionID: sessionID(l.session), ResourceServers: resourceServers(l.audiences),
		Metadata: metadata(l.metadata), Static: !l.rotating, Offline: l.offline,
		Device: drawDevice(t), AuthenticatedAt: pick(t, "authenticatedAt", time.Time{}, start.Add(-time.Hour)),
	}
	l.authenticated = request.AuthenticatedAt
	l.device = m.kept(issuedTo(request.Device))
	policy := m.host.policy(l.client)
	request.Lifetime, l.expires = drawLifetime(t, "lifetime", cmp.Or(policy.Lifetime, tokenstore.Lifetime(absolute)), now)
	request.IdleLifetime, l.idleExpires = drawLifetime(t, "idleLifetime", cmp.Or(policy.IdleLifetime, tokenstore.Lifetime(idle)), now)
	if policy.Rotation != tokenstore.RotationAsIssued {
		l.rotating = policy.Rotation == tokenstore.RotationOn
	}
	if !l.idleExpires.IsZero() {
		l.idle = l.idleExpires.Sub(now)
	}
	from := m.drawPoint(t, w)
	request.AsOf = from.asOf()

	if policy.Cap > 0 { // who had to go for an issue of unknown outcome is not told
		m.faults.disarm()
	}
	want, surplus := w.model.admission(l, from), m.surplus(w, l)
	failed := m.faults.failed()
	issued, err := w.Issue(m.ctx, request)
	if m.faults.failed() > failed {
		m.adopt(t, w, l, issued.Token.ID)
		if from.kind == fromNow && (errors.Is(err, tokenstore.ErrRevoked) || errors.Is(err, tokenstore.ErrBeyondMemory)) {
			return // after an attempt of unknown outcome no other gets past what is of the same instant
		}
	}
	if m.checkCap(t, w, l, surplus, err) {
		m.checkAdmission(t, want, nil) // it would have been let in, had there been room
		return
	}
	m.checkAdmission(t, want, err)
	if err != nil {
		return
	}
	l.id, l.secrets = issued.Token.ID, []string{issued.Secret.Reveal()}
	m.expectEvent(w, tokenstore.KindIssued, l.id)
	if w.model.find(l.id) != nil {
		fail(t, "a new token must have a new id", "%s", l.id)
	}
	m.letIn(t, w, l)
}

// letIn takes a token into the model that has just been let into the store.
func (m *machine) letIn(t *rapid.T, w *tenant, l *life) {
	if was := w.model.find(l.id); was != nil {
		was.gone = true
	}
	l.event = m.next()
	v, err := w.store.Get(m.ctx, l.id)
	if err != nil {
		fail(t, "S2 exact: a token that was let in must be stored", "Get %s: %v", l.id, err)
	}
	l.sequence = v.Token.Sequence
	for _, other := range w.model.lives {
		if other.sequence >= l.sequence {
			fail(t, "S2 exact: a later token must have a later sequence", "%s has %d, %s has %d", other.id, other.sequence, l.id, l.sequence)
		}
	}
	w.model.add(l)
	t.Logf("%s: in: %s user=%s client=%s session=%q audiences=%v created=%v offline=%v", w.name, l.id, l.user, l.client, l.session, l.audiences, l.created, l.offline)
}

// checkAdmission compares what became of a candidate with what must.
func (m *machine) checkAdmission(t *rapid.T, want admission, err error) {
	switch {
	case err == nil && !want.admit:
		fail(t, "S4 no resurrection: what a revocation bars must not be let in", "want %+v", want)
	case err == nil:
	case errors.Is(err, tokenstore.ErrRevoked) || errors.Is(err, tokenstore.ErrBeyondMemory) && want.beyond:
		if !want.refuse {
			fail(t, "S2 exact: what no revocation bars must be let in", "got %v", err)
		}
	default:
		fail(t, "an issue or import must not fail in another way", "got %v, want %+v", err, want)
	}
}

// updateMetadata changes what is the host's.
func (m *machine) updateMetadata(t *rapid.T) {
	w := m.tenant(t)
	l := w.model.find(w.drawLife(t).id)
	value := pick(t, "metadata", labels...)
	token, err := w.UpdateMetadata(m.ctx, l.id, metadata(value))
	switch {
	case err == nil && (l.gone || w.model.covered(l)):
		fail(t, "S1 fence: no update must touch a revoked token", "%s", l.id)
	case err == nil:
		l.metadata = value
		m.checkRecord(t, l, &token)
	case !l.gone && !w.model.covered(l) && !l.expiredAt(m.clock.now()):
		fail(t, "S2 exact: a live token must take an update", "%s: %v", l.id, err)
	}
}

// mark remembers this step, so that a later issue can stem from it.
func (m *machine) mark(t *rapid.T) {
	w := m.tenant(t)
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	w.marks = append(w.marks, point{event: m.event, sequence: state.Sequence, time: m.clock.now()})
}

// stepClock moves the clock: across leeway and lifetimes, across the memory for what was revoked, far ahead, and back by as much.
func (m *machine) stepClock(t *rapid.T) {
	d := pick(t, "step", time.Millisecond, time.Second, 9*time.Second, 10*time.Second, time.Minute, time.Minute, idle, absolute,
		memoryFor+time.Hour, 365*24*time.Hour, -time.Millisecond, -time.Second, -30*time.Second, -idle, -absolute, -memoryFor)
	if m.clock.now().Add(d).Before(start.Add(-absolute)) {
		d = -d // before the cut-off there would be no sessions
	}
	m.clock.step(d)
}

// reopen closes the database and opens it again. Nothing that was acknowledged may be lost.
func (m *machine) reopen(t *rapid.T) {
	m.restart(t, func() { m.backend = m.config.Reopen(m.tb, m.backend) })
}

// restart makes the managers anew, after something else has changed.
func (m *machine) restart(t *rapid.T, change func()) {
	resume := m.stopAll()
	change()
	m.open(t)
	resume(t)
}

// drawLife draws any token that was ever let in.
func (w *tenant) drawLife(t *rapid.T) *life {
	if len(w.model.lives) == 0 {
		t.Skip("no token yet")
	}
	return rapid.SampledFrom(w.model.lives).Draw(t, "token")
}

func drawGrant(t *rapid.T) *life {
	l := &life{
		user: pick(t, "user", users...), client: pick(t, "client", clients...), session: pick(t, "session", sessions...),
		offline: rapid.Bool().Draw(t, "offline"),
	}
	for _, a := range audiences {
		if chance(t, "audience", 3) {
			l.audiences = append(l.audiences, a)
		}
	}
	return l
}

// drawLifetime draws one and returns its deadline. Most tokens don't expire, so that other things happen to them. A default
// below zero is never.
func drawLifetime(t *rapid.T, label string, byDefault tokenstore.Lifetime, now time.Time) (tokenstore.Lifetime, time.Time) {
	switch pick(t, label, "never", "never", "never", "default", "short") {
	case "default":
		if byDefault < 0 {
			return 0, time.Time{}
		}
		return 0, now.Add(time.Duration(byDefault))
	case "short":
		return tokenstore.Lifetime(time.Minute), now.Add(time.Minute)
	}
	return tokenstore.Never, time.Time{}
}

// drawPoint draws what an issue stems from.
func (m *machine) drawPoint(t *rapid.T, w *tenant) point {
	kind := pick(t, "from", fromNow, fromNow, fromStep, fromTime)
	if kind == fromNow {
		return point{}
	}
	p := point{kind: kind, time: m.clock.now(), skew: pick(t, "skew", 0, 0, time.Second, skew)}
	if kind == fromTime {
		p.time = m.drawTime(t, w)
		return p
	}
	if len(w.marks) == 0 { // no Skip: the operation may have done something before
		return point{}
	}
	p = rapid.SampledFrom(w.marks).Draw(t, "mark")
	p.kind = fromStep
	return p
}

// drawTime draws an instant where something may depend on it.
func (m *machine) drawTime(t *rapid.T, w *tenant) time.Time {
	at := []time.Time{m.clock.now(), start, cutOff}
	for _, r := range w.model.revocations {
		at = append(at, r.at, r.through)
	}
	for _, l := range w.model.lives {
		at = append(at, l.created)
	}
	d := pick(t, "offset", 0, 0, 0, time.Millisecond, -time.Millisecond, time.Second, -time.Hour)
	return rapid.SampledFrom(at).Draw(t, "time").Add(d)
}

func sessionID(text string) tokenstore.SessionID {
	if text == "" {
		return tokenstore.SessionID{}
	}
	return tokenstore.MustSessionID(text)
}

func resourceServers(audiences []string) []tokenstore.ResourceServer {
	var list []tokenstore.ResourceServer
	for _, a := range audiences {
		list = append(list, tokenstore.ResourceServer{Audience: a, Scopes: "read write"})
	}
	return list
}

func metadata(value string) map[string]string {
	if value == "" {
		return nil
	}
	return map[string]string{"color": value}
}
