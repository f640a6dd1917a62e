package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/store"
)

// A copy that is taken while eight writers issue and revoke opens, is in order, holds what had been acknowledged before,
// and converges.
func TestSnapshot(t *testing.T) {
	b := open(t, temporary(t), nil)
	m, err := tokenstore.New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var mu sync.Mutex
	acked := map[string]tokenstore.Secret{} // of users that are never revoked
	issued := make(chan struct{}, 1<<16)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				user := fmt.Sprintf("%s-%d", []string{"kept", "revoked"}[i%2], w)
				token, err := m.Issue(ctx, tokenstore.IssueRequest{
					UserID: user, ClientID: "web", SessionID: tokenstore.MustSessionID(fmt.Sprint(w, "-", i)),
				})
				if err == nil && i%2 == 0 {
					mu.Lock()
					acked[token.Token.ID.String()] = token.Secret
					mu.Unlock()
				}
				if err == nil && i%16 == 15 {
					_, err = m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}})
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("writers must go on: got %v", err)
					return
				}
				select {
				case issued <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 400 {
		select {
		case <-issued:
		case <-time.After(time.Minute):
			t.Fatal("the writers do not get on")
		}
	}
	mu.Lock()
	before := make(map[string]tokenstore.Secret, len(acked))
	for id, secret := range acked {
		before[id] = secret
	}
	mu.Unlock()
	path := temporary(t)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Snapshot(ctx, file), file.Close()); err != nil {
		t.Fatalf("a snapshot must not mind writers: got %v", err)
	}
	cancel()
	wg.Wait()

	copied := open(t, path, nil)
	wantClean(t, copied)
	n, err := tokenstore.New(copied, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range before {
		in, err := n.Introspect(t.Context(), secret)
		if err != nil || !in.Active {
			t.Fatalf("what was acknowledged before the snapshot must be in it: got %+v, error %v", in.Cause, err)
		}
	}
	s := tenant(t, copied, "default")
	if err := sweep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	state, err := s.State(t.Context())
	if err != nil || state.Pending != 0 || state.Tokens < len(before) {
		t.Errorf("the copy must converge, and keep what is not revoked: got %+v, error %v", state, err)
	}
	wantClean(t, copied)
}

func TestSnapshotEnds(t *testing.T) {
	b := open(t, temporary(t), nil)
	fill(t, tenant(t, b, "acme"), 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Snapshot(ctx, brokenWriter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended must end the snapshot: got %v", err)
	}
	if err := b.Snapshot(t.Context(), brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("the writer's error must be returned: got %v", err)
	}
	shut(t, b)
	if err := b.Snapshot(t.Context(), brokenWriter{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a closed backend has no snapshot: got %v", err)
	}
}

// Wherever it is when its context ends, a snapshot says so, and leaves nothing beside the file.
func TestSnapshotEndsAtOnce(t *testing.T) {
	path := temporary(t)
	b := open(t, path, nil)
	fill(t, tenant(t, b, "acme"), 100)
	for looks := 0; ; looks++ {
		ctx := &ending{Context: t.Context(), looks: looks}
		err := b.Snapshot(ctx, io.Discard)
		if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
			t.Fatalf("%d files, want the database alone", len(files))
		}
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || errors.Is(err, boltstore.ErrUnusable) {
			t.Errorf("after %d looks at its context: got %v, want that it has ended", looks, err)
		}
	}
}

// ending is a context that ends when it has been looked at so often.
type ending struct {
	context.Context
	looks int
}

func (e *ending) Err() error {
	if e.looks--; e.looks < 0 {
		return context.Canceled
	}
	return nil
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// What was handed out stays as it was, through hundreds of later commits and the end of the file's mapping.
func TestNothingPointsIntoTheFile(t *testing.T) {
	b := open(t, temporary(t), nil)
	s := tenant(t, b, "acme")
	fill(t, s, 500)
	revoke(t, s, 1_000_001, tokenstore.Target{UserID: "user-7"}, tokenstore.Target{SessionID: "session-3"})
	page, err := s.List(t.Context(), store.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	pending, err := s.Revocations(t.Context(), store.RevocationQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	names, err := b.Pending(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("%+v %+v %v", page, pending, names)
	for n := range 300 {
		if err := s.Update(t.Context(), idOf(100+n), mark(fmt.Sprint("another text ", n))); err != nil && !errors.Is(err, store.ErrCovered) {
			t.Fatal(err)
		}
	}
	if err := sweep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	shut(t, b)
	if after := fmt.Sprintf("%+v %+v %v", page, pending, names); after != before {
		t.Error("what was handed out must not change, and be readable after Close")
	}
}

// A slow reader of a list holds no transaction between its pages: what is written meanwhile reuses pages as it would without.
func TestSlowListDoesNotGrowTheFile(t *testing.T) {
	size := func(slowly bool) int64 {
		path := temporary(t)
		b := open(t, path, nil)
		s := tenant(t, b, "acme")
		fill(t, s, 2000)
		writes := func(n int) {
			for i := range n {
				if err := s.Update(t.Context(), idOf(i%2000), mark(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if slowly {
			seen := 0
			err := list(t.Context(), s, store.Query{}, func(tokenstore.RefreshToken) {
				if seen++; seen%10 == 0 {
					writes(5)
				}
			})
			if err != nil || seen != 2000 {
				t.Fatalf("the list must show all: got %d, error %v", seen, err)
			}
		} else {
			writes(1000)
		}
		shut(t, b)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	with, without := size(true), size(false)
	t.Logf("file with a slow list: %.2f of that without", float64(with)/float64(without))
	if with > 2*without {
		t.Errorf("a slow list must not make the file grow: %d bytes with, %d without", with, without)
	}
}
