package boltstore

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// inTurn makes calls that write, in one commit and in their order. What each of them looks at before is as it was without the others.
func inTurn(t *testing.T, b *Backend, calls ...func() error) {
	t.Helper()
	release, ended := make(chan struct{}), make(chan error)
	lead := func() error { return b.update(t.Context(), func(*txn) error { <-release; return nil }) }
	for queued, call := range append([]func() error{lead}, calls...) { // the first leads, and is in no queue
		go func() { ended <- call() }()
		for ready := false; !ready; runtime.Gosched() {
			b.group.mu.Lock()
			ready = b.group.leading && len(b.group.queue) == queued
			b.group.mu.Unlock()
		}
	}
	close(release)
	for range len(calls) + 1 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A call that meets damage in its commit is left out of it, wherever it stands, and each of the others is in it.
func TestFaultHarmsNoNeighbour(t *testing.T) {
	for faulty := range 3 {
		b, s := rig(t)
		var calls []func() error
		for i := range 3 {
			calls = append(calls, func() error {
				err := b.update(t.Context(), func(x *txn) error {
					if i == faulty {
						check(ErrCorrupt)
					}
					x.records("acme").insert(store.Insertion{Token: domain.RefreshToken{ID: ulid.ULID{15: byte(i) + 1}, UserID: "ann", ClientID: "client", CreatedAt: instant}})
					return nil
				})
				if i == faulty && errors.Is(err, ErrCorrupt) {
					return nil
				}
				return err
			})
		}
		inTurn(t, b, calls...)
		for i := range 3 {
			if _, err := s.Get(t.Context(), ulid.ULID{15: byte(i) + 1}); errors.Is(err, store.ErrNotFound) != (i == faulty) {
				t.Errorf("call %d of those with a fault in call %d: %v", i, faulty, err)
			}
		}
	}
}

// What a slice has planned to remove may be gone when it commits, and another token be there under its id, which nothing covers:
// that one stays.
func TestSliceLeavesWhatCameMeanwhile(t *testing.T) {
	b, s := rig(t)
	id, ctx := ulid.ULID{15: 1}, t.Context()
	issue := func(at time.Time, asOf domain.AsOf) error {
		results, err := s.Insert(ctx, []store.Insertion{{AsOf: asOf, Token: domain.RefreshToken{
			ID: id, UserID: "ann", ClientID: "client", CreatedAt: at, ExpiresAt: at.Add(time.Minute),
		}}})
		if err == nil {
			err = results[0].Err
		}
		return err
	}
	if err := issue(instant, domain.AsOf{}); err != nil {
		t.Fatal(err)
	}
	status, err := s.Revoke(ctx, store.Revocation{ID: ulid.ULID{15: 9}, Targets: []domain.Target{{UserID: "ann"}}, Time: instant})
	if err != nil {
		t.Fatal(err)
	}
	later := instant.Add(time.Hour)
	inTurn(t, b, func() error {
		_, err := s.Expire(ctx, store.Bounds{Visit: 10, Remove: 10, Now: later})
		return err
	}, func() error {
		return issue(later, domain.AsOfSequence(status.Tombstone.Watermark))
	}, func() error {
		_, err := s.Apply(ctx, []ulid.ULID{status.Tombstone.ID}, store.Bounds{Visit: 10, Remove: 10, Now: later})
		return err
	})
	if view, err := s.Get(ctx, id); err != nil || !view.Token.CreatedAt.Equal(later) || view.Revoked() {
		t.Errorf("got %+v, error %v: want the token that was issued after the revocation", view.Token, err)
	}
}

// Of two slices of one revocation that were planned at once, the one that comes second to the commit does nothing.
func TestSliceThatComesSecond(t *testing.T) {
	for _, target := range []domain.Target{{UserID: "ann"}, {ClientID: "client"}} { // by index, and by the walk
		b, s := rig(t)
		insertOne(t, s, 1, "ann")
		insertOne(t, s, 2, "ann")
		id := ulid.ULID{15: 9}
		if _, err := s.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{target}, Time: instant}); err != nil {
			t.Fatal(err)
		}
		apply := func() error {
			_, err := s.Apply(t.Context(), []ulid.ULID{id}, store.Bounds{Visit: 1, Remove: 1, Now: instant})
			return err
		}
		inTurn(t, b, apply, apply)
		if status, err := s.Revocation(t.Context(), id); err != nil || status.Swept != 1 || status.Examined != 1 {
			t.Errorf("after two at once: %+v, error %v", status, err)
		}
		retireAll(t, s, id)
		if status, err := s.Revocation(t.Context(), id); err != nil || status.Swept != 2 || status.Examined != 2 {
			t.Errorf("at the end: %+v, error %v", status, err)
		}
	}
}

// A slice by index leaves the walk over all tokens where it stands.
func TestSliceByIndexLeavesTheWalk(t *testing.T) {
	_, s := rig(t)
	for n := range byte(4) {
		insertOne(t, s, n+1, "ann")
	}
	apply := func(n byte, target domain.Target) (status store.Status) {
		t.Helper()
		id := ulid.ULID{14: 1, 15: n}
		if _, err := s.Revoke(t.Context(), store.Revocation{ID: id, Targets: []domain.Target{target}, Time: instant}); err != nil {
			t.Fatal(err)
		}
		statuses, err := s.Apply(t.Context(), []ulid.ULID{id}, store.Bounds{Visit: 1, Remove: 1, Now: instant})
		if err != nil || len(statuses) != 1 {
			t.Fatal(statuses, err)
		}
		return statuses[0]
	}
	var walk store.Status
	for n := range byte(10) {
		if walk = apply(0, domain.Target{Audience: "elsewhere"}); walk.Retired {
			break
		}
		apply(n+1, domain.Target{UserID: string(rune('a' + n))})
	}
	if !walk.Retired || walk.Examined != 4 {
		t.Errorf("a walk over four tokens, by one at a time: %+v", walk)
	}
}

