package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore/internal/daemon"
	"github.com/jackc/pgx/v5"
)

const user = "tokenstore"

// Server is a PostgreSQL server, or was one until it was killed or stopped.
type Server struct {
	cluster   *daemon.Cluster
	settings  []string
	process   *daemon.Process
	databases atomic.Int64
	shared    bool
}

// Start starts a server that is the test's own, with settings as in postgresql.conf beside those of the package. It is stopped
// when the test ends.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(t.Context(), folder(t), settings)
	must(t, err)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

func start(ctx context.Context, dir string, settings []string) (*Server, error) {
	cluster, err := daemon.NewCluster(ctx, dir, user)
	if err != nil {
		return nil, err
	}
	s := &Server{cluster: cluster, settings: append([]string{
		"fsync=on", "synchronous_commit=on", "max_connections=300", "shared_buffers=64MB", "wal_keep_size=256MB",
		"timezone=UTC", "log_min_messages=warning",
	}, settings...)}
	return s, s.run(ctx)
}

// run starts the process, and waits until it answers.
func (s *Server) run(ctx context.Context) (err error) {
	if s.process, err = s.cluster.Start(s.settings...); err != nil {
		return err
	}
	return s.process.Ready(ctx, func(ctx context.Context) error { return s.exec(ctx, "postgres", "select 1") })
}

// DSN is the address of a database on the server.
func (s *Server) DSN(database string) string { return address(database, s.cluster.Dir) }

// DSN is the address of a database on whichever of some servers is no standby.
func DSN(database string, servers ...*Server) string {
	dirs := ""
	for i, s := range servers {
		if i > 0 {
			dirs += ","
		}
		dirs += s.cluster.Dir
	}
	return address(database, dirs) + "&target_session_attrs=read-write"
}

// address is that of a database on a server whose socket is in a folder.
func address(database, dir string) string {
	return fmt.Sprintf("postgres://%s@/%s?host=%s&sslmode=disable", user, database, url.QueryEscape(dir))
}

// Database makes an empty database on the server and returns its name. It goes with the server, or with the test if the server is
// shared.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	s.Exec(t, "postgres", "create database "+name)
	if s.shared {
		t.Cleanup(func() {
			ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
			defer stop()
			if err := s.exec(ctx, "postgres", "drop database "+name+" with (force)"); err != nil {
				t.Errorf("a database must be dropped: got %v", err)
			}
		})
	}
	return name
}

// Exec executes statements in a database, one after the other, each in a transaction of its own.
func (s *Server) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	must(t, s.exec(t.Context(), database, statements...))
}

func (s *Server) exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	for _, statement := range statements {
		_, failed := conn.Exec(ctx, statement)
		err = errors.Join(err, failed)
	}
	return errors.Join(err, conn.Close(ctx))
}

// Ask returns what a query answers: one text.
func (s *Server) Ask(t testing.TB, database, query string) (answer string) {
	t.Helper()
	must(t, s.ask(t.Context(), database, &answer, query))
	return answer
}

// Log is what the server has logged since it was started, or ClearLog.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.cluster.Dir, "log"))
	must(t, err)
	return string(text)
}

// ClearLog forgets what the server has logged.
func (s *Server) ClearLog(t testing.TB) {
	t.Helper()
	must(t, os.Truncate(filepath.Join(s.cluster.Dir, "log"), 0))
}

// Kill ends all processes of the server at once, with SIGKILL.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	must(t, s.process.Kill())
}

// Restart starts the server again after it was killed or stopped, and waits until it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	must(t, s.run(t.Context()))
}

// Pause stops all processes of the server, which keep their connections and answer nothing, until Resume.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	must(t, s.process.SignalAll(syscall.SIGSTOP))
}

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	must(t, s.process.SignalAll(syscall.SIGCONT))
}

// Stop ends the server in good order, its connections at once. It may have ended already.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	must(t, errors.Join(s.process.SignalAll(syscall.SIGCONT), s.process.Stop(syscall.SIGINT)))
}

// folder is a folder of the test's own with a path that is short enough for a socket.
func folder(t testing.TB) string {
	t.Helper()
	need(t)
	dir, err := os.MkdirTemp("", "pgtest")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("the folder of a server must be removed: got %v", err)
		}
	})
	own, err := inner(dir)
	must(t, err)
	return own
}

// inner makes a folder within one, which can then be passed through.
func inner(dir string) (string, error) {
	dir += "/s"
	return dir, os.Mkdir(dir, 0o700)
}

// need fails the test, or skips it if it is told to, where a program is missing.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range append(programs, "postgres", "initdb") {
		if err := missing(program); err != nil {
			if os.Getenv("PGSTORE_SKIP") == "1" {
				t.Skip(err)
			}
			t.Fatal(err)
		}
	}
}

func missing(program string) error {
	_, err := daemon.Find(program)
	if !errors.Is(err, exec.ErrNotFound) {
		return err
	}
	return fmt.Errorf("this test needs %s: install it by apt-get install postgresql pgbouncer, or set PGSTORE_SKIP=1 to do without: %w", program, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
