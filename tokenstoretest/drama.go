package tokenstoretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing/synctest"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// drama is one schedule: a backend, the parts that callers and planners play on it, and what they have been seen to do. All of
// them are goroutines that stand at a gate, sleep or have ended whenever the schedule makes a choice, in a bubble of
// testing/synctest; so at most one of them is under way at any time.
type drama struct {
	explorer *explorer
	scratch  *scratch
	always   bool // every step is checked, and not only those that are new

	backend store.Backend
	plain   store.Store // without gates
	manager *tokenstore.Manager
	cancel  context.CancelFunc
	free    bool   // the gates are open
	doomed  *actor // the process ends when its verb has taken effect
	deaf    *actor // the answer of its verb will be lost

	actors  []*actor
	current *actor
	steps   int
	crashes int
	losses  int

	model  model
	event  int
	past   *chronicle // what the callers saw
	held   map[string]*held
	cuts   map[string]*cut
	logins map[string]point
	labels map[ulid.ULID]string // names of tokens in stories
	broken *broken
	told   []string // the story
	trail  []string // every step
}

// held is a token as its clients know it.
type held struct {
	grant   *grant
	token   tokenstore.RefreshToken // as it was imported
	secrets []tokenstore.Secret
}

// lookEvery is how often a planner looks by itself.
const lookEvery = 5 * time.Second

func newDrama(x *explorer, s *scratch, always bool) *drama {
	d := &drama{
		explorer: x, scratch: s, always: always, free: true, crashes: x.scope.crashes, losses: x.scope.losses,
		past:   &chronicle{rules: rules{leeway: !x.scope.strict, trims: true}, labels: map[string]int{}},
		labels: map[ulid.ULID]string{}, held: map[string]*held{}, cuts: map[string]*cut{}, logins: map[string]point{},
	}
	fresh := x.config.Quick
	if fresh == nil {
		fresh = x.config.New
	}
	d.backend = fresh(s)
	for n, p := range x.scope.parts {
		a := &actor{part: p, drama: d, random: rand.NewChaCha8([32]byte{byte(n), 1}), planner: len(p.tasks) == 0}
		if p.twin > 0 {
			a.twin = d.actors[p.twin-1]
		}
		d.actors = append(d.actors, a)
	}
	return d
}

// Read is the randomness of whoever is at work, so that ids and secrets don't depend on the schedule.
func (d *drama) Read(p []byte) (int, error) { return d.current.random.Read(p) }

// now stands still, for all that happens happens within a moment.
func (d *drama) now() time.Time { return start }

// begin starts a process: the manager, its planner, and all parts that have not ended.
func (d *drama) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	options := &tokenstore.Options{
		Now: d.now, Rand: d, Legacy: tokenstore.LegacyRule{AllowNoSession: true}, Lifetime: tokenstore.Never, IdleLifetime: tokenstore.Never,
		Outbox: tokenstore.NoOutbox,
		Engine: revocation.Options{MaxSlice: 1, MemoryFor: -1, HistoryFor: -1, OutboxFor: -1, ExpireEvery: -1, PollEvery: lookEvery},
	}
	if d.explorer.scope.strict {
		options.Leeway = -1
	}
	var err error
	if d.manager, err = tokenstore.New(gated{d.backend, d}, options); err != nil {
		d.scratch.Fatal(err)
	}
	if d.plain, err = d.backend.Tenant("default"); err != nil {
		d.scratch.Fatal(err)
	}
	own := &actor{part: part{name: "planner"}, drama: d, planner: true, begun: true}
	for n, a := range d.actors {
		if a.name == own.name {
			d.actors = append(d.actors[:n], d.actors[n+1:]...)
			break
		}
	}
	d.actors = append(d.actors, own)
	own.resume = make(chan bool)
	go d.sweep(ctx, own)
	if d.free {
		synctest.Wait() // it has looked, and found nothing
	}
}

func (d *drama) sweep(ctx context.Context, a *actor) {
	_ = d.manager.Run(context.WithValue(ctx, actorKey{}, a))
}

// other is the planner of another process.
func (d *drama) other(ctx context.Context, a *actor) {
	a.park("")
	a.fresh = true
	engine, err := revocation.New(gated{d.backend, d}, &revocation.Options{
		Now: d.now, MaxSlice: 1, MemoryFor: -1, HistoryFor: -1, OutboxFor: -1, ExpireEvery: -1, PollEvery: lookEvery, Outbox: revocation.NoOutbox,
	})
	if err != nil {
		d.scratch.Fatal(err)
	}
	_ = engine.Run(context.WithValue(ctx, actorKey{}, a))
}

// raise has the parts come to their first gates.
func (d *drama) raise() {
	ctx := context.Background()
	for _, a := range d.actors {
		if a.name == "planner" || !a.planner && a.next == len(a.tasks) {
			continue
		}
		a.resume, a.parked, a.fresh = make(chan bool), false, false
		if a.planner {
			run, cancel := context.WithCancel(ctx)
			before := d.cancel
			d.cancel = func() { cancel(); before() }
			go d.other(run, a)
			continue
		}
		go a.run(context.WithValue(ctx, actorKey{}, a))
	}
}

