package tokenstoretest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"pgregory.net/rapid"
)

var moveOperation = operation{"move", 1, (*machine).move}

// move has all tenants move to a fresh backend, by full exports that may be imported in part first, and twice. What is revoked
// and not yet swept stays behind, and so does the history; all else must be as it was.
func (m *machine) move(t *rapid.T) {
	m.needMovable(t)
	resume := m.stopAll()
	into := m.takeOverAll(t, m.exportAll(t))
	if err := m.backend.Close(); err != nil {
		fail(t, "Close must succeed", "Close: %v", err)
	}
	m.backend = into
	m.open(t)
	m.moved(t)
	resume(t)
}

// needMovable ends the operation where tenants can't be exported in full.
func (m *machine) needMovable(t *rapid.T) {
	for _, w := range m.tenants {
		if _, ok := store.As[store.Mover](w.store); !ok {
			t.Skip("the backend's stores can't move")
		}
		for _, status := range w.revocations(t, m, false) {
			if status.Tombstone.Erases {
				t.Skip("a tenant that is being erased does not move")
			}
		}
	}
}

// exportAll exports every tenant in full.
func (m *machine) exportAll(t *rapid.T) (texts []string) {
	for _, w := range m.tenants {
		texts = append(texts, m.export(t, w, m.backend))
	}
	return texts
}

// takeOverAll imports what exportAll returned, into a fresh backend.
func (m *machine) takeOverAll(t *rapid.T, texts []string) store.Backend {
	into := m.config.New(m.tb)
	for i, w := range m.tenants {
		m.takeOver(t, w, into, texts[i])
	}
	return into
}

// moved notes of an opened backend that it has taken over all from another one.
func (m *machine) moved(t *rapid.T) {
	for _, w := range m.tenants {
		w.model.moved()
		w.reader = newReader() // the events stay behind as well, and the numbers go on
		m.noteEvents(t, w)
		w.reader.cursor = w.reader.latest
		for _, l := range w.model.lives {
			if v, err := w.store.Get(m.ctx, l.id); err == nil && w.model.find(l.id) == l {
				l.sequence = v.Token.Sequence
			}
		}
	}
}

// moved notes that the history stayed behind, and what was pending is remembered by guards only.
func (m *model) moved() {
	m.trimmed = true
	for _, r := range m.revocations {
		r.receipt, r.erases = nil, false
	}
}

// manager is a tenant's manager on a backend that nothing slows down.
func (m *machine) manager(t *rapid.T, w *tenant, b store.Backend) *tokenstore.Manager {
	root, err := tokenstore.New(b, &m.options)
	if err == nil {
		root, err = root.Tenant(w.name, nil)
	}
	if err != nil {
		fail(t, "a manager must be made on a backend that is open", "%v", err)
	}
	return root
}

func (m *machine) export(t *rapid.T, w *tenant, from store.Backend) string {
	var out bytes.Buffer
	report, err := m.manager(t, w, from).Export(m.ctx, &out, &tokenstore.ExportOptions{Full: true})
	if err != nil {
		fail(t, "a full export must succeed", "%+v, %v", report, err)
	}
	t.Logf("%s: moves with %d tokens and %d guards", w.name, report.Tokens, report.Guards)
	return out.String()
}

// takeOver imports a full export: some of it, and then all, and perhaps once more.
func (m *machine) takeOver(t *rapid.T, w *tenant, into store.Backend, text string) {
	manager := m.manager(t, w, into)
	all := strings.SplitAfter(text, "\n")
	if some := rapid.IntRange(0, len(all)-1).Draw(t, "some"); some > 0 {
		_, _ = manager.ImportFull(m.ctx, strings.NewReader(strings.Join(all[:some], "")), nil)
	}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		_, err := manager.ImportFull(m.ctx, strings.NewReader(text), &tokenstore.ImportOptions{Refused: func(l tokenstore.RefusedLine) {
			fail(t, "S2 exact: what was exported must be taken over", "line %d, %s: %v", l.Number, l.ID, l.Err)
		}})
		if err != nil {
			fail(t, "a full export must be taken over by an empty tenant", "%v", err)
		}
	}
}

// importLines imports one token as a line, with options that let in more.
func (m *machine) importLines(t *rapid.T) {
	w := m.tenant(t)
	opts := tokenstore.ImportOptions{
		NullLegacySessions: rapid.Bool().Draw(t, "nullLegacySessions"), BeyondMemory: rapid.Bool().Draw(t, "beyondMemory"),
	}
	l := m.drawCandidate(t, w)
	if opts.NullLegacySessions && chance(t, "legacy", 2) { // one that had a session all the same
		l.created, l.session = cutOff.Add(-time.Hour), pick(t, "former", sessions...)
	}
	token := m.resource(t, l)
	if l.foreign != "" {
		l.id, _ = domain.ForeignTokenID(w.name, l.foreign, l.created)
	}
	line, err := token.MarshalJSON()
	if err != nil {
		fail(t, "a token must have a JSON form", "%v", err)
	}
	if token.ForeignDigest != (domain.Digest{}) {
		entropy := domain.MinForeignEntropy
		if token.ForeignWeak {
			entropy--
		}
		line = fmt.Appendf(bytes.TrimSuffix(line, []byte("}")), `,"foreign_digest":"%x","foreign_entropy":%d}`, token.ForeignDigest, entropy)
	}
	var there *domain.RefreshToken
	if v, err := w.store.Get(m.ctx, l.id); err == nil {
		there = &v.Token
	}
	got := tokenstore.ImportResult{ID: l.id}
	opts.Refused = func(l tokenstore.RefusedLine) { got.Outcome, got.Err = tokenstore.Refused, l.Err }
	failed := m.faults.failed()
	report, err := w.ImportNDJSON(m.ctx, bytes.NewReader(line), &opts)
	if err != nil || report.Imported+report.Unchanged+report.Refused != 1 {
		fail(t, "an import must say what became of every line", "%+v, %v", report, err)
	}
	if report.Unchanged == 1 {
		got.Outcome = tokenstore.Unchanged
	}
	m.takeRepeated(&got, there, failed)
	m.checkLine(t, w, l, there, got, opts)
}

// checkLine compares what became of a line with what must: what the options change first, and then what any import must.
func (m *machine) checkLine(t *rapid.T, w *tenant, l *life, there *domain.RefreshToken, got tokenstore.ImportResult, opts tokenstore.ImportOptions) {
	from := point{kind: fromTime, time: l.created}
	want := w.model.overridden(l, from, opts.BeyondMemory)
	if former := *l; opts.NullLegacySessions && l.created.Before(cutOff) {
		l.session = ""
		bare := w.model.overridden(l, from, opts.BeyondMemory)
		asItWas := w.model.overridden(&former, from, opts.BeyondMemory)
		want = admission{admit: bare.admit && asItWas.admit, refuse: bare.refuse || asItWas.refuse, beyond: bare.beyond || asItWas.beyond}
	}
	m.checkImported(t, w, l, there, got, want)
}

// overridden is admission, but for the horizon where that is overridden: then what has been forgotten bars nothing.
func (m *model) overridden(candidate *life, from point, override bool) admission {
	if !override {
		return m.admission(candidate, from)
	}
	remembered := model{}
	all := append(append([]*acknowledged(nil), m.revocations...), m.evictions...)
	for _, r := range all {
		if !r.forgettable {
			remembered.revocations = append(remembered.revocations, r)
		}
	}
	may := (&model{revocations: all}).admission(candidate, from)
	must := remembered.admission(candidate, from)
	return admission{admit: must.admit, refuse: may.refuse}
}
