package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// minVersion is the oldest server that is supported, as server_version_num.
const minVersion = 140000

// assert refuses a server on which the promises would not hold.
func (b *Backend) assert(ctx context.Context) error {
	if err := b.assertServer(ctx); err != nil {
		return err
	}
	err := b.assertSchema(ctx)
	if pgerr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pgerr.Code {
		case "42P01", "3F000": // undefined_table, invalid_schema_name
			return fmt.Errorf("%w: it has no tables of this package; Migrate makes them", ErrSchema)
		}
	}
	return plain(err)
}

func (b *Backend) assertServer(ctx context.Context) error {
	var version string
	if err := b.pool.QueryRow(ctx, `select version()`).Scan(&version); err != nil {
		return plain(err)
	}
	genuine := strings.HasPrefix(version, "PostgreSQL ") && !strings.Contains(version, "-YB-")
	if !genuine {
		if b.opts.Serializable {
			return nil // what it is called there is not known
		}
		return fmt.Errorf("%w: it is no PostgreSQL, so it needs the option Serializable", ErrServer)
	}
	var number int
	var recovery bool
	var fsync, commit, pages, encoding, readOnly string
	err := b.pool.QueryRow(ctx, `select current_setting('server_version_num')::integer, pg_is_in_recovery(), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('full_page_writes'), current_setting('server_encoding'),
		current_setting('default_transaction_read_only')`).
		Scan(&number, &recovery, &fsync, &commit, &pages, &encoding, &readOnly)
	if err != nil {
		return plain(err)
	}
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{number < minVersion, "it is older than PostgreSQL 14"},
		{recovery, "it is in recovery: a standby does not know of the latest revocations"},
		{fsync != "on", "fsync is off: it forgets what it has acknowledged"},
		{commit == "off", "synchronous_commit is off: it forgets what it has acknowledged"},
		{pages != "on", "full_page_writes is off: a crash may damage it"},
		{encoding != "UTF8", "the encoding of the database is not UTF8"},
		{readOnly != "off", "default_transaction_read_only is on"},
	} {
		if c.bad {
			return fmt.Errorf("%w: %s", ErrServer, c.what)
		}
	}
	return nil
}

func (b *Backend) assertSchema(ctx context.Context) error {
	quoted := pgx.Identifier{b.opts.Schema}.Sanitize()
	list, err := migrations()
	if err != nil {
		return err
	}
	var version int
	if err := b.pool.QueryRow(ctx, `select coalesce(max(version), 0) from `+quoted+`.migrations`).Scan(&version); err != nil {
		return err
	}
	if version != len(list) {
		return fmt.Errorf("%w: it is of version %d, and this package needs %d", ErrSchema, version, len(list))
	}
	if !b.opts.Serializable {
		var cache, increment int64
		var cycle bool
		err := b.pool.QueryRow(ctx, `select seqcache, seqincrement, seqcycle from pg_sequence where seqrelid = $1::text::regclass`, quoted+".numbers").
			Scan(&cache, &increment, &cycle)
		if err != nil {
			return err
		}
		if cache != 1 || increment != 1 || cycle {
			return fmt.Errorf("%w: the sequence %s.numbers must have a cache and an increment of 1, and no cycle", ErrSchema, quoted)
		}
	}
	if _, err := b.pool.Exec(ctx, `update `+quoted+`.settings set portable = $1 where portable is null`, b.opts.Serializable); err != nil {
		return err
	}
	var portable bool
	if err := b.pool.QueryRow(ctx, `select portable from `+quoted+`.settings`).Scan(&portable); err != nil {
		return err
	}
	if portable != b.opts.Serializable {
		return fmt.Errorf("%w: its writers are kept in order in the other mode: see Options.Serializable", ErrSchema)
	}
	return nil
}
