package tokenstoretest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/anishathalye/porcupine"
)

// What a tenant is like if calls come one after the other. It orders by their order alone, and knows of no sequence, no
// watermark, and no sweep.

// situation is the state of a tenant. It is comparable.
type situation struct {
	tokens  [maxTokens]tokenState
	revoked uint64 // the revocations that have taken effect
}

type tokenState struct {
	phase           phase
	current, parent uint16 // numbers of secrets; 0 for one that nobody was told
}

type phase uint8

const (
	absent        phase = iota
	authenticated       // the user has authenticated, and nothing that names the token has been revoked since
	open                // an issue may be refused
	barred              // an issue must be refused
	live
	dead  // revoked, and perhaps swept
	swept // seen to be swept, and never to be seen again
)

// effect is which grants a revocation reaches.
type effect struct {
	names   tokens
	may     tokens // named or not: it was never issued, and nobody knows when it would have been created
	forGood tokens // named by id or session, so that nothing is issued later
}

// prepare works out, of a history that has ended, what each revocation names and each list shows.
func (h *chronicle) prepare() {
	for _, c := range h.calls {
		switch c.kind {
		case toList:
			for _, g := range h.grants {
				if !g.id.IsZero() && slices.Contains(c.ids, g.id) {
					c.shown |= 1 << g.number
				}
			}
		case toRevoke:
			c.effect = h.effect(c.cut.targets)
		case toExchange:
			c.effect = h.effect(replayTargets(h.rules.reach, c.grant))
		}
	}
}

// replayTargets is what a replay of the token's secret revokes.
func replayTargets(reach tokenstore.ReplayReach, g *grant) []tokenstore.Target {
	targets := []tokenstore.Target{{TokenID: g.id}}
	switch {
	case reach == tokenstore.ReplayUser:
		targets = append(targets, tokenstore.Target{UserID: g.user})
	case reach == tokenstore.ReplaySession && g.session != "":
		targets = append(targets, tokenstore.Target{SessionID: g.session})
	}
	return targets
}

func (h *chronicle) effect(targets []tokenstore.Target) (e effect) {
	for _, g := range h.grants {
		earliest, latest := g.life, g.life
		if g.created.IsZero() && g.issue != nil {
			earliest.created, latest.created = instant(g.issue.called), instant(g.issue.returned)
		}
		for _, t := range targets {
			bit := tokens(1) << g.number
			switch a, b := names(t, &earliest), names(t, &latest); {
			case a && b:
				e.names |= bit
			case a || b:
				e.may |= bit
			default:
				continue
			}
			if namesForGood(t) {
				e.forGood |= bit
			}
		}
	}
	return e
}

// revoke is the situation after a revocation.
func (s situation) revoke(h *chronicle, e effect) situation {
	for _, g := range h.grants {
		t := &s.tokens[g.number]
		switch bit := tokens(1) << g.number; {
		case e.names&bit != 0:
			t.revoke(g, e.forGood&bit != 0, h.rules.trims)
		case e.may&bit != 0 && t.phase == authenticated:
			t.phase = open
		}
	}
	return s
}

func (t *tokenState) revoke(g *grant, forGood, trims bool) {
	switch t.phase {
	case live:
		t.phase = dead
	case authenticated:
		t.phase = barred
	case open:
		if g.asOf {
			t.phase = barred
		}
	case absent:
		switch {
		case forGood && !trims:
			t.phase = barred
		case forGood && !g.asOf: // that it was revoked may be forgotten. As of an authentication, any issue may then be refused
			t.phase = open
		}
	}
}

// step says whether a call can answer as it did, and what it leaves behind.
func (h *chronicle) step(s situation, c *call) (bool, situation) {
	switch c.kind {
	case toRevoke:
		if bit := uint64(1) << c.cut.number; s.revoked&bit == 0 {
			s.revoked |= bit
			return true, s.revoke(h, c.effect)
		}
		return true, s
	case toList:
		return c.shown == s.live(), s
	case toExchange:
		return h.exchange(s, c)
	}
	ok := s.tokens[c.grant.number].step(h.rules, c)
	return ok, s
}