// A slice counts for each revocation what it has looked at for that one: along the index, or by the walk.
func TestSliceCountsWhatItLooksAt(t *testing.T) {
	_, s := rig(t)
	insertOne(t, s, 1, "ann")
	insertOne(t, s, 2, "bob")
	insertOne(t, s, 3, "bob")
	ids := []ulid.ULID{{15: 8}, {15: 9}}
	for i, target := range []domain.Target{{UserID: "ann"}, {ClientID: "client"}} {
		if _, err := s.Revoke(t.Context(), store.Revocation{ID: ids[i], Targets: []domain.Target{target}, Time: instant}); err != nil {
			t.Fatal(err)
		}
	}
	retireAll(t, s, ids...)
	for i, want := range []uint64{1, 3} {
		if status, err := s.Revocation(t.Context(), ids[i]); err != nil || status.Examined != want {
			t.Errorf("%d tokens were looked at for revocation %d, error %v, want %d", status.Examined, i, err, want)
		}
	}
}

// What was decided on a snapshot is decided again in the commit if the token, or what covers it, is no longer the same.
func TestUpdateSeesWhatCameMeanwhile(t *testing.T) {
	b, s := rig(t)
	token, ctx := insertOne(t, s, 1, "ann"), t.Context()
	scribble := func(seen *[]store.View) error {
		return s.Update(ctx, token.ID, func(v store.View) store.Decision {
			*seen = append(*seen, v)
			next := v.Token
			next.Retries++
			if v.Revoked() {
				return store.Decision{}
			}
			return store.Decision{Next: &next}
		})
	}
	var seen [4][]store.View
	inTurn(t, b,
		func() error { return scribble(&seen[0]) },
		func() error { return scribble(&seen[1]) },
		func() error {
			_, err := s.Revoke(ctx, store.Revocation{ID: ulid.ULID{15: 9}, Targets: []domain.Target{{UserID: "bob"}}, Time: instant})
			return err
		},
		func() error { return scribble(&seen[2]) })
	inTurn(t, b, func() error {
		_, err := s.Revoke(ctx, store.Revocation{ID: ulid.ULID{15: 10}, Targets: []domain.Target{{UserID: "ann"}}, Time: instant})
		return err
	}, func() error { return scribble(&seen[3]) })
	for i, times := range []int{1, 2, 2, 2} {
		if got := len(seen[i]); got != times {
			t.Fatalf("update %d was decided %d times, want %d", i, got, times)
		}
	}
	for i := range 3 {
		if last := seen[i][len(seen[i])-1]; last.Token.Retries != uint32(i) || last.Revoked() {
			t.Errorf("update %d was decided on a token that has been updated %d times, revoked: %v", i, last.Token.Retries, last.Revoked())
		}
	}
	if first, last := seen[3][0], seen[3][1]; first.Revoked() || !last.Revoked() {
		t.Errorf("an update saw a revocation on its snapshot: %v, and in its commit: %v", first.Revoked(), last.Revoked())
	}
}

// TestSliceRemovesWhatWasPutOffMeanwhile: a covered token that was put off between the plan and the commit goes, and with it what the index has
// of it by then.
func TestSliceRemovesWhatWasPutOffMeanwhile(t *testing.T) {
	b, s := rig(t)
	id, ctx := ulid.ULID{15: 1}, t.Context()
	results, err := s.Insert(ctx, []store.Insertion{{Token: domain.RefreshToken{
		ID: id, UserID: "ann", ClientID: "client", CreatedAt: instant, IdleLifetime: domain.Lifetime(time.Minute),
		IdleExpiresAt: instant.Add(time.Minute), ExpiresAt: instant.Add(time.Hour),
	}}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	err = s.Update(ctx, id, func(v store.View) store.Decision {
		v.Token.IdleExpiresAt = instant.Add(30 * time.Minute)
		return store.Decision{Next: &v.Token, Time: instant}
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.Revoke(ctx, store.Revocation{ID: ulid.ULID{15: 9}, Targets: []domain.Target{{UserID: "ann"}}, Time: instant})
	if err != nil {
		t.Fatal(err)
	}
	bounds := store.Bounds{Visit: 10, Remove: 10, Now: instant.Add(5 * time.Minute)}
	inTurn(t, b, func() error {
		_, err := s.Expire(ctx, bounds)
		return err
	}, func() error {
		_, err := s.Apply(ctx, []ulid.ULID{status.Tombstone.ID}, bounds)
		return err
	})
	if status, err = s.Revocation(ctx, status.Tombstone.ID); err != nil || status.Swept != 1 || !status.Retired {
		t.Errorf("what the token was revoked by has swept %d, retired: %v, error %v", status.Swept, status.Retired, err)
	}
	if _, err := s.Get(ctx, id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a covered token stays: error %v", err)
	}
	if found, err := b.Check(ctx); err != nil || len(found) > 0 {
		t.Errorf("a check finds %v, error %v", found, err)
	}
}
