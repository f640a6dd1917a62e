package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"syscall"

	"example.com/tokenstore/internal/daemon"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const schema = `
create table refresh_tokens (
	id bytea primary key, digest bytea not null, user_id text not null, session_id text not null, client_id text not null,
	revoked boolean not null default false, value bytea not null
);
create unique index on refresh_tokens (digest);
create index on refresh_tokens (user_id);
create index on refresh_tokens (session_id);
create index on refresh_tokens (client_id);`

// postgresServer is PostgreSQL as it comes, with a table of tokens and the four indexes. A revocation is an UPDATE.
func postgresServer(ctx context.Context, dir string, find finder) (*contender, error) {
	if _, err := find("postgres"); err != nil {
		return nil, err
	}
	cluster, err := daemon.NewCluster(ctx, dir, "bench")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	server, err := cluster.Start("listen_addresses=127.0.0.1", fmt.Sprintf("port=%d", port), "max_connections=200")
	if err != nil {
		return nil, err
	}
	db, err := pgxpool.New(ctx, fmt.Sprintf("postgres://bench@127.0.0.1:%d/postgres?sslmode=disable&pool_max_conns=80", port))
	if err != nil {
		return nil, errors.Join(err, server.Stop(syscall.SIGINT))
	}
	stop := func() error { db.Close(); return server.Stop(syscall.SIGINT) }
	durable, err := postgresDurability(ctx, db, server)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return postgresContender(db, durable, stop), nil
}

// postgresDurability makes the table, and reads back what the server does before it answers.
func postgresDurability(ctx context.Context, db *pgxpool.Pool, server *daemon.Process) (string, error) {
	if err := server.Ready(ctx, db.Ping); err != nil {
		return "", err
	}
	if _, err := db.Exec(ctx, schema); err != nil {
		return "", err
	}
	told := "SHOW says"
	for _, setting := range []struct{ name, want string }{{"fsync", "on"}, {"synchronous_commit", "on"}, {"wal_sync_method", ""}} {
		var got string
		if err := db.QueryRow(ctx, "show "+setting.name).Scan(&got); err != nil {
			return "", err
		}
		if setting.want != "" && got != setting.want {
			return "", fmt.Errorf("it is not durable: %s is %s", setting.name, got)
		}
		told += " " + setting.name + " " + got + ","
	}
	return told[:len(told)-1], nil
}

func postgresContender(db *pgxpool.Pool, durable string, stop func() error) *contender {
	p := &peer{}
	columns := []string{"id", "digest", "user_id", "session_id", "client_id", "value"}
	read := func(ctx context.Context, where string, key []byte) error {
		var value []byte
		var revoked bool
		err := db.QueryRow(ctx, "select value, revoked from refresh_tokens where "+where+" = $1", key).Scan(&value, &revoked)
		if err == nil && len(value) != valueSize {
			err = errLost
		}
		return err
	}
	return &contender{
		name: pgName, durable: durable,
		hold: p.hold,
		fill: func(ctx context.Context, rows []row) error {
			_, err := db.CopyFrom(ctx, pgx.Identifier{"refresh_tokens"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
				r := &rows[i]
				return []any{r.id[:], r.digest[:], r.user, r.session, r.client, r.value}, nil
			}))
			return err
		},
		issue: func(ctx context.Context, r *row) error {
			_, err := db.Exec(ctx, "insert into refresh_tokens (id, digest, user_id, session_id, client_id, value) values ($1, $2, $3, $4, $5, $6)",
				r.id[:], r.digest[:], r.user, r.session, r.client, r.value)
			return err
		},
		get: func(ctx context.Context, i int) error { return read(ctx, "id", p.rows[i].id[:]) },
		verify: func(ctx context.Context, i int) error {
			digest := sha256.Sum256(p.secrets[i][:])
			return read(ctx, "digest", digest[:])
		},
		exchange: func(ctx context.Context, i int) error {
			return p.rotate(i, func(r *row, old, new [32]byte) error {
				done, err := db.Exec(ctx, "update refresh_tokens set digest = $1, value = $2 where digest = $3 and not revoked", new[:], r.value, old[:])
				if err == nil && done.RowsAffected() != 1 {
					err = errLost
				}
				return err
			})
		},
		revoke: func(ctx context.Context, i int) error {
			_, err := db.Exec(ctx, "update refresh_tokens set revoked = true where id = $1", p.rows[i].id[:])
			return err
		},
		revokeUser: func(ctx context.Context, user string) error {
			_, err := db.Exec(ctx, "update refresh_tokens set revoked = true where user_id = $1 and not revoked", user)
			return err
		},
		settle: func(ctx context.Context) error { _, err := db.Exec(ctx, "checkpoint"); return err },
		close:  stop,
	}
}
