package revocation_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// many records revocations of n users with so many tokens each, of which nobody tells the engine.
func (r *rig) many(tenant string, n, tokens int) {
	r.Helper()
	for i := 1; i <= n; i++ {
		user := fmt.Sprint("user", i)
		r.issue(tenant, user, tokens)
		_, err := r.store(tenant).Revoke(r.Context(), store.Revocation{
			ID: ulid.ULID{13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}, Targets: []domain.Target{{UserID: user}}, Time: time.Now(),
		})
		if err != nil {
			r.Fatal(err)
		}
	}
}

// smallAmong records a small revocation, the last by id, as the engine begins its nth slice, and returns how many slices
// there were until it was retired.
func (r *rig) smallAmong(tenant string, nth int) (slices int) {
	r.Helper()
	r.issue(tenant, "bob", 1)
	small, retired := number(255), make(chan struct{})
	r.faults.failWhen(func(c call) error {
		switch {
		case c.verb != "Apply" || c.n < nth || slices > 0:
		case c.n == nth:
			r.revoke(r.engine, tenant, 255, "bob")
		default:
			if status, err := r.store(tenant).Revocation(r.Context(), small); err != nil {
				r.Error(err)
			} else if status.Retired {
				slices = c.n - nth
				close(retired)
			}
		}
		return nil
	})
	stop := r.start(r.engine)
	select {
	case <-retired:
	case <-time.After(time.Hour):
		r.Error("it was not retired, or as the last of all")
	}
	stop()
	stop = r.start(r.newEngine(revocation.Options{})) // the rest, in larger slices
	synctest.Wait()
	stop()
	return slices
}

// TestL2TenThousandRevocationsHoldUpNoSmallOne: of 10,000 revocations that take several slices each, those of another tenant
// don't matter, and those of its own have at most one slice each before a small one, and those at hand one more.
func TestL2TenThousandRevocationsHoldUpNoSmallOne(t *testing.T) {
	const huge, share = 10_000, 100
	for tenant, bound := range map[string]int{"b": 3*2 + 10, "a": huge + share + 5} {
		t.Run("small one in tenant "+tenant, func(t *testing.T) {
			inBubble(t, revocation.Options{MaxSlice: 1, ExpireEvery: -1, HistoryFor: -1, MemoryFor: -1}, func(r *rig) {
				r.many("a", huge, 3)
				if n := r.smallAmong(tenant, 500); n > bound {
					r.Errorf("retired after %d slices, want at most %d", n, bound)
				}
				r.wantSwept("a", 0)
				r.wantSwept(tenant, 0)
			})
		})
	}
}

// TestL2TwoThousandTenantsHoldUpNoSmallRevocation: more tenants than there is room for have several huge ones each, and a
// small one is retired after a few slices of each tenant.
func TestL2TwoThousandTenantsHoldUpNoSmallRevocation(t *testing.T) {
	const tenants, bound = 2000, 3*2001 + 10
	inBubble(t, revocation.Options{MaxSlice: 1, ExpireEvery: -1, HistoryFor: -1, MemoryFor: -1}, func(r *rig) {
		for i := range tenants {
			r.many(fmt.Sprintf("t%04d", i), 4, 3)
		}
		if n := r.smallAmong("t0000a", 1500); n > bound {
			r.Errorf("retired after %d slices, want at most %d", n, bound)
		}
		for i := range tenants {
			r.wantSwept(fmt.Sprintf("t%04d", i), 0)
		}
	})
}

// TestTenThousandTenants: one engine sweeps them all, with no goroutine and little memory for each.
func TestTenThousandTenants(t *testing.T) {
	const tenants = 10_000
	inBubble(t, revocation.Options{}, func(r *rig) {
		name := func(i int) string { return fmt.Sprintf("tenant-%05d", i) }
		for i := range tenants {
			r.many(name(i), 1, 1)
		}
		before, most := runtime.NumGoroutine(), 0
		r.faults.failWhen(func(call) error {
			most = max(most, runtime.NumGoroutine())
			return nil
		})
		stop := r.start(r.engine)
		synctest.Wait()
		h, err := r.engine.Health(r.Context())
		if err != nil || h != (revocation.Health{Running: true}) {
			r.Errorf("Health = %+v, %v; want nothing pending", h, err)
		}
		for i := range tenants {
			r.wantSwept(name(i), 0)
		}
		stop()
		if most > before+1 {
			r.Errorf("up to %d goroutines, want the engine's and the %d that there were", most, before)
		}
	})
}

