package tokenstoretest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"example.com/tokenstore"
	"pgregory.net/rapid"
)

// Questions, which change no token and no revocation. One of them may create a tenant.
var (
	previewOperation = operation{"preview", 1, (*machine).preview}
	exportOperation  = operation{"export", 1, (*machine).exportLines}
	healthOperation  = operation{"health", 1, (*machine).health}
	tenantsOperation = operation{"tenants", 1, (*machine).listTenants}
	followOperation  = operation{"follow", 1, (*machine).follow}
)

// stored says which tokens are live and may be there, and which are so for sure. What is expired may have been removed.
func (m *machine) stored(w *tenant) (sure, may []*life) {
	for _, l := range w.model.lives {
		if l.gone || w.model.covered(l) {
			continue
		}
		may = append(may, l)
		if !l.expiredAt(m.clock.now()) && !l.expiredAt(m.clock.latest) {
			sure = append(sure, l)
		}
	}
	return sure, may
}

// preview compares what a revocation would reach with what the model says.
func (m *machine) preview(t *rapid.T) {
	w := m.tenant(t)
	targets := m.drawTargets(t, w)
	limit := pick(t, "limit", 1, 3, 1000)
	got, err := w.Preview(m.ctx, targets, limit)
	if err != nil {
		fail(t, "a preview that is within the limits must succeed", "%v", err)
	}
	named := func(lives []*life) (n int) {
		r := acknowledged{targets: targets}
		for _, l := range lives {
			if r.names(l) {
				n++
			}
		}
		return n
	}
	sure, may := m.stored(w)
	if got.Matched > named(may) || got.Complete && got.Matched < named(sure) {
		fail(t, "S2 exact: a preview must count what a revocation would reach", "%+v of %d..%d: %+v", got, named(sure), named(may), targets)
	}
	if got.Examined > limit || !got.Complete && got.Examined < limit {
		fail(t, "a preview must look at as much as it is allowed to", "%+v, limit %d", got, limit)
	}
}

// exportLines exports resources: all that is live, nothing that is revoked, and no secret.
func (m *machine) exportLines(t *rapid.T) {
	w := m.tenant(t)
	var out strings.Builder
	report, err := w.Export(m.ctx, &out, nil)
	if err != nil {
		fail(t, "an export must succeed", "%v", err)
	}
	text := out.String()
	sure, may := m.stored(w)
	if report.Tokens < len(sure) || report.Tokens > len(may) || strings.Count(text, "\n") != report.Tokens {
		fail(t, "S2 exact: an export must have what is not revoked", "%+v of %d..%d", report, len(sure), len(may))
	}
	for _, l := range sure {
		if !strings.Contains(text, l.id.String()) && !strings.Contains(text, l.foreign) {
			fail(t, "S2 exact: an export must have what is not revoked", "%s", l.id)
		}
	}
	for _, l := range w.model.lives {
		if slices.ContainsFunc(l.secrets, func(secret string) bool { return strings.Contains(text, secret) }) {
			fail(t, "no export must have a secret", "%s", l.id)
		}
	}
}

// health compares the figures of the engines with what is pending.
func (m *machine) health(t *rapid.T) {
	pending, busy := 0, 0
	var oldest time.Time
	for _, w := range m.tenants {
		all := w.revocations(t, m, false)
		if pending += len(all); len(all) > 0 {
			busy++
		}
		for _, status := range all {
			if at := status.Tombstone.Time; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
	}
	m.faults.pause(true)
	defer m.faults.pause(false)
	for i := range m.engines {
		h, err := m.engines[i].root.Health(m.ctx)
		if err != nil || h.Pending != pending || h.Tenants != busy || !h.OldestPending.Equal(oldest) || h.Running != (m.engines[i].stop != nil) {
			fail(t, "Health must show what is pending", "%+v, %v; %d of %d tenants since %v", h, err, pending, busy, oldest)
		}
	}
}

// listTenants creates a tenant, which works if it was not listed, and after which it is.
func (m *machine) listTenants(t *rapid.T) {
	m.faults.pause(true)
	defer m.faults.pause(false)
	listed := m.namesOfTenants(t)
	for _, w := range m.tenants {
		if m.tokens(t, w)+len(w.pending(t, m)) > 0 && !slices.Contains(listed, w.name) {
			fail(t, "a tenant that holds something must be listed", "%s: %q", w.name, listed)
		}
	}
	if !slices.IsSorted(listed) || slices.ContainsFunc(listed, func(name string) bool { return !slices.Contains(tenantNames, name) }) {
		fail(t, "S6 isolated: only what was written to must be listed, in order", "%q", listed)
	}
	name := pick(t, "create", tenantNames...)
	_, err := m.engines[woken].root.CreateTenant(m.ctx, name, nil)
	if was := slices.Contains(listed, name); was != errors.Is(err, tokenstore.ErrExists) || !was && err != nil {
		fail(t, "a tenant must be created once", "%s, listed %t: %v", name, was, err)
	}
	if !slices.Contains(m.namesOfTenants(t), name) {
		fail(t, "a tenant that was created must be listed", "%s", name)
	}
}

func (m *machine) namesOfTenants(t *rapid.T) (names []string) {
	for name, err := range m.engines[woken].root.Tenants(m.ctx) {
		if err != nil {
			fail(t, "Tenants must succeed", "%v", err)
		}
		names = append(names, name)
	}
	return names
}

// follow has the reader follow the feed until it has caught up, in a bubble: what is missing would be waited for in real time.
func (m *machine) follow(t *rapid.T) {
	w := m.tenant(t)
	m.noteEvents(t, w)
	r := &w.reader
	if r.cursor >= r.latest {
		t.Skip("nothing new")
	}
	ctx, cancel := context.WithTimeout(m.ctx, time.Minute)
	defer cancel()
	for e, err := range w.Follow(ctx, r.cursor) {
		if err != nil {
			gone, ok := errors.AsType[*tokenstore.CursorGoneError](err)
			if !ok {
				fail(t, "F1 feed: a follower must be shown what there is", "%s after %d of %d: %v", w.name, r.cursor, r.latest, err)
			}
			r.cursor = m.takeGone(t, w, gone)
			return
		}
		if e.Number <= r.cursor {
			fail(t, "F1 feed: numbers must rise", "%s: %d after %d", w.name, e.Number, r.cursor)
		}
		m.takeEvent(t, w, e)
		if r.cursor = e.Number; r.cursor >= r.latest {
			return
		}
	}
}
