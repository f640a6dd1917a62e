package tokenstoretest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// runOrder is a case of the law that the order, grouping and repetition of revocations can't matter: what is revoked is
// the union of what they name. The same tokens are put into two backends; the same targets are revoked in both, in the
// one as drawn, in the other shuffled, some of them twice, and in other groups. In between, both sweep as they like.
func runOrder(t *rapid.T, tb testing.TB, c Config) {
	var grants []*life
	for range rapid.IntRange(1, 12).Draw(t, "tokens") {
		grants = append(grants, drawOrderGrant(t))
	}
	seed := byte(rapid.IntRange(0, 255).Draw(t, "seed"))
	one := newOrdered(t, tb, c, grants, seed)
	defer one.release()
	other := newOrdered(t, tb, c, grants, seed)
	defer other.release()

	var drawn [][]tokenstore.Target
	for range rapid.IntRange(1, 5).Draw(t, "revocations") {
		drawn = append(drawn, one.drawTargets(t, one.tenants[0]))
	}
	one.revokeAll(t, drawn)
	other.revokeAll(t, regroup(t, drawn))
	if a, b := one.dump(t, tokenstore.Fenced), other.dump(t, tokenstore.Fenced); a != b {
		fail(t, "order: a set of revocations must refuse the same tokens in any order and grouping", "as drawn:\n%s\nregrouped:\n%s", a, b)
	}
	one.rest(t)
	other.rest(t)
	a, b := one.dump(t, tokenstore.Eventual), other.dump(t, tokenstore.Eventual)
	if a != b {
		fail(t, "order: a set of revocations must leave the same tokens in any order and grouping", "as drawn:\n%s\nregrouped:\n%s", a, b)
	}
	if want := one.survivors(t, drawn); a != want {
		fail(t, "order: exactly what no target names must be left", "got:\n%s\nwant:\n%s", a, want)
	}
}

// ordered is a backend with tokens whose revocations come in one order.
type ordered struct {
	*machine
	tokens []tokenstore.RefreshToken
}

func drawOrderGrant(t *rapid.T) *life {
	l := drawGrant(t)
	l.created = pick(t, "created", start, start.Add(-idle), start.Add(-absolute), cutOff.Add(-idle))
	if l.created.Before(cutOff) {
		l.session = ""
	}
	return l
}

func newOrdered(t *rapid.T, tb testing.TB, c Config, grants []*life, seed byte) *ordered {
	o := &ordered{machine: newMachine(t, tb, c, false)}
	random := newRandomness(seed)
	for _, grant := range grants {
		l := *grant
		id, err := ulid.New(ulid.Timestamp(l.created), random)
		if err != nil {
			fail(t, "an id must be drawn", "%v", err)
		}
		l.id = id
		servers, err := domain.NewResourceServers(resourceServers(l.audiences)...)
		if err != nil {
			fail(t, "resource servers must be accepted", "%v", err)
		}
		o.tokens = append(o.tokens, tokenstore.RefreshToken{
			ID: l.id, UserID: l.user, ClientID: l.client, SessionID: sessionID(l.session), CreatedAt: l.created,
			Offline: l.offline, ResourceServers: servers,
		})
		results, err := o.tenants[0].Import(o.ctx, o.tokens[len(o.tokens)-1:])
		if err != nil || results[0].Outcome != tokenstore.Imported {
			fail(t, "S2 exact: what no revocation bars must be let in", "%+v, %v", results, err)
		}
		o.letIn(t, o.tenants[0], &l)
	}
	return o
}

// revokeAll revokes, with slices of the sweep in between.
func (o *ordered) revokeAll(t *rapid.T, revocations [][]tokenstore.Target) {
	for _, targets := range revocations {
		o.revokeTargets(t, o.tenants[0], ulid.ULID{}, targets)
		for range rapid.IntRange(0, 3).Draw(t, "slices") {
			if pending := o.tenants[0].pending(t, o.machine); len(pending) > 0 {
				o.applySome(t, o.tenants[0], pending)
			}
		}
	}
}

// regroup draws another way to revoke the same targets.
func regroup(t *rapid.T, revocations [][]tokenstore.Target) [][]tokenstore.Target {
	all := slices.Concat(revocations...)
	for range rapid.IntRange(0, 3).Draw(t, "twice") {
		all = append(all, rapid.SampledFrom(all).Draw(t, "target"))
	}
	all = rapid.Permutation(all).Draw(t, "order")
	var groups [][]tokenstore.Target
	for len(all) > 0 {
		n := rapid.IntRange(1, min(len(all), 4)).Draw(t, "group")
		groups = append(groups, all[:n])
		all = all[n:]
	}
	return groups
}

// dump is what is there: ids and JSON, in order.
func (o *ordered) dump(t *rapid.T, c tokenstore.Consistency) string {
	return dump(t, o.all(t, o.tenants[0], c))
}

// survivors is the dump of the tokens that no target names.
func (o *ordered) survivors(t *rapid.T, revocations [][]tokenstore.Target) string {
	var left []tokenstore.RefreshToken
	for i, l := range o.tenants[0].model.lives {
		if !slices.ContainsFunc(slices.Concat(revocations...), func(target tokenstore.Target) bool { return names(target, l) }) {
			left = append(left, o.tokens[i])
		}
	}
	slices.SortFunc(left, func(a, b tokenstore.RefreshToken) int { return a.ID.Compare(b.ID) })
	return dump(t, left)
}

func dump(t *rapid.T, tokens []tokenstore.RefreshToken) string {
	var b strings.Builder
	for _, token := range tokens {
		data, err := json.Marshal(token)
		if err != nil {
			fail(t, "a token must have a JSON form", "%v", err)
		}
		b.WriteString(token.ID.String() + " " + string(data) + "\n")
	}
	return b.String()
}
