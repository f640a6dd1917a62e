package revocation

import (
	"slices"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// plan knows what is pending and says what to do next. It does nothing itself: no I/O, no goroutine, no clock, no
// randomness, so every path through it can be tested as a sequence of calls.
//
// Its memory is bounded whatever is pending: by limits.jobs revocations, by maxUpkeep and a page of tenants that upkeep is
// due for, and by one cursor for each tenant that has more pending than there was room for.
type plan struct {
	limits pacing

	ring    []*tenantQueue          // tenants that have something to do, in the order of their turn
	byName  map[string]*tenantQueue // the same
	jobs    int                     // how many jobs there are in all
	pace    pace                    // how many tokens a slice may remove
	restTo  time.Time               // no slice before then: as much time as the last one worked, or all that it took if it was upkeep, belongs to the foreground
	scanned bool                    // the last step looked; sweep next, so that neither starves the other

	lap    *lap                // the look for pending revocations under way, or nil
	laps   int                 // its number
	lapAt  time.Time           // when the next one is due
	relap  bool                // another one is due as soon as this one has ended
	misses int                 // how many laps in a row had a failure
	left   map[string]leftover // tenants that have more pending than there was room for

	walk     *walk               // the walk through all tenants for their upkeep under way, or nil
	upkeepAt [trim + 1]time.Time // expire, trim: when the next walk for it is due
	upkeep   int                 // how many times upkeep is due, of all tenants in the ring
	stays    int                 // how many of them have more to do than a walk waits for
}

// pacing is what the options say about time and size, and how much the plan may hold.
type pacing struct {
	hold               time.Duration // a slice should take no longer
	maxSlice           int
	pollEvery          time.Duration
	retryFrom, retryTo time.Duration
	trimEvery          time.Duration // not positive for never
	expireEvery        time.Duration // not positive for never
	jobs               int           // how many jobs there may be in all
	share              int           // how many of them one tenant may have
}

// tenantQueue holds a tenant's jobs in the order of their turn, and what upkeep it is due for.
type tenantQueue struct {
	name string
	jobs []*job
	due  [trim + 1]bool // expire, trim

	stays [trim + 1]bool // expire, trim: whether it has more to do than a walk waits for
	last  actionKind     // what its last turn went to
}

func (q *tenantQueue) idle() bool { return len(q.jobs) == 0 && !q.due[expire] && !q.due[trim] }

// job is a pending revocation.
type job struct {
	id        ulid.ULID
	failures  int
	notBefore time.Time
	alone     bool // it was in a slice that failed, and has to show whether it was the cause
}

// action is what to do next; exactly one of its kinds.
type action struct {
	kind   actionKind
	tenant string       // sweep, expire, trim, listRevocations
	ids    []ulid.ULID  // sweep
	bounds store.Bounds // sweep, expire, trim; its time is the loop's to fill in
	after  string       // listTenants, listAll
	cursor ulid.ULID    // listRevocations
	until  time.Time    // sleep
}

type actionKind uint8

// The first three are what the slices of a tenant go to, in turns.
const (
	sweep actionKind = iota
	expire
	trim
	sleep
	listTenants
	listRevocations
	listAll // tenants, for their upkeep
)

func newPlan(limits pacing) *plan {
	return &plan{
		limits: limits, pace: newPace(limits.hold, limits.maxSlice),
		byName: map[string]*tenantQueue{}, left: map[string]leftover{},
	}
}

// step says what to do at the given instant.
func (p *plan) step(now time.Time) action {
	if p.lap == nil && !now.Before(p.lapAt) {
		p.lap = &lap{}
		p.laps++
	}
	look := p.lap != nil && p.jobs < p.limits.jobs
	if look && !p.scanned {
		return p.look()
	}
	p.scanned = false
	if now.Before(p.restTo) {
		if look {
			return p.look()
		}
		return action{kind: sleep, until: p.restTo}
	}
	if p.walks(now) {
		return action{kind: listAll, after: p.walk.after}
	}
	if a, ok := p.turn(now); ok {
		return a
	}
	if look {
		return p.look()
	}
	return action{kind: sleep, until: p.nextDue()}
}

// turn takes the first tenant that has something ready, and puts it behind the others. Of what the tenant has ready, that
// comes first which its turn went to longest ago.
func (p *plan) turn(now time.Time) (action, bool) {
	for i, q := range p.ring {
		ids := q.ready(now)
		due := q.due
		due[sweep] = len(ids) > 0
		kind := q.last
		for range due {
			if kind = (kind + 1) % actionKind(len(due)); due[kind] {
				break
			}
		}
		if !due[kind] {
			continue
		}
		p.ring = append(slices.Delete(p.ring, i, i+1), q)
		q.last = kind
		size := p.pace.next()
		a := action{kind: kind, tenant: q.name, bounds: store.Bounds{Visit: 8 * size, Remove: size}}
		if kind == sweep {
			a.ids = ids
		}
		return a, true
	}
	return action{}, false
}

// ready returns the jobs for one slice: what is ready, in order; one that failed before goes alone.
func (q *tenantQueue) ready(now time.Time) []ulid.ULID {
	var ids []ulid.ULID
	for _, j := range q.jobs {
		switch {
		case now.Before(j.notBefore):
		case j.alone && len(ids) == 0:
			return []ulid.ULID{j.id}
		case !j.alone && len(ids) < store.MaxSlice:
			ids = append(ids, j.id)
		}
	}
	return ids
}

// nextDue is when there is something to do again, where nothing is ready now.
func (p *plan) nextDue() time.Time {
	var due time.Time
	by := func(at time.Time) {
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if p.lap == nil {
		by(p.lapAt)
	}
	for _, kind := range upkeeps {
		if p.walk == nil && p.every(kind) > 0 {
			by(p.upkeepAt[kind])
		}
	}
	for _, q := range p.ring {
		for _, j := range q.jobs {
			by(j.notBefore)
		}
	}
	return due
}

func (p *plan) queue(tenant string) *tenantQueue {
	q := p.byName[tenant]
	if q == nil {
		q = &tenantQueue{name: tenant, last: trim}
		p.byName[tenant] = q
		p.ring = append(p.ring, q)
	}
	return q
}

// swept takes in what a slice did. Retired revocations leave; those that it got to go behind the others; those that it did
// not get to keep their place. Where others wait for room, those that it got to leave too: their progress is durable, and
// the look that follows, at once or when half of the tenant's share is free, finds them again, behind the others.
func (p *plan) swept(now time.Time, a action, statuses []store.Status, took time.Duration) {
	q := p.byName[a.tenant]
	if q == nil {
		return
	}
	touched := map[ulid.ULID]bool{} // the value says whether it is retired
	for _, status := range statuses {
		touched[status.Tombstone.ID] = status.Retired
	}
	// What comes first is always got to, so it was passed over, as not pending any more, if it is untouched. Of what comes
	// later this can't be said: one walk may touch several, past others that have yet to get their turn.
	first := slices.IndexFunc(a.ids, func(id ulid.ULID) bool { _, was := touched[id]; return was })
	if first < 0 {
		first = len(a.ids)
	}
	gone := a.ids[:first]
	_, waiting := p.left[a.tenant]
	full := p.jobs >= p.limits.jobs
	var keep, behind []*job
	for _, j := range q.jobs {
		retired, was := touched[j.id]
		switch {
		case was && !retired && !waiting && !full:
			behind = append(behind, &job{id: j.id})
		case was || slices.Contains(gone, j.id):
			p.jobs--
		default:
			keep = append(keep, j)
		}
	}
	q.jobs = append(keep, behind...)
	work := p.pace.work(took)
	p.pace.took(took)
	if full || waiting && len(q.jobs) <= p.limits.share/2 {
		p.lookSoon(now)
	}
	p.dropIdle(q)
	p.rest(now, work)
}

// restUpTo is up to what a sweep rests however short its slices should be: where commits are slow they are longer.
const restUpTo = 50 * time.Millisecond

// rest leaves the foreground as much time as that, within bounds.
func (p *plan) rest(now time.Time, long time.Duration) {
	p.restTo = now.Add(min(long, max(10*p.limits.hold, restUpTo)))
}

// failed takes in that a slice failed. Its revocations are tried again one by one, and each that fails alone after a
// pause that doubles. Where memory is short it leaves instead, and a later lap finds it again, after a pause too.
func (p *plan) failed(now time.Time, a action, jitter float64) {
	q := p.byName[a.tenant]
	if q == nil {
		return
	}
	single := len(a.ids) == 1
	for i, j := range slices.Backward(q.jobs) {
		if !slices.Contains(a.ids, j.id) {
			continue
		}
		j.alone = true
		if !single {
			continue
		}
		j.failures++
		j.notBefore = now.Add(p.pause(j.failures, jitter))
		if p.crowded(q) {
			q.jobs = slices.Delete(q.jobs, i, i+1)
			p.jobs--
			if p.lap != nil {
				p.lap.failed = true
			}
		}
	}
	p.dropIdle(q)
}

// pause is exponential, with jitter in [0, 1) spreading it over half to one and a half of its length.
func (p *plan) pause(failures int, jitter float64) time.Duration {
	pause := p.limits.retryFrom << min(failures-1, 30)
	if pause <= 0 || pause > p.limits.retryTo {
		pause = p.limits.retryTo
	}
	return time.Duration(float64(pause) * (0.5 + jitter))
}

func (p *plan) dropIdle(q *tenantQueue) {
	if q.idle() {
		delete(p.byName, q.name)
		p.ring = slices.DeleteFunc(p.ring, func(other *tenantQueue) bool { return other == q })
	}
}
