package tokenstoretest

import (
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"github.com/anishathalye/porcupine"
	"github.com/oklog/ulid/v2"
)

// at is a call on one of ann's three tokens, in a span of time.
func at(called, returned int64, kind callKind, token int, a answer) *call {
	return &call{kind: kind, grant: &grant{number: token}, called: called, returned: returned, answer: a}
}

func exchanged(called, returned int64, token, presented int, a answer) *call {
	c := at(called, returned, toExchange, token, a)
	c.presented = presented
	return c
}

func introspected(called, returned int64, token, presented int, a answer) *call {
	c := exchanged(called, returned, token, presented, a)
	c.kind = toIntrospect
	return c
}

// annRevoked is a revocation of all of ann's tokens.
func annRevoked(called, returned int64, id int) *call {
	return &call{kind: toRevoke, cut: &cut{number: id}, called: called, returned: returned}
}

func lost(c *call) *call {
	c.fate, c.returned = unknown, never
	return c
}

func hands(secret int) answer      { return answer{handed: secret} }
func refusedAs(cause error) answer { return answer{fate: refused, cause: cause} }

// What the two judges say of histories written by hand. Token 0 is issued with secret 1, token 1 with secret 2.
func TestHistories(t *testing.T) {
	const fine, illegal = porcupine.Ok, porcupine.Illegal
	revoked, reused, gone := tokenstore.ErrRevoked, tokenstore.ErrReused, tokenstore.ErrUnknownToken
	tests := []struct {
		name    string
		rules   rules
		calls   []*call
		promise string // by the oracle of real time
		order   porcupine.CheckResult
	}{
		{"exchanged after it was revoked", rules{},
			[]*call{annRevoked(10, 11, 0), exchanged(12, 13, 0, 1, hands(3))}, "S1", illegal},
		{"exchanged while it is revoked", rules{},
			[]*call{annRevoked(10, 13, 0), exchanged(12, 14, 0, 1, hands(3))}, "", fine},
		{"revoked at any time after an unknown outcome", rules{},
			[]*call{lost(annRevoked(10, 0, 0)), exchanged(12, 13, 0, 1, hands(3)), exchanged(14, 15, 0, 3, refusedAs(revoked))}, "", fine},
		{"never revoked by an unknown outcome", rules{},
			[]*call{lost(annRevoked(10, 0, 0)), exchanged(12, 13, 0, 1, hands(3))}, "", fine},
		{"good again after it was revoked", rules{},
			[]*call{lost(annRevoked(10, 0, 0)), exchanged(12, 13, 0, 1, refusedAs(revoked)), exchanged(14, 15, 0, 1, hands(3))}, "", illegal},
		{"there again after it was swept", rules{},
			[]*call{annRevoked(10, 11, 0), exchanged(12, 13, 0, 1, refusedAs(gone)), exchanged(14, 15, 0, 1, refusedAs(revoked))}, "", illegal},
		{"refused for nothing", rules{},
			[]*call{exchanged(12, 13, 0, 1, refusedAs(revoked))}, "S2", illegal},
		{"refused for a revocation from before its issue", rules{},
			[]*call{annRevoked(-3, -2, 0), exchanged(12, 13, 0, 1, refusedAs(revoked))}, "S2", illegal},
		{"refused for a revocation that came later", rules{},
			[]*call{exchanged(12, 13, 0, 1, refusedAs(revoked)), annRevoked(14, 15, 0)}, "S2", illegal},
		{"not in the list for nothing", rules{},
			[]*call{at(12, 13, toList, 0, answer{ids: []ulid.ULID{{1}}})}, "S2", illegal},
		{"half revoked, by exchanges", rules{},
			[]*call{annRevoked(10, 20, 0), exchanged(12, 13, 0, 1, refusedAs(revoked)), exchanged(14, 15, 1, 2, hands(3))}, "", illegal},
		{"half revoked, by a list", rules{},
			[]*call{annRevoked(10, 20, 0), at(12, 13, toList, 0, answer{ids: []ulid.ULID{{1}}})}, "", illegal},
		{"two successors", rules{leeway: true},
			[]*call{exchanged(10, 13, 0, 1, hands(3)), exchanged(12, 14, 0, 1, hands(4))}, "S7", illegal},
		{"one successor, twice", rules{leeway: true},
			[]*call{exchanged(10, 13, 0, 1, hands(3)), exchanged(12, 14, 0, 1, hands(3))}, "", fine},
		{"one successor, twice without leeway", rules{},
			[]*call{exchanged(10, 13, 0, 1, hands(3)), exchanged(12, 14, 0, 1, hands(3))}, "", illegal},
		{"a successor of unknown outcome", rules{leeway: true},
			[]*call{lost(exchanged(10, 0, 0, 1, answer{})), introspected(12, 13, 0, 1, refusedAs(reused)), exchanged(14, 15, 0, 1, hands(3)),
				introspected(16, 17, 0, 3, answer{})}, "", fine},
		{"an exchange that took effect, and whose next attempt was a replay, and nobody knows of either", rules{leeway: true},
			[]*call{lost(exchanged(10, 0, 0, 1, answer{uncertain: true})), introspected(12, 13, 0, 1, refusedAs(reused)),
				exchanged(14, 15, 0, 1, hands(3)), exchanged(16, 17, 0, 3, hands(4)), exchanged(18, 19, 0, 4, refusedAs(revoked))}, "", fine},
		{"an exchange that took effect, and was a replay, though nobody can have gone on without leeway", rules{},
			[]*call{lost(exchanged(10, 0, 0, 1, answer{uncertain: true})), introspected(12, 13, 0, 1, refusedAs(reused)),
				introspected(14, 15, 0, 1, refusedAs(revoked))}, "", illegal},
		{"an exchange of one attempt that took effect, and was a replay", rules{leeway: true},
			[]*call{lost(exchanged(10, 0, 0, 1, answer{})), introspected(12, 13, 0, 1, refusedAs(reused)),
				exchanged(14, 15, 0, 1, hands(3)), exchanged(16, 17, 0, 3, hands(4)), exchanged(18, 19, 0, 4, refusedAs(revoked))}, "", illegal},
		{"good after its secret was replayed", rules{},
			[]*call{exchanged(10, 11, 0, 1, hands(3)), exchanged(12, 13, 0, 1, refusedAs(reused)), introspected(14, 15, 0, 3, answer{})}, "S1", illegal},
		{"replayed, and nothing was outdated", rules{},
			[]*call{exchanged(10, 11, 0, 1, refusedAs(reused))}, "", illegal},
		{"its user's other token is good after a replay", rules{reach: tokenstore.ReplayUser},
			[]*call{exchanged(10, 11, 0, 1, hands(3)), exchanged(12, 13, 0, 1, refusedAs(reused)), exchanged(14, 15, 1, 2, hands(4))}, "S1", illegal},
		{"updated after it was revoked", rules{},
			[]*call{annRevoked(10, 11, 0), at(12, 13, toUpdate, 0, answer{})}, "S1", illegal},
		{"shown after it was revoked", rules{},
			[]*call{annRevoked(10, 11, 0), at(12, 13, toGet, 0, answer{})}, "S1", illegal},
		{"hidden after it was revoked", rules{},
			[]*call{annRevoked(10, 11, 0), at(12, 13, toGet, 0, refusedAs(store.ErrNotFound))}, "", fine},
		{"issued as of before a revocation", rules{},
			[]*call{at(10, 11, toAuthenticate, 2, answer{}), annRevoked(12, 13, 0), at(14, 15, toIssue, 2, hands(9))}, "", illegal},
		{"refused as of before a revocation", rules{},
			[]*call{at(10, 11, toAuthenticate, 2, answer{}), annRevoked(12, 13, 0), at(14, 15, toIssue, 2, refusedAs(revoked))}, "", fine},
		{"refused as of after a revocation", rules{},
			[]*call{annRevoked(12, 13, 0), at(14, 15, toAuthenticate, 2, answer{}), at(16, 17, toIssue, 2, refusedAs(revoked))}, "", illegal},
		{"a revocation that is repeated is the first", rules{},
			[]*call{lost(annRevoked(10, 0, 0)), at(12, 13, toIssue, 2, hands(9)), annRevoked(14, 15, 0), introspected(16, 17, 2, 9, answer{})}, "", fine},
		{"another revocation is another", rules{},
			[]*call{lost(annRevoked(10, 0, 0)), at(12, 13, toIssue, 2, hands(9)), annRevoked(14, 15, 1), introspected(16, 17, 2, 9, answer{})}, "S1", illegal},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := &chronicle{rules: test.rules}
			for n, session := range []string{"s1", "s2", "s3"} {
				h.grants = append(h.grants, &grant{number: n, asOf: n == 2, life: life{
					id: ulid.ULID{byte(n)}, user: "ann", client: "web", session: session, rotating: true, created: start,
				}})
			}
			h.grants[0].id = ulid.ULID{15: 7}
			h.add(at(0, 1, toIssue, 0, hands(1)))
			for _, c := range append([]*call{at(2, 3, toIssue, 1, hands(2))}, test.calls...) {
				h.add(c)
			}
			cuts := map[int]*cut{}
			for i, c := range h.calls {
				c.process = i
				if c.cut == nil {
					c.grant = h.grants[c.grant.number]
					if c.kind == toIssue {
						c.grant.issue = c
					}
					continue
				}
				if cuts[c.cut.number] == nil {
					cuts[c.cut.number] = c.cut
					c.cut.targets = []tokenstore.Target{{UserID: "ann"}}
				}
				c.cut = cuts[c.cut.number]
			}
			h.prepare()
			promise, _ := h.violation()
			order, _ := h.linearizable(searchLimit)
			if promise[:min(2, len(promise))] != test.promise || order != test.order {
				t.Errorf("the oracle of real time says %q, want %q; the order is %s, want %s", promise, test.promise, order, test.order)
			}
		})
	}
}
