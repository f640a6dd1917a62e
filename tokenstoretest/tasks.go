package tokenstoretest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// scope is a small situation, all of whose schedules are played: what has happened before, and the parts that are played at once.
// Beside them there is always a planner.
type scope struct {
	name    string
	setup   []task
	parts   []part
	crashes int  // how often all processes end, at any point
	losses  int  // how often an answer is lost, of any call that writes
	strict  bool // there is no leeway: an outdated secret is replay
	size    size
}

// size says where a scope is played.
type size uint8

const (
	small  size = iota // everywhere
	middle             // by default
	wide               // by default only where each verb is one step, for there are many more schedules otherwise
	long               // where EXHAUSTIVE=long asks for it
)

// chosen reports whether the scope is to be played. The environment variable EXHAUSTIVE is small, long or empty.
func (s *scope) chosen(c Config) bool {
	switch os.Getenv("EXHAUSTIVE") {
	case "small":
		return s.size == small
	case "long":
		return true
	}
	return s.size <= middle || s.size == wide && !c.Steps
}

// part is what one caller does. One without a task is the planner of another process.
type part struct {
	name  string
	tasks []task
	twin  int // the number of the part before, from 1, that does the same and is as good as this one: it begins first
}

// task is a call. What it is about has a name.
type task struct {
	kind       callKind
	name       string
	user       string
	session    string
	client     string
	generation int    // exchange
	asOf       string // issue: an authentication
}

const (
	toImport callKind = "import"
	toForget callKind = "forget"
)

// String is the task as a command of a story.
func (k *task) String() string {
	var words []string
	say := func(word, value string) {
		if value != "" {
			words = append(words, word+value)
		}
	}
	switch k.kind {
	case toAuthenticate:
		say("login ", k.name)
	case toForget:
		say("# forgets all guards", " ")
	default:
		say(string(k.kind)+" ", k.name)
	}
	say("user=", k.user)
	say("client=", k.client)
	say("session=", k.session)
	say("as-of=", k.asOf)
	if k.kind == toExchange {
		say("generation=", fmt.Sprint(k.generation))
	}
	if k.kind == toImport && k.user != "" {
		say("created=", created.Format(time.DateOnly))
	}
	return strings.Join(words, " ")
}

func (k *task) target() tokenstore.Target {
	return tokenstore.Target{UserID: k.user, SessionID: k.session, ClientID: k.client}
}

// created is when imported tokens were.
var created = start.AddDate(0, 0, -2)

// possible reports whether all that the task is about is there.
func (d *drama) possible(k *task) bool {
	h := d.held[k.name]
	switch k.kind {
	case toExchange:
		return h != nil && len(h.secrets) > k.generation
	case toIntrospect:
		return h != nil
	case toIssue:
		_, ok := d.logins[k.asOf]
		return ok || k.asOf == ""
	}
	return true
}

// make makes the call that a task is.
func (d *drama) make(ctx context.Context, a *actor, k *task, c *call) error {
	d.player(a).from = point{}
	switch k.kind {
	case toAuthenticate:
		state, err := d.manager.State(ctx)
		d.logins[k.name] = point{kind: fromStep, event: d.event, sequence: state.Sequence}
		d.tell(k.String())
		return err
	case toIssue:
		return d.issue(ctx, a, k, c)
	case toImport:
		return d.bring(ctx, a, k, c)
	case toExchange:
		h := d.held[k.name]
		c.grant, c.presented = h.grant, h.grant.known[k.generation]
		out, err := d.manager.Exchange(ctx, tokenstore.ExchangeRequest{Secret: h.secrets[k.generation], ClientID: h.grant.client})
		if err == nil {
			c.handed = d.past.handedOut(h.grant, out.Secret, nil)
			if len(h.secrets) < len(h.grant.known) {
				h.secrets = append(h.secrets, out.Secret)
			}
		}
		return err
	case toIntrospect:
		h := d.held[k.name]
		newest := len(h.secrets) - 1
		c.grant, c.presented = h.grant, h.grant.known[newest]
		seen, err := d.manager.Introspect(ctx, h.secrets[newest])
		if err == nil && !seen.Active {
			err = seen.Cause
		}
		return err
	case toRevoke:
		r := d.cuts[k.name]
		if r == nil {
			r = d.past.newCut(ulid.ULID{14: 1, 15: byte(len(d.cuts) + 1)}, []tokenstore.Target{k.target()})
			d.cuts[k.name] = r
		}
		c.cut = r
		_, err := d.manager.Revoke(ctx, tokenstore.RevokeRequest{ID: r.id, Targets: r.targets})
		return err
	default:
		st, err := gated{d.backend, d}.Tenant("default")
		if err == nil {
			_, err = st.Trim(ctx, store.Trim{Guards: start.AddDate(1, 0, 0), Limit: 100})
		}
		return err
	}
}

func (d *drama) issue(ctx context.Context, a *actor, k *task, c *call) error {
	g := d.past.newGrant(life{user: k.user, client: "web", session: k.session, rotating: true}, k.asOf != "")
	c.grant = g
	from := d.logins[k.asOf]
	d.player(a).from = from
	issued, err := d.manager.Issue(ctx, tokenstore.IssueRequest{
		UserID: k.user, ClientID: g.client, SessionID: sessionID(k.session), AsOf: from.asOf(),
	})
	if err == nil {
		c.handed = d.past.handedOut(g, issued.Secret, &issued.Token)
		d.held[k.name] = &held{grant: g, secrets: []tokenstore.Secret{issued.Secret}}
	}
	return err
}

// bring imports a token, which is the same each time.
func (d *drama) bring(ctx context.Context, a *actor, k *task, c *call) error {
	h := d.held[k.name]
	if h == nil {
		id := ulid.MustNew(ulid.Timestamp(created), d)
		credential, err := domain.NewCredential(id, d)
		if err != nil {
			return err
		}
		g := d.past.newGrant(life{id: id, user: k.user, client: "web", session: k.session, rotating: true, created: created}, false)
		h = &held{grant: g, token: tokenstore.RefreshToken{
			ID: id, UserID: k.user, ClientID: "web", SessionID: sessionID(k.session), Rotating: true, CreatedAt: created,
			FamilyDigest: credential.FamilyDigest(), SecretDigest: credential.SecretDigest(),
		}}
		d.past.handedOut(g, credential.Secret(), &h.token)
		h.secrets = []tokenstore.Secret{credential.Secret()}
		g.issue = &call{kind: toIssue, grant: g, called: int64(2 * d.steps), returned: int64(2*d.steps + 1)}
		d.held[k.name] = h
	}
	d.player(a).from = point{kind: fromTime, time: created}
	c.grant = h.grant
	results, err := d.manager.Import(ctx, []tokenstore.RefreshToken{h.token})
	if err == nil {
		err = results[0].Err
	}
	return err
}
