package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"github.com/jackc/pgx/v5"
)

// A server on which the promises would not hold is refused, and the error says why.
func TestOpenRefuses(t *testing.T) {
	server := pgtest.Shared(t)
	for _, c := range []struct {
		name, spoil string // spoil is done to a database that was fit, for all connections to come
		want        error
		says        string
	}{
		{"forgetful commits", `alter database %s set synchronous_commit = off`, pgstore.ErrServer, "synchronous_commit"},
		{"read only", `alter database %s set default_transaction_read_only = on`, nil, ""},
		{"another server", shadowed("version()", "text", "'CockroachDB CCL v25'"), pgstore.ErrServer, "no PostgreSQL"},
		{"an old server", shadowed("current_setting(name text)", "text", "case name when 'server_version_num' then '130010' else pg_catalog.current_setting(name) end"), pgstore.ErrServer, "14"},
		{"a standby", shadowed("pg_is_in_recovery()", "boolean", "true"), pgstore.ErrServer, "recovery"},
		{"another encoding", shadowed("current_setting(name text)", "text", "case name when 'server_encoding' then 'LATIN1' else pg_catalog.current_setting(name) end"), pgstore.ErrServer, "encoding"},
		{"cached numbers", `alter sequence tokenstore.numbers cache 2`, pgstore.ErrSchema, "cache"},
		{"numbers in steps", `alter sequence tokenstore.numbers increment 10`, pgstore.ErrSchema, "increment"},
		{"numbers that begin again", `alter sequence tokenstore.numbers cycle`, pgstore.ErrSchema, "cycle"},
		{"no tables", `drop schema tokenstore cascade`, pgstore.ErrSchema, "Migrate"},
		{"a later version", `insert into tokenstore.migrations (version) values (99)`, pgstore.ErrSchema, "99"},
		{"an earlier version", `delete from tokenstore.migrations`, pgstore.ErrSchema, "version 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := migrated(t, server, pgstore.Options{})
			dsn := server.DSN(name)
			open(t, dsn, pgstore.Options{})
			execute(t, dsn, strings.ReplaceAll(c.spoil, "%s", name))
			b, err := pgstore.Open(t.Context(), dsn, nil)
			if err == nil {
				b.Close()
				t.Fatal("it must be refused")
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

// shadowed has a database answer in the place of a function of the server's own.
func shadowed(function, returns, answer string) string {
	return `do $do$ begin
		create function public.` + function + ` returns ` + returns + ` language sql as $$ select ` + answer + ` $$;
		alter database %s set search_path = public, pg_catalog;
	end $do$`
}

func TestOpenRefusesServerWithoutFsync(t *testing.T) {
	for _, setting := range []string{"fsync", "full_page_writes"} {
		server := pgtest.Start(t, setting+"=off")
		dsn := server.DSN(migrated(t, server, pgstore.Options{}))
		if _, err := pgstore.Open(t.Context(), dsn, nil); !errors.Is(err, pgstore.ErrServer) || !strings.Contains(err.Error(), setting) {
			t.Errorf("a server with %s off must be refused: got %v", setting, err)
		}
	}
}

// All processes keep their writers in order in the same way, or in none.
func TestModesDoNotMix(t *testing.T) {
	server := pgtest.Shared(t)
	for _, first := range modes {
		dsn := server.DSN(migrated(t, server, first.opts))
		open(t, dsn, first.opts)
		other := first.opts
		other.Serializable = !other.Serializable
		if _, err := pgstore.Open(t.Context(), dsn, &other); !errors.Is(err, pgstore.ErrSchema) {
			t.Errorf("%s: the other mode must be refused: got %v", first.name, err)
		}
		open(t, dsn, first.opts)
	}
}

// Migrate may be called again, and by several processes at once, however isolated from each other transactions are that say nothing of it.
func TestMigrateAgain(t *testing.T) {
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) { migrateAgain(t, isolation) })
	}
}

func migrateAgain(t *testing.T, isolation string) {
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t)) + "&default_transaction_isolation=" + url.PathEscape(isolation)
	opts := &pgstore.Options{Schema: `odd "name"`}
	done := make(chan error)
	for range 4 {
		go func() { done <- pgstore.Migrate(context.Background(), dsn, opts) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Errorf("Migrate must succeed: got %v", err)
		}
	}
	b := open(t, dsn, *opts)
	if err := b.Create(t.Context(), "tenant"); err != nil {
		t.Error(err)
	}
	execute(t, dsn, `insert into "odd ""name""".migrations (version) values (99)`)
	if err := pgstore.Migrate(t.Context(), dsn, opts); !errors.Is(err, pgstore.ErrSchema) {
		t.Errorf("a later version must be left alone: got %v", err)
	}
}

