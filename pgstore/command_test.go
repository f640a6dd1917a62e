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
	name := s.Database(t)
	dsn := s.DSN(name)
	for range 2 { // the second has nothing to do
		out, err := exec.CommandContext(t.Context(), command, "migrate", "--db", dsn).CombinedOutput()
		if want := "schema tokenstore is at version " + s.Ask(t, name, `select max(version)::text from tokenstore.migrations`) + "\n"; err != nil || string(out) != want {
			t.Fatalf("migrate must make the tables, and say %q: got %q, %v", want, out, err)
		}
	}
	m, err := tokenstore.New(open(t, dsn, pgstore.Options{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	servetest.Operate(t, command, dsn, m)
}

// TestRightsOfTheDocument: with no other rights than those that docs/backends.md gives it, an account does all that is done with a database.
func TestRightsOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	grants := regexp.MustCompile(`(?m)^    grant .* to app;$`).FindAllString(string(text), -1)
	if len(grants) != 3 {
		t.Fatalf("the document has %d grants, want 3", len(grants))
	}
	command := servetest.Build(t, "../cmd/tokenstore")
	s := pgtest.Shared(t)
	name := s.Database(t)
	if err := pgstore.Migrate(t.Context(), s.DSN(name), nil); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, name, "create role "+name+" login")
	for _, grant := range grants {
		s.Exec(t, name, strings.Replace(grant, "app;", name, 1))
	}
	dsn := strings.Replace(s.DSN(name), "tokenstore@", name+"@", 1)
	m, err := tokenstore.New(open(t, dsn, pgstore.Options{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	servetest.Operate(t, command, dsn, m)
	if code, _, stderr := servetest.Run(t, command, nil, "restore", "--db", dsn, "--in-place", "--cut-off", "--yes"); code != 0 {
		t.Errorf("a restoration: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := servetest.Run(t, command, nil, "check", "--db", dsn); code != 0 {
		t.Errorf("a check: exit code %d, %q", code, stderr)
	}
}

// TestMoveToPostgreSQL: the lines of docs/getting-started.md move a file into a database, which is then served. What was revoked in the
// file is so there.
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
	dir := t.TempDir()
	address := filepath.Join(dir, "address")
	lines := blocks[2][1]
	for _, replaced := range [][2]string{
		{"bin/tokenstore", command}, {"postgres://owner@localhost/tokens", "'" + s.DSN(s.Database(t)) + "'"},
		{"127.0.0.1:8080", `'"$address"'`}, {"kill %1\nwait %1\n", "kill $!\nwait $!\n"},
		{" &\n", " --listen 127.0.0.1:0 >" + address + " &\ntrap 'kill $!' ERR\nread -r address <" + address + "\n"},
	} {
		if !strings.Contains(lines, replaced[0]) {
			t.Errorf("%q is nowhere in the lines", replaced[0])
		}
		lines = strings.ReplaceAll(lines, replaced[0], replaced[1])
	}
	lines = "mkfifo " + address + "\n" + command + " import --db tokens.db " + tokens + "\n" +
		command + " revoke --db tokens.db --user 'auth0|kiosk' --wait --yes\n" + lines
	cmd := exec.CommandContext(t.Context(), "bash", "-Eeuc", lines)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// 400 of the 1200 are the revoked user's.
	for _, said := range []string{`(?m)^imported 1200,`, `(?m)^imported 800,`, `(?m)^tokens +800$`, `\{"refresh_tokens":\[\]\}`, `(?m)^targets +client tv$`} {
		if !regexp.MustCompile(said).Match(out) {
			t.Errorf("%s is nowhere in what it says:\n%s", said, out)
		}
	}
}
