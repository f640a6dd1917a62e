package revocation

import (
	"cmp"
	"context"
	"time"

	"example.com/tokenstore/store"
)

// The upkeep of all tenants: removing what has expired, and forgetting what is older than the options say. One walk through
// the tenants, page by page, sees to all that is due, in slices in turn with those of the sweep.

// upkeeps are the kinds of upkeep.
var upkeeps = [...]actionKind{expire, trim}

// maxUpkeep is how much upkeep may be due in the plan, beside the page at hand. Half of it may stay there for as long as it takes,
// so that what a few tenants have to do for long keeps the walk from nothing; for the other half the walk pauses.
const maxUpkeep = pageSize

// walk is one walk through all tenants.
type walk struct {
	after string         // the last tenant that it has taken in
	sees  [trim + 1]bool // expire, trim: whether it sees to it
	left  [trim + 1]bool // whether some of it was left undone, for want of room
}

func (p *plan) every(kind actionKind) time.Duration {
	if kind == trim {
		return p.limits.trimEvery
	}
	return p.limits.expireEvery
}

// walks says whether a walk is under way, or due and begins, and there is room for its next page.
func (p *plan) walks(now time.Time) bool {
	if p.walk == nil {
		for _, kind := range upkeeps {
			if p.every(kind) > 0 && !now.Before(p.upkeepAt[kind]) {
				p.walk = cmp.Or(p.walk, &walk{})
				p.walk.sees[kind] = true
			}
		}
	}
	return p.walk != nil && !p.busy()
}

// busy says whether the walk has to pause.
func (p *plan) busy() bool { return p.upkeep-p.stays >= maxUpkeep/2 }

// allListed takes in a page of all tenants.
func (p *plan) allListed(now time.Time, names []string) {
	if len(names) == 0 {
		p.endWalk(now, p.every)
		return
	}
	p.walk.after = names[len(names)-1]
	for _, name := range names {
		q := p.queue(name)
		for _, kind := range upkeeps {
			if p.walk.sees[kind] && !q.due[kind] {
				q.due[kind] = true
				p.upkeep++
			}
		}
	}
}

// listAllFailed ends the walk, and puts off what it was to see to.
func (p *plan) listAllFailed(now time.Time) {
	p.endWalk(now, func(kind actionKind) time.Duration { return min(p.every(kind), p.limits.retryTo) })
}

// endWalk ends the walk. What it saw to is due again after a pause, or at once if it was left undone.
func (p *plan) endWalk(now time.Time, pause func(actionKind) time.Duration) {
	for _, kind := range upkeeps {
		if p.walk.sees[kind] {
			p.upkeepAt[kind] = now.Add(pause(kind))
		}
		if p.walk.left[kind] {
			p.upkeepAt[kind] = now
		}
	}
	p.walk = nil
}

// upkept takes in what a slice of upkeep did, and whether the tenant has more to do. If it has, it is due again in its next
// turn. Where it would keep the walk from going on it stays beside, or leaves if too many do, and another walk finds it. A slice that
// comes to the end may have had nothing to do, and says nothing of how long slices take.
func (p *plan) upkept(now time.Time, a action, more bool, took time.Duration) {
	defer p.rest(now, took)
	if more {
		p.pace.took(took)
	}
	q := p.byName[a.tenant]
	if q == nil {
		return
	}
	if more && p.walk != nil && p.busy() && !q.stays[a.kind] {
		if more = p.stays < maxUpkeep/2; more {
			q.stays[a.kind] = true
			p.stays++
		} else {
			p.walk.left[a.kind] = true
		}
	}
	if more {
		return
	}
	if q.stays[a.kind] {
		q.stays[a.kind] = false
		p.stays--
	}
	q.due[a.kind] = false
	p.upkeep--
	p.dropIdle(q)
}

// expire removes a slice of a tenant's expired tokens. What fails is tried again by the next walk.
func (e *Engine) expire(ctx context.Context, p *plan, a action) error {
	began := time.Now()
	a.bounds.Now, a.bounds.Emit = e.opts.Now().UTC().Round(0), e.opts.Outbox
	done, err := e.expireSlice(ctx, a)
	more := err == nil && !done.Next.IsZero() && !done.Next.After(a.bounds.Now)
	p.upkept(time.Now(), a, more, time.Since(began))
	if err != nil {
		return e.warn(ctx, "removing expired tokens failed", a, err)
	}
	e.news.ring(a.tenant)
	if f := e.opts.Events.Expired; f != nil && done.Removed > 0 {
		f(a.tenant, done.Removed)
	}
	return nil
}

func (e *Engine) expireSlice(ctx context.Context, a action) (store.Expired, error) {
	st, err := e.backend.Tenant(a.tenant)
	if err != nil {
		return store.Expired{}, err
	}
	return st.Expire(ctx, a.bounds)
}

// trim forgets a slice of what is older than the options say. What fails is tried again by the next walk.
func (e *Engine) trim(ctx context.Context, p *plan, a action) error {
	began := time.Now()
	done, err := e.trimSlice(ctx, a)
	p.upkept(time.Now(), a, err == nil && done != (store.Trimmed{}), time.Since(began))
	if err != nil {
		return e.warn(ctx, "trim failed", a, err)
	}
	return nil
}

func (e *Engine) trimSlice(ctx context.Context, a action) (store.Trimmed, error) {
	st, err := e.backend.Tenant(a.tenant)
	if err != nil {
		return store.Trimmed{}, err
	}
	now := e.opts.Now()
	return st.Trim(ctx, store.Trim{
		Guards: before(now, e.opts.MemoryFor), History: before(now, e.opts.HistoryFor), Events: before(now, e.opts.OutboxFor),
		Limit: a.bounds.Remove,
	})
}

// before is the time from before which nothing is kept any more: the zero time if all is kept for ever.
func before(now time.Time, keep time.Duration) time.Time {
	if keep < 0 {
		return time.Time{}
	}
	return now.Add(-keep)
}
