package pgtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Sync says whether a commit waits for a standby.
type Sync bool

const (
	Synchronous  Sync = true
	Asynchronous Sync = false
)

// Standby starts a server that follows this one, and waits until it has caught up. The primary's commits wait for a synchronous
// one. It is stopped when the test ends.
func (s *Server) Standby(t testing.TB, sync Sync) *Server {
	t.Helper()
	name := fmt.Sprintf("standby%d", s.databases.Add(1))
	cluster, err := s.cluster.Backup(t.Context(), folder(t), user, name)
	must(t, err)
	standby := &Server{cluster: cluster, settings: s.settings}
	t.Cleanup(func() { standby.Stop(t) })
	must(t, standby.run(t.Context()))
	if sync == Synchronous {
		s.Exec(t, "postgres", "alter system set synchronous_standby_names = '"+name+"'", "select pg_reload_conf()")
	}
	want := map[Sync]string{Synchronous: "sync", Asynchronous: "async"}[sync]
	s.Await(t, "select count(*) = 1 from pg_stat_replication where application_name = '"+name+"' and state = 'streaming' and sync_state = '"+want+"'")
	return standby
}

// Promote makes a primary of a standby, and waits until it takes writes. Nothing follows it.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "select pg_promote(true)", "alter system set synchronous_standby_names = ''", "select pg_reload_conf()")
	s.Await(t, "select not pg_is_in_recovery()")
}

// Detach has a standby receive nothing more: what is committed from now on is not on it.
func (s *Server) Detach(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "alter system set primary_conninfo = ''", "select pg_reload_conf()")
	s.Await(t, "select count(*) = 0 from pg_stat_wal_receiver")
}

// Cancel cancels what a backend does, once one waits for an event of the server's statistics, as an administrator may.
func (s *Server) Cancel(t testing.TB, event string) {
	t.Helper()
	s.Await(t, "select coalesce(bool_or(pg_cancel_backend(pid)), false) from pg_stat_activity where wait_event = '"+event+"'")
}

// Await asks the server until a query is true.
func (s *Server) Await(t testing.TB, query string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	must(t, s.process.Ready(ctx, func(ctx context.Context) error {
		var is bool
		if err := s.ask(ctx, "postgres", &is, query); err != nil || is {
			return err
		}
		return fmt.Errorf("not yet: %s", query)
	}))
}

func (s *Server) ask(ctx context.Context, database string, to any, query string) error {
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.QueryRow(ctx, query).Scan(to)
}
