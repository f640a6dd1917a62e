package revocation

import (
	"fmt"
	"testing"
	"time"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func wantTenants(t *testing.T, p *plan, now time.Time, after string) {
	t.Helper()
	if a := p.step(now); a.kind != listTenants || a.after != after {
		t.Fatalf("step = %+v, want the tenants after %q", a, after)
	}
}

func wantRevocations(t *testing.T, p *plan, now time.Time, tenant string, cursor ulid.ULID) {
	t.Helper()
	if a := p.step(now); a.kind != listRevocations || a.tenant != tenant || a.cursor != cursor {
		t.Fatalf("step = %+v, want the revocations of %s after %v", a, tenant, cursor)
	}
}

func page(next int, ns ...int) store.RevocationPage {
	p := store.RevocationPage{Revocations: touched(ns...)}
	if next != 0 {
		p.Next = rev(next)
	}
	return p
}

func TestLapPagesThroughAllTenants(t *testing.T) {
	p := newPlan(testPacing())
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"a", "b"}, 0.5)
	wantRevocations(t, p, t0, "a", ulid.ULID{})
	p.revocationsListed(page(2, 1, 2))
	p.swept(t0, wantSweep(t, p, t0, "a", 1, 2), touched(-1, 2), 0) // looking and sweeping take turns
	wantRevocations(t, p, t0, "a", rev(2))
	p.revocationsListed(page(0, 3))
	if a := p.step(t0); a.kind != trim {
		t.Fatalf("step = %+v, want a trim", a)
	}
	wantRevocations(t, p, t0, "b", ulid.ULID{})
	p.revocationsListed(page(0, 4))
	p.swept(t0, wantSweep(t, p, t0, "a", 2, 3), touched(-2, -3), 0)
	wantTenants(t, p, t0, "b")
	p.tenantsListed(t0, nil, 0.5)
	p.swept(t0, wantSweep(t, p, t0, "b", 4), nil, 0)
	due := t0.Add(p.limits.pollEvery)
	wantSleep(t, p, t0, due)
	wantTenants(t, p, due, "") // the next lap begins at the beginning
}

func TestLapGoesOnWhileTheSweepRests(t *testing.T) {
	p := newPlan(testPacing())
	addAll(p, "a", 1)
	p.scanned = true
	p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(1), 3*time.Millisecond)
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"a"}, 0.5)
	wantRevocations(t, p, t0, "a", ulid.ULID{})
	p.revocationsListed(page(0))
	wantTenants(t, p, t0, "a")
	p.tenantsListed(t0, nil, 0.5)
	wantSleep(t, p, t0, t0.Add(3*time.Millisecond))
}

func TestLapPausesWhenFull(t *testing.T) {
	p := newPlan(testPacing())
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"a", "b"}, 0.5)
	for n := 1; n <= maxJobs; n++ {
		addAll(p, "a", n)
	}
	a := p.step(t0)
	if a.kind != sweep {
		t.Fatalf("step = %+v, want a sweep: there is no room for more", a)
	}
	p.failed(t0, action{tenant: "b"}, 0.5) // of an unknown tenant: nothing happens
	for range 2 {
		if a := p.step(t0); a.kind != sweep {
			t.Fatalf("step = %+v, want a sweep", a)
		}
	}
	p.swept(t0, a, touched(-1), 0)
	if a := p.step(t0); a.kind != listRevocations || a.tenant != "a" {
		t.Fatalf("step = %+v, want the lap to go on where it was", a)
	}
}

