package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func TestRunResumesWhatIsPending(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		for i := range 150 { // more tenants than a page has
			tenant := fmt.Sprintf("t%03d", i)
			r.issue(tenant, "ann", 3)
			r.issue(tenant, "bob", 1)
			r.revoke(r.engine, tenant, 1, "ann")
		}
		for i := range 250 { // more revocations than a page has
			user := fmt.Sprint("user", i)
			r.issue("t000", user, 1)
			_, err := r.engine.Revoke(r.Context(), "t000", store.Revocation{
				ID: ulid.ULID{0: 2, 14: byte(i >> 8), 15: byte(i)}, Targets: []domain.Target{{UserID: user}}, Time: time.Now(),
			})
			if err != nil {
				r.Fatal(err)
			}
		}
		stop := r.start(r.newEngine(revocation.Options{})) // as after a restart: nobody told this one anything
		synctest.Wait()
		for i := range 150 {
			r.wantSwept(fmt.Sprintf("t%03d", i), 1)
		}
		stop()
	})
}

func TestRunOnlyOnceAtATime(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		stop := r.start(r.engine)
		synctest.Wait()
		if err := r.engine.Run(r.Context()); err != revocation.ErrRunning {
			r.Errorf("a second Run = %v, want ErrRunning", err)
		}
		stop()
		r.issue("a", "ann", 1)
		r.revoke(r.engine, "a", 1, "ann") // between two runs
		stop = r.start(r.engine)          // Run after Run
		synctest.Wait()
		r.wantSwept("a", 0)
		stop()
		ended, cancel := context.WithCancel(r.Context())
		cancel()
		if err := r.engine.Run(ended); err != nil {
			r.Errorf("Run with a context that has ended = %v, want nil", err)
		}
	})
}

func TestRunOnClosedBackend(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		ended := make(chan error, 1)
		go func() { ended <- r.engine.Run(r.Context()) }()
		synctest.Wait()
		_ = r.faults.Close() // while it sleeps
		if err := <-ended; !errors.Is(err, store.ErrClosed) {
			r.Errorf("Run = %v, want ErrClosed", err)
		}
		if err := r.engine.Run(r.Context()); !errors.Is(err, store.ErrClosed) {
			r.Errorf("Run = %v, want ErrClosed", err)
		}
	})
}

// TestWokenByRevoke: no poll is waited for. TestFoundByPoll: without being woken it takes a poll, and no more.
func TestWokenByRevoke(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Hour}, func(r *rig) {
		stop := r.start(r.engine)
		r.issue("a", "ann", 2000)
		synctest.Wait()
		began := time.Now()
		receipt := r.revoke(r.engine, "a", 1, "ann")
		if _, err := r.engine.Wait(r.Context(), receipt); err != nil {
			r.Fatal(err)
		}
		r.wantSwept("a", 0)
		if took := time.Since(began); took > 0 {
			r.Errorf("swept after %v, want at once", took)
		}
		stop()
	})
}

func TestFoundByPoll(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: 5 * time.Second}, func(r *rig) {
		stop := r.start(r.engine)
		time.Sleep(time.Second)
		r.issue("a", "ann", 2)
		r.revoke(r.newEngine(revocation.Options{}), "a", 1, "ann") // by another process, so to speak
		synctest.Wait()
		if r.state("a").Pending != 1 {
			r.Error("the wake-up was not dropped")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		r.wantSwept("a", 0)
		stop()
	})
}

func TestManyHintsWhileBusyAreFound(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Hour}, func(r *rig) {
		stop := r.start(r.engine)
		synctest.Wait()
		for i := range 3000 { // three times the room
			user := fmt.Sprint("user", i)
			r.issue("a", user, 1)
			_, err := r.engine.Revoke(r.Context(), "a", store.Revocation{
				ID: ulid.ULID{0: 2, 14: byte(i >> 8), 15: byte(i)}, Targets: []domain.Target{{UserID: user}}, Time: time.Now(),
			})
			if err != nil {
				r.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.wantSwept("a", 0)
		stop()
	})
}

// TestFaultAtEveryCall: whichever call fails, and whether once or for a while, nothing is lost.
func TestFaultAtEveryCall(t *testing.T) {
	for _, verb := range []string{"Pending", "Revocations", "Apply", "Trim"} {
		for _, length := range []int{1, 3} {
			t.Run(fmt.Sprint(verb, " ", length, " times"), func(t *testing.T) {
				for n := 1; faultAt(t, verb, n, length); n++ {
					if n > 200 {
						t.Fatal("the engine never ends calling")
					}
				}
			})
		}
	}
}

