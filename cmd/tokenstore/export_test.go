package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore"
)

// A tenant moves to another file, with the secret of a client, and without what was revoked.
func TestMoveToAnotherFile(t *testing.T) {
	dir := t.TempDir()
	db, other, file := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db"), filepath.Join(dir, "all.ndjson")
	var secret tokenstore.Secret
	dead := tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: tokenstore.MustSessionID("dead")}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		live := dead
		live.SessionID = tokenstore.MustSessionID("alive")
		issued, err := m.Issue(ctx, live)
		_, other := m.Issue(ctx, dead)
		_, revoked := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{SessionID: "dead"}}})
		if err := errors.Join(err, other, revoked); err != nil {
			t.Fatal(err)
		}
		secret = issued.Secret
	})
	code, stdout, stderr := toEnd(t, "export", "--db", db, "--full", file)
	if code != 0 || stdout != "" || stderr != "exported 1 tokens, 1 guards\n" {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if code, _, stderr := toEnd(t, "import", "--db", other, file); code != exitFailed || !strings.Contains(stderr, "a full export has to be imported as such") {
		t.Errorf("imported as resources: exit code %d, %q", code, stderr)
	}
	for _, want := range []string{"imported 1, unchanged 0, refused 0, guards 1\n", "imported 0, unchanged 1, refused 0, guards 1\n"} {
		if code, stdout, stderr := toEnd(t, "import", "--db", other, "--full", file); code != 0 || stdout != want || stderr != "" {
			t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
		}
	}
	inFile(t, other, func(ctx context.Context, m *tokenstore.Manager) {
		if _, err := m.Issue(ctx, dead); !errors.Is(err, tokenstore.ErrRevoked) {
			t.Errorf("a dead session issued: %v", err)
		}
		if _, err := m.Exchange(ctx, tokenstore.ExchangeRequest{Secret: secret, ClientID: "web"}); err != nil {
			t.Errorf("a client's secret was refused: %v", err)
		}
	})
	if code, _, stderr := toEnd(t, "import", "--db", db, "--full", file); code != exitFailed || !strings.Contains(stderr, "tenant is not empty") {
		t.Errorf("into a tenant in use: exit code %d, %q", code, stderr)
	}
}

// Resources go to stdout or to a file that is not there yet.
func TestExport(t *testing.T) {
	dir := t.TempDir()
	db, file := filepath.Join(dir, "a.db"), filepath.Join(dir, "some.ndjson")
	text := tokenLine(1, "") + "\n" + tokenLine(2, "") + "\n"
	if code, _, stderr := importText(t, db, text); code != 0 {
		t.Fatal(stderr)
	}
	code, stdout, _ := toEnd(t, "export", "--db", db, "-")
	if code != 0 || strings.Count(stdout, "\n") != 2 || !strings.Contains(stdout, `"foreign_id":"foreign-2"`) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	if code, _, stderr := toEnd(t, "export", "--db", db, file); code != 0 {
		t.Error(stderr)
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != stdout {
		t.Errorf("%q, %v", written, err)
	}
	if code, stdout, stderr := toEnd(t, "import", "--db", db, file); code != 0 || stdout != "imported 0, unchanged 2, refused 0\n" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	for name, args := range map[string][]string{
		"a file that is there":     {"export", "--db", db, file},
		"no database":              {"export", "--db", filepath.Join(dir, "none.db"), "-"},
		"no file":                  {"export", "--db", db},
		"full and null":            {"import", "--db", db, "--full", "--null-legacy-sessions", file},
		"full and beyond memory":   {"import", "--db", db, "--full", "--beyond-memory", file},
		"a directory that is none": {"export", "--db", db, filepath.Join(dir, "none", "x")},
	} {
		if code, _, _ := toEnd(t, args...); code != exitUsage {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != stdout {
		t.Errorf("a file that was there is %q, %v", written, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); err == nil {
		t.Error("an export must not create a database")
	}
}

func TestImportNullsSessions(t *testing.T) {
	db := filepath.Join(t.TempDir(), "tokens.db")
	text := tokenLine(1, `,"created_at":"2020-01-01T00:00:00Z"`)
	if code, _, _ := importText(t, db, text); code != exitRefused {
		t.Errorf("exit code %d", code)
	}
	if code, stdout, stderr := importText(t, db, text, "--null-legacy-sessions", "--beyond-memory"); code != 0 || stdout != "imported 1, unchanged 0, refused 0\n" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}
