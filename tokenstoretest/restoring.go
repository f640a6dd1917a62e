package tokenstoretest

import (
	"errors"
	"maps"
	"slices"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"pgregory.net/rapid"
)

var (
	backupOperation  = operation{"backup", 1, (*machine).takeBackup}
	restoreOperation = operation{"restore", 1, (*machine).restore}
	aheadOperation   = operation{"ahead", 1, (*machine).ahead}
)

// backup is a copy of the backend, and of what the model was then.
type backup struct {
	event   int
	models  []model
	readers []reader
	open    func(*rapid.T) store.Backend
	moves   bool // it is a full export
}

// lostSecret is a secret that was handed out after the backup was taken that the backend has been restored from.
type lostSecret struct {
	secret     string
	generation int
	of         *life // what is left of its token, or nil
	client     string
	key        tokenstore.Confirmation
}

// takeBackup copies the backend; an earlier backup is thrown away.
func (m *machine) takeBackup(t *rapid.T) {
	b := &backup{event: m.event}
	if m.config.Copy != nil {
		open := m.config.Copy(m.tb, m.backend)
		b.open = func(*rapid.T) store.Backend { return open(m.tb) }
	} else {
		m.needMovable(t)
		b.moves = true
		texts := m.exportAll(t)
		b.open = func(t *rapid.T) store.Backend { return m.takeOverAll(t, texts) }
	}
	for _, w := range m.tenants {
		b.models = append(b.models, w.model.clone())
		b.readers = append(b.readers, w.reader.clone())
	}
	m.backup = b
}

// restore puts the backup in the place of the backend. What happened since has not happened, but for the secrets that clients
// hold: they are refused, no client is taken for a thief, and nothing is written. The host gives up the as-of points that it kept
// since, and may revoke again what it had revoked.
func (m *machine) restore(t *rapid.T) {
	b := m.backup
	if b == nil {
		t.Skip("no backup")
	}
	if w := m.tenant(t); w.hasSecrets() && rapid.Bool().Draw(t, "exchange") { // so that something is lost
		l := w.drawSecret(t, 0)
		m.present(t, w, l, l.generation())
	}
	resume := m.stopAll()
	if err := m.backend.Close(); err != nil {
		fail(t, "Close must succeed", "Close: %v", err)
	}
	m.backend = b.open(t)
	m.open(t)
	undone := make([][]*acknowledged, len(m.tenants))
	cursors := make([]uint64, len(m.tenants))
	for i, w := range m.tenants {
		was := w.model
		cursors[i] = w.reader.cursor
		w.model, w.reader = b.models[i].clone(), b.readers[i].clone()
		w.lost = append(w.stillLost(), w.model.ahead(&was)...)
		w.marks = slices.DeleteFunc(w.marks, func(p point) bool { return p.event > b.event })
		undone[i] = slices.DeleteFunc(slices.Clone(was.revocations), func(r *acknowledged) bool { return r.event <= b.event })
	}
	if b.moves {
		m.moved(t)
	}
	for i, w := range m.tenants {
		m.checkUndone(t, w, undone[i], cursors[i])
		for _, l := range w.lost {
			m.presentLost(t, w, l)
		}
	}
	resume(t)
	if rapid.Bool().Draw(t, "revokeAgain") {
		for i, w := range m.tenants {
			for _, r := range undone[i] {
				if r.receipt != nil && !r.erases {
					m.revokeTargets(t, w, r.id, r.targets)
				}
			}
		}
	}
}

// checkUndone sees to it that nothing is known of what happened after the backup.
func (m *machine) checkUndone(t *rapid.T, w *tenant, undone []*acknowledged, cursor uint64) {
	for _, r := range undone {
		if w.model.findRevocation(r.id) != nil {
			continue
		}
		if _, err := w.Revocation(m.ctx, r.id); !errors.Is(err, tokenstore.ErrNotFound) {
			fail(t, "what happened after the backup must not be there", "revocation %s: %v", r.id, err)
		}
	}
	state, err := w.State(m.ctx)
	if err != nil {
		fail(t, "State must succeed", "%v", err)
	}
	_, err = w.Feed(m.ctx, tokenstore.FeedRequest{After: cursor})
	if cursor > state.LastEvent && !errors.Is(err, tokenstore.ErrInvalid) {
		fail(t, "F1 feed: a cursor that was never given out must be refused", "after %d of %d: %v", cursor, state.LastEvent, err)
	}
}

