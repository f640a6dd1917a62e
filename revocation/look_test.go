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
	p.swept(t0, wantSweep(t, p, t0, "a", 2, 3), touched(-2, -3), 0)
	wantRevocations(t, p, t0, "b", ulid.ULID{})
	p.revocationsListed(page(0, 4))
	p.swept(t0, wantSweep(t, p, t0, "b", 4), nil, 0)
	wantTenants(t, p, t0, "b")
	p.tenantsListed(t0, nil, 0.5)
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

// TestLapPausesWhenFull: with no room at all the lap waits; as soon as a place is free it takes one of the next tenant.
func TestLapPausesWhenFull(t *testing.T) {
	p := newPlan(testPacing())
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"x", "y"}, 0.5)
	for n := range maxJobs {
		p.add(fmt.Sprint("t", n/maxShare), rev(n+1))
	}
	for _, next := range []string{"x", "y"} {
		a := p.step(t0)
		if a.kind != sweep {
			t.Fatalf("step = %+v, want a sweep: there is no room for more", a)
		}
		first := int(a.ids[0][14])<<8 + int(a.ids[0][15])
		p.swept(t0, a, touched(first), 0) // it isn't retired, yet it leaves: it had its slice, and others wait
		wantRevocations(t, p, t0, next, ulid.ULID{})
		p.revocationsListed(page(0, 2001, 2002))
	}
	if p.jobs != maxJobs || !p.relap || p.left["x"].cursor != rev(2001) || p.left["y"].cursor != rev(2001) {
		t.Errorf("%d jobs, another lap %v, left %v; want one job of each of x and y, and the rest left to the next lap", p.jobs, p.relap, p.left)
	}
}

// TestLapTakesAShare: of a tenant that has more pending than its share the lap takes that much, and comes to the next one.
// What has had a slice leaves, and the next lap goes on where the last one stopped, and round.
func TestLapTakesAShare(t *testing.T) {
	limits := testPacing()
	limits.share = 3
	p := newPlan(limits)
	list := func(page store.RevocationPage) { t.Helper(); p.scanned = false; p.revocationsListed(page) }
	lap := func(cursor ulid.ULID, pages ...store.RevocationPage) {
		t.Helper()
		p.scanned = false
		wantTenants(t, p, t0, "")
		p.tenantsListed(t0, []string{"a", "b"}, 0.5)
		for _, page := range pages {
			p.scanned = false
			wantRevocations(t, p, t0, "a", cursor)
			list(page)
			cursor = page.Next
		}
		p.scanned = false
		wantRevocations(t, p, t0, "b", ulid.ULID{})
		list(page(0))
		wantTenants(t, p, t0, "b")
		p.tenantsListed(t0, nil, 0.5)
	}
	lap(ulid.ULID{}, page(2, 1, 2), page(4, 3, 4))
	p.swept(t0, wantSweep(t, p, t0, "a", 1, 2, 3), touched(1), 0)
	p.swept(t0, wantSweep(t, p, t0, "a", 2, 3), touched(-2), 0) // now there is room for more than half of its share
	lap(rev(3), page(5, 4, 5))
	p.scanned = true
	p.swept(t0, wantSweep(t, p, t0, "a", 3, 4, 5), touched(-3, 4), 0)
	lap(rev(5), page(0), page(0, 1, 4, 5)) // to the end, and from the beginning
	p.scanned = true
	p.swept(t0, wantSweep(t, p, t0, "a", 5, 1, 4), touched(5), 0) // now nothing is left, and it stays
	wantSweep(t, p, t0, "a", 1, 4, 5)
	wantNoMoreLeft(t, p)
}

func wantNoMoreLeft(t *testing.T, p *plan) {
	t.Helper()
	if len(p.left) != 0 || p.relap {
		t.Errorf("left %v, another lap %v; want nothing left", p.left, p.relap)
	}
}

// TestLeftoversAreForgotten: of a tenant that has nothing pending any more nothing is kept.
func TestLeftoversAreForgotten(t *testing.T) {
	limits := testPacing()
	limits.share = 1
	p := newPlan(limits)
	wantTenants(t, p, t0, "")
	p.tenantsListed(t0, []string{"a"}, 0.5)
	wantRevocations(t, p, t0, "a", ulid.ULID{})
	p.revocationsListed(page(0, 1, 2))
	a := wantSweep(t, p, t0, "a", 1)
	wantTenants(t, p, t0, "a")
	p.tenantsListed(t0, nil, 0.5)
	p.swept(t0, a, touched(-1), 0)
	wantTenants(t, p, t0, "") // at once
	p.tenantsListed(t0, nil, 0.5)
	wantSleep(t, p, t0, t0.Add(p.limits.pollEvery))
	wantNoMoreLeft(t, p)
}

// TestFullOfFailures: whatever fails, in however many tenants, a lap comes to the others, of other tenants and of the same one.
func TestFullOfFailures(t *testing.T) {
	for _, c := range []struct {
		name             string
		tenants, failing int
		healthy          string
	}{
		{"in all of memory", 2 * maxJobs / maxShare, maxShare, "z"},
		{"in all of a tenant's share", 1, 3 * maxShare, "tenant0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeStore{t: t, p: newPlan(testPacing()), now: t0, tenants: map[string][]*fakeRevocation{}, perPage: pageSize}
			for n := range c.tenants {
				for id := range c.failing {
					f.tenants[tenantName(n)] = append(f.tenants[tenantName(n)], &fakeRevocation{id: rev(id + 1), left: 1, fails: 1 << 30})
				}
			}
			healthy := &fakeRevocation{id: rev(5000), left: 1}
			f.tenants[c.healthy] = append(f.tenants[c.healthy], healthy)
			for steps := 0; healthy.left > 0; steps++ {
				if f.do(); steps > 50_000 || f.now.Sub(t0) > 30*time.Second || f.p.jobs > maxJobs {
					t.Fatalf("not swept after %d steps and %v, with %d jobs", steps, f.now.Sub(t0), f.p.jobs)
				}
			}
			slices := f.slices
			for until := f.now.Add(time.Minute); f.now.Before(until); {
				f.do()
			}
			if n := f.slices - slices; n > 15*c.tenants*c.failing {
				t.Errorf("%d slices in a minute that all failed, for %d revocations", n, c.tenants*c.failing)
			}
		})
	}
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
		name                 string
		known, more, tenants int
		look                 bool
	}{
		{"room", 0, maxJobs / 2, 50, false},
		{"more hints than are kept", 0, maxJobs + 1, 50, true},
		{"half of the plan is for what laps find", maxJobs / 2, maxJobs / 2, 50, true},
		{"and half of a tenant's share", 0, maxShare, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := New(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlan(testPacing())
			p.lapAt = time.Now().Add(time.Hour)
			for n := range c.known {
				p.add(fmt.Sprint("known", n%10), rev(n))
			}
			for n := range c.more {
				var s store.Status
				s.Tombstone.ID = rev(10_000 + n)
				e.Recorded(fmt.Sprint("t", n%c.tenants), s.Tombstone)
			}
			e.takeHints(p)
			if p.jobs > maxJobs/2+1 {
				t.Errorf("%d jobs, more than hints are to have", p.jobs)
			}
			if c.tenants == 1 && p.jobs > maxShare/2+1 {
				t.Errorf("%d jobs of one tenant", p.jobs)
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
