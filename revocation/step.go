package revocation

import (
	"maps"
	"slices"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// plan knows what is pending and says what to do next. It does nothing itself: no I/O, no goroutine, no clock, no
// randomness, so every path through it can be tested as a sequence of calls.
type plan struct {
	limits pacing

	ring    []*tenantQueue          // tenants that have jobs, in the order of their turn
	byName  map[string]*tenantQueue // the same
	jobs    int                     // how many jobs there are in all
	size    int                     // how many tokens a slice may remove at present
	restTo  time.Time               // no slice before then: the last one's time again belongs to the foreground
	lap     *lap                    // the look for pending revocations under way, or nil
	lapAt   time.Time               // when the next one is due
	relap   bool                    // another one is due as soon as this one has ended
	misses  int                     // how many laps in a row had a failure
	scanned bool                    // the last step looked; sweep next, so that neither starves the other
	trimmed map[string]time.Time    // when a tenant was last trimmed

	expireAt    time.Time // when the next look for expired tokens is due
	expiring    bool      // one is under way
	expireAfter string    // the last tenant that it has taken in
	expireDue   int       // how many tenants it has taken in and not yet dealt with
}

// pacing is what the options say about time and size.
type pacing struct {
	hold               time.Duration // a slice should take no longer
	maxSlice           int
	pollEvery          time.Duration
	retryFrom, retryTo time.Duration
	trimEvery          time.Duration
	expireEvery        time.Duration // negative for never
}

const (
	minSlice = 16
	maxJobs  = 1000 // beyond that the look for more pauses, so that memory is bounded whatever is pending
)

// tenantQueue holds a tenant's jobs in the order of their turn.
type tenantQueue struct {
	name      string
	jobs      []*job
	trimDue   bool
	expireDue bool
	hasSwept  bool // its last turn went to a sweep, so the next one goes to expiry if that is due
}

func (q *tenantQueue) idle() bool { return len(q.jobs) == 0 && !q.trimDue && !q.expireDue }

// job is a pending revocation.
type job struct {
	id        ulid.ULID
	failures  int
	notBefore time.Time
	alone     bool // it was in a slice that failed, and has to show whether it was the cause
}

// lap is one look through all tenants for pending revocations, page by page.
type lap struct {
	tenants []string  // tenants still to be looked at, of the page at hand
	after   string    // the last tenant of that page
	cursor  ulid.ULID // where the look at the first of tenants stands
	failed  bool      // the look at a tenant failed
}

// action is what to do next; exactly one of its kinds.
type action struct {
	kind   actionKind
	tenant string       // sweep, trim, listRevocations
	ids    []ulid.ULID  // sweep
	bounds store.Bounds // sweep; its time is the loop's to fill in
	after  string       // listTenants
	cursor ulid.ULID    // listRevocations
	until  time.Time    // sleep
}

type actionKind uint8

const (
	sleep actionKind = iota
	sweep
	trim
	listTenants
	listRevocations
	listAll // tenants, for expiry
	expire
)

func newPlan(limits pacing) *plan {
	return &plan{
		limits: limits, size: min(64, limits.maxSlice),
		byName: map[string]*tenantQueue{}, trimmed: map[string]time.Time{},
	}
}

// step says what to do at the given instant.
func (p *plan) step(now time.Time) action {
	if p.lap == nil && !now.Before(p.lapAt) {
		p.lap = &lap{}
	}
	look := p.lap != nil && p.jobs < maxJobs
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
	if p.expireDue == 0 && p.limits.expireEvery > 0 && (p.expiring || !now.Before(p.expireAt)) {
		return action{kind: listAll, after: p.expireAfter}
	}
	if a, ok := p.turn(now); ok {
		return a
	}
	if look {
		return p.look()
	}
	return action{kind: sleep, until: p.nextDue()}
}

// turn takes the first tenant that has something ready, and puts it behind the others.
func (p *plan) turn(now time.Time) (action, bool) {
	for i, q := range p.ring {
		if q.trimDue {
			q.trimDue = false
			p.trimmed[q.name] = now
			if q.idle() {
				p.drop(q)
			}
			return action{kind: trim, tenant: q.name}, true
		}
		ids := q.ready(now)
		if len(ids) == 0 && !q.expireDue {
			continue
		}
		p.ring = append(slices.Delete(p.ring, i, i+1), q)
		if q.expireDue && (len(ids) == 0 || q.hasSwept) {
			q.hasSwept = false
			return action{kind: expire, tenant: q.name, bounds: store.Bounds{Visit: 8 * p.size, Remove: p.size}}, true
		}
		if len(ids) > 0 {
			q.hasSwept = true
			return action{kind: sweep, tenant: q.name, ids: ids,
				bounds: store.Bounds{Visit: 8 * p.size, Remove: p.size}}, true
		}
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
	if p.lap == nil {
		due = p.lapAt
	}
	if p.limits.expireEvery > 0 && !p.expiring && (due.IsZero() || p.expireAt.Before(due)) {
		due = p.expireAt
	}
	for _, q := range p.ring {
		for _, j := range q.jobs {
			if due.IsZero() || j.notBefore.Before(due) {
				due = j.notBefore
			}
		}
	}
	return due
}

// look returns the next page of the lap under way.
func (p *plan) look() action {
	p.scanned = true
	if len(p.lap.tenants) > 0 {
		return action{kind: listRevocations, tenant: p.lap.tenants[0], cursor: p.lap.cursor}
	}
	return action{kind: listTenants, after: p.lap.after}
}

// tenantsListed takes in a page of tenants that have something pending.
func (p *plan) tenantsListed(now time.Time, names []string, jitter float64) {
	if len(names) == 0 {
		p.endLap(now, jitter)
		return
	}
	p.lap.tenants = names
	p.lap.after = names[len(names)-1]
}

// revocationsListed takes in a page of a tenant's pending revocations.
func (p *plan) revocationsListed(page store.RevocationPage) {
	tenant := p.lap.tenants[0]
	for _, status := range page.Revocations {
		p.add(tenant, status.Tombstone.ID)
	}
	p.lap.cursor = page.Next
	if page.Next.IsZero() {
		p.lap.tenants = p.lap.tenants[1:]
	}
}

// lookFailed passes over the tenant that could not be looked at, or ends the lap if it was the list of tenants that failed.
// After a lap with a failure the next one starts after a pause that doubles.
func (p *plan) lookFailed(now time.Time, jitter float64) {
	if len(p.lap.tenants) > 0 {
		p.lap.tenants, p.lap.cursor, p.lap.failed = p.lap.tenants[1:], ulid.ULID{}, true
		return
	}
	p.lap.failed = true
	p.endLap(now, jitter)
}

func (p *plan) endLap(now time.Time, jitter float64) {
	switch {
	case p.lap.failed:
		p.misses++
		p.lapAt = now.Add(min(p.pause(p.misses, jitter), p.limits.pollEvery))
	case p.relap:
		p.misses, p.relap, p.lapAt = 0, false, now
	default:
		p.misses, p.lapAt = 0, now.Add(p.limits.pollEvery)
	}
	p.lap = nil
	maps.DeleteFunc(p.trimmed, func(_ string, at time.Time) bool { return !now.Before(at.Add(p.limits.trimEvery)) })
}

// lookSoon asks for a look at all tenants: there may be something that nobody named.
func (p *plan) lookSoon(now time.Time) {
	p.relap = p.lap != nil
	if p.lap == nil {
		p.lapAt = now
	}
}

// add takes in a pending revocation, if it is new. That there is room is the caller's to see to.
func (p *plan) add(tenant string, id ulid.ULID) {
	q := p.queue(tenant)
	if !slices.ContainsFunc(q.jobs, func(j *job) bool { return j.id == id }) {
		q.jobs = append(q.jobs, &job{id: id})
		p.jobs++
	}
}

func (p *plan) queue(tenant string) *tenantQueue {
	q := p.byName[tenant]
	if q == nil {
		q = &tenantQueue{name: tenant}
		p.byName[tenant] = q
		p.ring = append(p.ring, q)
	}
	return q
}

// swept takes in what a slice did. Retired revocations leave; those that it got to go behind the others; those that it did
// not get to keep their place.
func (p *plan) swept(now time.Time, a action, statuses []store.Status, took time.Duration) {
	q := p.byName[a.tenant]
	if q == nil {
		return
	}
	touched := map[ulid.ULID]bool{} // the value says whether it is retired
	for _, status := range statuses {
		touched[status.Tombstone.ID] = status.Retired
		q.trimDue = q.trimDue || status.Retired
	}
	// What comes first is always got to, so it was passed over, as not pending any more, if it is untouched. Of what comes
	// later this can't be said: one walk may touch several, past others that have yet to get their turn.
	first := slices.IndexFunc(a.ids, func(id ulid.ULID) bool { _, was := touched[id]; return was })
	if first < 0 {
		first = len(a.ids)
	}
	gone := a.ids[:first]
	var keep, behind []*job
	for _, j := range q.jobs {
		retired, was := touched[j.id]
		switch {
		case was && !retired:
			behind = append(behind, &job{id: j.id})
		case was || slices.Contains(gone, j.id):
			p.jobs--
		default:
			keep = append(keep, j)
		}
	}
	q.jobs = append(keep, behind...)
	if q.trimDue && now.Before(p.trimmed[q.name].Add(p.limits.trimEvery)) {
		q.trimDue = false
	}
	if q.idle() {
		p.drop(q)
	}
	p.pace(now, took)
}

// pace fits the size of slices to how long they take, and leaves as much time again to the foreground.
func (p *plan) pace(now time.Time, took time.Duration) {
	switch {
	case took > p.limits.hold:
		p.size = max(p.size/2, min(minSlice, p.limits.maxSlice))
	case took < p.limits.hold/2:
		p.size = min(p.size*2, p.limits.maxSlice)
	}
	p.restTo = now.Add(min(took, 10*p.limits.hold))
}

// failed takes in that a slice failed. Its revocations are tried again one by one, and each that fails alone after a
// pause that doubles. Where memory is short they are dropped, and found again by a later lap.
func (p *plan) failed(now time.Time, a action, jitter float64) {
	q := p.byName[a.tenant]
	if q == nil {
		return
	}
	var keep []*job
	for _, j := range q.jobs {
		if slices.Contains(a.ids, j.id) {
			j.alone = true
			if len(a.ids) == 1 {
				j.failures++
				j.notBefore = now.Add(p.pause(j.failures, jitter))
			}
			if p.jobs > maxJobs/2 {
				p.jobs--
				continue
			}
		}
		keep = append(keep, j)
	}
	q.jobs = keep
	if q.idle() {
		p.drop(q)
	}
}

// pause is exponential, with jitter in [0, 1) spreading it over half to one and a half of its length.
func (p *plan) pause(failures int, jitter float64) time.Duration {
	pause := p.limits.retryFrom << min(failures-1, 30)
	if pause <= 0 || pause > p.limits.retryTo {
		pause = p.limits.retryTo
	}
	return time.Duration(float64(pause) * (0.5 + jitter))
}

func (p *plan) drop(q *tenantQueue) {
	delete(p.byName, q.name)
	p.ring = slices.DeleteFunc(p.ring, func(other *tenantQueue) bool { return other == q })
}
