package revocation

import (
	"fmt"
	"strconv"
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

func expireDone(p *plan, now time.Time, tenant string, more bool, took time.Duration) {
	p.upkept(now, action{kind: expire, tenant: tenant}, more, took)
}

// TestPlannerExpiry: each tenant until it has nothing more, in turns; then the next walk is due in its time.
func TestPlannerExpiry(t *testing.T) {
	p := expiryPlan()
	wantStep(t, p, t0, listAll, "", "")
	p.allListed(t0, []string{"a", "b"})
	wantStep(t, p, t0, listAll, "", "b")
	p.allListed(t0, nil)
	a := wantStep(t, p, t0, expire, "a", "")
	if a.bounds.Remove != p.pace.size || a.bounds.Visit < p.pace.size {
		t.Errorf("bounds %+v, want those of a slice of %d", a.bounds, p.pace.size)
	}
	expireDone(p, t0, "a", true, 0)
	wantStep(t, p, t0, expire, "b", "")
	expireDone(p, t0, "b", false, 0)
	wantStep(t, p, t0, expire, "a", "")
	expireDone(p, t0, "a", false, 0)
	wantSleep(t, p, t0, t0.Add(time.Minute))
	if len(p.ring) != 0 || len(p.byName) != 0 || p.upkeep != 0 {
		t.Errorf("%d tenants are kept, %d due", len(p.ring), p.upkeep)
	}
	wantStep(t, p, t0.Add(time.Minute), listAll, "", "") // from the start
}

// TestPlannerTrim: every tenant is trimmed by the walk that is due for it, slice by slice, in turns, at rest in between; one
// that fails waits for the next such walk, and so does none of the others.
func TestPlannerTrim(t *testing.T) {
	p := expiryPlan()
	p.limits.trimEvery = time.Hour
	p.upkeepAt[expire] = t0.Add(time.Hour)
	addAll(p, "b", 1)
	wantStep(t, p, t0, listAll, "", "")
	p.allListed(t0, []string{"a", "b"})
	wantStep(t, p, t0, listAll, "", "b")
	p.allListed(t0, nil)
	p.swept(t0, wantSweep(t, p, t0, "b", 1), touched(1), 0)
	now := t0
	for range 3 { // a has much to forget; it takes turns with b
		size := p.pace.size
		a := wantStep(t, p, now, trim, "a", "")
		p.upkept(now, a, true, 20*time.Millisecond)
		if a.bounds.Remove != size || p.pace.size != max(minSlice, size/2) {
			t.Errorf("a trim of %d and then slices of %d, want %d and half of it", a.bounds.Remove, p.pace.size, size)
		}
		rested := now.Add(20 * time.Millisecond)
		wantSleep(t, p, now, rested)
		now = rested
		b := p.step(now)
		switch {
		case b.tenant == "b" && b.kind == trim:
			p.upkept(now, b, false, 0)
		case b.tenant == "b" && b.kind == sweep:
			p.swept(now, b, touched(1), 0)
		default:
			t.Fatalf("step = %+v, want one of b", b)
		}
	}
	p.upkept(now, wantStep(t, p, now, trim, "a", ""), false, 0) // as the loop does it at the end, and after a failure
	p.swept(now, wantSweep(t, p, now, "b", 1), touched(-1), 0)
	wantSleep(t, p, now, t0.Add(time.Hour))
	wantStep(t, p, t0.Add(time.Hour), listAll, "", "")
}

// TestHugeUpkeepLetsTheWalkGoOn: as many tenants as there is room for have upkeep without end, and yet the walk comes to
// the others; what had to leave for them is found by another walk at once.
func TestHugeUpkeepLetsTheWalkGoOn(t *testing.T) {
	const tenants = 10 * maxUpkeep
	for _, kind := range upkeeps {
		p := sweepPlan()
		if kind == expire {
			p.limits.expireEvery = time.Hour
		} else {
			p.limits.trimEvery = time.Hour
		}
		slices, lists := map[string]int{}, 0
		for total := 0; len(slices) < tenants || slices["t00000"] < 5; {
			switch a := p.step(t0); a.kind {
			case listAll:
				if lists++; lists > total+tenants {
					t.Fatal("it only lists")
				}
				p.allListed(t0, tenantsAfter(a.after, tenants))
			case kind:
				slices[a.tenant]++
				if total++; total > 10*tenants {
					t.Fatalf("after %d slices: %d tenants had one, the first had %d", total, len(slices), slices["t00000"])
				}
				p.upkept(t0, a, true, 0)
			default:
				t.Fatalf("step = %+v", a)
			}
			if n := len(p.ring); n != len(p.byName) || n > 2*maxUpkeep {
				t.Fatalf("the plan holds %d tenants", n)
			}
		}
	}
}

// TestUpkeepThatStayedMakesRoom: what has been in the way of the walk for long, and has ended, is in the way of nothing any more. The
// plan holds no more tenants in a later walk than in the first.
func TestUpkeepThatStayedMakesRoom(t *testing.T) {
	const tenants, walks, backlog = 10 * maxUpkeep, 5, 3
	p := expiryPlan()
	now, most := t0, 0
	for range walks {
		left := map[string]int{}
		for done := 0; done < tenants; {
			switch a := p.step(now); a.kind {
			case listAll:
				p.allListed(now, tenantsAfter(a.after, tenants))
			case expire:
				left[a.tenant]++
				more := left[a.tenant] < backlog
				p.upkept(now, a, more, 0)
				if !more {
					done++
				}
			case sleep:
				now = a.until
			}
			if most = max(most, len(p.ring)); most > 2*maxUpkeep {
				t.Fatalf("the plan holds %d tenants", most)
			}
		}
	}
}

// TestPlannerExpiryRests: after a slice as much time belongs to the foreground again as after one of a sweep.
func TestPlannerExpiryRests(t *testing.T) {
	p := expiryPlan()
	walked(t, p, t0, "a")
	wantStep(t, p, t0, expire, "a", "")
	size := p.pace.size
	expireDone(p, t0, "a", true, 20*time.Millisecond)
	wantSleep(t, p, t0, t0.Add(20*time.Millisecond))
	if p.pace.size >= size {
		t.Errorf("slices of %d after one that took too long, want less than %d", p.pace.size, size)
	}
	wantStep(t, p, t0.Add(20*time.Millisecond), expire, "a", "")
}

// TestUpkeepOfNothingSaysNothing: tenants that have nothing to expire take no time, which does not have slices grow.
func TestUpkeepOfNothingSaysNothing(t *testing.T) {
	p := expiryPlan()
	walked(t, p, t0, "a", "b")
	size := p.pace.size
	for _, tenant := range []string{"a", "b"} {
		wantStep(t, p, t0, expire, tenant, "")
		expireDone(p, t0, tenant, false, 0)
	}
	if p.pace.size != size {
		t.Errorf("slices of %d after two that did nothing, want %d as before", p.pace.size, size)
	}
}

// walked lets a walk come to the tenants, and end.
func walked(t *testing.T, p *plan, now time.Time, tenants ...string) {
	t.Helper()
	wantStep(t, p, now, listAll, "", "")
	p.allListed(now, tenants)
	wantStep(t, p, now, listAll, "", tenants[len(tenants)-1])
	p.allListed(now, nil)
}

// TestPlannerExpiryFails: a walk that fails is tried again after RetryTo at the latest; a tenant that fails waits for the next
// walk, and no other does.
func TestPlannerExpiryFails(t *testing.T) {
	p := expiryPlan()
	wantStep(t, p, t0, listAll, "", "")
	p.listAllFailed(t0)
	next := t0.Add(p.limits.retryTo)
	wantSleep(t, p, t0, next)
	walked(t, p, next, "a", "b")
	wantStep(t, p, next, expire, "a", "")
	expireDone(p, next, "a", false, 0) // as the loop does it after a failure
	wantStep(t, p, next, expire, "b", "")
	expireDone(p, next, "b", false, 0)
	wantSleep(t, p, next, next.Add(time.Minute))
}

// TestPlannerExpiryAndSweep: within a tenant they alternate; a tenant that has only one of them has each turn for it.
func TestPlannerExpiryAndSweep(t *testing.T) {
	p := expiryPlan()
	walked(t, p, t0, "a", "b")
	addAll(p, "a", 1)
	addAll(p, "c", 2)
	for range 3 {
		p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(1), 0)
		wantStep(t, p, t0, expire, "b", "")
		expireDone(p, t0, "b", true, 0)
		p.swept(t0, wantSweep(t, p, t0, "c", 2), touched(2), 0)
		wantStep(t, p, t0, expire, "a", "")
		expireDone(p, t0, "a", true, 0)
		wantStep(t, p, t0, expire, "b", "")
		expireDone(p, t0, "b", true, 0)
		p.swept(t0, wantSweep(t, p, t0, "c", 2), touched(2), 0)
	}
	p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(-1), 0) // the tenant stays, for what is left to expire
	if p.byName["a"] == nil || !p.byName["a"].due[expire] {
		t.Error("forgotten")
	}
}

