package pgstore_test

import (
	"os/exec"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/servetest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
)

// TestOperator: the commands of an operator work on a database that other processes use.
func TestOperator(t *testing.T) {
	command := servetest.Build(t, "../cmd/tokenstore")
	s := pgtest.Shared(t)
	dsn := s.DSN(s.Database(t))
	if out, err := exec.CommandContext(t.Context(), command, "migrate", "--db", dsn).CombinedOutput(); err != nil {
		t.Fatalf("migrate must make the tables: %v: %s", err, out)
	}
	m, err := tokenstore.New(open(t, dsn, pgstore.Options{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	servetest.Operate(t, command, dsn, m)
}
