package tokenstoretest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// action is a call that can happen to any world. Tokens, marks and revocations are meant by their place in the order in which
// they came up, so that it means the same in each of them.
type action struct {
	name string
	run  func(t *rapid.T, w *world) string // the answer, in canonical form
}

// GoString is what the log of a failing case shows of an action.
func (a action) GoString() string { return a.name }

func (a action) String() string { return a.name }

// drawAction draws one.
func (m *premises) drawAction(t *rapid.T) action {
	switch pick(t, "action", "nothing", "issue", "issue", "issue", "import", "import", "exchange", "exchange", "exchange", "introspect", "revokeSecret",
		"metadata", "get", "list", "list", "list", "revoke", "revoke", "revoke", "again", "revocation", "history", "preview", "clock", "mark", "policy") {
	case "nothing": // what a list is made shorter by
		return action{"nothing", func(*rapid.T, *world) string { return "" }}
	case "import":
		return m.drawImport(t)
	case "exchange":
		return drawExchange(t)
	case "introspect":
		return drawIntrospect(t)
	case "revokeSecret":
		return drawRevokeSecret(t)
	case "metadata":
		return drawUpdate(t)
	case "get":
		return drawGet(t)
	case "list":
		return drawList(t)
	case "revoke":
		return drawRevoke(t)
	case "again":
		return drawAgain(t)
	case "revocation":
		return drawRevocation(t)
	case "history":
		return action{"history", func(t *rapid.T, w *world) string { return text(w.history(t)) }}
	case "preview":
		return drawPreview(t)
	case "clock":
		d := pick(t, "step", time.Millisecond, time.Second, 9*time.Second, 10*time.Second, time.Minute, idle, absolute)
		return action{fmt.Sprint("clock ", d), func(_ *rapid.T, w *world) string { w.clock.step(d); return "" }}
	case "mark":
		return action{"mark", func(t *rapid.T, w *world) string {
			w.point(t)
			w.marks = append(w.marks, w.points[len(w.points)-1])
			return ""
		}}
	case "policy":
		client := pick(t, "client", clients...)
		p := tokenstore.ClientPolicy{Cap: pick(t, "cap", 0, 1, 2, 3), CapRefuse: rapid.Bool().Draw(t, "capRefuse"),
			IdleLifetime: pick(t, "idleLifetime", 0, tokenstore.Never, tokenstore.Lifetime(5*time.Minute))}
		return action{fmt.Sprintf("policy of %s %+v", client, p), func(_ *rapid.T, w *world) string {
			w.host.set(client, p)
			return ""
		}}
	}
	return drawIssue(t)
}

func drawIssue(t *rapid.T) action {
	l := drawGrant(t)
	r := tokenstore.IssueRequest{
		UserID: l.user, ClientID: l.client, SessionID: sessionID(l.session), ResourceServers: resourceServers(l.audiences), Offline: l.offline,
		Metadata: metadata(pick(t, "metadata", labels...)), Static: chance(t, "static", 4), Confirmation: pick(t, "key", keys...),
		Lifetime:     pick(t, "lifetime", tokenstore.Never, tokenstore.Never, 0, tokenstore.Lifetime(time.Minute)),
		IdleLifetime: pick(t, "idleLifetime", tokenstore.Never, tokenstore.Never, 0),
	}
	from, mark := pick(t, "from", fromNow, fromNow, fromStep, fromTime), rapid.IntRange(0, 9).Draw(t, "mark")
	before := pick(t, "before", 0, time.Millisecond, time.Second, time.Minute, idle)
	name := fmt.Sprintf("issue %+v, %d %d %v", r, from, mark, before)
	return action{name, func(t *rapid.T, w *world) string {
		r := r
		switch {
		case from == fromStep && len(w.marks) > 0:
			r.AsOf = tokenstore.AsOfSequence(w.marks[mark%len(w.marks)])
		case from == fromTime:
			r.AsOf = tokenstore.AsOfTime(w.clock.now().Add(-before), 0)
		}
		issued, err := w.manager.Issue(w.ctx, r)
		if err != nil {
			return refusal(err)
		}
		answer := fmt.Sprintf("%s %s for %v", w.describe(issued.Token), issued.Secret.Reveal(), w.host.takeEvicted())
		w.letIn(t, issued.Token.ID, issued.Secret.Reveal())
		return answer
	}}
}

