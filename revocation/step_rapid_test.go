package revocation

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// fakeRevocation is a pending revocation in a fake store: how many tokens it still covers, and how often it will fail.
type fakeRevocation struct {
	id    ulid.ULID
	left  int
	fails int
	walks bool
}

// fakeStore is all of a store that the planner can notice. Time passes only where the planner sleeps or sweeps.
type fakeStore struct {
	t       *rapid.T
	p       *plan
	now     time.Time
	tenants map[string][]*fakeRevocation
	perPage int
	faults  int // how many looks will fail
	slices  int

	expired     map[string]int // by tenant, how many tokens are to be removed for their age
	expiryFails int            // how many calls for them will fail
	removals    int            // how many slices went to them
}

var errFake = errors.New("fake fault")

// do carries out one step, and fails the test if the planner neither did anything nor let time pass.
func (f *fakeStore) do() {
	switch a := f.p.step(f.now); a.kind {
	case sleep:
		if !a.until.After(f.now) {
			f.t.Fatalf("busy loop: sleeps until %v at %v", a.until, f.now)
		}
		f.now = a.until
	case listTenants:
		var names []string
		for name, all := range f.tenants {
			if name > a.after && len(all) > 0 {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if f.looked() {
			f.p.tenantsListed(f.now, names[:min(len(names), f.perPage)], 0.5)
		}
	case listRevocations:
		var page store.RevocationPage
		for _, r := range f.tenants[a.tenant] {
			if r.id.Compare(a.cursor) <= 0 {
				continue
			}
			if len(page.Revocations) == f.perPage {
				page.Next = page.Revocations[f.perPage-1].Tombstone.ID
				break
			}
			page.Revocations = append(page.Revocations, f.status(r))
		}
		if f.looked() {
			f.p.revocationsListed(page)
		}
	case sweep:
		f.slices++
		took := time.Duration(a.bounds.Remove) * 20 * time.Microsecond
		statuses, err := f.apply(a)
		f.now = f.now.Add(took)
		if err != nil {
			f.p.failed(f.now, a, 0.5)
			return
		}
		f.p.swept(f.now, a, statuses, took)
	case listAll:
		if f.expiryFailed() {
			f.p.listAllFailed(f.now)
			return
		}
		var names []string
		for name := range f.expired {
			if name > a.after {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		f.p.allListed(f.now, names[:min(len(names), f.perPage)])
	case expire:
		f.removals++
		took := time.Duration(a.bounds.Remove) * 20 * time.Microsecond
		f.now = f.now.Add(took)
		if f.expiryFailed() {
			f.p.expired(f.now, a.tenant, false, took)
			return
		}
		left := f.expired[a.tenant]
		f.expired[a.tenant] -= min(left, a.bounds.Remove)
		f.p.expired(f.now, a.tenant, left > a.bounds.Remove, took)
	}
}

func (f *fakeStore) expiryFailed() bool {
	f.expiryFails--
	return f.expiryFails >= 0
}

func (f *fakeStore) looked() bool {
	if f.faults > 0 {
		f.faults--
		f.p.lookFailed(f.now, 0.5)
		return false
	}
	return true
}

func (f *fakeStore) status(r *fakeRevocation) store.Status {
	return store.Status{Tombstone: domain.Tombstone{ID: r.id}, Retired: r.left == 0}
}

// apply sweeps as a store does: in the order given, what is not pending passed over, one walk for all that walk.
func (f *fakeStore) apply(a action) ([]store.Status, error) {
	var got []*fakeRevocation
	room := a.bounds.Remove
	take := func(r *fakeRevocation) {
		n := min(room, r.left)
		room, r.left = room-n, r.left-n
		if !slices.Contains(got, r) {
			got = append(got, r)
		}
	}
	all := f.tenants[a.tenant]
	for _, id := range a.ids {
		i := slices.IndexFunc(all, func(r *fakeRevocation) bool { return r.id == id })
		if i < 0 || room == 0 {
			continue
		}
		if all[i].fails > 0 {
			all[i].fails--
			return nil, errFake
		}
		if !all[i].walks {
			take(all[i])
			continue
		}
		for _, r := range all {
			if r.walks {
				take(r)
			}
		}
	}
	var statuses []store.Status
	for _, r := range got {
		statuses = append(statuses, f.status(r))
	}
	f.tenants[a.tenant] = slices.DeleteFunc(all, func(r *fakeRevocation) bool { return r.left == 0 && slices.Contains(got, r) })
	return statuses, nil
}

// toExpire is how many tokens are left to be removed for their age.
func (f *fakeStore) toExpire() int {
	n := 0
	for _, left := range f.expired {
		n += left
	}
	return n
}

func (f *fakeStore) pending() int {
	n := 0
	for _, all := range f.tenants {
		n += len(all)
	}
	return n
}

func drawStore(t *rapid.T) *fakeStore {
	limits := testPacing()
	limits.maxSlice = rapid.IntRange(1, 600).Draw(t, "max slice")
	limits.expireEvery = rapid.SampledFrom([]time.Duration{-1, time.Minute}).Draw(t, "expire every")
	f := &fakeStore{
		t: t, p: newPlan(limits), now: t0, tenants: map[string][]*fakeRevocation{},
		perPage: rapid.IntRange(1, 4).Draw(t, "per page"), faults: rapid.IntRange(0, 5).Draw(t, "look faults"),
	}
	f.expired = map[string]int{}
	for range rapid.IntRange(0, 6).Draw(t, "tenants with tokens") {
		f.expired[fmt.Sprint("tenant", rapid.IntRange(0, 5).Draw(t, "tenant"))] = rapid.IntRange(0, 1000).Draw(t, "expired tokens")
	}
	f.expiryFails = rapid.IntRange(0, 3).Draw(t, "expiry failures")
	for n := range rapid.IntRange(0, 40).Draw(t, "revocations") {
		name := fmt.Sprint("tenant", rapid.IntRange(0, 5).Draw(t, "tenant"))
		f.tenants[name] = append(f.tenants[name], &fakeRevocation{
			id: rev(n + 1), left: rapid.IntRange(0, 1000).Draw(t, "tokens"),
			fails: max(0, rapid.IntRange(-6, 6).Draw(t, "failures")), walks: rapid.Bool().Draw(t, "walks"),
		})
	}
	return f
}

// TestL1PlannerConverges: whatever is pending and whatever fails for a while, all of it is swept in a number of slices that
// the amount of work bounds, and then the planner does nothing but sleep from poll to poll.
func TestL1PlannerConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawStore(t)
		bound := 20
		for _, all := range f.tenants {
			for _, r := range all {
				bound += 3 + 2*r.left/min(minSlice, f.p.limits.maxSlice) + 3*r.fails
			}
		}
		expiry := f.p.limits.expireEvery > 0
		removals := 2*f.toExpire()/min(minSlice, f.p.limits.maxSlice) + 10*(len(f.expired)+3)
		for steps := 0; f.pending() > 0 || expiry && f.toExpire() > 0; steps++ {
			if f.slices > bound || steps > 1000+20*(bound+removals) {
				t.Fatalf("%d pending after %d slices and %d steps; at most %d slices were to be expected", f.pending(), f.slices, steps, bound)
			}
			f.do()
		}
		if !expiry && f.removals > 0 {
			t.Fatal("removed for their age, though told not to")
		}
		for range 200 { // let it find out
			f.do()
		}
		for f.p.expiring {
			f.do()
		}
		if f.p.jobs != 0 || len(f.p.byName) != 0 || len(f.p.ring) != 0 {
			t.Fatalf("nothing is pending, yet the plan holds %d jobs of %d tenants", f.p.jobs, len(f.p.byName))
		}
		since := f.now
		for range 100 {
			f.do()
		}
		rests := 45 * f.p.limits.pollEvery
		if expiry {
			rests /= 3 // it looks at each tenant once a minute
		}
		if idle := f.now.Sub(since); idle < rests {
			t.Fatalf("100 steps of an idle planner let only %v pass", idle)
		}
	})
}

// TestL2PlannerIsFair: a small revocation that is recorded while huge ones are swept is done after each of what is pending
// has had one or two slices.
func TestL2PlannerIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawStore(t)
		huge := rapid.IntRange(1, 5).Draw(t, "huge ones")
		for n := range huge {
			name := fmt.Sprint("tenant", rapid.IntRange(0, 5).Draw(t, "tenant of a huge one"))
			f.tenants[name] = append(f.tenants[name], &fakeRevocation{id: rev(1000 + n), left: 1 << 30, walks: rapid.Bool().Draw(t, "walks")})
		}
		for range rapid.IntRange(0, 300).Draw(t, "steps before") {
			f.do()
		}
		small := &fakeRevocation{id: rev(2000), left: 1}
		name := fmt.Sprint("tenant", rapid.IntRange(0, 6).Draw(t, "tenant of the small one"))
		fails := 0
		for _, all := range f.tenants {
			for _, r := range all {
				fails += r.fails
			}
		}
		bound := 2*(f.pending()+len(f.tenants)+fails) + 10
		for range rapid.IntRange(0, 2).Draw(t, "huge expiries") {
			f.expired[fmt.Sprint("tenant", rapid.IntRange(0, 5).Draw(t, "tenant"))] = 1 << 30
		}
		removals := f.removals
		f.tenants[name] = append(f.tenants[name], small)
		f.p.add(name, small.id)
		for began := f.slices; small.left > 0; f.do() {
			if f.slices-began > bound {
				t.Fatalf("not done after %d slices, with %d pending", f.slices-began, f.pending())
			}
			if n := f.removals - removals; n > bound+10 {
				t.Fatalf("not done after %d slices that went to expired tokens, with %d pending", n, f.pending())
			}
		}
	})
}
