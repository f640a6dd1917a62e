package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
)

// shared is the server of all tests of a binary. It is started by the first that asks for it, and stopped by Tests.
var shared struct {
	sync.Mutex
	server *Server
	dir    string
	err    error
}

// Tests are all tests of a binary, as [testing.M] and with the server that they share:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Tests{M: m}) }
type Tests struct{ *testing.M }

// Run runs the tests, and stops the server.
func (m Tests) Run() int {
	code := m.M.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return code
	}
	err := errors.Join(shared.server.process.Stop(syscall.SIGINT), os.RemoveAll(shared.dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

// Shared is the server of all tests of a binary, whose TestMain must run [Tests].
func Shared(t testing.TB) *Server {
	t.Helper()
	need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.err = startShared(t.Context())
	}
	must(t, shared.err)
	return shared.server
}

func startShared(ctx context.Context) (err error) {
	if shared.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return err
	}
	dir, err := inner(shared.dir)
	if err != nil {
		return err
	}
	if shared.server, err = start(context.WithoutCancel(ctx), dir, nil); err == nil {
		shared.server.shared = true
	}
	return err
}

// Database makes an empty database on the server that all tests of a binary share, and returns its address. It is dropped when
// the test ends.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	s := Shared(t)
	return s.DSN(s.Database(t))
}
