package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The migrations, each a script that brings the schema to the version that its name begins with. They are written for the schema
// "tokenstore".
//
//go:embed migrations/*.sql
var scripts embed.FS

// migrations are the scripts, in the order of their versions, which begin with 1.
func migrations() ([]string, error) {
	entries, err := fs.ReadDir(scripts, "migrations")
	if err != nil {
		return nil, err
	}
	list := make([]string, len(entries))
	for i, entry := range entries { // ReadDir sorts them
		script, err := fs.ReadFile(scripts, "migrations/"+entry.Name())
		if err != nil {
			return nil, err
		}
		list[i] = string(script)
	}
	return list, nil
}

// Version is the version of the schema that [Migrate] makes, and that [Open] needs.
func Version() int {
	list, _ := migrations() // what is embedded can be read
	return len(list)
}

// Migrate makes the schema, or brings it to [Version]; where there is nothing to do it does nothing. Each version is a transaction, which
// holds no lock on one table while it waits for another; if one fails, those before it stay. Of the options, only Schema is looked at. The account
// needs the right to create the schema, or to create tables in it; the one that [Open] uses needs only USAGE on the schema, SELECT, INSERT,
// UPDATE and DELETE on the tables, and USAGE on the sequence. A schema of a later version is [ErrSchema].
func Migrate(ctx context.Context, address string, opts *Options) error {
	list, err := migrations()
	if err != nil {
		return err
	}
	return migrateBy(ctx, address, opts, list)
}

// migrateBy applies those of some scripts that have not been.
func migrateBy(ctx context.Context, address string, opts *Options, list []string) (err error) {
	o, err := opts.withDefaults()
	if err != nil {
		return err
	}
	pool, err := parse(address)
	if err != nil {
		return err
	}
	config := pool.ConnConfig
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is prepared, so that a pooler may stand in between
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return plain(err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for version := 0; version < len(list); {
		// Each statement sees what was committed before the lock was granted, whatever isolation the server begins with.
		err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) (err error) {
			version, err = migrate(ctx, tx, o.Schema, list)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// migrate brings the schema to its next version, if there is one, and returns which it has then.
func migrate(ctx context.Context, tx pgx.Tx, schema string, list []string) (version int, err error) {
	quoted := pgx.Identifier{schema}.Sanitize()
	// Those that migrate at once wait for each other.
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, "tokenstore migration of "+schema); err != nil {
		return 0, err
	}
	named, there := false, false
	err = tx.QueryRow(ctx, `select to_regnamespace($1) is not null, to_regclass($2) is not null`, quoted, quoted+".migrations").Scan(&named, &there)
	if err != nil {
		return 0, err
	}
	if !there {
		create := `create table ` + quoted + `.migrations (version integer primary key, applied_at timestamptz not null default now())`
		if !named { // IF NOT EXISTS would ask for the right to create it all the same
			create = `create schema ` + quoted + `; ` + create
		}
		if _, err := tx.Conn().PgConn().Exec(ctx, create).ReadAll(); err != nil {
			return 0, err
		}
	}
	if err := tx.QueryRow(ctx, `select coalesce(max(version), 0) from `+quoted+`.migrations`).Scan(&version); err != nil {
		return 0, err
	}
	switch {
	case version > len(list):
		return 0, fmt.Errorf("%w: it is of version %d, and this package knows up to %d", ErrSchema, version, len(list))
	case version == len(list):
		return version, nil
	}
	script := strings.ReplaceAll(list[version], "tokenstore.", quoted+".")
	if _, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll(); err != nil {
		return 0, fmt.Errorf("pgstore: migration to version %d: %w", version+1, err)
	}
	_, err = tx.Exec(ctx, `insert into `+quoted+`.migrations (version) values ($1)`, version+1)
	return version + 1, err
}