// ahead presents one of the secrets that a restored backup does not know.
func (m *machine) ahead(t *rapid.T) {
	w := m.tenant(t)
	if w.lost = w.stillLost(); len(w.lost) == 0 {
		t.Skip("nothing was lost")
	}
	m.presentLost(t, w, w.lost[rapid.IntRange(0, len(w.lost)-1).Draw(t, "lost")])
}

// presentLost sees to it that such a secret is refused as newer than its token, or as unknown where the token is not there. The
// checks after the step see that nothing was written.
func (m *machine) presentLost(t *rapid.T, w *tenant, l lostSecret) {
	ok := func(cause error) bool {
		token := l.of
		if token == nil || token.gone {
			return cause == tokenstore.ErrUnknownToken
		}
		mayBeGone := w.model.covered(token) || token.expiredAt(m.clock.now()) || token.expiredAt(m.clock.latest)
		switch {
		case cause == tokenstore.ErrUnknownToken:
			return mayBeGone || token.generation() == l.generation || token.isForeign(token.generation())
		case cause == tokenstore.ErrKeyMissing:
			return m.keyless(token)
		}
		return cause == tokenstore.ErrAhead && token.generation() < l.generation
	}
	if cause := m.introspect(t, w, l.secret); !ok(cause) {
		fail(t, "a secret that is newer than the backup must be inactive for that cause", "Introspect: %q, %+v", cause, l)
	}
	m.faults.atMost(attempts - 1)
	_, err := w.Exchange(m.ctx, tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(l.secret), ClientID: l.client, Confirmation: l.key})
	if cause, refused := errors.AsType[tokenstore.Refusal](err); !refused || !ok(cause) {
		fail(t, "S4 restore: a secret that is newer than the backup must be refused, and nobody be taken for a thief", "Exchange: %v, %+v", err, l)
	}
}

// stillLost are the lost secrets whose token has not come past their generation in its new life: of those that it has, no more
// is known than that somebody else may hold them.
func (w *tenant) stillLost() (still []lostSecret) {
	for _, l := range w.lost {
		if l.of != nil {
			l.of = w.model.at(l.of.event)
		}
		if l.of == nil || l.of.generation() <= l.generation {
			still = append(still, l)
		}
	}
	return still
}

// ahead are the secrets of our own form that a later model has beyond this one.
func (m *model) ahead(later *model) (all []lostSecret) {
	for _, l := range later.lives {
		of := m.at(l.event)
		known := 0
		if of != nil {
			known = len(of.secrets)
		}
		for generation := known; generation < len(l.secrets); generation++ {
			if !l.isForeign(generation) {
				all = append(all, lostSecret{l.secrets[generation], generation, of, l.client, l.key})
			}
		}
	}
	return all
}

// at returns the life that began with an event, or nil.
func (m *model) at(event int) *life {
	for _, l := range m.lives {
		if l.event == event {
			return l
		}
	}
	return nil
}

// clone returns a model that shares nothing with m that changes.
func (m *model) clone() model {
	c := *m
	c.lives = cloneAll(m.lives)
	for _, l := range c.lives {
		l.secrets = slices.Clone(l.secrets)
	}
	c.revocations, c.evictions = cloneAll(m.revocations), cloneAll(m.evictions)
	return c
}

func cloneAll[T any](all []*T) []*T {
	c := make([]*T, len(all))
	for i, v := range all {
		value := *v
		c[i] = &value
	}
	return c
}

func (r *reader) clone() reader {
	c := *r
	c.seen, c.want = maps.Clone(r.seen), slices.Clone(r.want)
	return c
}
