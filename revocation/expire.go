package revocation

import (
	"context"
	"time"

	"example.com/tokenstore/store"
)

// The planner's part in expiry: one look at all tenants, a page at a time, and slices in turn with those of the sweep.

// allListed takes in a page of all tenants, whose tokens are then looked at for expiry before the next page is asked for.
func (p *plan) allListed(now time.Time, names []string) {
	if len(names) == 0 {
		p.expiring, p.expireAfter, p.expireAt = false, "", now.Add(p.limits.expireEvery)
		return
	}
	p.expiring, p.expireAfter = true, names[len(names)-1]
	for _, name := range names {
		if q := p.queue(name); !q.expireDue {
			q.expireDue = true
			p.expireDue++
		}
	}
}

// listAllFailed ends the look for expired tokens; the next one comes in its time.
func (p *plan) listAllFailed(now time.Time) { p.allListed(now, nil) }

// expired takes in that a tenant's expired tokens have been removed, as far as a slice goes: there may be more.
func (p *plan) expired(now time.Time, tenant string, more bool, took time.Duration) {
	q := p.byName[tenant]
	if q != nil && !more {
		q.expireDue = false
		p.expireDue--
		// A cap leaves guards where nothing is ever revoked, so this is when every tenant is trimmed.
		q.trimDue = q.trimDue || !now.Before(p.trimmed[tenant].Add(p.limits.trimEvery))
		if q.idle() {
			p.drop(q)
		}
	}
	p.pace(now, took)
}

// expire removes a slice of a tenant's expired tokens. What fails is tried again by the next look.
func (e *Engine) expire(ctx context.Context, p *plan, a action) error {
	began := time.Now()
	a.bounds.Now, a.bounds.Emit = e.opts.Now().UTC().Round(0), e.opts.Outbox
	done, err := e.expireSlice(ctx, a)
	more := err == nil && !done.Next.IsZero() && !done.Next.After(a.bounds.Now)
	p.expired(time.Now(), a.tenant, more, time.Since(began))
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