// letIn makes a token known that has come in.
func (w *world) letIn(t *rapid.T, id ulid.ULID, secret string) {
	s := w.look(t, id)
	if !s.stored {
		fail(t, "S2 exact: a token that was let in must be stored", "%s", id)
	}
	w.points = append(w.points, s.view.Token.Sequence)
	w.known = append(w.known, id)
	w.grant(s.view.Token)
	if secret != "" {
		w.secrets[id] = []string{secret}
	}
}

// grant notes how a token was seen last.
func (w *world) grant(token tokenstore.RefreshToken) {
	w.granted[token.ID] = token
	w.mortal = w.mortal || mortal(&token)
}

// mortal reports whether a token may expire.
func mortal(token *tokenstore.RefreshToken) bool {
	return !token.ExpiresAt.IsZero() || !token.IdleExpiresAt.IsZero()
}

// drawImport has resources come in, again and again, but none that an exchange has given an end: one that has expired comes in
// again if it has been removed. Nor does one come in for the first time after its id was named beside nothing but dead tokens' (R13):
// it is refused if one of these was there still.
func (m *premises) drawImport(t *rapid.T) action {
	return m.imports(rapid.SliceOfN(rapid.IntRange(0, len(m.resources)-1), 1, 6).Draw(t, "resources"))
}

func (m *premises) imports(which []int) action {
	return action{fmt.Sprint("import ", which), func(t *rapid.T, w *world) string {
		var answer string
		lasting := slices.DeleteFunc(slices.Clone(which), func(i int) bool {
			token, there := w.granted[w.came[i]]
			return there && mortal(&token) || !there && w.doubted[m.resources[i].token.ID]
		})
		for some := range slices.Chunk(lasting, w.way.Batch) {
			var tokens []tokenstore.RefreshToken
			for _, i := range some {
				tokens = append(tokens, m.resources[i].token)
			}
			results, err := w.manager.Import(w.ctx, tokens)
			if err != nil || len(results) != len(tokens) {
				fail(t, "an import must say what became of every token", "%v", err)
			}
			for i, result := range results {
				w.came[some[i]] = result.ID
				answer += w.imported(t, m.resources[some[i]], result) + "\n"
			}
		}
		return answer
	}}
}

// imported is the canonical form of what became of a token: one that was there, and is dead, must not come back, whether it is
// there still or not.
func (w *world) imported(t *rapid.T, r resource, result tokenstore.ImportResult) string {
	if result.Outcome == tokenstore.Imported {
		if slices.Contains(w.known, result.ID) {
			fail(t, "S4 no resurrection: a token that was removed must not come back", "%s", result.ID)
		}
		w.letIn(t, result.ID, r.opaque)
		return "imported " + w.describe(w.granted[result.ID])
	}
	if slices.Contains(w.known, result.ID) && w.look(t, result.ID).dead {
		return fmt.Sprintf("%s is dead", result.ID)
	}
	return fmt.Sprintf("%s: %d, %s", result.ID, result.Outcome, refusal(result.Err))
}

// choice is a token, and a generation of its secrets, back from the current one.
type choice struct{ token, back int }

func drawChoice(t *rapid.T) choice {
	return choice{rapid.IntRange(0, 9).Draw(t, "token"), pick(t, "back", 0, 0, 0, 1, 1, 2)}
}

// secret finds what is chosen, if there is any.
func (w *world) secret(c choice) (ulid.ULID, string, bool) {
	if len(w.known) == 0 {
		return ulid.ULID{}, "", false
	}
	id := w.known[c.token%len(w.known)]
	all := w.secrets[id]
	if c.back >= len(all) {
		return id, "", false
	}
	return id, all[len(all)-1-c.back], true
}

// refused is the canonical form of a refusal. That of a dead token must be for the cause that goes with what the world holds.
func (w *world) refused(t *rapid.T, s standing, err error) string {
	if !s.dead {
		return refusal(err)
	}
	if want := s.cause(w.clock.now()); !errors.Is(err, want) {
		fail(t, "metamorphic: a dead token must be refused for the cause that goes with what is stored", "got %v, want %v", err, want)
	}
	return "dead"
}

