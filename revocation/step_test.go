package revocation

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func testPacing() pacing {
	return pacing{
		hold: 5 * time.Millisecond, maxSlice: 500, pollEvery: 5 * time.Second,
		retryFrom: 100 * time.Millisecond, retryTo: time.Second, jobs: maxJobs, share: maxShare,
	}
}

// sweepPlan is a plan whose next look is far away, so that its steps are about sweeping alone.
func sweepPlan() *plan {
	p := newPlan(testPacing())
	p.lapAt = t0.Add(24 * time.Hour)
	return p
}

func rev(n int) ulid.ULID { return ulid.ULID{14: byte(n >> 8), 15: byte(n)} }

func revs(ns ...int) []ulid.ULID {
	var ids []ulid.ULID
	for _, n := range ns {
		ids = append(ids, rev(n))
	}
	return ids
}

// touched are the statuses of revocations that an Apply got to; a negative number says that it was retired.
func touched(ns ...int) []store.Status {
	var statuses []store.Status
	for _, n := range ns {
		statuses = append(statuses, store.Status{Tombstone: domain.Tombstone{ID: rev(max(n, -n))}, Retired: n < 0})
	}
	return statuses
}

func addAll(p *plan, tenant string, ns ...int) {
	for _, n := range ns {
		p.add(tenant, rev(n))
	}
}

func wantSweep(t *testing.T, p *plan, now time.Time, tenant string, ns ...int) action {
	t.Helper()
	a := p.step(now)
	if a.kind != sweep || a.tenant != tenant || !slices.Equal(a.ids, revs(ns...)) {
		t.Fatalf("step = %+v, want a sweep of %s %v", a, tenant, ns)
	}
	return a
}

func wantSleep(t *testing.T, p *plan, now, until time.Time) {
	t.Helper()
	if a := p.step(now); a.kind != sleep || !a.until.Equal(until) {
		t.Fatalf("step at +%v = %+v, want sleep until +%v", now.Sub(t0), a, until.Sub(t0))
	}
}

func TestTenantsTakeTurns(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1)
	addAll(p, "b", 2)
	addAll(p, "c", 3)
	for round := range 3 {
		for i, tenant := range []string{"a", "b", "c"} {
			a := wantSweep(t, p, t0, tenant, i+1)
			p.swept(t0, a, touched(i+1), 0)
		}
		if p.jobs != 3 {
			t.Fatalf("round %d: %d jobs, want 3", round, p.jobs)
		}
	}
	a := wantSweep(t, p, t0, "a", 1)
	p.failed(t0, a, 0.5) // a pauses, the others go on
	a = wantSweep(t, p, t0, "b", 2)
	p.swept(t0, a, touched(2), 0)
	wantSweep(t, p, t0, "c", 3)
}

// TestOrderWithinTenant: each case is one slice of 1, 2, 3 and 4, what it got to, and what the next one is of.
func TestOrderWithinTenant(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []store.Status
		next []int
	}{
		{"used up by the first, which goes behind", touched(1), []int{2, 3, 4, 1}},
		{"retired ones leave", touched(-1, -2, 3), []int{4, 3}},
		{"one that is not pending any more leaves", touched(2), []int{3, 4, 2}},
		{"several of them leave", touched(-3, 4), []int{4}},
		{"nothing is pending any more", nil, nil},
		{"all are got to", touched(1, 2, 3, 4), []int{1, 2, 3, 4}},
		{"a walk touches a later one before its turn", touched(1, 4), []int{2, 3, 1, 4}},
		{"a walk retires a later one before its turn", touched(1, -3), []int{2, 4, 1}},
		{"a walk touches one that was not given", touched(1, 9), []int{2, 3, 4, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sweepPlan()
			addAll(p, "a", 1, 2, 3, 4)
			p.swept(t0, wantSweep(t, p, t0, "a", 1, 2, 3, 4), c.got, 0)
			if p.jobs != len(c.next) {
				t.Errorf("%d jobs, want %d", p.jobs, len(c.next))
			}
			if c.next == nil {
				wantSleep(t, p, t0, p.lapAt)
				return
			}
			wantSweep(t, p, t0, "a", c.next...)
		})
	}
}