// TestFullOfFailures: however many fail, memory is bounded and the lap gets on to the others.
func TestFullOfFailures(t *testing.T) {
	p := newPlan(testPacing())
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"a", "b"}, 0.5)
	listed := 0
	for steps := 0; ; steps++ {
		if steps > 20_000 || p.jobs > maxJobs+pageSize {
			t.Fatalf("after %d steps: %d jobs, %d listed", steps, p.jobs, listed)
		}
		switch a := p.step(t0); {
		case a.kind == sweep && a.tenant == "b":
			return
		case a.kind == sweep:
			p.failed(t0, a, 0.5)
		case a.kind == listRevocations && a.tenant == "b":
			p.revocationsListed(page(0, 60_000))
		case a.kind == listRevocations:
			var ns []int
			for range pageSize {
				listed++
				ns = append(ns, listed)
			}
			p.revocationsListed(page(listed*boolInt(listed < 5000), ns...))
		case a.kind == listTenants:
			p.tenantsListed(t0, nil, 0.5)
		default:
			t.Fatalf("step = %+v after %d listed", a, listed)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestFailedLookIsTriedAgain(t *testing.T) {
	p := newPlan(testPacing())
	now := t0
	for _, pause := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		wantTenants(t, p, now, "")
		p.lookFailed(now, 0.5)
		wantSleep(t, p, now, now.Add(pause*time.Millisecond))
		now = now.Add(pause * time.Millisecond)
	}
	wantTenants(t, p, now, "")
	p.tenantsListed(now, nil, 0.5)
	wantSleep(t, p, now, now.Add(p.limits.pollEvery)) // a good one makes up for it
	now = now.Add(p.limits.pollEvery)
	wantTenants(t, p, now, "")
	p.lookFailed(now, 0.5)
	wantSleep(t, p, now, now.Add(100*time.Millisecond))
}

// TestLookAtOneTenantFails: it holds up none of the others, and is tried again soon.
func TestLookAtOneTenantFails(t *testing.T) {
	p := newPlan(testPacing())
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"a", "b"}, 0.5)
	wantRevocations(t, p, t0, "a", ulid.ULID{})
	p.revocationsListed(page(1))
	wantRevocations(t, p, t0, "a", rev(1))
	p.lookFailed(t0, 0.5)
	wantRevocations(t, p, t0, "b", ulid.ULID{})
	p.revocationsListed(page(0))
	wantTenants(t, p, t0, "b")
	p.tenantsListed(t0, nil, 0.5)
	wantSleep(t, p, t0, t0.Add(100*time.Millisecond))
	wantTenants(t, p, t0.Add(100*time.Millisecond), "")
}

func TestLookSoon(t *testing.T) {
	p := newPlan(testPacing())
	wantTenants(t, p, t0, "")
	p.lookSoon(t0) // during a lap: another one after it
	p.tenantsListed(t0, nil, 0.5)
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, nil, 0.5)
	wantSleep(t, p, t0, t0.Add(p.limits.pollEvery))
	p.lookSoon(t0.Add(1)) // between laps: at once
	wantTenants(t, p, t0.Add(1), "")
}

// TestHintsWithoutRoom: what the engine could not be told by name it finds by looking.
func TestHintsWithoutRoom(t *testing.T) {
	for _, c := range []struct {
		name        string
		known, more int
		look        bool
	}{
		{"room", 0, maxJobs, false},
		{"more hints than are kept", 0, maxJobs + 1, true},
		{"no room in the plan", maxJobs, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := New(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlan(testPacing())
			p.lapAt = time.Now().Add(time.Hour)
			for n := range c.known {
				p.add("a", rev(n))
			}
			for n := range c.more {
				var s store.Status
				s.Tombstone.ID = rev(10_000 + n)
				e.Recorded(fmt.Sprint("t", n%7), s.Tombstone)
			}
			e.takeHints(p)
			if p.jobs > maxJobs {
				t.Errorf("%d jobs, more than there is room for", p.jobs)
			}
			if soon := !time.Now().Before(p.lapAt); soon != c.look {
				t.Errorf("look soon = %v, want %v", soon, c.look)
			}
			if len(e.hints) != 0 || e.missed {
				t.Error("hints were not taken")
			}
		})
	}
}

func TestSleepsUntilTheNextThingIsDue(t *testing.T) {
	p := newPlan(testPacing())
	p.lapAt = t0.Add(time.Second)
	wantSleep(t, p, t0, t0.Add(time.Second)) // idle: the lap
	addAll(p, "a", 1)
	addAll(p, "b", 2)
	p.failed(t0, wantSweep(t, p, t0, "a", 1), 0.5)
	p.failed(t0, wantSweep(t, p, t0, "b", 2), 0)
	wantSleep(t, p, t0, t0.Add(50*time.Millisecond)) // the earlier of two pauses
	now := t0.Add(50 * time.Millisecond)
	p.swept(now, wantSweep(t, p, now, "b", 2), touched(2), 10*time.Millisecond)
	wantSleep(t, p, now, now.Add(10*time.Millisecond)) // the foreground's share
}