func drawExchange(t *rapid.T) action {
	c := drawChoice(t)
	wrong := pick(t, "wrong", "", "", "", "", "client", "key")
	by := pick(t, "by", 0, 0, 0, time.Minute, time.Hour)
	return action{fmt.Sprintf("exchange %v %s %v", c, wrong, by), func(t *rapid.T, w *world) string {
		id, secret, ok := w.secret(c)
		if !ok {
			return "no such secret"
		}
		before, grant := w.look(t, id), w.granted[id]
		r := tokenstore.ExchangeRequest{Secret: tokenstore.NewSecret(secret), ClientID: grant.ClientID, Confirmation: grant.Confirmation}
		if by > 0 {
			r.ExpiresBy = w.clock.now().Add(by)
		}
		switch wrong {
		case "client":
			r.ClientID = "another"
		case "key":
			r.Confirmation.Value += "?"
		}
		got, err := w.manager.Exchange(w.ctx, r)
		switch {
		case err == nil && before.dead:
			fail(t, "S1 fence: a dead token must not be exchanged", "%s", id)
		case err == nil:
			if next := got.Secret.Reveal(); !slices.Contains(w.secrets[id], next) {
				w.secrets[id] = append(w.secrets[id], next)
			}
			w.grant(got.Token)
			return fmt.Sprintf("%s %s %t", w.describe(got.Token), got.Secret.Reveal(), got.Retried)
		case wrong != "" && before.dead: // which of the causes comes first is not asked
			return "dead"
		}
		return w.refused(t, before, err)
	}}
}

func drawIntrospect(t *rapid.T) action {
	c := drawChoice(t)
	return action{fmt.Sprintf("introspect %v", c), func(t *rapid.T, w *world) string {
		id, secret, ok := w.secret(c)
		if !ok {
			return "no such secret"
		}
		before := w.look(t, id)
		got, err := w.manager.Introspect(w.ctx, tokenstore.NewSecret(secret))
		switch {
		case err != nil:
			fail(t, "Introspect must succeed", "%v", err)
		case got.Active && before.dead:
			fail(t, "S1 fence: a dead token must not be active", "%s", id)
		case got.Active:
			return w.describe(got.Token)
		case before.dead && c.back > 0: // an outdated secret is said to be one
			return "dead"
		}
		return w.refused(t, before, got.Cause)
	}}
}

func drawUpdate(t *rapid.T) action {
	c, label := drawChoice(t), pick(t, "metadata", labels...)
	return action{fmt.Sprintf("metadata %v %s", c, label), func(t *rapid.T, w *world) string {
		if len(w.known) == 0 {
			return "no such token"
		}
		id := w.known[c.token%len(w.known)]
		before := w.look(t, id)
		got, err := w.manager.UpdateMetadata(w.ctx, id, metadata(label))
		switch {
		case before.dead && before.view.Revoked() && err == nil:
			fail(t, "S1 fence: no update must touch a revoked token", "%s", id)
		case before.dead:
			return "dead"
		case err != nil:
			return refusal(err)
		}
		return w.describe(got)
	}}
}

func drawGet(t *rapid.T) action {
	c, consistency := drawChoice(t), pick(t, "consistency", tokenstore.Eventual, tokenstore.Fenced)
	return action{fmt.Sprintf("get %v %d", c, consistency), func(t *rapid.T, w *world) string {
		if len(w.known) == 0 {
			return "no such token"
		}
		id := w.known[c.token%len(w.known)]
		got, err := w.manager.Get(w.ctx, id, consistency)
		switch {
		case w.look(t, id).dead:
			return "dead"
		case err != nil:
			return refusal(err)
		}
		return w.describe(got)
	}}
}

func drawList(t *rapid.T) action {
	r := tokenstore.ListRequest{
		Consistency: pick(t, "consistency", tokenstore.Eventual, tokenstore.Fenced),
		SessionID:   pick(t, "session", "", "", "", sessions[0]), UserID: pick(t, "user", users[0], users[0], users[1], ""),
	}
	if r.UserID != "" || r.SessionID != "" {
		r.ClientID = pick(t, "client", "", clients[0], clients[0], clients[1])
	}
	return action{fmt.Sprintf("list %+v", r), func(t *rapid.T, w *world) string {
		var lines []string
		r := r
		r.Limit = w.page
		for token, err := range w.manager.All(w.ctx, r) {
			if err != nil {
				fail(t, "a list must be read to its end", "%v", err)
			}
			if !w.look(t, token.ID).dead {
				lines = append(lines, w.describe(token))
			}
		}
		return text(lines)
	}}
}