// TestPassedOverLeavesAtTheLatestWithTheNextSlice: what is untouched between touched ones may have been passed over or not
// been got to; it comes first next time, which tells.
func TestPassedOverLeavesAtTheLatestWithTheNextSlice(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1, 2, 3)
	p.swept(t0, wantSweep(t, p, t0, "a", 1, 2, 3), touched(1, 3), 0)
	p.swept(t0, wantSweep(t, p, t0, "a", 2, 1, 3), touched(1, 3), 0)
	wantSweep(t, p, t0, "a", 1, 3)
}

func TestSliceNamesAtMostMaxSlice(t *testing.T) {
	p := sweepPlan()
	p.limits.share = 2 * store.MaxSlice
	for n := 1; n <= store.MaxSlice+1; n++ {
		addAll(p, "a", n)
	}
	if a := p.step(t0); len(a.ids) != store.MaxSlice {
		t.Fatalf("slice of %d, want %d", len(a.ids), store.MaxSlice)
	}
}

func TestKnownIsNotAddedAgain(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1, 2, 1, 2)
	if wantSweep(t, p, t0, "a", 1, 2); p.jobs != 2 {
		t.Fatalf("%d jobs, want 2", p.jobs)
	}
}

func TestFailedBatchIsTriedOneByOne(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1, 2, 3)
	p.failed(t0, wantSweep(t, p, t0, "a", 1, 2, 3), 0.5)
	p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(1), 0)   // it was not the cause, and goes behind
	p.failed(t0, wantSweep(t, p, t0, "a", 2), 0.5)            // it was: alone, after a pause
	p.swept(t0, wantSweep(t, p, t0, "a", 3), touched(3), 0)   // nor was this one
	a := wantSweep(t, p, t0, "a", 1, 3)                       // the innocent ones are together again meanwhile
	p.swept(t0, a, touched(-1, 3), 0)                         //
	a = wantSweep(t, p, t0.Add(99*time.Millisecond), "a", 3)  // the pause lasts
	p.swept(t0.Add(99*time.Millisecond), a, touched(3), 0)    //
	a = wantSweep(t, p, t0.Add(100*time.Millisecond), "a", 2) // and ends, and it goes alone
	p.swept(t0.Add(100*time.Millisecond), a, touched(2), 0)   // it has recovered,
	wantSweep(t, p, t0.Add(100*time.Millisecond), "a", 3, 2)  // and is one of many again
}

func TestPauseDoubles(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1)
	now := t0
	for _, pause := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		p.failed(now, wantSweep(t, p, now, "a", 1), 0.5)
		until := now.Add(pause * time.Millisecond)
		wantSleep(t, p, now, until)
		wantSleep(t, p, until.Add(-1), until)
		now = until
	}
	for _, c := range []struct {
		jitter   float64
		failures int
		want     time.Duration
	}{
		{0, 1, 50 * time.Millisecond},
		{0.25, 1, 75 * time.Millisecond},
		{0.9999, 3, 599_960 * time.Microsecond},
		{0.5, 1000, time.Second}, // no overflow
	} {
		if got := p.pause(c.failures, c.jitter); got.Round(time.Microsecond) != c.want {
			t.Errorf("pause(%d, %v) = %v, want %v", c.failures, c.jitter, got, c.want)
		}
	}
	p.limits.retryFrom, p.limits.retryTo = 1<<34, time.Hour // doubled so often that nothing is left of it
	for failures := range 100 {
		if got := p.pause(failures+1, 0.5); got <= 0 || got > time.Hour {
			t.Errorf("pause(%d, 0.5) = %v, want up to %v", failures+1, got, time.Hour)
		}
	}
}