// play plays the schedule to its end, or until a promise is broken.
func (d *drama) play() {
	d.current = &actor{random: rand.NewChaCha8([32]byte{0, 2})}
	d.begin()
	d.current.tasks = d.explorer.scope.setup
	for ; d.current.next < len(d.current.tasks); d.current.next++ {
		d.current.tries = 0
		d.perform(context.Background(), nil, &d.current.tasks[d.current.next])
	}
	synctest.Wait()
	d.free = false
	d.raise()
	synctest.Wait()
	d.check()
	for d.broken == nil && d.step() {
		if d.steps > maxSteps {
			d.fail("L1 converge: what is pending must retire", "the planner never comes to rest")
		}
	}
	if d.broken == nil {
		d.converge()
	}
}

// maxSteps is more than any scope has.
const maxSteps = 100

// step lets one verb through, if any waits.
func (d *drama) step() bool {
	options := d.options()
	if len(options) == 0 {
		return false
	}
	d.take(options[d.explorer.choices.choose(len(options))])
	if d.always || d.explorer.choices.fresh() {
		d.check()
	}
	return true
}

// option is what may happen next: a verb of an actor, with or without the end of all processes after it, or that end alone.
type option struct {
	actor *actor
	crash bool
	lost  bool
}

func (d *drama) options() []option {
	var all []option
	for _, a := range d.actors {
		if a.ready() {
			all = append(all, option{actor: a})
		}
	}
	idle := len(all) == 0
	for _, o := range all {
		if !o.actor.writes() {
			continue // whether an answer that changes nothing is heard of makes no difference to a process that ends
		}
		if d.crashes > 0 {
			all = append(all, option{actor: o.actor, crash: true})
		}
		if d.losses > 0 {
			all = append(all, option{actor: o.actor, lost: true})
		}
	}
	if d.crashes > 0 && !idle {
		all = append(all, option{crash: true})
	}
	return all
}

// take has an option happen.
func (d *drama) take(o option) {
	d.steps++
	d.trail = append(d.trail, o.String())
	if o.actor != nil {
		if o.crash {
			d.doomed = o.actor
		}
		if o.lost {
			d.losses--
			d.deaf = o.actor
		}
		d.grant(o.actor)
	}
	if o.crash {
		d.crashes--
		d.crash()
	}
	d.deaf = nil
}

func (o option) String() string {
	var words []string
	if o.actor != nil {
		words = append(words, o.actor.String())
	}
	if o.lost {
		words = append(words, "the answer is lost")
	}
	if o.crash {
		words = append(words, "crash")
	}
	return strings.Join(words, ", ")
}

// grant lets an actor's verb through, and waits until it stands at a gate again, sleeps or has ended.
func (d *drama) grant(a *actor) {
	a.parked, a.begun, d.current = false, true, a
	a.resume <- true
	synctest.Wait()
}

// crash ends all processes in an instant, and begins anew with what the backend holds. Whoever has had no answer calls again.
func (d *drama) crash() {
	d.doomed = nil
	d.tell("crash")
	d.abandon()
	if d.explorer.config.Reopen != nil {
		d.backend = d.explorer.config.Reopen(d.scratch, d.backend)
	}
	d.begin()
	d.raise()
	synctest.Wait()
}

func (d *drama) abandon() {
	d.cancel()
	for _, a := range d.actors {
		if a.parked {
			a.parked = false
			a.resume <- false
		}
		a.unanswered()
	}
	synctest.Wait()
}

// end leaves nothing behind.
func (d *drama) end() {
	d.abandon()
	_ = d.backend.Close()
}

// converge waits until nothing is pending, for as long as a planner may take to look, and checks what is left.
func (d *drama) converge() {
	for range 3 {
		state, err := d.plain.State(context.Background())
		if err != nil {
			d.scratch.Fatal(err)
		}
		if state.Pending == 0 {
			d.final()
			return
		}
		time.Sleep(lookEvery + time.Second)
		synctest.Wait()
		for range 100 {
			options := d.options()
			if len(options) == 0 || d.broken != nil {
				break
			}
			d.take(options[0])
		}
	}
	d.fail("L1 converge: what is pending must retire", "")
}

// perform makes a call. a is nil for those that come before all parts.
func (d *drama) perform(ctx context.Context, a *actor, k *task) {
	c := &call{process: 0, kind: k.kind, called: int64(2 * d.steps)}
	if a != nil {
		a.call = c
	}
	err := d.make(ctx, a, k, c)
	c.returned = int64(2*d.steps + 1)
	switch {
	case err == nil:
	case errors.Is(err, tokenstore.ErrInvalidGrant), errors.Is(err, store.ErrNotFound):
		c.fate, c.cause = refused, err
	default:
		d.fail("exhaustive: a call must come to its end", "%v: %v", k, err)
		return
	}
	if a != nil {
		a.call = nil
		a.answer = c.answer.String()
	}
	d.note(c)
}

// note notes a call for the oracle of real time, if it is of a kind that it knows.
func (d *drama) note(c *call) {
	switch c.kind {
	case toIssue, toExchange, toIntrospect, toRevoke:
		d.past.add(c)
	}
}

func (d *drama) fail(promise, format string, args ...any) {
	if d.broken == nil {
		d.broken = &broken{
			promise: promise, details: fmt.Sprintf(format, args...) + "\n\t" + strings.Join(d.trail, "\n\t"), story: d.story(promise),
		}
	}
}