// A database of each earlier version is migrated while a call that has read, and is still to write, is under way; neither is broken off in
// favour of the other, and what is there stays.
func TestMigrateBesideACall(t *testing.T) {
	server := pgtest.Shared(t)
	for version := 1; version < pgstore.Version(); version++ {
		t.Run(fmt.Sprint("from ", version), func(t *testing.T) {
			name := server.Database(t)
			dsn := server.DSN(name)
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(pgstore.MigrateTo(t.Context(), dsn, version))
			call, err := pgx.Connect(t.Context(), dsn)
			must(err)
			defer call.Close(context.WithoutCancel(t.Context()))
			exec := func(sql string, args ...any) {
				t.Helper()
				_, err := call.Exec(t.Context(), sql, args...)
				must(err)
			}
			const add = `insert into tokenstore.tokens (tenant, id, sequence, user_id, client_id, created_at, rotating, offline, audiences, scopes)
				select '00000000-0000-0000-0000-000000000001', gen_random_uuid(), 1, 'user', 'client', now(), true, true, '{}', '{}' from generate_series(1, $1)`
			exec(add, 1000)
			exec("begin")
			exec("select from tokenstore.tokens where user_id = 'user' for update")
			migrated := make(chan error, 1)
			go func() { migrated <- pgstore.Migrate(t.Context(), dsn, nil) }()
			done := false
			for waits := ""; waits != "true" && !done; { // until it has to wait for the call, or needs to wait for nothing
				waits = server.Ask(t, name, "select (exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'))::text")
				select {
				case err := <-migrated:
					must(err)
					done = true
				default:
				}
			}
			exec("select from tokenstore.guards")
			exec(add, 1)
			exec("commit")
			if !done {
				must(<-migrated)
			}
			open(t, dsn, pgstore.Options{})
			if got := server.Ask(t, name, "select count(*)::text from tokenstore.tokens"); got != "1001" {
				t.Errorf("what is there must stay: got %s tokens of 1001", got)
			}
		})
	}
}

// Whoever may create tables in the schema needs no right to create schemas.
func TestMigrateNeedsOnlyTheSchema(t *testing.T) {
	server := pgtest.Shared(t)
	for _, c := range []struct {
		name, grant string
		may         bool
	}{
		{"no schema", `select`, false},
		{"owner of the schema", `create schema tokenstore authorization %s`, true},
		{"may create in it", `create schema tokenstore; grant usage, create on schema tokenstore to %s`, true},
		{"may not create in it", `create schema tokenstore; grant usage on schema tokenstore to %s`, false},
		{"may create schemas", `grant create on database %s to %s`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := server.Database(t)
			server.Exec(t, name, "create role "+name+" login", strings.ReplaceAll(c.grant, "%s", name))
			dsn := strings.Replace(server.DSN(name), "tokenstore@", name+"@", 1)
			for range 2 { // the second has nothing to do
				if err := pgstore.Migrate(t.Context(), dsn, nil); (err == nil) != c.may {
					t.Fatalf("got %v, want success %v", err, c.may)
				}
			}
			if c.may {
				open(t, dsn, pgstore.Options{})
			}
		})
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	for _, opts := range []pgstore.Options{
		{Schema: strings.Repeat("x", 64)}, {Schema: "a\x00b"}, {StatementTimeout: -1}, {CommitTimeout: time.Microsecond},
	} {
		if _, err := pgstore.Open(t.Context(), "", &opts); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%+v must be a FieldError: got %v", opts, err)
		}
		if err := pgstore.Migrate(t.Context(), "", &opts); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%+v must be a FieldError: got %v", opts, err)
		}
	}
}

// Why there is no connection is said once for each address, in one line, though TLS and no TLS are tried.
func TestNoConnectionIsSaidOnce(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://user@127.0.0.1:1/db":               "no connection: dial tcp 127.0.0.1:1: connect: connection refused",
		"postgres://user@127.0.0.1:1,127.0.0.1:2/db":   "no connection: dial tcp 127.0.0.1:1: connect: connection refused; dial tcp 127.0.0.1:2: connect: connection refused",
		"postgres://user@/db?host=/nowhere&port=5432":  "no connection: dial unix /nowhere/.s.PGSQL.5432: connect: no such file or directory",
		"postgres://user@/db?host=/nowhere,/elsewhere": "no connection: dial unix /nowhere/.s.PGSQL.5432: connect: no such file or directory; dial unix /elsewhere/.s.PGSQL.5432: connect: no such file or directory",
	} {
		_, err := pgstore.Open(t.Context(), address, nil)
		for _, err := range []error{err, pgstore.Migrate(t.Context(), address, nil)} {
			if err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %s", address, err, want)
			}
			if _, ok := errors.AsType[*net.OpError](err); !ok {
				t.Errorf("%s: the cause must be found in %v", address, err)
			}
		}
	}
	server := pgtest.Shared(t)
	dsn := strings.Replace(server.DSN(server.Database(t)), "tokenstore@", "nobody@", 1)
	if _, err := pgstore.Open(t.Context(), dsn, nil); err == nil || !strings.Contains(err.Error(), `role "nobody" does not exist`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("what the server says must be passed on, in one line: got %v", err)
	}
}

// What is wrong with an address, or beyond it, is said without the password.
func TestErrorsHoldNoPassword(t *testing.T) {
	const password = "hunter2-secret"
	for address, want := range map[string]error{
		"postgres://user:" + password + "@host:port:1/db":                         pgstore.ErrAddress,
		"host=127.0.0.1 user=user sslmode=bad password=" + password:               pgstore.ErrAddress,
		"host=/nowhere user=user dbname=db password=" + password:                  nil,
		"postgres://user:" + password + "@127.0.0.1:1/db?connect_timeout=1":       nil,
		"postgres://user:" + password + "@127.0.0.1:1/db?pool_max_conns=nonsense": pgstore.ErrAddress,
	} {
		_, err := pgstore.Open(t.Context(), address, nil)
		for _, err := range []error{err, pgstore.Migrate(t.Context(), address, nil)} {
			switch {
			case err == nil:
				t.Error("there is no such server")
			case want != nil && !errors.Is(err, want):
				t.Errorf("got %v, want %v", err, want)
			case strings.Contains(err.Error(), password):
				t.Error("an error must not hold the password")
			}
		}
	}
}
