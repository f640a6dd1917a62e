package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/store"
	"github.com/spf13/pflag"
)

// databaseEnv is the environment's --db, which nobody reads in the process list.
const databaseEnv = "TOKENSTORE_DB"

// databaseFlags say which database is meant: a file, that of a PostgreSQL server, or a part of a cluster of etcd.
type databaseFlags struct {
	db       string
	creates  bool // creates says that a file that is missing is created
	postgres pgstore.Options
	etcd     etcdFlags
}

func (f *databaseFlags) register(flags *pflag.FlagSet) {
	f.registerPlace(flags)
	f.etcd.register(flags)
	flags.BoolVar(&f.postgres.Pooled, "pg-pooled", false, "the database is reached through a pooler in transaction mode, such as pgbouncer")
	flags.BoolVar(&f.postgres.Serializable, "pg-serializable", false, "order by SERIALIZABLE transactions, instead of PostgreSQL's advisory locks; the same for all processes")
}

// registerPlace registers those that say where the tokens are, and not how to get there.
func (f *databaseFlags) registerPlace(flags *pflag.FlagSet) {
	missing := "must be there"
	if f.creates {
		missing = "is created if it is missing"
	}
	flags.StringVar(&f.db, "db", "", "the tokens are in `FILE`, which "+missing+", or in a database that migrate\n"+
		"has prepared: postgres://USER@HOST/NAME. Its password comes from PGPASSWORD, ~/.pgpass, the\n"+
		"file PGPASSFILE, or from "+databaseEnv+", which stands for --db. Or in etcd:\n"+
		"etcd://HOST:PORT,HOST:PORT/PREFIX (required)")
	flags.StringVar(&f.postgres.Schema, "pg-schema", "", "the `SCHEMA` of its tables (default tokenstore)")
}

// name is what was asked for. It may hold a password.
func (f *databaseFlags) name() string { return cmp.Or(f.db, os.Getenv(databaseEnv)) }

// scheme is what kind of database is meant, "" for a file.
func (f *databaseFlags) scheme() string {
	scheme, _, is := strings.Cut(f.name(), "://")
	switch {
	case !is:
		return ""
	case scheme == "postgresql":
		return "postgres"
	}
	return scheme
}

// check finds what is wrong with the flags before any database is touched. It repeats nothing that may hold a password.
func (f *databaseFlags) check() error {
	if f.name() == "" {
		return usage("--db FILE is required, or a URL")
	}
	scheme := f.scheme()
	switch {
	case scheme != "postgres" && f.postgres != (pgstore.Options{}):
		return usage("--pg-schema, --pg-pooled and --pg-serializable are for --db postgres://")
	case scheme != "etcd" && f.etcd != (etcdFlags{}):
		return usage("--etcd-user, --etcd-tls, --etcd-ca, --etcd-cert, --etcd-key and --etcd-timeout are for --db etcd://")
	}
	switch {
	case scheme == "postgres":
		return f.checkPostgres()
	case scheme == "etcd":
		return f.etcd.check(f.name())
	case scheme != "" && len(scheme) < 20:
		return usage("--db: no database is known by %q: it is a file, postgres:// or etcd://", scheme+"://")
	case scheme != "":
		return usage("--db: it is a file, postgres:// or etcd://")
	}
	return nil
}

func (f *databaseFlags) checkPostgres() error {
	address, err := url.Parse(f.name())
	if err != nil {
		return usage("--db: the URL can't be read") // the error would repeat it
	}
	if _, has := address.User.Password(); f.db != "" && (has || address.Query().Has("password")) {
		return usage("--db: a password on a command line can be read by other users of the machine: " +
			"leave it to PGPASSWORD or ~/.pgpass, or put the URL into " + databaseEnv)
	}
	return nil
}

// open opens the database.
func (f *databaseFlags) open(ctx context.Context) (store.Backend, error) {
	switch f.scheme() {
	case "etcd":
		return f.etcd.open(ctx, f.name())
	case "postgres":
		database, err := pgstore.Open(ctx, f.name(), &f.postgres)
		switch {
		case errors.Is(err, pgstore.ErrSchema):
			return nil, fmt.Errorf("the database is not ready, and \"tokenstore migrate\" may have to be run: %w", err)
		case err != nil:
			return nil, fmt.Errorf("the database can't be opened: %w", err)
		}
		return database, nil
	}
	file, err := boltstore.Open(f.name(), &boltstore.Options{MustExist: !f.creates})
	switch {
	case errors.Is(err, fs.ErrNotExist) && !f.creates:
		return nil, usage("--db: there is no file %s", f.name())
	case errors.Is(err, boltstore.ErrLocked):
		return nil, fmt.Errorf("%s is in use by another process, such as tokenstore serve, and only one can hold it: use its management API, or stop it", f.name())
	case err != nil:
		return nil, fmt.Errorf("%s can't be opened: %w", f.name(), err)
	}
	return file, nil
}