func (s *situation) live() (all tokens) {
	for n := range s.tokens {
		if s.tokens[n].phase == live {
			all |= 1 << n
		}
	}
	return all
}

// step is a call that is about one token alone.
func (t *tokenState) step(rules rules, c *call) bool {
	switch c.kind {
	case toAuthenticate:
		if t.phase == absent {
			t.phase = authenticated
		}
		return true
	case toIssue:
		return t.issue(rules, c)
	}
	if t.phase != live {
		return t.refuses(c)
	}
	if c.kind == toIntrospect && int(t.current) != c.presented {
		return c.fate == refused && errors.Is(c.cause, tokenstore.ErrReused)
	}
	return c.fate == done
}

func (t *tokenState) issue(rules rules, c *call) bool {
	if c.fate == done {
		was := t.phase
		t.phase, t.current = live, uint16(c.handed)
		return was == absent || was == authenticated || was == open
	}
	// A repeated attempt stems from when the first began: what was revoked since, or forgotten, refuses it.
	return t.phase == barred || t.phase == open || t.phase == authenticated && rules.trims || c.uncertain
}

// refuses is a call that is about a revoked token.
func (t *tokenState) refuses(c *call) bool {
	switch {
	case c.fate == unknown:
		return true
	case c.fate != refused || t.phase < dead:
		return false
	case c.kind == toGet: // one that is fenced off and one that is gone look the same
		return errors.Is(c.cause, store.ErrNotFound)
	case errors.Is(c.cause, tokenstore.ErrUnknownToken), errors.Is(c.cause, store.ErrNotFound):
		t.phase = swept
		return true
	}
	return t.phase == dead && errors.Is(c.cause, tokenstore.ErrRevoked)
}

// exchange is the situation after an exchange.
func (h *chronicle) exchange(s situation, c *call) (bool, situation) {
	t := &s.tokens[c.grant.number]
	presented := uint16(c.presented)
	handed := uint16(c.handed)
	switch {
	case t.phase != live:
		return t.refuses(c), s
	case presented != t.current && (presented != t.parent || !h.rules.leeway): // replay
		ok := c.fate == unknown || c.fate == refused && errors.Is(c.cause, tokenstore.ErrReused)
		return ok, s.revoke(h, c.effect)
	case c.fate == unknown && presented == t.current && c.grant.rotating:
		t.current, t.parent = 0, presented
	case c.fate == unknown:
	case c.fate == refused:
		return false, s
	case !c.grant.rotating:
		return handed == presented, s
	case presented == t.current:
		t.current, t.parent = handed, presented
		return handed != presented, s
	case t.current == 0: // the successor was handed out by a call of unknown outcome
		t.current = handed
	default:
		return handed == t.current, s
	}
	return true, s
}

// linearizable looks for an order of the calls that explains every answer, and keeps to the order of those that did not
// overlap. Tenants have nothing to do with each other, so one at a time is enough.
func (h *chronicle) linearizable(limit time.Duration) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(h.model(), h.operations(), limit)
}

func (h *chronicle) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return situation{} },
		Step: func(state, input, _ any) (bool, any) {
			return h.step(state.(situation), input.(*call))
		},
		DescribeOperation: func(input, _ any) string { return input.(*call).String() },
		DescribeState:     func(state any) string { return h.describe(state.(situation)) },
	}
}

func (h *chronicle) operations() []porcupine.Operation {
	var all []porcupine.Operation
	for _, c := range h.calls {
		all = append(all, porcupine.Operation{ClientId: c.process, Input: c, Call: c.called, Return: c.returned})
	}
	return all
}

func (h *chronicle) describe(s situation) string {
	text := ""
	for _, g := range h.grants {
		t := s.tokens[g.number]
		text += fmt.Sprintf("%v: %v", g, [...]string{"absent", "authenticated", "may be barred", "barred", "live", "revoked", "swept"}[t.phase])
		if t.phase == live {
			text += fmt.Sprintf(", secret %d after %d", t.current, t.parent)
		}
		text += "\n"
	}
	return text
}