// faultAt runs an engine whose n-th call of a verb fails, and some after it. It reports whether it came to that call.
func faultAt(t *testing.T, verb string, n, length int) (reached bool) {
	inBubble(t, revocation.Options{MaxSlice: 4, PollEvery: time.Minute}, func(r *rig) {
		for i, tenant := range []string{"a", "b"} {
			r.issue(tenant, "ann", 12)
			r.issue(tenant, "bob", 5)
			r.issue(tenant, "eve", 1)
			r.revoke(r.engine, tenant, byte(10*i+1), "ann")
		}
		other := r.newEngine(revocation.Options{})
		r.revoke(other, "a", 2, "bob")
		r.revoke(other, "b", 12, "bob")
		r.faults.failWhen(func(c call) error {
			if c.verb == verb && c.n >= n && c.n < n+length {
				return errFault
			}
			return nil
		})
		stop := r.start(r.engine)
		time.Sleep(50 * time.Second)
		r.wantSwept("a", 1)
		r.wantSwept("b", 1)
		stop()
		reached = r.faults.count(verb) >= n
		if verb == "Apply" && reached && r.failed == 0 {
			r.Errorf("call %d of Apply failed without a Failed event", n)
		}
		if verb != "Apply" && r.failed > 0 {
			r.Errorf("%d Failed events though no sweep failed", r.failed)
		}
	})
	return reached
}

func TestPoisonedRevocationHoldsUpNoOther(t *testing.T) {
	inBubble(t, revocation.Options{RetryTo: 10 * time.Second, PollEvery: time.Hour}, func(r *rig) {
		poison := number(7)
		r.faults.failWhen(func(c call) error {
			if c.verb == "Apply" && slices.Contains(c.ids, poison) {
				return errFault
			}
			return nil
		})
		for n := range byte(51) {
			user := fmt.Sprint("user", n)
			r.issue("a", user, 2)
			r.revoke(r.engine, "a", n, user)
		}
		began := time.Now()
		stop := r.start(r.engine)
		synctest.Wait()
		if s := r.state("a"); s.Pending != 1 || s.Tokens != 2 {
			r.Errorf("%d pending and %d tokens, want those of the poisoned one only", s.Pending, s.Tokens)
		}
		if took := time.Since(began); took > 0 {
			r.Errorf("the others took %v", took)
		}
		time.Sleep(time.Minute)
		before := r.faults.count("Apply")
		time.Sleep(time.Minute)
		if calls := r.faults.count("Apply") - before; calls < 4 || calls > 12 {
			r.Errorf("tried %d times a minute, want about every 10 s", calls)
		}
		r.faults.failWhen(nil) // healed
		time.Sleep(15 * time.Second)
		r.wantSwept("a", 0)
		stop()
	})
}

func TestUnreadableTenantHoldsUpNoOther(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Minute}, func(r *rig) {
		for _, tenant := range []string{"a", "b"} {
			r.issue(tenant, "ann", 1)
			r.revoke(r.newEngine(revocation.Options{}), tenant, 1, "ann")
		}
		r.faults.failWhen(func(c call) error {
			if c.verb == "Revocations" && c.tenant == "a" {
				return errFault
			}
			return nil
		})
		stop := r.start(r.engine)
		time.Sleep(time.Second)
		r.wantSwept("b", 0)
		if r.state("a").Pending != 1 {
			r.Error("tenant a was read")
		}
		stop()
	})
}

// TestL2HugeRevocationHoldsUpNoSmallOne counts what has been swept of 20,000 tokens when one token's turn has come.
func TestL2HugeRevocationHoldsUpNoSmallOne(t *testing.T) {
	for _, tenant := range []string{"a", "b"} {
		t.Run("small one in tenant "+tenant, func(t *testing.T) {
			inBubble(t, revocation.Options{MaxSlice: 100}, func(r *rig) {
				r.issue("a", "ann", 20_000)
				r.issue(tenant, "bob", 1)
				r.revoke(r.engine, "a", 1, "ann")
				r.revoke(r.engine, tenant, 2, "bob")
				stop := r.start(r.engine)
				time.Sleep(time.Minute)
				r.wantSwept("a", 0)
				r.wantSwept(tenant, 0)
				stop()
				at := slices.Index(r.events, "retired "+tenant+" r2 1")
				if at < 0 || at > 10 {
					r.Errorf("the small one was retired as event %d of %d", at, len(r.events))
				}
				last := uint64(0)
				for _, s := range r.swept {
					if s.Tombstone.ID == number(1) {
						if s.Swept-last > 100 {
							r.Errorf("a slice of %d, want at most MaxSlice 100", s.Swept-last)
						}
						last = s.Swept
					}
				}
			})
		})
	}
}

