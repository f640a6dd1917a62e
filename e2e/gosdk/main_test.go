package gosdk

import (
	"context"
	"fmt"
	"os"
	"testing"

	"example.com/tokenstore/e2e/server"
)

// program is the server that all tests run.
var program string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "tokenstore")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if program, err = server.Build(context.Background(), dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// start runs a server with fresh seeds until the test ends.
func start(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	s, err := server.Start(context.WithoutCancel(t.Context()), program, t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
