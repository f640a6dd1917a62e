// Package memstore is the backend that keeps everything in memory: the shortest correct reading of the contract in
// package store, for tests, for trials, and for hosts that can do without durability. It is exempt from R29 only: what it
// holds is gone with the process.
//
// A tenant is a set of maps under one lock, and every verb holds it from its first look to its last write. That is what
// makes each of them one atomic step.
package memstore

import (
	"context"
	"maps"
	"slices"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Backend is an empty database in memory when made by [New]. It is safe for concurrent use.
type Backend struct {
	mu      sync.Mutex
	tenants map[string]*tenant
	closed  bool
}

var _ store.Backend = (*Backend)(nil)

// New returns an empty backend.
func New() *Backend { return &Backend{tenants: map[string]*tenant{}} }

// Tenant returns the store of a tenant.
func (b *Backend) Tenant(name string) (store.Store, error) {
	if err := domain.CheckTenant(name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, store.ErrClosed
	}
	t := b.tenants[name]
	if t == nil {
		t = newTenant()
		b.tenants[name] = t
	}
	return t, nil
}

// Pending returns the names of tenants that have pending tombstones.
func (b *Backend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, after, limit, (*tenant).hasPending)
}

// Create records a tenant that holds nothing yet.
func (b *Backend) Create(ctx context.Context, name string) error {
	if _, err := b.Tenant(name); err != nil {
		return err
	}
	b.mu.Lock()
	t := b.tenants[name]
	b.mu.Unlock()
	return t.create(ctx)
}

// Tenants returns the names of tenants that were created or written to.
func (b *Backend) Tenants(ctx context.Context, after string, limit int) ([]string, error) {
	return b.names(ctx, after, limit, (*tenant).named)
}

// names returns the names of tenants of which something holds. It asks without holding up those who look for a tenant.
func (b *Backend) names(ctx context.Context, after string, limit int, holds func(*tenant) bool) ([]string, error) {
	if limit < 1 {
		return nil, &domain.FieldError{Field: "limit", Limit: "at least 1", Size: limit}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	tenants, closed := maps.Clone(b.tenants), b.closed
	b.mu.Unlock()
	if closed {
		return nil, store.ErrClosed
	}
	var names []string
	for name, t := range tenants {
		if name > after && holds(t) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))], nil
}

// Close makes every further verb fail with [store.ErrClosed], and waits for those under way.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, t := range b.tenants {
		t.close()
	}
	return nil
}
