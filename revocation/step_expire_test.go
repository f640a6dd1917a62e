package revocation

import (
	"testing"
	"time"
)

// expiryPlan is a plan that looks for nothing but expired tokens.
func expiryPlan() *plan {
	p := sweepPlan()
	p.limits.expireEvery = time.Minute
	return p
}

func wantStep(t *testing.T, p *plan, now time.Time, kind actionKind, tenant, after string) action {
	t.Helper()
	a := p.step(now)
	if a.kind != kind || a.tenant != tenant || a.after != after {
		t.Fatalf("step at +%v = %+v, want kind %d of %q after %q", now.Sub(t0), a, kind, tenant, after)
	}
	return a
}

// TestPlannerExpiry: page by page, each tenant until it has nothing more, in turns; then all are trimmed, and the next look
// is due.
func TestPlannerExpiry(t *testing.T) {
	p := expiryPlan()
	wantStep(t, p, t0, listAll, "", "")
	p.allListed(t0, []string{"a", "b"})
	a := wantStep(t, p, t0, expire, "a", "")
	if a.bounds.Remove != p.size || a.bounds.Visit < p.size {
		t.Errorf("bounds %+v, want those of a slice of %d", a.bounds, p.size)
	}
	p.expired(t0, "a", true, 0)
	wantStep(t, p, t0, expire, "b", "")
	p.expired(t0, "b", false, 0)
	wantStep(t, p, t0, expire, "a", "")
	p.expired(t0, "a", false, 0)
	wantStep(t, p, t0, listAll, "", "b")
	p.allListed(t0, []string{"c"})
	for _, tenant := range []string{"b", "a"} {
		wantStep(t, p, t0, trim, tenant, "")
	}
	wantStep(t, p, t0, expire, "c", "")
	p.expired(t0, "c", false, 0)
	wantStep(t, p, t0, listAll, "", "c")
	p.allListed(t0, nil)
	wantStep(t, p, t0, trim, "c", "")
	wantSleep(t, p, t0, t0.Add(time.Minute))
	if len(p.ring) != 0 || len(p.byName) != 0 || p.expireDue != 0 {
		t.Errorf("%d tenants are kept, %d due", len(p.ring), p.expireDue)
	}
	next := t0.Add(time.Minute)
	wantStep(t, p, next, listAll, "", "") // from the start, and nobody is trimmed again within the hour
	p.allListed(next, []string{"a"})
	wantStep(t, p, next, expire, "a", "")
	p.expired(next, "a", false, 0)
	wantStep(t, p, next, listAll, "", "a")
}

// TestPlannerExpiryRests: after a slice as much time belongs to the foreground again as after one of a sweep.
func TestPlannerExpiryRests(t *testing.T) {
	p := expiryPlan()
	p.allListed(t0, []string{"a"})
	wantStep(t, p, t0, expire, "a", "")
	size := p.size
	p.expired(t0, "a", true, 20*time.Millisecond)
	wantSleep(t, p, t0, t0.Add(20*time.Millisecond))
	if p.size >= size {
		t.Errorf("slices of %d after one that took too long, want less than %d", p.size, size)
	}
	wantStep(t, p, t0.Add(20*time.Millisecond), expire, "a", "")
}

// TestPlannerExpiryFails: a look that fails waits for the next one; a tenant that fails does, and no other.
func TestPlannerExpiryFails(t *testing.T) {
	p := expiryPlan()
	wantStep(t, p, t0, listAll, "", "")
	p.listAllFailed(t0)
	wantSleep(t, p, t0, t0.Add(time.Minute))
	next := t0.Add(time.Minute)
	wantStep(t, p, next, listAll, "", "")
	p.allListed(next, []string{"a", "b"})
	wantStep(t, p, next, expire, "a", "")
	p.expired(next, "a", false, 0) // as the loop does it after a failure
	wantStep(t, p, next, expire, "b", "")
}

// TestPlannerExpiryAndSweep: within a tenant they alternate; a tenant that has only one of them has each turn for it.
func TestPlannerExpiryAndSweep(t *testing.T) {
	p := expiryPlan()
	p.allListed(t0, []string{"a", "b"})
	addAll(p, "a", 1)
	addAll(p, "c", 2)
	for range 3 {
		p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(1), 0)
		wantStep(t, p, t0, expire, "b", "")
		p.expired(t0, "b", true, 0)
		p.swept(t0, wantSweep(t, p, t0, "c", 2), touched(2), 0)
		wantStep(t, p, t0, expire, "a", "")
		p.expired(t0, "a", true, 0)
		wantStep(t, p, t0, expire, "b", "")
		p.expired(t0, "b", true, 0)
		p.swept(t0, wantSweep(t, p, t0, "c", 2), touched(2), 0)
	}
	p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(-1), 0) // the tenant stays, for what is left to expire
	if p.byName["a"] == nil || !p.byName["a"].expireDue {
		t.Error("forgotten")
	}
}

// TestPlannerExpiryOff: negative never looks, and never wakes for it.
func TestPlannerExpiryOff(t *testing.T) {
	p := sweepPlan()
	p.limits.expireEvery = -1
	wantSleep(t, p, t0, p.lapAt)
}
