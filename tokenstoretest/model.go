package tokenstoretest

import (
	"fmt"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// model is what one tenant must be like: a list of events, in the order in which the calls returned. It reads what a
// revocation names by rules of its own, and orders by that list alone, never by the store's sequence.
type model struct {
	lives       []*life         // every token ever let in, in order
	revocations []*acknowledged // every revocation ever acknowledged, in order
	evictions   []*acknowledged // every eviction, in order: it covers nothing, but bars the id
	latest      time.Time       // the latest creation time of any token ever let in
	horizon     domain.Horizon
	trimmed     bool // history may have been forgotten
}

// life is one stay of a token in the store. An id that was swept may come back by an import from after the revocation:
// that is another life.
type life struct {
	event     int
	id        ulid.ULID
	foreign   string
	user      string
	client    string
	session   string // empty for null
	audiences []string
	created   time.Time
	offline   bool
	rotating  bool

	expires     time.Time     // zero for never
	idleExpires time.Time     // zero for never
	idle        time.Duration // 0 for none
	exchanged   time.Time
	rotated     time.Time
	retries     uint32
	secrets     []string // every secret that it ever had, by generation; none for a token that was imported without one
	metadata    string

	opaque string // the foreign secret that it came with, which is the first of its secrets; empty for none
	weak   bool   // it has little entropy
	pepper string // the id of the key that its digests are made under; empty for none

	device        tokenstore.Device // as it is kept
	authenticated time.Time

	key      tokenstore.Confirmation // the key that it is bound to, or none
	sequence uint64                  // only to see that it never changes
	used     bool                    // the current secret has been used, though it did not rotate
	refused  bool                    // it was seen refused as revoked
	evicted  bool                    // it had to go for another, because of a cap
	gone     bool                    // it was seen to be no longer stored
}

// acknowledged is a revocation that was acknowledged.
type acknowledged struct {
	event     int
	id        ulid.ULID
	targets   []tokenstore.Target
	at        time.Time
	through   time.Time // no import from before it gets past
	watermark uint64    // only to bound the horizon
	receipt   *tokenstore.Receipt

	erases      bool
	forgettable bool // a trim, or the erasure of the tenant, may have forgotten its guards
}

// GoString is what the log of a failing case shows of a token that was drawn.
func (l *life) GoString() string {
	return fmt.Sprintf("%s (event %d, generation %d)", l.id, l.event, l.generation())
}

// GoString is what the log of a failing case shows of a revocation.
func (r *acknowledged) GoString() string {
	return fmt.Sprintf("%s (event %d, through %v) %+v", r.id, r.event, r.through, r.targets)
}

// GoString is what the log of a failing case shows of a point that was drawn.
func (p point) GoString() string {
	return fmt.Sprintf("event %d, sequence %d, %v", p.event, p.sequence, p.time)
}

func (l *life) generation() int { return max(0, len(l.secrets)-1) }

// current is the secret that works, if the token has one.
func (l *life) current() string {
	if len(l.secrets) == 0 {
		return ""
	}
	return l.secrets[len(l.secrets)-1]
}

func (l *life) expiredAt(now time.Time) bool {
	return reached(l.expires, now) || reached(l.idleExpires, now)
}

func reached(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// find returns the latest life of an id, or nil.
func (m *model) find(id ulid.ULID) *life {
	for _, l := range slices.Backward(m.lives) {
		if l.id == id {
			return l
		}
	}
	return nil
}

// findRevocation returns the latest revocation of an id, or nil.
func (m *model) findRevocation(id ulid.ULID) *acknowledged {
	for _, r := range slices.Backward(m.revocations) {
		if r.id == id {
			return r
		}
	}
	return nil
}

// coveredBy returns a revocation that came after the token was let in, and names it; or nil.
func (m *model) coveredBy(l *life) *acknowledged {
	for _, r := range m.revocations {
		if r.event > l.event && r.names(l) {
			return r
		}
	}
	return nil
}

func (m *model) covered(l *life) bool { return m.coveredBy(l) != nil }

func (r *acknowledged) names(l *life) bool {
	return slices.ContainsFunc(r.targets, func(t tokenstore.Target) bool { return names(t, l) })
}

// names reports whether every constraint of the target holds for the token.
func names(t tokenstore.Target, l *life) bool {
	holds := func(constrained, match bool) bool { return !constrained || match }
	return holds(!t.TokenID.IsZero(), t.TokenID == l.id) &&
		holds(t.UserID != "", t.UserID == l.user) &&
		holds(t.ClientID != "", t.ClientID == l.client) &&
		holds(t.SessionID != "", t.SessionID == l.session) &&
		holds(t.Audience != "", slices.Contains(l.audiences, t.Audience)) &&
		holds(!t.IssuedBefore.IsZero(), l.created.Before(t.IssuedBefore)) &&
		holds(!t.LegacyBefore.IsZero(), l.session == "" && l.created.Before(t.LegacyBefore)) &&
		holds(t.Offline == tokenstore.OfflineYes, l.offline) &&
		holds(t.Offline == tokenstore.OfflineNo, !l.offline)
}

// namesForGood reports whether the target refuses what it names whatever it stems from: an id, or a session as such.
func namesForGood(t tokenstore.Target) bool {
	if !t.TokenID.IsZero() {
		return true
	}
	narrowed := t.UserID != "" || t.ClientID != "" || t.Audience != "" || !t.IssuedBefore.IsZero() || !t.LegacyBefore.IsZero()
	return t.SessionID != "" && !narrowed
}

// point is what an issue or an import claims to stem from: now, what the test saw at an earlier step, or a time.
type point struct {
	kind     pointKind
	event    int    // fromStep: everything that was acknowledged up to it had been seen
	sequence uint64 // fromStep: what the manager called it
	time     time.Time
	skew     time.Duration
}

type pointKind uint8

const (
	fromNow pointKind = iota
	fromStep
	fromTime
)

func (p point) asOf() tokenstore.AsOf {
	switch p.kind {
	case fromStep:
		return tokenstore.AsOfSequence(p.sequence)
	case fromTime:
		return tokenstore.AsOfTime(p.time, p.skew)
	}
	return tokenstore.AsOf{}
}

// before reports whether the point lies before the revocation.
func (p point) before(r *acknowledged) bool {
	switch p.kind {
	case fromStep:
		return p.event < r.event
	case fromTime:
		return !p.time.After(r.through.Add(p.skew))
	}
	return false
}

// beyond reports whether the point lies before the horizon.
func (p point) beyond(h domain.Horizon) bool {
	switch p.kind {
	case fromStep:
		return p.sequence < h.Sequence
	case fromTime:
		return !h.Time.IsZero() && !p.time.After(h.Time.Add(p.skew))
	}
	return false
}

// admission is what must become of a candidate.
type admission struct {
	admit  bool // it may be let in
	refuse bool // it may be refused
	beyond bool // it may be refused as beyond memory
}

// admission says what must become of a candidate. What a trim may have forgotten leaves both open, but only for what is
// named for good: what stems from before a revocation is refused for ever, by memory or by the horizon.
func (m *model) admission(candidate *life, from point) admission {
	var bars, mayBar bool
	for _, r := range slices.Concat(m.revocations, m.evictions) {
		for _, t := range r.targets {
			if !names(t, candidate) {
				continue
			}
			bars = bars || from.before(r) || namesForGood(t) && !r.forgettable
			mayBar = mayBar || namesForGood(t)
		}
	}
	beyond := from.beyond(m.horizon)
	return admission{admit: !bars && !beyond, refuse: bars || mayBar || beyond, beyond: beyond}
}

func (m *model) add(l *life) {
	m.lives = append(m.lives, l)
	if l.created.After(m.latest) {
		m.latest = l.created
	}
}

// forget notes that the guards of retired revocations from before the cut may have been forgotten.
func (m *model) forget(cut time.Time) {
	for _, r := range slices.Concat(m.revocations, m.evictions) {
		if r.at.Before(cut) {
			r.forgettable = true
		}
	}
}
