package tokenstore

import (
	"context"
	"iter"

	"example.com/tokenstore/store"
)

// TenantOptions are what a tenant has of its own. The zero value, and nil, take everything from the manager that is asked.
type TenantOptions struct {
	// Legacy says which of the tenant's tokens carry a null session id. Defaults to nil, the rule of the manager asked.
	Legacy *LegacyRule
	// Client gives the policy of the tenant's clients, as [Options] has it. Defaults to that of the manager asked.
	Client func(clientID string) ClientPolicy
	// Device is how much of the addresses of devices is kept. Defaults to nil, the policy of the manager asked.
	Device *DevicePolicy
}

// Tenant returns the manager of another tenant on the same backend. It shares the engine and all other options with m, and
// starts nothing. The name is 1..100 characters; a tenant comes to be with the first thing that is written to it. An
// option out of range is a [FieldError].
func (m *Manager) Tenant(name string, opts *TenantOptions) (*Manager, error) {
	st, err := m.backend.Tenant(name)
	if err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &TenantOptions{}
	}
	other := *m
	other.store = st
	other.opts.Tenant = name
	if opts.Legacy != nil {
		other.opts.Legacy = *opts.Legacy
	}
	if opts.Client != nil {
		other.opts.Client = opts.Client
	}
	if opts.Device != nil {
		other.opts.Device = *opts.Device
	}
	if err := other.opts.Device.Validate(); err != nil {
		return nil, err
	}
	return &other, nil
}

// CreateTenant records a tenant that holds nothing yet, durably, so that [Manager.Tenants] names it, and returns its manager
// as [Manager.Tenant] does. One that was created or written to already is [ErrExists].
func (m *Manager) CreateTenant(ctx context.Context, name string, opts *TenantOptions) (*Manager, error) {
	tenant, err := m.Tenant(name, opts)
	if err != nil {
		return nil, err
	}
	if err := m.backend.Create(ctx, name); err != nil {
		return nil, err
	}
	return tenant, nil
}

// Tenants walks the names of the backend's tenants, ascending in byte order. It ends after the first error.
func (m *Manager) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return tenants(ctx, m.backend)
}

func tenants(ctx context.Context, backend store.Backend) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after := ""; ; {
			names, err := backend.Tenants(ctx, after, store.MaxPage)
			if err != nil {
				yield("", err)
				return
			}
			if len(names) == 0 {
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			after = names[len(names)-1]
		}
	}
}