func TestEvents(t *testing.T) {
	inBubble(t, revocation.Options{MaxSlice: 2}, func(r *rig) {
		r.issue("a", "ann", 5)
		stop := r.start(r.engine)
		synctest.Wait()
		receipt := r.revoke(r.engine, "a", 1, "ann")
		if _, err := r.engine.Wait(r.Context(), receipt); err != nil {
			r.Fatal(err)
		}
		stop()
		want := "revoked a r1\nswept a r1 2\nswept a r1 4\nswept a r1 5\nretired a r1 5"
		if got := strings.Join(r.events, "\n"); got != want {
			r.Errorf("events:\n%s\nwant:\n%s", got, want)
		}
		if last := r.swept[len(r.swept)-1]; last.Examined != 5 || !last.Retired {
			r.Errorf("last status %+v, want 5 examined, retired", last)
		}
	})
}

func TestTrimForgetsWhatIsOld(t *testing.T) {
	opts := revocation.Options{MemoryFor: 48 * time.Hour, HistoryFor: 24 * time.Hour, PollEvery: time.Hour}
	inBubble(t, opts, func(r *rig) {
		stop := r.start(r.engine)
		for n, wait := range []time.Duration{25 * time.Hour, 24 * time.Hour, 0} {
			user := fmt.Sprint("user", n)
			r.issue("a", user, 1)
			r.revoke(r.engine, "a", byte(n), user)
			time.Sleep(wait)
		}
		synctest.Wait()
		if s := r.state("a"); s.Guards != 2 || s.History != 2 || s.Horizon.Sequence != 2 {
			r.Errorf("%d guards, %d retired, horizon %d; want the first guard and the first retired one forgotten", s.Guards, s.History, s.Horizon.Sequence)
		}
		stop()
	})
}

// Each kind of memory has a time of its own, whatever the others have.
func TestTrimForgetsEachInItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		opts                    revocation.Options
		guards, history, events int
	}{
		"guards":  {revocation.Options{MemoryFor: time.Hour, HistoryFor: -1, OutboxFor: -1}, 0, 1, 1},
		"history": {revocation.Options{MemoryFor: -1, HistoryFor: time.Hour, OutboxFor: -1}, 1, 0, 1},
		"events":  {revocation.Options{MemoryFor: -1, HistoryFor: -1, OutboxFor: time.Hour}, 1, 1, 0},
	} {
		inBubble(t, c.opts, func(r *rig) {
			stop := r.start(r.engine)
			r.issue("a", "ann", 1)
			r.revoke(r.engine, "a", 1, "ann")
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			if s := r.state("a"); s.Guards != c.guards || s.History != c.history || s.Events != c.events {
				r.Errorf("%s: %d guards, %d retired, %d events; want %d, %d, %d", name, s.Guards, s.History, s.Events, c.guards, c.history, c.events)
			}
			stop()
		})
	}
}

// Events go when they are as old as OutboxFor says, whatever is remembered of revocations beside, and for how long.
func TestTrimDropsOldEvents(t *testing.T) {
	for outboxFor, want := range map[time.Duration]int{12 * time.Hour: 1, 36 * time.Hour: 2, 60 * time.Hour: 3} {
		for _, memoryFor := range []time.Duration{30 * time.Hour, -1} {
			opts := revocation.Options{MemoryFor: memoryFor, HistoryFor: memoryFor, OutboxFor: outboxFor, PollEvery: time.Hour}
			inBubble(t, opts, func(r *rig) {
				stop := r.start(r.engine)
				for n, wait := range []time.Duration{25 * time.Hour, 24 * time.Hour, 2 * time.Hour} {
					r.revoke(r.engine, "a", byte(n), fmt.Sprint("user", n))
					time.Sleep(wait)
				}
				synctest.Wait()
				if s := r.state("a"); s.Events != want || s.LastEvent != 3 {
					r.Errorf("OutboxFor %v, MemoryFor %v: %d events up to number %d, want %d up to 3", outboxFor, memoryFor, s.Events, s.LastEvent, want)
				}
				stop()
			})
		}
	}
}

func TestNegativeTimesForgetNothing(t *testing.T) {
	inBubble(t, revocation.Options{MemoryFor: -1, HistoryFor: -1, PollEvery: 1000 * time.Hour, ExpireEvery: -1}, func(r *rig) {
		stop := r.start(r.engine)
		for n := range byte(3) {
			r.issue("a", "ann", 1)
			r.revoke(r.engine, "a", n, "ann")
			time.Sleep(10_000 * time.Hour)
		}
		if s := r.state("a"); s.Guards != 1 || s.History != 3 || s.Horizon.Sequence != 0 {
			r.Errorf("state %+v, want nothing forgotten", s)
		}
		stop()
	})
}
