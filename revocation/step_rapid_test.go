package revocation

import (
	"errors"
	"fmt"
	"maps"
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
	t       interface{ Fatalf(string, ...any) }
	p       *plan
	now     time.Time
	tenants map[string][]*fakeRevocation
	names   []string // of the tenants, in order
	perPage int
	faults  int // how many looks will fail
	slices  int

	upkeep      [trim + 1]map[string]int // expire, trim: by tenant, how much there is to do
	upkeepFails int                      // how many calls for it will fail
	upkept      int                      // how many slices went to it
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
		if len(f.names) != len(f.tenants) {
			f.names = slices.Sorted(maps.Keys(f.tenants))
		}
		var names []string
		from, known := slices.BinarySearch(f.names, a.after)
		if known {
			from++
		}
		for _, name := range f.names[from:] {
			if len(f.tenants[name]) > 0 {
				if names = append(names, name); len(names) == f.perPage {
					break
				}
			}
		}
		if f.looked() {
			f.p.tenantsListed(f.now, names, 0.5)
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
		if f.upkeepFailed() {
			f.p.listAllFailed(f.now)
			return
		}
		var names []string
		for n := range 10 {
			if name := tenantName(n); name > a.after {
				names = append(names, name)
			}
		}
		f.p.allListed(f.now, names[:min(len(names), f.perPage)])
	case expire, trim:
		f.upkept++
		took := time.Duration(a.bounds.Remove) * 20 * time.Microsecond
		f.now = f.now.Add(took)
		if f.upkeepFailed() {
			f.p.upkept(f.now, a, false, took)
			return
		}
		left := f.upkeep[a.kind][a.tenant]
		f.upkeep[a.kind][a.tenant] -= min(left, a.bounds.Remove)
		f.p.upkept(f.now, a, left > a.bounds.Remove, took)
	}
}

func (f *fakeStore) upkeepFailed() bool {
	f.upkeepFails--
	return f.upkeepFails >= 0
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

// toDo is how much upkeep is left of what the planner is to see to.
func (f *fakeStore) toDo() int {
	n := 0
	for _, kind := range upkeeps {
		for _, left := range f.upkeep[kind] {
			if f.p.every(kind) > 0 {
				n += left
			}
		}
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

func tenantName(n int) string { return fmt.Sprint("tenant", n) }

func drawTenant(t *rapid.T) string { return tenantName(rapid.IntRange(0, 5).Draw(t, "tenant")) }

func drawStore(t *rapid.T) *fakeStore {
	limits := testPacing()
	limits.maxSlice = rapid.IntRange(1, 600).Draw(t, "max slice")
	limits.expireEvery = rapid.SampledFrom([]time.Duration{-1, time.Minute}).Draw(t, "expire every")
	limits.trimEvery = rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "trim every")
	limits.jobs = rapid.SampledFrom([]int{maxJobs, 1, 2, 3, 5, 8}).Draw(t, "jobs")
	limits.share = rapid.IntRange(1, min(10, limits.jobs)).Draw(t, "share")
	f := &fakeStore{
		t: t, p: newPlan(limits), now: t0, tenants: map[string][]*fakeRevocation{},
		perPage: rapid.IntRange(1, 4).Draw(t, "per page"), faults: rapid.IntRange(0, 5).Draw(t, "look faults"),
	}
	for _, kind := range upkeeps {
		f.upkeep[kind] = map[string]int{}
		for range rapid.IntRange(0, 6).Draw(t, "tenants with upkeep") {
			f.upkeep[kind][drawTenant(t)] = rapid.IntRange(0, 1000).Draw(t, "upkeep")
		}
	}
	f.upkeepFails = rapid.IntRange(0, 3).Draw(t, "upkeep failures")
	for n := range rapid.IntRange(0, 40).Draw(t, "revocations") {
		name := drawTenant(t)
		f.tenants[name] = append(f.tenants[name], &fakeRevocation{
			id: rev(n + 1), left: rapid.IntRange(0, 1000).Draw(t, "tokens"),
			fails: max(0, rapid.IntRange(-6, 6).Draw(t, "failures")), walks: rapid.Bool().Draw(t, "walks"),
		})
	}
	return f
}

// TestL1PlannerConverges: whatever is pending, however little room there is and whatever fails for a while, all of it is
// swept in a number of slices that the amount of work bounds, and then the planner does nothing but sleep from poll to poll.
func TestL1PlannerConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawStore(t)
		bound := 20
		for _, all := range f.tenants {
			for _, r := range all {
				bound += 3 + 2*r.left/min(minSlice, f.p.limits.maxSlice) + 3*r.fails
			}
		}
		toDo := f.toDo()
		upkept := 2*toDo/min(minSlice, f.p.limits.maxSlice) + 200
		for steps := 0; f.pending() > 0 || f.toDo() > 0; steps++ {
			if f.slices > bound || steps > 2000+50*(bound+upkept) {
				t.Logf("%d pending and %d of upkeep to do after %d slices and %d steps; at most %d slices were to be expected", f.pending(), f.toDo(), f.slices, steps, bound)
				t.Fatal("not converged")
			}
			if f.p.jobs > f.p.limits.jobs {
				t.Fatal("more jobs than there is room for")
			}
			f.do()
		}
		if toDo == 0 && f.p.limits.expireEvery <= 0 && f.p.limits.trimEvery <= 0 && f.upkept > 0 {
			t.Fatal("upkeep that nobody asked for")
		}
		for range 200 { // let it find out
			f.do()
		}
		for f.p.walk != nil || f.p.upkeep > 0 {
			f.do()
		}
		if f.p.jobs != 0 || len(f.p.byName) != 0 || len(f.p.ring) != 0 || len(f.p.left) != 0 {
			t.Logf("%d jobs of %d tenants, left %v", f.p.jobs, len(f.p.byName), f.p.left)
			t.Fatal("nothing is pending, yet the plan holds something")
		}
		since := f.now
		for range 100 {
			f.do()
		}
		rests := 45 * f.p.limits.pollEvery
		if f.p.limits.expireEvery > 0 || f.p.limits.trimEvery > 0 {
			rests /= 4 // it looks at each tenant once a minute, or once an hour
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
		f.p.limits.jobs, f.p.limits.share = maxJobs, maxShare
		huge := rapid.IntRange(1, 5).Draw(t, "huge ones")
		for n := range huge {
			name := drawTenant(t)
			f.tenants[name] = append(f.tenants[name], &fakeRevocation{id: rev(1000 + n), left: 1 << 30, walks: rapid.Bool().Draw(t, "walks")})
		}
		for range rapid.IntRange(0, 300).Draw(t, "steps before") {
			f.do()
		}
		small := &fakeRevocation{id: rev(2000), left: 1}
		name := tenantName(rapid.IntRange(0, 6).Draw(t, "tenant of the small one"))
		fails := 0
		for _, all := range f.tenants {
			for _, r := range all {
				fails += r.fails
			}
		}
		bound := 2*(f.pending()+len(f.tenants)+fails) + 10
		for range rapid.IntRange(0, 2).Draw(t, "tenants with huge upkeep") {
			f.upkeep[rapid.SampledFrom(upkeeps[:]).Draw(t, "upkeep")][drawTenant(t)] = 1 << 30
		}
		upkept := f.upkept
		f.tenants[name] = append(f.tenants[name], small)
		f.p.hinted(f.now, name, small.id)
		for began := f.slices; small.left > 0; f.do() {
			if f.slices-began > bound {
				t.Logf("not done after %d slices, with %d pending", f.slices-began, f.pending())
				t.Fatal("not done in time")
			}
			if n := f.upkept - upkept; n > 2*bound+20 {
				t.Logf("not done after %d slices that went to upkeep, with %d pending", n, f.pending())
				t.Fatal("not done in time, for upkeep")
			}
		}
	})
}

