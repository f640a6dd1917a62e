package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore"
)

// A backup is a file of its own that is whole, and takes nobody's name.
func TestBackupCommand(t *testing.T) {
	db, issued := fileWith(t, 3)
	out := filepath.Join(t.TempDir(), "backup.db")
	if code, stdout, stderr := toEnd(t, "backup", "--db", db, out); code != 0 || stdout != "" || !strings.Contains(stderr, "and checked") {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	inFile(t, out, func(ctx context.Context, m *tokenstore.Manager) {
		if _, err := m.Introspect(ctx, issued[2].Secret); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	if err := os.WriteFile(other, []byte("no tokens"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no name":         {[]string{"--db", db}, exitUsage, "one file"},
		"two names":       {[]string{"--db", db, "a", "b"}, exitUsage, "one file"},
		"a name in use":   {[]string{"--db", db, out}, exitUsage, "there already"},
		"its own name":    {[]string{"--db", db, db}, exitUsage, "there already"},
		"no file":         {[]string{"--db", filepath.Join(dir, "none.db"), filepath.Join(dir, "x.db")}, exitUsage, "there is no file"},
		"no directory":    {[]string{"--db", db, filepath.Join(dir, "none", "x.db")}, exitFailed, "was not made"},
		"another's file":  {[]string{"--db", other, filepath.Join(dir, "x.db")}, exitFailed, "not a tokenstore file"},
		"a server's tool": {[]string{"--db", "postgres://localhost/x", filepath.Join(dir, "x.db")}, exitUsage, "its own tools"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, stderr := toEnd(t, append([]string{"backup"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "x.db")); err == nil {
		t.Error("what is no backup must not be there")
	}
}

// A file that is served is backed up by its server, and says so to whoever asks for a backup.
func TestServeBacksUp(t *testing.T) {
	db, issued := fileWith(t, 1)
	dir := t.TempDir()
	p := serve(t, db, "--backup-dir", dir, "--backup-every", "1s")
	code, _, stderr := toEnd(t, "backup", "--db", db, filepath.Join(t.TempDir(), "backup.db"))
	if code != exitFailed || !strings.Contains(stderr, "in use by another process") || !strings.Contains(stderr, "--backup-dir") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	p.until("GET", "/metrics", func(a answer) bool { return strings.Contains(a.body, `tokenstore_backups_total{outcome="made"} 2`) })
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	all, err := os.ReadDir(dir)
	if err != nil || len(all) < 2 {
		t.Fatalf("there are %d backups, %v", len(all), err)
	}
	for _, entry := range all {
		if _, err := time.Parse(backupName, entry.Name()); err != nil {
			t.Errorf("a name of another kind: %s", entry.Name())
		}
		inFile(t, filepath.Join(dir, entry.Name()), func(ctx context.Context, m *tokenstore.Manager) {
			if in, err := m.Introspect(ctx, issued[0].Secret); err != nil || !in.Active {
				t.Errorf("a backup must hold what the file held: %v", err)
			}
		})
	}
	for _, args := range [][]string{{"--backup-dir", filepath.Join(dir, "none")}, {"--backup-every", "0s"}} {
		args = append([]string{"serve", "--db", db, "--static-token", token + "=" + scopes}, args...)
		if code, _, stderr := toEnd(t, args...); code != exitUsage || !strings.Contains(stderr, "--backup") {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
}
