package revocation_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
)

// expiring stores n tokens of a user that end after the given time.
func (r *rig) expiring(tenant, user string, n int, after time.Duration) {
	r.Helper()
	for range n {
		token := domain.RefreshToken{ID: r.id(), UserID: user, ClientID: "app", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(after)}
		if _, err := r.store(tenant).Insert(r.Context(), []store.Insertion{{Token: token}}); err != nil {
			r.Fatal(err)
		}
	}
}

func TestExpiredTokensAreRemoved(t *testing.T) {
	inBubble(t, revocation.Options{ExpireEvery: time.Minute}, func(r *rig) {
		defer r.start(r.engine)()
		for i := range 250 {
			r.expiring(fmt.Sprintf("tenant-%03d", i), "ann", 2, 3*time.Minute)
		}
		r.issue("tenant-007", "ann", 3)
		time.Sleep(3*time.Minute - time.Second)
		synctest.Wait()
		r.wantSwept("tenant-007", 5) // not before their time
		time.Sleep(time.Minute + 2*time.Second)
		synctest.Wait()
		for i := range 250 {
			want := 0
			if i == 7 {
				want = 3
			}
			r.wantSwept(fmt.Sprintf("tenant-%03d", i), want)
		}
	})
}

func TestExpiryComesInSlices(t *testing.T) {
	var mu sync.Mutex
	removed, most, none := 0, 0, 0
	inBubble(t, revocation.Options{}, func(r *rig) {
		r.expiring("acme", "ann", 1000, 3*time.Minute)
		engine, err := revocation.New(r.faults, &revocation.Options{MaxSlice: 50, Events: revocation.Events{
			Expired: func(_ string, n int) {
				mu.Lock()
				defer mu.Unlock()
				removed, most = removed+n, max(most, n)
				if n == 0 {
					none++
				}
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.start(engine)()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		r.wantSwept("acme", 0)
		if calls := r.faults.count("Expire"); calls > 1000/50+2*6 {
			t.Errorf("Expire was called %d times; an engine with nothing to do must not be busy", calls)
		}
	})
	mu.Lock()
	defer mu.Unlock()
	if removed != 1000 || most > 50 || none > 0 {
		t.Errorf("%d tokens removed in slices of up to %d, %d of them empty; want 1000 and 50, and none", removed, most, none)
	}
}

func TestNegativeExpireEveryLeavesThem(t *testing.T) {
	inBubble(t, revocation.Options{ExpireEvery: -1}, func(r *rig) {
		defer r.start(r.engine)()
		r.expiring("acme", "ann", 3, time.Minute)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.wantSwept("acme", 3)
	})
}

// Neither of a huge expiry and a huge revocation, of one tenant or of two, keeps the other from getting on.
func TestL2ExpiryAndSweepTakeTurns(t *testing.T) {
	for _, tenant := range []string{"acme", "zeta"} {
		inBubble(t, revocation.Options{MaxSlice: 16}, func(r *rig) {
			r.expiring("acme", "ann", 800, time.Second)
			r.issue(tenant, "bob", 800)
			time.Sleep(2 * time.Second)
			receipt := r.revoke(r.engine, tenant, 1, "bob")
			stop := r.start(r.engine)
			if _, err := r.engine.Wait(r.Context(), receipt); err != nil {
				t.Error(err)
			}
			swept, expired := r.faults.count("Apply"), r.faults.count("Expire")
			if expired < swept/3 || swept < expired/3 {
				t.Errorf("%s: %d slices of the sweep and %d of the expiry: one held up the other", tenant, swept, expired)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
			r.wantSwept("acme", 0)
		})
	}
}

// A fault at any call of the expiry puts it off, and loses nothing.
func TestFaultsOfTheExpiry(t *testing.T) {
	for _, verb := range []string{"Tenants", "Expire"} {
		for n := 1; n <= 6; n++ {
			inBubble(t, revocation.Options{MaxSlice: 20}, func(r *rig) {
				r.expiring("acme", "ann", 100, time.Second)
				r.expiring("zeta", "ann", 10, time.Second)
				r.faults.failWhen(func(c call) error {
					if c.verb == verb && c.n == n {
						return errFault
					}
					return nil
				})
				time.Sleep(2 * time.Second)
				defer r.start(r.engine)()
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				r.wantSwept("acme", 0)
				r.wantSwept("zeta", 0)
			})
		}
	}
}

// TestGuardsOfCapsAreTrimmed: where nothing is ever revoked, what a cap evicted is forgotten in its time.
func TestGuardsOfCapsAreTrimmed(t *testing.T) {
	inBubble(t, revocation.Options{MemoryFor: 24 * time.Hour}, func(r *rig) {
		stop := r.start(r.engine)
		for range 10 {
			row := store.Insertion{Cap: store.Cap{Max: 1}, Token: domain.RefreshToken{
				ID: r.id(), UserID: "ann", ClientID: "app", CreatedAt: time.Now(),
			}}
			if _, err := r.store("a").Insert(r.Context(), []store.Insertion{row}); err != nil {
				r.Fatal(err)
			}
		}
		time.Sleep(23 * time.Hour)
		if s := r.state("a"); s.Guards != 9 {
			r.Errorf("%d guards, want 9", s.Guards)
		}
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		if s := r.state("a"); s.Guards != 0 || s.Tokens != 1 {
			r.Errorf("%d guards of what is older than the memory, %d tokens", s.Guards, s.Tokens)
		}
		stop()
	})
}
