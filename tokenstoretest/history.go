package tokenstoretest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// chronicle is a history, what callers saw of one tenant: which calls they made, when each began and returned, and what it answered.
// Nothing in it is read from the store.
type chronicle struct {
	tenant string
	rules  rules

	mu        sync.Mutex
	calls     []*call
	grants    []*grant
	cuts      []*cut
	labels    map[string]int // by the text of a secret, its number
	processes int
	unknowns  int // how many calls had an unknown outcome
}

// rules are what the options of a round make of the calls.
type rules struct {
	leeway bool // a parent is answered for ever, or else never
	trims  bool // guards are forgotten as soon as they can be
	reach  tokenstore.ReplayReach
}

// maxTokens and maxRevocations are how many of them a history has at most.
const (
	maxTokens      = 24
	maxRevocations = 48
)

// grant is a token, or what was to become one.
type grant struct {
	life
	number int
	asOf   bool // it is issued as of an authentication, which is a call before
	issue  *call

	known []int    // numbers of its secrets that some caller has been given, in that order
	text  []string // those secrets
}

// String names the grant in logs.
func (g *grant) String() string { return fmt.Sprintf("token %d", g.number) }

// cut is a revocation. All calls with its id are about the same targets.
type cut struct {
	number  int
	id      ulid.ULID
	targets []tokenstore.Target
}

// call is one call, as its caller saw it.
type call struct {
	process   int
	kind      callKind
	grant     *grant // what it is about; nil for revoke and list
	cut       *cut   // what it revokes; nil for all others
	presented int    // the number of the secret that is presented
	called    int64
	returned  int64 // never for an unknown outcome
	answer

	effect effect // what it revokes, or would if it is a replay
}

// never is when a call of unknown outcome returns: its effect, if there is any, may come at any time after it began.
const never = math.MaxInt64

type callKind string

const (
	toAuthenticate callKind = "authenticate"
	toIssue        callKind = "issue"
	toExchange     callKind = "exchange"
	toIntrospect   callKind = "introspect"
	toUpdate       callKind = "update"
	toGet          callKind = "get"
	toList         callKind = "list"
	toRevoke       callKind = "revoke"
)

// answer is what came of a call.
type answer struct {
	fate      fate
	cause     error       // refused: why
	handed    int         // exchange, issue: the number of the secret that was handed out
	ids       []ulid.ULID // list: what was shown
	shown     tokens      // those of them that a caller knows of
	uncertain bool        // the store could not tell some attempt's outcome; the manager then found it out
}

type fate uint8

const (
	done    fate = iota // it was done; for introspect and get, the token is active
	refused             // it was refused; for introspect and get, the token is not active
	unknown             // nobody knows whether it was done
	nothing             // it is certain that it was not done, for no fault of the caller
)

// tokens is a set of grants, by number.
type tokens uint32

func (s tokens) has(n int) bool { return s&(1<<n) != 0 }

// String tells a call in a log, or in a picture.
func (c *call) String() string {
	about := ""
	switch {
	case c.cut != nil:
		about = fmt.Sprintf(" %d: %s %+v", c.cut.number, c.effect.names, c.cut.targets)
	case c.kind == toExchange || c.kind == toIntrospect:
		about = fmt.Sprintf(" of %v by secret %d", c.grant, c.presented)
	case c.grant != nil:
		about = fmt.Sprintf(" of %v (%s, %s, %q)", c.grant, c.grant.user, c.grant.client, c.grant.session)
	}
	return string(c.kind) + about + " → " + c.answer.String()
}

func (a answer) String() string {
	switch a.fate {
	case refused:
		return a.cause.Error()
	case unknown:
		return "outcome unknown"
	case nothing:
		return "not done"
	}
	switch {
	case a.handed != 0:
		return fmt.Sprintf("done, secret %d", a.handed)
	case a.shown != 0:
		return a.shown.String()
	}
	return "done"
}

func (s tokens) String() string {
	text := "tokens"
	for n := range maxTokens {
		if s.has(n) {
			text += fmt.Sprintf(" %d", n)
		}
	}
	return text
}

// stopwatch gives the times of calls, and is the clock of the managers. No two readings are the same.
type stopwatch struct {
	began time.Time
	last  atomic.Int64
}

func (w *stopwatch) read() int64 {
	for {
		last := w.last.Load()
		now := max(int64(time.Since(w.began)), last+1)
		if w.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

func (w *stopwatch) now() time.Time { return instant(w.read()) }

// instant is the time of a reading.
func instant(reading int64) time.Time { return start.Add(time.Duration(reading)) }

// newGrant takes a place for a token, or returns nil if there is none.
func (h *chronicle) newGrant(l life, asOf bool) *grant {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.grants) == maxTokens {
		return nil
	}
	g := &grant{life: l, number: len(h.grants), asOf: asOf}
	h.grants = append(h.grants, g)
	return g
}

// newCut takes a place for a revocation, or returns nil if there is none.
func (h *chronicle) newCut(id ulid.ULID, targets []tokenstore.Target) *cut {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.cuts) == maxRevocations {
		return nil
	}
	r := &cut{number: len(h.cuts), id: id, targets: targets}
	h.cuts = append(h.cuts, r)
	return r
}

// earlierCut returns one of the revocations, or nil if there is none.
func (h *chronicle) earlierCut(random *rand.Rand) *cut {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.cuts) == 0 {
		return nil
	}
	return choose(random, h.cuts...)
}

// unknownsLeft reports whether there may be more calls of unknown outcome.
func (h *chronicle) unknownsLeft() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unknowns < maxUnknowns
}

// handedOut notes a secret that a caller was given, with the token if it is a new one, and returns the secret's number.
func (h *chronicle) handedOut(g *grant, secret tokenstore.Secret, token *tokenstore.RefreshToken) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if token != nil {
		g.id, g.created = token.ID, token.CreatedAt
	}
	text := secret.Reveal()
	n, known := h.labels[text]
	if !known {
		n = len(h.labels) + 1
		h.labels[text] = n
		g.known = append(g.known, n)
		g.text = append(g.text, text)
	}
	return n
}

// issued returns the tokens that callers have a secret of.
func (h *chronicle) issued() []*grant {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*grant
	for _, g := range h.grants {
		if len(g.known) > 0 {
			all = append(all, g)
		}
	}
	return all
}

// secret returns one of the token's secrets, the back-th before the latest, or the first.
func (h *chronicle) secret(g *grant, back int) (number int, secret tokenstore.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := max(0, len(g.known)-1-back)
	return g.known[i], tokenstore.NewSecret(g.text[i])
}

// process returns the number of a new caller: one that does not know what became of its call starts anew.
func (h *chronicle) process() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.processes++
	return h.processes - 1
}

// add notes a call that has returned. A call that surely did nothing says nothing, and neither does one that only reads, or whose
// effect nobody can see, and whose answer is lost.
func (h *chronicle) add(c *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.fate == unknown {
		h.unknowns++
		c.returned = never
	}
	switch {
	case c.fate == nothing, c.fate == unknown && c.kind != toExchange && c.kind != toRevoke:
		return
	case c.kind == toIssue:
		c.grant.issue = c
	}
	h.calls = append(h.calls, c)
	// An attempt may have taken effect before one that was refused; or, if others went on from there within the leeway, before one that was a replay.
	if c.kind == toExchange && c.uncertain && (c.fate == refused || c.fate == unknown && h.rules.leeway) {
		lost := *c
		h.processes++
		lost.process, lost.returned, lost.answer = h.processes-1, never, answer{fate: unknown}
		h.calls = append(h.calls, &lost)
	}
}
