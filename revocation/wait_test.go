package revocation_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

func TestWaitReturnsAtOnceForWhatIsRetired(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		receipt, err := r.engine.Revoke(r.Context(), "a", store.Revocation{
			ID: number(1), Targets: []domain.Target{{TokenID: ulid.ULID{15: 9}}}, Time: time.Now(),
		})
		if err != nil || !receipt.Status.Retired {
			r.Fatalf("%+v, %v; want retired at once: there is no such token", receipt, err)
		}
		status, err := r.engine.Wait(r.Context(), receipt)
		if err != nil || !status.Retired || status.Tombstone.ID != number(1) {
			r.Errorf("Wait = %+v, %v", status, err)
		}
		if len(r.events) != 0 {
			r.Errorf("events %q of a revocation that was not recorded", r.events)
		}
	})
}

func TestWaitFollowsWhatSuperseded(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Hour}, func(r *rig) {
		r.issue("a", "ann", 3)
		first := r.revoke(r.engine, "a", 1, "ann")
		second := r.revoke(r.engine, "a", 2, "ann")
		third := r.revoke(r.engine, "a", 3, "ann")
		stop := r.start(r.engine)
		for _, receipt := range []revocation.Receipt{first, second, third} {
			status, err := r.engine.Wait(r.Context(), receipt)
			if err != nil || status.Tombstone.ID != number(3) || status.Swept != 3 {
				r.Errorf("Wait(%s) = %+v, %v; want the third, which swept 3", short(receipt.ID()), status, err)
			}
		}
		stop()
	})
}

// TestWaitIsSupersededMeanwhile: the one that is waited for is superseded while somebody waits.
func TestWaitIsSupersededMeanwhile(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Hour}, func(r *rig) {
		r.issue("a", "ann", 3)
		first := r.revoke(r.engine, "a", 1, "ann")
		waited := make(chan store.Status)
		go func() {
			status, err := r.engine.Wait(r.Context(), first)
			if err != nil {
				r.Error(err)
			}
			waited <- status
		}()
		synctest.Wait()
		r.revoke(r.engine, "a", 2, "ann")
		stop := r.start(r.engine)
		if status := <-waited; status.Tombstone.ID != number(2) || !status.Retired {
			r.Errorf("Wait = %+v, want the second, retired", status)
		}
		stop()
	})
}

// TestWaitIgnoresOthers: what is retired beside the one that is waited for ends no wait.
func TestWaitIgnoresOthers(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Hour, MaxSlice: 16}, func(r *rig) {
		r.issue("a", "ann", 1000)
		r.issue("a", "bob", 1)
		huge := r.revoke(r.engine, "a", 1, "ann")
		small := r.revoke(r.engine, "a", 2, "bob")
		waited := make(chan store.Status)
		go func() {
			status, err := r.engine.Wait(r.Context(), huge)
			if err != nil {
				r.Error(err)
			}
			waited <- status
		}()
		synctest.Wait()
		stop := r.start(r.engine)
		if status := <-waited; !status.Retired || status.Swept != 1000 {
			r.Errorf("Wait = %+v, want all swept", status)
		}
		if status, err := r.engine.Wait(r.Context(), small); err != nil || !status.Retired {
			r.Errorf("Wait = %+v, %v, want the small one retired", status, err)
		}
		stop()
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		r.issue("a", "ann", 1)
		receipt := r.revoke(r.engine, "a", 1, "ann") // no engine runs
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		status, err := r.engine.Wait(ctx, receipt)
		if !errors.Is(err, context.DeadlineExceeded) || status.Retired || status.Tombstone.ID != number(1) {
			r.Errorf("Wait = %+v, %v; want what is known so far, and the deadline", status, err)
		}
		if took := time.Since(began); took != time.Minute {
			r.Errorf("after %v", took)
		}
	})
}

func TestWaitNoticesAnotherEngine(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: 5 * time.Second}, func(r *rig) {
		r.issue("a", "ann", 1)
		began := time.Now()
		receipt := r.revoke(r.engine, "a", 1, "ann")
		stop := r.start(r.newEngine(revocation.Options{}))
		if _, err := r.engine.Wait(r.Context(), receipt); err != nil {
			r.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			r.Errorf("noticed after %v, want within PollEvery", took)
		}
		stop()
	})
}

