package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/revocation"
	"example.com/tokenstore/store"
	"github.com/spf13/pflag"
)

// tenantFlags say which tenant of which file is meant, and what is special about its tokens.
type tenantFlags struct {
	db, tenant, region, cutoff string
}

func (f *tenantFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.db, "db", "", "keep the tokens in `FILE`, which is created if it is missing (required)")
	flags.StringVar(&f.tenant, "tenant", "default", "the `NAME` of the tenant")
	flags.StringVar(&f.region, "region", "", "us-3: tokens created before 2024-02-22 have no session id, instead of 2023-09-21")
	flags.StringVar(&f.cutoff, "legacy-cutoff", "", "tokens created before `DATE` have no session id: 2006-01-02, or with a time as in RFC 3339")
}

// legacy is the rule that the flags ask for.
func (f *tenantFlags) legacy() (tokenstore.LegacyRule, error) {
	switch {
	case f.region != "" && f.cutoff != "":
		return tokenstore.LegacyRule{}, usage("--region and --legacy-cutoff exclude each other")
	case f.region == "us-3":
		return tokenstore.US3(), nil
	case f.region != "":
		return tokenstore.LegacyRule{}, usage("--region: us-3 is the only one with a rule of its own; leave it out for any other")
	case f.cutoff == "":
		return tokenstore.LegacyRule{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano} {
		if at, err := time.Parse(layout, f.cutoff); err == nil {
			return tokenstore.LegacyRule{CutOff: at.UTC()}, nil
		}
	}
	return tokenstore.LegacyRule{}, usage("--legacy-cutoff: %q is no date such as 2023-09-21 or 2023-09-21T00:00:00Z", f.cutoff)
}

// check finds what is wrong with the flags before any file is touched.
func (f *tenantFlags) check() error {
	if f.db == "" {
		return usage("--db FILE is required")
	}
	if err := domain.CheckTenant(f.tenant); err != nil {
		return usage("--tenant: %w", err)
	}
	_, err := f.legacy()
	return err
}

// open opens the file and returns the tenant's manager. watch, if it is not nil, stands between the two.
func (f *tenantFlags) open(logger *slog.Logger, events revocation.Events, watch func(store.Backend) store.Backend) (*boltstore.Backend, *tokenstore.Manager, error) {
	legacy, err := f.legacy()
	if err != nil {
		return nil, nil, err
	}
	file, err := boltstore.Open(f.db, nil)
	switch {
	case errors.Is(err, boltstore.ErrLocked):
		return nil, nil, fmt.Errorf("%s is in use: another process holds it, and only one can", f.db)
	case err != nil:
		return nil, nil, fmt.Errorf("%s can't be opened: %w", f.db, err)
	}
	backend := store.Backend(file)
	if watch != nil {
		backend = watch(backend)
	}
	manager, err := tokenstore.New(backend, &tokenstore.Options{
		Tenant: f.tenant, Legacy: legacy, Logger: logger, Engine: revocation.Options{Events: events},
	})
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, manager, nil
}
