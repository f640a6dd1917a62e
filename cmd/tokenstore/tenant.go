package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/spf13/pflag"
)

// tenantFlags say which tenant of which database is meant.
type tenantFlags struct {
	databaseFlags
	tenant string
	writes bool // writes says that what a restoration has left open must not be built on
}

func (f *tenantFlags) register(flags *pflag.FlagSet) {
	f.databaseFlags.register(flags)
	flags.StringVar(&f.tenant, "tenant", "default", "the `NAME` of the tenant")
}

// legacyFlags say which tokens of a tenant have no session id. They are for the commands that let tokens in, or name those.
type legacyFlags struct{ region, cutoff string }

func (f *legacyFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.region, "region", "", "us-3: tokens created before 2024-02-22 have no session id, instead of 2023-09-21")
	flags.StringVar(&f.cutoff, "legacy-cutoff", "", "tokens created before `DATE` have no session id: 2006-01-02, or with a time as in RFC 3339")
	excludes(flags, "region", "legacy-cutoff")
}

// rule is what the flags ask for.
func (f *legacyFlags) rule() (tokenstore.LegacyRule, error) {
	switch {
	case f.region == "us-3":
		return tokenstore.US3(), nil
	case f.region != "":
		return tokenstore.LegacyRule{}, usage("--region: us-3 is the only one with a rule of its own; leave it out for any other")
	case f.cutoff == "":
		return tokenstore.LegacyRule{}, nil
	}
	at, err := parseDate("legacy-cutoff", f.cutoff)
	return tokenstore.LegacyRule{CutOff: at}, err
}

// parseDate reads the value of a flag, a date or a time.
func parseDate(flag, text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, usage("--%s: %q is no date such as 2023-09-21 or 2023-09-21T00:00:00Z", flag, text)
}

// check finds what is wrong with the flags before any database is touched.
func (f *tenantFlags) check() error {
	if err := f.databaseFlags.check(); err != nil {
		return err
	}
	if err := domain.CheckTenant(f.tenant); err != nil {
		return usage("--tenant: %w", err)
	}
	return nil
}

// manage opens the database and returns the tenant's manager. Without a logger nothing is logged. watch, if it is not nil, stands
// between the two.
func (f *tenantFlags) manage(ctx context.Context, opts tokenstore.Options, watch func(store.Backend) store.Backend) (store.Backend, *tokenstore.Manager, error) {
	database, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if f.writes {
		if err := settled(ctx, database); err != nil {
			return nil, nil, errors.Join(err, database.Close())
		}
	}
	backend := database
	if watch != nil {
		backend = watch(backend)
	}
	opts.Tenant = f.tenant
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	manager, err := tokenstore.New(backend, &opts)
	if err != nil {
		return nil, nil, errors.Join(err, database.Close())
	}
	return database, manager, nil
}

// settled refuses a database of which a restoration was broken off.
func settled(ctx context.Context, database store.Backend) error {
	err := tokenstore.Unfinished(ctx, database)
	if open, is := errors.AsType[*tokenstore.UnfinishedError](err); is {
		return fmt.Errorf("restoration %s, by %s, was broken off, of tenant %q among others: repeat tokenstore restore as it was called. "+
			"Until then what was revoked since the backup may be live, and nothing else may be done with the database", open.ID, open.Method, open.Tenant)
	}
	return err
}

// known returns an error for a tenant that nothing was ever written to: its name may be mistyped.
func (f *tenantFlags) known(ctx context.Context, m *tokenstore.Manager) error {
	state, err := m.State(ctx)
	if err != nil || state.Sequence > 0 {
		return err
	}
	for name, err := range m.Tenants(ctx) { // it may have been created, and nothing more
		if err != nil || name == f.tenant {
			return err
		}
	}
	return exitError{exitNotFound, fmt.Errorf("there is no tenant %q: nothing was ever written to it. Those that there are: tokenstore tenants", f.tenant)}
}

// withKnown does as with, for a tenant that is there.
func (f *tenantFlags) withKnown(ctx context.Context, engine revocation.Options, do func(*tokenstore.Manager) error) error {
	return f.with(ctx, engine, func(m *tokenstore.Manager) error {
		if err := f.known(ctx, m); err != nil {
			return err
		}
		return do(m)
	})
}

// with opens the database, lets something be done with the tenant's manager, and closes it.
func (f *tenantFlags) with(ctx context.Context, engine revocation.Options, do func(*tokenstore.Manager) error) (err error) {
	database, manager, err := f.manage(ctx, tokenstore.Options{Engine: engine}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	return do(manager)
}
