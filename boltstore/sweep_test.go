package boltstore

import (
	"runtime"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

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
	release, ended := make(chan struct{}), make(chan error)
	queued := 0
	queue := func(call func() error) {
		go func() { ended <- call() }()
		for ready := false; !ready; runtime.Gosched() {
			b.group.mu.Lock()
			ready = b.group.leading && len(b.group.queue) == queued
			b.group.mu.Unlock()
		}
		queued++
	}
	queue(func() error { return b.update(ctx, func(*txn) error { <-release; return nil }) }) // it leads, and is in no queue
	queue(func() error {
		_, err := s.Expire(ctx, store.Bounds{Visit: 10, Remove: 10, Now: later})
		return err
	})
	queue(func() error { return issue(later, domain.AsOfSequence(status.Tombstone.Watermark)) })
	queue(func() error {
		_, err := s.Apply(ctx, []ulid.ULID{status.Tombstone.ID}, store.Bounds{Visit: 10, Remove: 10, Now: later})
		return err
	})
	close(release)
	for range queued {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if view, err := s.Get(ctx, id); err != nil || !view.Token.CreatedAt.Equal(later) || view.Revoked() {
		t.Errorf("got %+v, error %v: want the token that was issued after the revocation", view.Token, err)
	}
}