func TestWaitForWhatHistoryForgot(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		r.issue("a", "ann", 1)
		receipt := r.revoke(r.engine, "a", 1, "ann")
		stop := r.start(r.newEngine(revocation.Options{}))
		synctest.Wait()
		stop()
		if _, err := r.store("a").Trim(r.Context(), store.Trim{History: time.Now().Add(time.Hour), Limit: 10}); err != nil {
			r.Fatal(err)
		}
		status, err := r.engine.Wait(r.Context(), receipt)
		if err != nil || !status.Retired || status.Tombstone.ID != number(1) {
			r.Errorf("Wait = %+v, %v; want retired: only what is retired is ever forgotten", status, err)
		}
	})
}

func TestWaitOnClosedBackend(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		r.issue("a", "ann", 1)
		receipt := r.revoke(r.engine, "a", 1, "ann")
		failed := make(chan error)
		go func() {
			_, err := r.engine.Wait(r.Context(), receipt)
			failed <- err
		}()
		synctest.Wait()
		_ = r.faults.Close()
		if err := <-failed; !errors.Is(err, store.ErrClosed) {
			r.Errorf("Wait = %v, want ErrClosed", err)
		}
		_, err := r.engine.Revoke(r.Context(), "a", store.Revocation{ID: number(2), Targets: []domain.Target{{Everything: true}}})
		if !errors.Is(err, store.ErrClosed) {
			r.Errorf("Revoke = %v, want ErrClosed", err)
		}
	})
}

func TestHealth(t *testing.T) {
	inBubble(t, revocation.Options{}, func(r *rig) {
		want := func(want revocation.Health) {
			r.Helper()
			if got, err := r.engine.Health(r.Context()); err != nil || got != want {
				r.Errorf("Health = %+v, %v; want %+v", got, err, want)
			}
		}
		want(revocation.Health{})
		oldest := time.Now()
		r.issue("b", "ann", 1)
		r.revoke(r.engine, "b", 1, "ann")
		time.Sleep(time.Minute)
		r.issue("a", "ann", 1)
		r.issue("a", "bob", 1)
		r.revoke(r.engine, "a", 2, "ann")
		r.revoke(r.engine, "a", 3, "bob")
		time.Sleep(time.Minute)
		want(revocation.Health{Tenants: 2, Pending: 3, OldestPending: oldest, OldestAge: 2 * time.Minute})
		stop := r.start(r.engine)
		synctest.Wait()
		want(revocation.Health{Running: true})
		stop()
		want(revocation.Health{})
		r.faults.failWhen(func(c call) error { return errFault })
		if _, err := r.engine.Health(r.Context()); !errors.Is(err, errFault) {
			r.Errorf("Health = %v, want the fault", err)
		}
	})
}

// TestHeardEndsTheRest: what another process has recorded is swept as soon as the engine hears of it, and a hint that is wrong does
// no harm.
func TestHeardEndsTheRest(t *testing.T) {
	inBubble(t, revocation.Options{PollEvery: time.Hour}, func(r *rig) {
		r.issue("a", "ann", 3)
		other, err := revocation.New(r.faults, nil)
		if err != nil {
			r.Fatal(err)
		}
		stop := r.start(r.engine)
		synctest.Wait() // it has found nothing, and rests
		began := time.Now()
		receipt := r.revoke(other, "a", 1, "ann")
		r.engine.Heard("nobody", number(9))
		r.engine.Heard("a", number(9))
		r.engine.Heard("a", receipt.ID())
		if status, err := r.engine.Wait(r.Context(), receipt); err != nil || status.Swept != 3 {
			r.Errorf("Wait = %+v, %v", status, err)
		}
		if took := time.Since(began); took >= time.Minute {
			r.Errorf("what was heard of must not wait for the next poll: it took %v", took)
		}
		stop()
	})
}
