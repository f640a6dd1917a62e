package pgstore_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"go.uber.org/goleak"
)

// childEnv names what a test binary that is run as a child process does instead of testing.
const childEnv = "PGSTORE_TEST_CHILD"

var children = map[string]func(args []string) error{
	"work":  workChild,
	"sweep": sweepChild,
}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		goleak.VerifyTestMain(pgtest.Tests{M: m})
		return
	}
	if err := children[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is this test binary as a process of its own, which is killed when the test ends.
func child(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also if the test is killed, or runs out of time
	return cmd
}

// modes are the two ways in which writers are kept in order.
var modes = []struct {
	name string
	opts pgstore.Options
}{
	{"locks", pgstore.Options{}},
	{"serializable", pgstore.Options{Serializable: true}},
}

// open opens a database that has been migrated. It is closed when the test ends.
func open(t testing.TB, dsn string, opts pgstore.Options) *pgstore.Backend {
	t.Helper()
	b, err := pgstore.Open(t.Context(), dsn, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close must succeed: got %v", err)
		}
	})
	return b
}

// migrated makes a database on a server, with the tables in it, and returns its name.
func migrated(t testing.TB, s *pgtest.Server, opts pgstore.Options) string {
	t.Helper()
	name := s.Database(t)
	if err := pgstore.Migrate(t.Context(), s.DSN(name), &opts); err != nil {
		t.Fatal(err)
	}
	return name
}
