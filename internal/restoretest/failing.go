package restoretest

import (
	"context"
	"errors"

	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

var errBroken = errors.New("broken off")

// failing is a backend whose calls that write fail after so many, a late one after it has taken effect.
type failing struct {
	store.Backend
	left   int
	late   bool
	slices bool // slices of a sweep fail from the first on
}

// fails reports whether a call is to fail.
func (f *failing) fails() bool {
	f.left--
	return f.left < 0
}

func (f *failing) Tenant(name string) (store.Store, error) {
	s, err := f.Backend.Tenant(name)
	restorer, _ := store.As[store.Restorer](s)
	return failingStore{s, restorer, f}, err
}

type failingStore struct {
	store.Store
	restorer store.Restorer
	f        *failing
}

func (s failingStore) Gapless() bool { return gapless(s.Store) }

func gapless(s store.Store) bool {
	g, is := store.As[store.Gapless](s)
	return is && g.Gapless()
}

func (s failingStore) Restorations(ctx context.Context) ([]store.Restored, error) {
	return s.restorer.Restorations(ctx)
}

func (s failingStore) Restore(ctx context.Context, r store.Restoration) (store.Restored, error) {
	if s.f.fails() {
		if !s.f.late {
			return store.Restored{}, errBroken
		}
		_, err := s.restorer.Restore(ctx, r)
		return store.Restored{}, errors.Join(errBroken, err)
	}
	return s.restorer.Restore(ctx, r)
}

func (s failingStore) Revoke(ctx context.Context, r store.Revocation) (store.Status, error) {
	if s.f.fails() {
		return store.Status{}, errBroken
	}
	return s.Store.Revoke(ctx, r)
}

func (s failingStore) Apply(ctx context.Context, ids []ulid.ULID, bounds store.Bounds) ([]store.Status, error) {
	if s.f.slices || s.f.fails() {
		return nil, errBroken
	}
	return s.Store.Apply(ctx, ids, bounds)
}

// gappy is a backend whose events have numbers with gaps, for all that is known of it.
type gappy struct{ store.Backend }

func (g gappy) Tenant(name string) (store.Store, error) {
	s, err := g.Backend.Tenant(name)
	return gappyStore{s}, err
}

type gappyStore struct{ store.Store }

func (s gappyStore) Gapless() bool { return false }

func (s gappyStore) Unwrap() store.Store { return s.Store }