// TestL2PlannerSharesItsMemory: however many huge revocations are pending, and however little room there is, a small one has
// had its slice after a number of slices that depends on how many tenants have something pending, and on what is pending in
// its own tenant. How much is pending in others doesn't matter.
func TestL2PlannerSharesItsMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawStore(t)
		f.p.limits.expireEvery, f.p.limits.trimEvery, f.faults, f.tenants = 0, 0, 0, map[string][]*fakeRevocation{}
		id := 0
		for n := range rapid.IntRange(1, 12).Draw(t, "tenants") {
			for range rapid.SampledFrom([]int{1, 2, 5, 30}).Draw(t, "pending") {
				id++
				name := tenantName(n)
				f.tenants[name] = append(f.tenants[name], &fakeRevocation{id: rev(id), left: 1 << 30, walks: rapid.IntRange(0, 9).Draw(t, "walks") == 0})
			}
		}
		for range rapid.IntRange(0, 300).Draw(t, "steps before") {
			f.do()
		}
		name := tenantName(rapid.IntRange(0, 12).Draw(t, "tenant of the small one"))
		own := len(f.tenants[name])
		small := &fakeRevocation{id: rev(2000), left: 1}
		f.tenants[name] = append(f.tenants[name], small)
		f.p.hinted(f.now, name, small.id)
		bound := (3*len(f.tenants) + 10) * (own + 1)
		if len(f.tenants) == 1 {
			bound = own + f.p.limits.share + 5
		}
		for began := f.slices; small.left > 0; f.do() {
			if f.slices-began > bound {
				t.Logf("not done after %d slices, with %d pending in %d tenants, %d of them in its own", f.slices-began, f.pending(), len(f.tenants), own)
				t.Fatal("not done in time")
			}
			if f.p.jobs > f.p.limits.jobs || len(f.p.left) > len(f.tenants) {
				t.Fatal("more memory than there is")
			}
			for _, q := range f.p.ring {
				if len(q.jobs) > f.p.limits.share {
					t.Fatal("more than the share of a tenant")
				}
			}
		}
	})
}

// TestPlannerOfTenThousandTenants: what the plan holds doesn't grow with the tenants, and nor does how often it looks at each.
func TestPlannerOfTenThousandTenants(t *testing.T) {
	const tenants = 10_000
	f := &fakeStore{t: t, p: newPlan(testPacing()), now: t0, tenants: map[string][]*fakeRevocation{}, perPage: pageSize}
	for n := range tenants {
		f.tenants[tenantName(n)] = []*fakeRevocation{{id: rev(1), left: 100}, {id: rev(2), left: 100}}
	}
	steps := 0
	for ; steps%1000 > 0 || f.pending() > 0; steps++ {
		f.do()
		if p := f.p; p.jobs > maxJobs || len(p.ring) > maxJobs || len(p.ring) != len(p.byName) {
			t.Fatalf("the plan holds %d jobs of %d tenants", p.jobs, len(p.ring))
		}
	}
	// Each tenant takes up to five slices of 62 to 125, each slice a look and a rest, and each lap its lists.
	if most := 5 * tenants; f.slices > most || steps > 3*most+tenants {
		t.Errorf("%d slices in %d steps, want at most %d in three steps each", f.slices, steps, most)
	}
}
