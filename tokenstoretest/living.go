package tokenstoretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// world is a tenant that lives through a list of actions in one way.
type world struct {
	twin
	tb     testing.TB
	config Config
	way    way
	shared *premises

	clock   clock
	random  *randomness
	host    host
	options tokenstore.Options
	manager *tokenstore.Manager
	stop    func() error // ends the engine's Run; nil while it does not run

	known   []ulid.ULID // what was let in, in order
	secrets map[ulid.ULID][]string
	granted map[ulid.ULID]tokenstore.RefreshToken // as they were seen last
	came    map[int]ulid.ULID                     // the ids of resources
	marks   []uint64
	asked   []asked
	skipped map[ulid.ULID]bool // revocations that were optional
	doubted map[ulid.ULID]bool // ids that they name, of which it is not known whether they are remembered
	mortal  bool               // some token may have expired by now
}

// asked is a revocation that was recorded.
type asked struct {
	id      ulid.ULID
	targets []tokenstore.Target
}

func newWorld(t *rapid.T, tb testing.TB, c Config, m *premises, how way) *world {
	w := &world{
		twin: newTwin(), tb: tb, config: c, way: how, shared: m, random: newRandomness(m.seed),
		secrets: map[ulid.ULID][]string{}, granted: map[ulid.ULID]tokenstore.RefreshToken{}, came: map[int]ulid.ULID{}, skipped: map[ulid.ULID]bool{}, doubted: map[ulid.ULID]bool{},
	}
	w.page = how.Page
	w.host.policies = map[string]tokenstore.ClientPolicy{}
	w.options = m.options
	w.options.Now, w.options.Rand, w.options.Client, w.options.Evicted = w.clock.now, w.random, w.host.policy, w.host.evict
	w.begin(t, c.New(tb))
	return w
}

// begin has the world go on with a backend that was opened.
func (w *world) begin(t *rapid.T, b store.Backend) {
	w.open(t, b)
	if w.way.Sweep == sweepEngine {
		b = slow{b, time.Millisecond}
	}
	manager, err := tokenstore.New(b, &w.options)
	if err != nil {
		fail(t, "a manager must be made on a backend that is open", "New: %v", err)
	}
	w.manager = manager
	if w.way.Sweep != sweepEngine {
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx) }()
	w.stop = func() error {
		cancel()
		w.stop = nil
		return <-ended
	}
}

// halt ends the engine's Run, if there is any.
func (w *world) halt(t *rapid.T) {
	if w.stop == nil {
		return
	}
	if err := w.stop(); err != nil {
		fail(t, "the engine's Run must end without an error", "Run: %v", err)
	}
}

// release lets go of what a world holds, however it ends.
func (w *world) release() {
	if w.stop != nil {
		_ = w.stop()
	}
	_ = w.backend.Close()
}

// live has all actions happen, and returns their answers, then what there is at rest, and what is left when all is revoked and
// forgotten.
func (w *world) live(t *rapid.T, actions []action) []sight {
	var answers []sight
	for i, a := range actions {
		w.random.restart(w.shared.seed, i) // what an action draws must not depend on those before
		answers = append(answers, sight{to: a.name, text: a.run(t, w)})
		w.sweep(t)
		if w.way.Reopen > 0 && i%w.way.Reopen == w.way.Reopen-1 {
			w.halt(t)
			w.begin(t, w.config.Reopen(w.tb, w.backend))
		}
	}
	w.rest(t)
	answers = append(answers,
		sight{to: "the records at rest", text: text(w.dump(t, w.clock.now()))},
		sight{to: "the guards at rest", text: text(w.remembered(t)), unseen: !w.remembers()},
		sight{to: "the history at rest", text: text(w.history(t))},
		sight{to: "the feed at rest", text: text(w.feed(t)), unseen: !tells(w.store)},
	)
	w.random.restart(w.shared.seed, len(actions))
	if _, err := w.manager.Revoke(w.ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{Everything: true}}}); err != nil {
		fail(t, "a revocation that is within the limits must succeed", "%v", err)
	}
	w.rest(t)
	w.halt(t)
	w.trim(t, w.way.Slice)
	return append(answers, sight{to: "the end", text: text(w.dump(t, w.clock.now()))})
}

func (w *world) bounds() store.Bounds {
	return store.Bounds{Visit: w.way.Slice, Remove: w.way.Slice, Now: w.clock.now(), Emit: tokenstore.AllKinds}
}

// sweep gets on after an action, as the world's way has it.
func (w *world) sweep(t *rapid.T) {
	switch w.way.Sweep {
	case sweepLate:
		return
	case sweepEngine:
		w.wait(3 * time.Millisecond)
		return
	case sweepEarly:
		w.converge(t, len(w.known), w.bounds())
	default:
		pending := w.pending(t)
		if len(pending) > 0 {
			w.apply(t, pending, w.bounds())
		}
		if slices.Reverse(pending); len(pending) > 0 && w.way.Sweep == sweepTwo {
			w.apply(t, pending, w.bounds())
		}
	}
	if _, err := w.store.Expire(w.ctx, w.bounds()); err != nil {
		fail(t, "removing what is expired must succeed", "Expire: %v", err)
	}
}

