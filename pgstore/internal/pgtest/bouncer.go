package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/tokenstore/internal/daemon"
	"github.com/jackc/pgx/v5"
)

// Bouncer is a pgbouncer in transaction mode: each transaction may have another of the server's connections.
type Bouncer struct{ dir string }

// bouncerConfig has fewer connections than callers, so that they do share, and what a default installation has beside.
const bouncerConfig = `[databases]
* = host=%s user=%s
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 300
server_reset_query =
logfile =
pidfile =
`

// Bouncer starts a pgbouncer in front of the server. It is stopped when the test ends.
func (s *Server) Bouncer(t testing.TB) *Bouncer {
	t.Helper()
	need(t, "pgbouncer")
	program, err := daemon.Find("pgbouncer")
	must(t, err)
	b := &Bouncer{dir: folder(t)}
	as, err := daemon.Account(b.dir)
	must(t, err)
	config := filepath.Join(b.dir, "pgbouncer.ini")
	must(t, os.WriteFile(config, fmt.Appendf(nil, bouncerConfig, s.cluster.Dir, user, b.dir), 0o644))
	process, err := daemon.Start(b.dir, as, program, config)
	must(t, err)
	t.Cleanup(func() { must(t, process.Stop(syscall.SIGKILL)) })
	must(t, process.Ready(t.Context(), func(ctx context.Context) error {
		// It does not understand what pgx prepares.
		conn, err := pgx.Connect(ctx, b.DSN("postgres")+"&default_query_exec_mode=exec")
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "select 1")
		return errors.Join(err, conn.Close(ctx))
	}))
	return b
}

// DSN is the address of a database behind it.
func (b *Bouncer) DSN(database string) string { return address(database, b.dir) }