func TestSliceSize(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name     string
		maxSlice int
		took     []time.Duration
		want     []int // the size of each slice, and of the one after the last
	}{
		{"quick ones grow to the limit", 500, []time.Duration{ms, ms, ms, ms, ms}, []int{64, 128, 256, 500, 500, 500}},
		{"slow ones in a row shrink", 500, []time.Duration{6 * ms, 6 * ms, 6 * ms, 6 * ms, 6 * ms, 6 * ms}, []int{64, 64, 64, 32, 32, 32, 16}},
		{"a slow one among others does not", 500, []time.Duration{6 * ms, 6 * ms, 4 * ms, 6 * ms, 6 * ms, 4 * ms}, []int{64, 64, 64, 64, 64, 64, 64}},
		{"far too slow ones shrink at once, to the least", 500, []time.Duration{20 * ms, 20 * ms, 20 * ms}, []int{64, 32, 16, 16}},
		{"in between it stays", 500, []time.Duration{3 * ms, 5 * ms}, []int{64, 64, 64}},
		{"a small limit is kept", 10, []time.Duration{ms, 9 * ms, 9 * ms}, []int{10, 10, 10, 10}},
		{"a limit of one", 1, []time.Duration{9 * ms}, []int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits := testPacing()
			limits.maxSlice = c.maxSlice
			p := newPlan(limits)
			p.lapAt = t0.Add(time.Hour)
			addAll(p, "a", 1)
			now := t0
			for i, want := range c.want {
				a := wantSweep(t, p, now, "a", 1)
				if a.bounds.Remove != want || a.bounds.Visit < want {
					t.Fatalf("slice %d: bounds %+v, want %d removals and no fewer visits", i, a.bounds, want)
				}
				if i < len(c.took) {
					now = now.Add(c.took[i])
					p.swept(now, a, touched(1), c.took[i])
					now = now.Add(c.took[i])
				}
			}
		})
	}
}

// TestSliceSizeOnASlowDisk: where a commit takes longer than a third of what a slice should, slices grow as long as they take no more than three times
// as long as the smallest, and no longer; twice as long plus twice what a slice should take, where that is less.
func TestSliceSizeOnASlowDisk(t *testing.T) {
	for _, c := range []struct {
		name          string
		commit, token time.Duration
		least, most   int // the size in the end
	}{
		{"commits are a little slow", 4 * time.Millisecond, 30 * time.Microsecond, 200, 256},
		{"commits are a little slow, and tokens cost something", 4 * time.Millisecond, 50 * time.Microsecond, 128, 128},
		{"commits are slow, and tokens cost more", 10 * time.Millisecond, 200 * time.Microsecond, 128, 128},
		{"tokens cost little", 10 * time.Millisecond, 10 * time.Microsecond, 500, 500},
		{"tokens cost something", 10 * time.Millisecond, 100 * time.Microsecond, 50, 128},
		{"tokens cost a lot", 10 * time.Millisecond, 10 * time.Millisecond, 16, 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits := testPacing()
			limits.maxSlice = 500
			p := newPlan(limits)
			p.lapAt = t0.Add(time.Hour)
			addAll(p, "a", 1)
			now := t0
			for range 100 {
				a := wantSweep(t, p, now, "a", 1)
				took := c.commit + time.Duration(a.bounds.Remove)*c.token
				now = now.Add(took)
				p.swept(now, a, touched(1), took)
				now = now.Add(took)
			}
			if p.pace.size < c.least || p.pace.size > c.most {
				t.Errorf("slices of %d in the end, want %d to %d", p.pace.size, c.least, c.most)
			}
		})
	}
}

// TestSliceSizeBesideAForeground: slices that now wait for others' commits and now do not are as large as fits on average: one
// that was lucky does not have them grow for long, and one that was not does not have them shrink for long.
func TestSliceSizeBesideAForeground(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1)
	now := t0
	random := rand.New(rand.NewPCG(1, 2))
	sizes := 0
	const warmUp, slices = 200, 2000
	for i := range warmUp + slices {
		a := wantSweep(t, p, now, "a", 1)
		wait := time.Duration(2+8*random.Float64()) * time.Millisecond // 6 ms on average
		if random.IntN(20) == 0 {
			wait *= 5
		}
		took := wait + time.Duration(a.bounds.Remove)*40*time.Microsecond
		now = now.Add(took)
		p.swept(now, a, touched(1), took)
		now = p.restTo
		if i >= warmUp {
			sizes += a.bounds.Remove
		}
	}
	const fits = 300 // as many as take 12 ms
	t.Logf("slices of %d on average", sizes/slices)
	if mean := sizes / slices; mean < fits/2 || mean > fits*4/3 {
		t.Errorf("slices of %d on average, want about %d", mean, fits)
	}
}

