package revocation

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"example.com/tokenstore/store"
)

const (
	pageSize  = 100
	maxJobs   = 1000 // how many pending revocations the plan holds, whatever is pending
	maxShare  = 100  // how many of them one tenant may have
	trimEvery = time.Hour
)

// Run sweeps until ctx ends, and then returns nil; a slice under way is finished or rolled back first. It begins with what
// an earlier run, or another process, left pending. It returns [ErrRunning] while another Run of this engine is under
// way, and [store.ErrClosed] once the backend is closed; other errors are logged, reported and tried again. Run may be
// called again after it has returned.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer e.running.Store(false)
	p := newPlan(e.pacing())
	for ctx.Err() == nil {
		e.takeHints(p)
		err := e.act(ctx, p, p.step(time.Now()))
		if errors.Is(err, store.ErrClosed) {
			return err
		}
	}
	return nil
}

func (e *Engine) pacing() pacing {
	limits := pacing{
		hold: e.opts.Hold, maxSlice: e.opts.MaxSlice, pollEvery: e.opts.PollEvery,
		retryFrom: e.opts.RetryFrom, retryTo: e.opts.RetryTo,
		expireEvery: e.opts.ExpireEvery, jobs: maxJobs, share: maxShare,
	}
	if max(e.opts.MemoryFor, e.opts.HistoryFor, e.opts.OutboxFor) > 0 {
		limits.trimEvery = trimEvery
	}
	return limits
}

func (e *Engine) takeHints(p *plan) {
	e.mu.Lock()
	hints, missed := e.hints, e.missed
	e.hints, e.missed = nil, false
	e.mu.Unlock()
	now := time.Now()
	for _, h := range hints {
		p.hinted(now, h.tenant, h.id)
	}
	if missed {
		p.lookSoon(now)
	}
}

// act does what the plan says, and tells it what came of it.
func (e *Engine) act(ctx context.Context, p *plan, a action) error {
	switch a.kind {
	case sleep:
		e.rest(ctx, a.until)
	case listTenants, listRevocations:
		return e.look(ctx, p, a)
	case listAll:
		names, err := e.backend.Tenants(ctx, a.after, pageSize)
		if err != nil {
			p.listAllFailed(time.Now())
			return e.warn(ctx, "look at all tenants failed", a, err)
		}
		p.allListed(time.Now(), names)
	case sweep:
		return e.sweep(ctx, p, a)
	case expire:
		return e.expire(ctx, p, a)
	case trim:
		return e.trim(ctx, p, a)
	}
	return nil
}

// rest sleeps until the given time, or until a revocation is recorded.
func (e *Engine) rest(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-e.wake:
	case <-timer.C:
	}
}

// look reads a page of the tenants that have something pending, or of what a tenant has pending.
func (e *Engine) look(ctx context.Context, p *plan, a action) error {
	var names []string
	var page store.RevocationPage
	var err error
	if a.kind == listTenants {
		names, err = e.backend.Pending(ctx, a.after, pageSize)
	} else {
		page, err = e.pending(ctx, a)
	}
	switch {
	case err != nil:
		p.lookFailed(time.Now(), rand.Float64())
		return e.warn(ctx, "look for pending revocations failed", a, err)
	case a.kind == listTenants:
		p.tenantsListed(time.Now(), names, rand.Float64())
	default:
		p.revocationsListed(page)
	}
	return nil
}

func (e *Engine) pending(ctx context.Context, a action) (store.RevocationPage, error) {
	st, err := e.backend.Tenant(a.tenant)
	if err != nil {
		return store.RevocationPage{}, err
	}
	return st.Revocations(ctx, store.RevocationQuery{After: a.cursor, Limit: pageSize})
}

func (e *Engine) sweep(ctx context.Context, p *plan, a action) error {
	a.bounds.Now, a.bounds.Emit = e.opts.Now().UTC().Round(0), e.opts.Outbox
	began := time.Now()
	statuses, err := e.apply(ctx, a)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		p.failed(time.Now(), a, rand.Float64())
		e.opts.Logger.Warn("sweep failed, will be tried again", slog.String("tenant", a.tenant), slog.Int("revocations", len(a.ids)), slog.Any("error", err))
		if f := e.opts.Events.Failed; f != nil {
			f(a.tenant, a.ids, err)
		}
		return err
	}
	p.swept(time.Now(), a, statuses, time.Since(began))
	e.report(a.tenant, statuses)
	return nil
}

func (e *Engine) apply(ctx context.Context, a action) ([]store.Status, error) {
	st, err := e.backend.Tenant(a.tenant)
	if err != nil {
		return nil, err
	}
	return st.Apply(ctx, a.ids, a.bounds)
}

func (e *Engine) report(tenant string, statuses []store.Status) {
	e.news.ring(tenant)
	ended := false
	for _, status := range statuses {
		if f := e.opts.Events.Swept; f != nil {
			f(tenant, status)
		}
		if !status.Retired {
			continue
		}
		ended = true
		if f := e.opts.Events.Retired; f != nil {
			f(tenant, status)
		}
	}
	if ended {
		e.mu.Lock()
		close(e.retired)
		e.retired = make(chan struct{})
		e.mu.Unlock()
	}
}

func (e *Engine) warn(ctx context.Context, what string, a action, err error) error {
	if ctx.Err() == nil {
		e.opts.Logger.Warn(what, "tenant", a.tenant, "error", err)
	}
	return err
}
