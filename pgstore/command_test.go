package pgstore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
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

// TestMoveToPostgreSQL: the lines of docs/getting-started.md move a file into a database.
func TestMoveToPostgreSQL(t *testing.T) {
	text, err := os.ReadFile("../docs/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of shell, want 3", len(blocks))
	}
	command := servetest.Build(t, "../cmd/tokenstore")
	tokens, err := filepath.Abs("../examples/quickstart/testdata/tokens.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	s := pgtest.Shared(t)
	lines := command + " import --db tokens.db " + tokens + "\n" + strings.ReplaceAll(blocks[2][1], "bin/tokenstore", command)
	lines = strings.ReplaceAll(lines, "postgres://owner@localhost/tokens", "'"+s.DSN(s.Database(t))+"'")
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", lines)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "imported 1200"); n != 2 || !regexp.MustCompile(`(?m)^tokens +1,?200$`).Match(out) {
		t.Errorf("all tokens must be there; it says\n%s", out)
	}
}