// TestSliceSizeInTurns: slices that are quick and slow in turns are as large as fits on average too, and not of the least size for ever.
func TestSliceSizeInTurns(t *testing.T) {
	p := sweepPlan()
	addAll(p, "a", 1)
	now := t0
	for i := range 100 {
		a := wantSweep(t, p, now, "a", 1)
		took := time.Duration(10+90*(i%2)) * time.Millisecond
		now = now.Add(took)
		p.swept(now, a, touched(1), took)
		now = p.restTo
	}
	if p.pace.size != p.limits.maxSlice {
		t.Errorf("slices of %d in the end, want %d: they take no longer than small ones", p.pace.size, p.limits.maxSlice)
	}
}

// TestForegroundHasItsShare: after a slice the foreground has as much time again as it worked, though not without bound.
func TestForegroundHasItsShare(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ hold, smallest, took, rest time.Duration }{
		{5 * ms, 0, 0, 0},
		{5 * ms, 0, 3 * ms, 3 * ms},
		{5 * ms, 0, time.Minute, 50 * ms},
		{3 * ms, 0, 40 * ms, 40 * ms},
		{3 * ms, 0, time.Minute, 50 * ms},
		{20 * ms, 0, time.Minute, 200 * ms},
		{5 * ms, ms, 4 * ms, 4 * ms},      // four times as many take four times as long
		{3 * ms, 5 * ms, 11 * ms, 8 * ms}, // 2 ms for each sixteen, and 3 ms
		{3 * ms, 8 * ms, 11 * ms, 5500 * time.Microsecond},
		{3 * ms, time.Minute, 12 * ms, 6 * ms},
		{3 * ms, 10 * ms, time.Minute, 50 * ms},
	} {
		p := sweepPlan()
		p.limits.hold = c.hold
		p.pace.smallest = c.smallest
		addAll(p, "a", 1)
		p.swept(t0, wantSweep(t, p, t0, "a", 1), touched(1), c.took)
		if c.rest > 0 {
			wantSleep(t, p, t0, t0.Add(c.rest))
		}
		wantSweep(t, p, t0.Add(c.rest), "a", 1)
	}
}

// TestWhatIsNotRestedFor: only the wait for a commit is, and no more than half, whatever the size of slices comes to; also once commits
// have been slow, and are not any more.
func TestWhatIsNotRestedFor(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	for _, c := range []struct {
		name                string
		before, commit, one time.Duration // what a commit takes at first, and then; and a token
		largest             int
	}{
		{"nothing waits for a commit", 0, 0, 10 * us, 500},
		{"nothing waits for a commit, and tokens take long", 0, 0, 200 * us, 500},
		{"slices are of the smallest size", 0, 0, 10 * us, 16},
		{"commits are quick", ms, ms, 20 * us, 500},
		{"commits are slow", 10 * ms, 10 * ms, 20 * us, 500},
		{"commits were slow", 40 * ms, 100 * us, 20 * us, 500},
	} {
		p := sweepPlan()
		p.limits.maxSlice = c.largest
		p.pace = newPace(3*ms, c.largest)
		addAll(p, "a", 1)
		now := t0
		const slices, last = 1000, 100
		var took, worked, rested time.Duration // of the last
		for i := range slices {
			a := wantSweep(t, p, now, "a", 1)
			commit := c.commit
			if i < last {
				commit = c.before
			}
			own := time.Duration(a.bounds.Remove) * c.one
			now = now.Add(commit + own)
			p.swept(now, a, touched(1), commit+own)
			if i >= slices-last {
				took, worked, rested = took+commit+own, worked+own, rested+p.restTo.Sub(now)
			}
			now = p.restTo
		}
		want := max(worked, took/2)
		if rested < want*99/100 || rested > want*3/2 {
			t.Errorf("%s: slices that took %v, and worked %v of it, were rested for %v, want %v or little more", c.name, took, worked, rested, want)
		}
	}
}
