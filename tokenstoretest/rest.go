package tokenstoretest

import (
	"context"
	"time"

	"example.com/tokenstore/store"
	"pgregory.net/rapid"
)

// rest ends a case without an engine: slices of a drawn size must retire everything, in a bounded number of them.
func (m *machine) rest(t *rapid.T) {
	bounds := store.Bounds{
		Visit: rapid.IntRange(1, 3).Draw(t, "visit"), Remove: rapid.IntRange(1, 2).Draw(t, "remove"), Now: m.clock.now(),
		Emit: m.outbox(),
	}
	for _, w := range m.tenants {
		slices := 16
		for _, r := range w.model.revocations { // each looks at every token at most twice for every target
			slices += 2 * len(r.targets) * (len(w.model.lives) + 2)
			if r.erases { // and at all that is remembered
				slices += 4*(len(w.model.revocations)+len(w.model.evictions)+2) + int(w.reader.latest) + len(w.model.lives) + len(w.model.revocations)
			}
		}
		for ; slices > 0; slices-- {
			pending := w.pending(t, m)
			if len(pending) == 0 {
				break
			}
			if _, err := w.store.Apply(m.ctx, pending[:min(len(pending), store.MaxSlice)], bounds); err != nil {
				fail(t, "a sweep must succeed", "Apply: %v", err)
			}
		}
	}
	m.checkConverged(t)
}

// checkConverged sees to it that the sweep is over, and has done all of its work and no other.
func (m *machine) checkConverged(t *rapid.T) {
	for _, w := range m.tenants {
		if pending := w.pending(t, m); len(pending) > 0 {
			fail(t, "L1 converge: every revocation must retire within bounds", "%s: %v pending", w.name, pending)
		}
	}
	if names, err := m.backend.Pending(m.ctx, "", 10); err != nil || len(names) > 0 {
		fail(t, "L1 converge: no tenant must have anything pending at rest", "%v, %v", names, err)
	}
	for _, w := range m.tenants {
		m.check(t, w)
		removed, sure := 0, 0 // sure: what expires may have been removed by other means than the sweep
		for _, l := range w.model.lives {
			if w.model.covered(l) {
				if !l.gone {
					fail(t, "L1 converge: no revoked token must be left at rest", "%s: %s", w.name, l.id)
				}
				removed++
				if l.expires.IsZero() && l.idleExpires.IsZero() && !l.evicted {
					sure++
				}
			}
		}
		m.checkErased(t, w)
		m.checkFeed(t, w)
		m.checkWaits(t, w)
		m.checkSwept(t, w, sure, removed)
	}
}

// checkWaits waits for every receipt.
func (m *machine) checkWaits(t *rapid.T, w *tenant) {
	ctx, cancel := context.WithTimeout(m.ctx, 10*time.Second)
	defer cancel()
	for _, r := range w.model.revocations {
		if r.receipt == nil {
			continue
		}
		status, err := w.Wait(ctx, *r.receipt)
		if err != nil || !status.Retired || !status.SupersededBy.IsZero() {
			fail(t, "L1 converge: Wait must return at rest", "%s: %+v, %v", r.id, status, err)
		}
	}
}

// checkSwept sees to it that the counts of the revocations add up to what was removed.
func (m *machine) checkSwept(t *rapid.T, w *tenant, sure, removed int) {
	if w.model.trimmed {
		return
	}
	retired := w.revocations(t, m, true)
	if len(retired) != len(w.model.revocations) {
		fail(t, "S5 durable: every acknowledged revocation must be in the history", "%d of %d", len(retired), len(w.model.revocations))
	}
	swept := 0
	for _, status := range retired {
		if status.Swept > status.Examined {
			fail(t, "a sweep must look at what it removes", "%+v", status)
		}
		swept += int(status.Swept)
	}
	if swept < sure || swept > removed {
		fail(t, "the counts of the sweeps must add up to what was removed", "%s: swept %d, removed %d, of which for sure %d", w.name, swept, removed, sure)
	}
}
