package revocation

import (
	"maps"
	"slices"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// The planner's look for pending revocations, and how they share its memory.
//
// A lap takes of each tenant what there is room for, remembers where it stopped, and goes on to the next tenant; it pauses
// only while there is no room at all. The next lap goes on with that tenant from there, and round. While something waits
// for room, a revocation that has had its slice and is not retired gives up its place, and another lap follows at once. So
// whatever is pending, of N tenants that have something pending,
//
//   - a revocation of a tenant that has nothing else pending has had its slice after at most 3 N + 10 slices of the sweep,
//   - one of a tenant with R more after at most R + 1 times as many; if no other tenant has anything pending, each of the R has
//     at most one slice before it, and those that have a place at the time one more,
//
// leaving aside what fails. How much is pending in other tenants doesn't matter.

// lap is one look through all tenants for pending revocations, page by page.
type lap struct {
	tenants []string  // tenants still to be looked at, of the page at hand
	after   string    // the last tenant of that page
	cursor  ulid.ULID // where the look at the first of tenants stands, or zero if it has yet to begin
	missed  bool      // the look at a tenant failed
	failed  bool      // the look at all failed, or something that failed was given up for room
}

// leftover says where the look at a tenant that had more pending than there was room for goes on.
type leftover struct {
	cursor ulid.ULID
	lap    int // the lap that left it
}

// hasRoom says whether there is room for a revocation more of the tenant.
func (p *plan) hasRoom(tenant string) bool {
	q := p.byName[tenant]
	return p.jobs < p.limits.jobs && (q == nil || len(q.jobs) < p.limits.share)
}

// crowded says whether what can do without a place should: what failed, and what was named out of turn. So neither ever
// keeps out what a lap finds.
func (p *plan) crowded(q *tenantQueue) bool {
	return p.jobs > p.limits.jobs/2 || q != nil && len(q.jobs) > p.limits.share/2
}

// add takes in a pending revocation, if it is new and there is room. It reports whether the plan has it.
func (p *plan) add(tenant string, id ulid.ULID) bool {
	q := p.byName[tenant]
	if q != nil && slices.ContainsFunc(q.jobs, func(j *job) bool { return j.id == id }) {
		return true
	}
	if !p.hasRoom(tenant) {
		return false
	}
	q = p.queue(tenant)
	q.jobs = append(q.jobs, &job{id: id})
	p.jobs++
	return true
}

// hinted takes in a revocation that was named, or leaves it to a lap.
func (p *plan) hinted(now time.Time, tenant string, id ulid.ULID) {
	if p.crowded(p.byName[tenant]) || !p.add(tenant, id) {
		p.lookSoon(now)
	}
}

// look returns the next page of the lap under way.
func (p *plan) look() action {
	p.scanned = true
	for len(p.lap.tenants) > 0 {
		tenant := p.lap.tenants[0]
		if p.lap.cursor.IsZero() {
			p.lap.cursor = p.left[tenant].cursor
		}
		if p.hasRoom(tenant) {
			return action{kind: listRevocations, tenant: tenant, cursor: p.lap.cursor}
		}
		p.leaveRest(tenant)
	}
	return action{kind: listTenants, after: p.lap.after}
}

// leaveRest remembers where the look at the first tenant stands, and goes on to the next one.
func (p *plan) leaveRest(tenant string) {
	p.left[tenant] = leftover{p.lap.cursor, p.laps}
	p.nextTenant()
}

func (p *plan) nextTenant() { p.lap.tenants, p.lap.cursor = p.lap.tenants[1:], ulid.ULID{} }

// tenantsListed takes in a page of tenants that have something pending.
func (p *plan) tenantsListed(now time.Time, names []string, jitter float64) {
	if len(names) == 0 {
		p.endLap(now, jitter)
		return
	}
	p.lap.tenants = names
	p.lap.after = names[len(names)-1]
}

// revocationsListed takes in a page of a tenant's pending revocations, as far as there is room.
func (p *plan) revocationsListed(page store.RevocationPage) {
	tenant := p.lap.tenants[0]
	for _, status := range page.Revocations {
		if !p.add(tenant, status.Tombstone.ID) {
			p.leaveRest(tenant)
			return
		}
		p.lap.cursor = status.Tombstone.ID
	}
	_, midway := p.left[tenant] // the look didn't begin at the beginning
	atEnd := page.Next.IsZero()
	if atEnd && !midway {
		p.nextTenant()
		return
	}
	p.lap.cursor = page.Next // round, at the end
	switch {
	case !p.hasRoom(tenant):
		p.leaveRest(tenant)
	case atEnd:
		delete(p.left, tenant)
	}
}

// lookFailed passes over the tenant that could not be looked at, or ends the lap if it was the list of tenants that failed.
// After a lap with a failure the next one starts after a pause that doubles; but what others have left is looked for at once.
func (p *plan) lookFailed(now time.Time, jitter float64) {
	if len(p.lap.tenants) > 0 {
		p.lap.missed = true
		p.nextTenant()
		return
	}
	p.lap.failed = true
	p.endLap(now, jitter)
}

func (p *plan) endLap(now time.Time, jitter float64) {
	again := p.relap && !p.lap.failed
	switch {
	case again:
		p.relap, p.lapAt = false, now
	case p.lap.failed || p.lap.missed:
		p.misses++
		p.lapAt = now.Add(min(p.pause(p.misses, jitter), p.limits.pollEvery))
	default:
		p.lapAt = now.Add(p.limits.pollEvery)
	}
	if !p.lap.failed && !p.lap.missed {
		p.misses = 0
		// What an entire lap did not come across has nothing pending any more.
		maps.DeleteFunc(p.left, func(_ string, l leftover) bool { return l.lap != p.laps })
	}
	p.lap = nil
}

// lookSoon asks for a look at all tenants: there may be something that nobody named, or that is left.
func (p *plan) lookSoon(now time.Time) {
	p.relap = p.lap != nil
	if p.lap == nil {
		p.lapAt = now
	}
}