// TestPlannerExpiryOff: negative never looks, and never wakes for it.
func TestPlannerExpiryOff(t *testing.T) {
	p := sweepPlan()
	p.limits.expireEvery = -1
	wantSleep(t, p, t0, p.lapAt)
}

// TestBacklogTakesNoWalks: what one tenant has to do for long is done in its turns, not once in a walk through all tenants.
func TestBacklogTakesNoWalks(t *testing.T) {
	const tenants, backlog = 10_000, 50
	for _, at := range []int{0, 5000, 9950} {
		p := sweepPlan()
		p.limits.expireEvery = time.Hour
		large := fmt.Sprintf("t%05d", at)
		slices := 0
		for left := backlog; left > 0; {
			switch a := p.step(t0); a.kind {
			case listAll:
				p.allListed(t0, tenantsAfter(a.after, tenants))
			case expire:
				slices++
				if a.tenant == large {
					left--
				}
				p.upkept(t0, a, a.tenant == large && left > 0, 0)
			default:
				t.Fatalf("step = %+v", a)
			}
		}
		if slices > tenants+backlog {
			t.Errorf("the backlog of tenant %d was done after %d slices, want %d at most", at, slices, tenants+backlog)
		}
	}
}

// tenantsAfter is a page of so many tenants, t00000 and so on.
func tenantsAfter(after string, tenants int) (names []string) {
	from := 0
	if after != "" {
		from, _ = strconv.Atoi(after[1:])
		from++
	}
	for i := from; i < min(from+pageSize, tenants); i++ {
		names = append(names, fmt.Sprintf("t%05d", i))
	}
	return names
}
