package tokenstoretest

import (
	"errors"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
)

// The oracle of real time shares nothing with the model of sequential.go but the reading of targets. It compares only the times of
// calls, so it knows nothing of calls that overlap, and is sure of those that did not.

// deed is what revokes, and when: after it began, and before it was over.
type deed struct {
	began, over int64
	effect      effect
}

// violation returns the promise that is broken, and the calls that show it; or "".
func (h *chronicle) violation() (promise string, shown []*call) {
	deeds := h.deeds()
	for _, c := range h.calls {
		if g := h.mustHaveFailed(c, deeds); g != nil {
			return "S1 fence: a token is good for a call that began after its revocation had returned", h.about(g, c)
		}
		if g := h.failedForNothing(c, deeds); g != nil {
			return "S2 exact: a token is refused as revoked, and no call can have revoked it", h.about(g, c)
		}
	}
	return h.doubleSpent()
}

// deeds are the revocations and replays that may have taken effect. A revocation that is repeated took effect by the first of its
// calls that was acknowledged.
func (h *chronicle) deeds() []deed {
	var all []deed
	ofRevocation := map[*cut]int{}
	for _, c := range h.calls {
		acknowledged := c.kind == toRevoke || errors.Is(c.cause, tokenstore.ErrReused)
		if c.kind != toRevoke && c.kind != toExchange || c.fate != unknown && !acknowledged {
			continue
		}
		i, repeated := ofRevocation[c.cut]
		if c.cut == nil || !repeated {
			ofRevocation[c.cut] = len(all)
			all = append(all, deed{c.called, c.returned, c.effect})
			continue
		}
		all[i].began = min(all[i].began, c.called)
		all[i].over = min(all[i].over, c.returned)
	}
	return all
}

// mustHaveFailed returns a token that the call finds good, though it had been revoked.
func (h *chronicle) mustHaveFailed(c *call, deeds []deed) *grant {
	for n, g := range h.grants {
		if !c.good(g) {
			continue
		}
		for _, d := range deeds {
			if d.effect.names.has(n) && g.issue.returned < d.began && d.over < c.called {
				return g
			}
		}
	}
	return nil
}

// failedForNothing returns a token that the call finds revoked, though nothing can have revoked it.
func (h *chronicle) failedForNothing(c *call, deeds []deed) *grant {
	for n, g := range h.grants {
		if !c.bad(g) {
			continue
		}
		excused := false
		for _, d := range deeds {
			names := (d.effect.names | d.effect.may).has(n)
			switch {
			case c.kind == toIssue && g.asOf: // as of the authentication, which was the call before
				excused = excused || d.began < c.returned && (names || h.rules.trims)
			case c.kind == toIssue:
				since := names && d.effect.forGood.has(n) || c.uncertain && d.over > c.called && (names || h.rules.trims)
				excused = excused || d.began < c.returned && since
			default:
				excused = excused || names && d.began < c.returned && d.over > g.issue.called
			}
		}
		if !excused {
			return g
		}
	}
	return nil
}

// good reports whether the answer of a call shows that the token is good.
func (c *call) good(g *grant) bool {
	if c.kind == toList {
		return c.shown.has(g.number)
	}
	return c.grant == g && c.fate == done && c.kind != toIssue && c.kind != toAuthenticate
}

// bad reports whether the answer of a call shows that the token is revoked.
func (c *call) bad(g *grant) bool {
	switch {
	case c.kind == toList:
		return !c.shown.has(g.number) && g.issue != nil && g.issue.fate == done && g.issue.returned < c.called
	case c.grant != g || c.fate != refused:
		return false
	}
	return errors.Is(c.cause, tokenstore.ErrRevoked) || errors.Is(c.cause, tokenstore.ErrUnknownToken) ||
		errors.Is(c.cause, tokenstore.ErrBeyondMemory) || errors.Is(c.cause, store.ErrNotFound)
}

// about returns the calls that are about a token or revoke it, up to one of them.
func (h *chronicle) about(g *grant, last *call) []*call {
	var all []*call
	for _, c := range h.calls {
		if c.called <= last.returned && (c.grant == g || c.effect.names.has(g.number) || c == last) {
			all = append(all, c)
		}
	}
	return all
}

// doubleSpent looks for a secret that yielded two successors.
func (h *chronicle) doubleSpent() (promise string, shown []*call) {
	successor := map[int]*call{}
	parent := map[int]*call{}
	for _, c := range h.calls {
		if c.kind != toExchange || c.fate != done {
			continue
		}
		for _, other := range []*call{successor[c.presented], parent[c.handed]} {
			if other != nil && (other.handed != c.handed || other.presented != c.presented) {
				return "S7 single use: all exchanges of one secret must receive the same successor, and nobody else that", h.about(c.grant, c)
			}
		}
		successor[c.presented], parent[c.handed] = c, c
	}
	return "", nil
}