// forgettable leaves n guards and retired revocations of a tenant, all of them older than what is to be remembered.
func (r *rig) forgettable(tenant string, n int) {
	r.Helper()
	r.many(tenant, n, 1)
	stop := r.start(r.newEngine(revocation.Options{ExpireEvery: -1, MemoryFor: -1, HistoryFor: -1}))
	synctest.Wait()
	stop()
	if s := r.state(tenant); s.Guards != n || s.History != n {
		r.Fatalf("%d guards, %d retired; want %d", s.Guards, s.History, n)
	}
	time.Sleep(100 * 24 * time.Hour)
}

// TestTrimIsPaced: forgetting much goes slice by slice, rests as long as each took, and takes turns with the sweep, of the
// same tenant and of others.
func TestTrimIsPaced(t *testing.T) {
	const guards, perSlice, took = 1000, 10, 3 * time.Millisecond
	inBubble(t, revocation.Options{MaxSlice: perSlice}, func(r *rig) {
		r.forgettable("a", guards)
		for _, tenant := range []string{"a", "b"} {
			r.issue(tenant, "bob", 100)
		}
		trims, ended := 0, time.Time{}
		sweeps := map[string][]int{} // by tenant, how many trims there had been before each sweep
		r.faults.failWhen(func(c call) error {
			switch c.verb {
			case "Trim":
				if rest := time.Since(ended); !ended.IsZero() && rest < took {
					r.Errorf("a rest of %v after a slice that took %v", rest, took)
				}
				if trims++; trims == 5 {
					r.revoke(r.engine, "a", 1, "bob")
					r.revoke(r.engine, "b", 2, "bob")
				}
				time.Sleep(took)
				ended = time.Now()
			case "Apply":
				sweeps[c.tenant] = append(sweeps[c.tenant], trims)
			}
			return nil
		})
		stop := r.start(r.engine)
		time.Sleep(time.Minute)
		stop()
		if s := r.state("a"); s.Guards != 1 || s.History != 1 {
			r.Errorf("%d guards, %d retired; want those of the last revocation", s.Guards, s.History)
		}
		if trims < guards/perSlice {
			r.Errorf("%d trims, want slices of %d", trims, perSlice)
		}
		for _, tenant := range []string{"a", "b"} {
			r.wantSwept(tenant, 0)
			if at := sweeps[tenant]; len(at) < 10 || at[9] > 5+2*10 {
				r.Errorf("%s: trims before each sweep %v; want them in turns", tenant, at)
			}
		}
	})
}

// TestTrimFails: it is logged, and tried again in its time; nothing else is held up.
func TestTrimFails(t *testing.T) {
	var log strings.Builder
	opts := revocation.Options{MaxSlice: 10, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	inBubble(t, opts, func(r *rig) {
		r.forgettable("a", 100)
		r.forgettable("b", 100)
		r.issue("a", "bob", 1)
		receipt := r.revoke(r.engine, "a", 1, "bob")
		fails := 0
		r.faults.failWhen(func(c call) error {
			if c.verb == "Trim" && c.tenant == "a" {
				fails++
				return errFault
			}
			return nil
		})
		stop := r.start(r.engine)
		if _, err := r.engine.Wait(r.Context(), receipt); err != nil {
			r.Error(err)
		}
		time.Sleep(3*time.Hour + time.Minute)
		if s := r.state("b"); s.Guards != 0 || s.History != 0 {
			r.Errorf("b: %d guards, %d retired", s.Guards, s.History)
		}
		if fails != 4 {
			r.Errorf("tried %d times in three hours, want 4", fails)
		}
		r.faults.failWhen(nil)
		time.Sleep(time.Hour)
		if s := r.state("a"); s.Guards != 1 || s.History != 1 {
			r.Errorf("a: %d guards, %d retired; want those of the last revocation", s.Guards, s.History)
		}
		stop()
	})
	if n := strings.Count(log.String(), `msg="trim failed" tenant=a`); n != 4 {
		t.Errorf("%d lines of the log, want 4:\n%s", n, log.String())
	}
}

// TestL2BrokenTenantHoldsUpNoOther: a tenant whose revocations can't be listed does not slow down those of another.
func TestL2BrokenTenantHoldsUpNoOther(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		add := func(tenant string, n int) {
			for i := range n {
				revoked := store.Revocation{ID: r.id(), Targets: []domain.Target{{UserID: fmt.Sprint("user-", i)}}, Time: time.Now()}
				if _, err := r.store(tenant).Revoke(r.Context(), revoked); err != nil {
					r.Fatal(err)
				}
			}
		}
		add("broken", 1)
		add("large", 2000)
		r.faults.failWhen(func(c call) error {
			if c.tenant == "broken" && c.verb == "Revocations" {
				return errFault
			}
			return nil
		})
		began := time.Now()
		stop := r.start(r.engine)
		for r.state("large").Pending > 0 && time.Since(began) < time.Hour {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 10*time.Second {
			r.Errorf("2000 small revocations took %v", took)
		}
		stop()
	})
}
