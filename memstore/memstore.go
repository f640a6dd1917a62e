// Package memstore is the backend that keeps everything in memory: the shortest correct reading of the contract in
// package store, for tests, for trials, and for hosts that can do without durability. It is exempt from R29 only: what it
// holds is gone with the process.
//
// A tenant is a set of maps and tables under one lock, and every verb holds it from its first look to its last write. That is what
// makes each of them one atomic step. Get alone does without the lock while nobody writes and nothing is pending (peek.go).
package memstore

import (
	"cmp"
	"context"
	"sync"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
)

// Backend is an empty database in memory when made by [New]. It is safe for concurrent use.
type Backend struct {
	mu      sync.Mutex
	tenants map[string]*tenant
	names   sortedSet[tenantName] // the same
	closed  bool
}

// tenantName is the name of a tenant.
type tenantName string

// Compare orders by bytes.
func (n tenantName) Compare(other tenantName) int { return cmp.Compare(n, other) }

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
		b.names.add(tenantName(name))
	}
	return t, nil
}

// Pending returns the names of tenants that have pending tombstones.
func (b *Backend) Pending(ctx context.Context, after string, limit int) ([]string, error) {
	return b.list(ctx, after, limit, (*tenant).hasPending)
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
	return b.list(ctx, after, limit, (*tenant).named)
}

// list returns the names of tenants of which something holds. It asks without holding up those who look for a tenant.
func (b *Backend) list(ctx context.Context, after string, limit int, holds func(*tenant) bool) ([]string, error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	var names []string
	for len(names) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		page, err := b.page(after)
		if err != nil || len(page) == 0 {
			return names, err
		}
		for _, t := range page {
			if after = t.name; len(names) < limit && holds(t.tenant) {
				names = append(names, t.name)
			}
		}
	}
	return names, nil
}

type namedTenant struct {
	name   string
	tenant *tenant
}

// page returns tenants, whatever they hold, in the order of their names.
func (b *Backend) page(after string) ([]namedTenant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, store.ErrClosed
	}
	var page []namedTenant
	for n := range b.names.after(tenantName(after)) {
		if len(page) == chunkSize {
			break
		}
		page = append(page, namedTenant{string(n), b.tenants[string(n)]})
	}
	return page, nil
}

// Close makes every further verb fail with [store.ErrClosed], and waits for those under way that hold a tenant's lock.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, t := range b.tenants {
		t.close()
	}
	return nil
}
