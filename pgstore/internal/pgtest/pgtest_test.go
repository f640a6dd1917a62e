package pgtest_test

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/tokenstore/internal/daemon"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_CHILD") == "1" { // see TestServerDiesWithTheTest
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(pgtest.Tests{M: m})
}

func TestDatabasesAreApart(t *testing.T) {
	for range 2 {
		conn := connect(t, pgtest.Database(t))
		execute(t, conn, "create table t (n int)")
		if got := ask(t, conn, "show fsync"); got != "on" {
			t.Errorf("the server must keep what it acknowledges: fsync is %s", got)
		}
	}
}

func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	s := pgtest.Start(t)
	db := s.Database(t)
	conn := connect(t, s.DSN(db))
	execute(t, conn, "create table t (n int)")
	execute(t, conn, "insert into t values (1)")
	s.Kill(t)
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("a killed server must not answer")
	}
	s.Restart(t)
	if got := ask(t, connect(t, s.DSN(db)), "select count(*)::text from t"); got != "1" {
		t.Errorf("what was acknowledged must be there: got %s rows", got)
	}
}

func TestPausedServerGoesOn(t *testing.T) {
	s := pgtest.Start(t)
	conn := connect(t, s.DSN("postgres"))
	s.Pause(t)
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "select 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a paused server must not answer: got error %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume(t)
	if err := <-answered; err != nil {
		t.Errorf("a server that goes on must answer: got %v", err)
	}
}

func TestPromotedStandby(t *testing.T) {
	for _, test := range []struct {
		sync pgtest.Sync
		want string
	}{{pgtest.Synchronous, "1"}, {pgtest.Asynchronous, "0"}} {
		primary := pgtest.Start(t)
		db := primary.Database(t)
		conn := connect(t, primary.DSN(db))
		execute(t, conn, "create table t (n int)")
		standby := primary.Standby(t, test.sync)
		if test.sync == pgtest.Asynchronous {
			standby.Detach(t) // so that it is certain that it lags
		}
		execute(t, conn, "insert into t values (1)")
		primary.Kill(t)
		standby.Promote(t)
		if got := ask(t, connect(t, pgtest.DSN(db, primary, standby)), "select count(*)::text from t"); got != test.want {
			t.Errorf("after the primary's loss, rows of a commit that waits for the standby, %v: got %s, want %s", test.sync, got, test.want)
		}
	}
}

func TestBouncerSharesConnections(t *testing.T) {
	b := pgtest.Shared(t).Bouncer(t)
	pids := map[string]bool{}
	for range 8 {
		conn := connect(t, b.DSN("postgres")+"&default_query_exec_mode=exec")
		for range 4 {
			pids[ask(t, conn, "select pg_backend_pid()::text")] = true
		}
	}
	if len(pids) > 4 {
		t.Errorf("8 clients must share the connections of the pool: got %d", len(pids))
	}
}

func TestProxyCutsAtCommit(t *testing.T) {
	for _, test := range []struct {
		name    string
		where   pgtest.Cut
		execute func(*pgx.Conn) error
		want    string
	}{
		{"before", pgtest.BeforeCommit, plain, "0"},
		{"after", pgtest.AfterCommit, plain, "1"},
		{"before, prepared", pgtest.BeforeCommit, batched, "0"},
		{"after, prepared", pgtest.AfterCommit, batched, "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := pgtest.Shared(t)
			db := s.Database(t)
			direct := connect(t, s.DSN(db))
			execute(t, direct, "create table t (n int)")
			proxy := s.Proxy(t)
			conn := connect(t, proxy.DSN(db))
			if err := test.execute(conn); err != nil {
				t.Fatal(err)
			}
			execute(t, direct, "truncate t")
			proxy.CutNext(1, test.where)
			if err := test.execute(conn); err == nil {
				t.Error("the client must see that its connection was cut")
			}
			if got := ask(t, direct, "select count(*)::text from t"); got != test.want {
				t.Errorf("rows that were committed: got %s, want %s", got, test.want)
			}
			if got := proxy.Cuts(); got != 1 {
				t.Errorf("the proxy must cut once: got %d", got)
			}
			if err := test.execute(connect(t, proxy.DSN(db))); err != nil {
				t.Errorf("the next commit must not be cut: got %v", err)
			}
		})
	}
}

func plain(conn *pgx.Conn) error {
	return pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(context.Background(), "insert into t values ($1)", 1)
		return err
	})
}

func batched(conn *pgx.Conn) error {
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue("insert into t values ($1)", 1)
	b.Queue("commit")
	return conn.SendBatch(context.Background(), b).Close()
}

func TestProxyCutsAtRandom(t *testing.T) {
	proxy := pgtest.Shared(t).Proxy(t)
	proxy.CutAtRandom(10, rand.New(rand.NewPCG(1, 2)))
	for proxy.Cuts() < 20 {
		conn, err := pgx.Connect(t.Context(), proxy.DSN("postgres"))
		if err != nil {
			continue
		}
		for err == nil {
			_, err = conn.Exec(t.Context(), "select 1")
		}
		conn.Close(t.Context())
	}
	proxy.CutAtRandom(0, nil)
	if got := ask(t, connect(t, proxy.DSN("postgres")), "select 'whole'"); got != "whole" {
		t.Errorf("a proxy that cuts no more must forward all: got %s", got)
	}
}

// A test that is killed can stop nothing: the kernel ends what it started.
func TestServerDiesWithTheTest(t *testing.T) {
	if os.Getenv("PGTEST_CHILD") == "1" {
		pgtest.Start(t)
		out := os.NewFile(3, "pids")
		pids, err := daemon.Children(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			out.WriteString(strconv.Itoa(pid) + "\n")
		}
		out.Close()
		select {}
	}
	pgtest.Shared(t) // skips the test, or fails it, where there is no server
	told, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerDiesWithTheTest$")
	dir, err := os.MkdirTemp("", "pg") // the folder that nobody will remove; t.TempDir's is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PGTEST_CHILD=1", "TMPDIR="+dir)
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	text := make([]byte, 100)
	n, err := told.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	server, err := strconv.Atoi(strings.Fields(string(text[:n]))[0])
	if err != nil {
		t.Fatal(err)
	}
	if !daemon.Alive(server) {
		t.Error("the server must run as long as the test")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for daemon.Alive(server) { // until the test's own time is over
		time.Sleep(10 * time.Millisecond)
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, conn *pgx.Conn, query string) (answer string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