// wait lets virtual time pass, and then lets the engine do what it does until more has passed.
func (w *world) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// rest sweeps to the end.
func (w *world) rest(t *rapid.T) {
	if w.way.Sweep == sweepEngine {
		for n := 0; len(w.pending(t)) > 0; n++ {
			if w.wait(time.Minute); n > 10 { // the engine looks once a minute for what it was not told
				fail(t, "L1 converge: every revocation must retire within bounds", "after %d minutes", n)
			}
		}
		return
	}
	w.converge(t, len(w.known), w.bounds())
}

// history is the canonical form of the revocations that were recorded, pending or retired.
func (w *world) history(t *rapid.T) []string {
	var lines []string
	for _, status := range slices.Concat(w.revocations(t, false), w.revocations(t, true)) {
		if !w.skipped[status.Tombstone.ID] {
			lines = append(lines, w.describeTombstone(status.Tombstone))
		}
	}
	slices.Sort(lines)
	return lines
}

func (w *world) describeTombstone(tombstone domain.Tombstone) string {
	return fmt.Sprintf("revocation %s after #%d, %s, through %s, %q by %q: %s", tombstone.ID, w.place(tombstone.Watermark),
		moment(tombstone.Time), moment(tombstone.Through), tombstone.Reason, tombstone.Actor, describeTargets(tombstone.Targets))
}

// feed is the canonical form of the events: in their order, without numbers, and without what the sweep has done.
func (w *world) feed(t *rapid.T) []string {
	var lines []string
	if !tells(w.store) {
		return nil
	}
	for cursor := uint64(0); ; {
		page, err := w.manager.Feed(w.ctx, tokenstore.FeedRequest{After: cursor, Limit: w.page})
		if err != nil {
			fail(t, "the feed must be read to its end", "Feed: %v", err)
		}
		for _, e := range page.Events {
			if e.Kind&(tokenstore.KindSwept|tokenstore.KindExpired) != 0 || w.skipped[e.Revocation] {
				continue
			}
			line := fmt.Sprintf("event %d, %s, #%d, revocation %s, %q by %q:", e.Kind, moment(e.Time), w.place(e.Sequence), e.Revocation, e.Reason, e.Actor)
			for _, token := range e.Tokens {
				if e.Kind != tokenstore.KindRevoked { // which names those that were still there
					line += " " + token.ID.String()
				}
			}
			lines = append(lines, line+" "+describeTargets(e.Targets))
		}
		if page.Next == page.Last {
			return lines
		}
		cursor = page.Next
	}
}

// standing is a token as a world has it.
type standing struct {
	view   store.View
	stored bool
	dead   bool // revoked or expired, and so there or not
}

func (w *world) look(t *rapid.T, id ulid.ULID) standing {
	v, err := w.store.Get(w.ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return standing{dead: true}
	}
	if err != nil {
		fail(t, "Get must succeed", "%v", err)
	}
	return standing{view: v, stored: true, dead: v.Revoked() || overdue(&v.Token, w.clock.now())}
}

// cause is why a genuine secret of a dead token is refused: by what the world holds.
func (s *standing) cause(now time.Time) error {
	switch {
	case !s.stored:
		return tokenstore.ErrUnknownToken
	case s.view.Revoked():
		return tokenstore.ErrRevoked
	case reached(s.view.Token.ExpiresAt, now):
		return tokenstore.ErrExpired
	}
	return tokenstore.ErrIdleExpired
}

// refusal is the canonical form of an error: the one that it is promised to match.
func refusal(err error) string {
	if err == nil {
		return "done"
	}
	if wrong, ok := errors.AsType[*tokenstore.FieldError](err); ok {
		return "bad " + wrong.Field
	}
	for _, known := range []error{
		tokenstore.ErrMalformed, tokenstore.ErrUnknownToken, tokenstore.ErrWrongClient, tokenstore.ErrConfirmation, tokenstore.ErrKeyMissing,
		tokenstore.ErrRevoked, tokenstore.ErrExpired, tokenstore.ErrIdleExpired, tokenstore.ErrReused, tokenstore.ErrRetryLimit,
		tokenstore.ErrAhead, tokenstore.ErrBeyondMemory, tokenstore.ErrNotFound, tokenstore.ErrExists, tokenstore.ErrConflict,
		tokenstore.ErrBusy, tokenstore.ErrDigestTaken, tokenstore.ErrCap,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "an error that is none of the known: " + err.Error()
}
