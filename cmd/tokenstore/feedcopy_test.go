package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/tokenstore"
)

// What is revoked while a file is served comes into the copy of its feed, once, also after a line that a crash cut off; and a backup
// of before is restored by it.
func TestServeCopiesFeed(t *testing.T) {
	db, issued := fileWith(t, 3)
	dir := t.TempDir()
	backup, copied := filepath.Join(dir, "backup.db"), filepath.Join(dir, "feed.ndjson")
	if code, _, stderr := toEnd(t, "backup", "--db", db, backup); code != 0 {
		t.Fatal(stderr)
	}
	for n := range 2 {
		p := serve(t, db, "--feed-copy", copied)
		p.do("DELETE", "/api/v2/refresh-tokens/"+issued[n].Token.ID.String())
		p.until("GET", "/metrics", func(answer) bool { return len(eventsIn(t, copied)) == n+1 })
		if code := p.end(syscall.SIGTERM); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.stderr)
		}
		torn, err := os.OpenFile(copied, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := torn.WriteString(`{"number":"9`); err != nil {
			t.Fatal(err)
		}
		if err := torn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p := serve(t, db, "--feed-copy", copied)
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}

	restored := filepath.Join(dir, "restored.db")
	if code, _, stderr := toEnd(t, "restore", "--db", restored, "--events", copied, backup); code != 0 {
		t.Fatal(stderr)
	}
	inFile(t, restored, func(ctx context.Context, m *tokenstore.Manager) {
		for n, one := range issued {
			in, err := m.Introspect(ctx, one.Secret)
			if err != nil || in.Active != (n == 2) {
				t.Errorf("token %d: active is %v, %v", n, in.Active, err)
			}
		}
	})
}

// eventsIn are the lines of the copy that are whole.
func eventsIn(t *testing.T, path string) (all []tokenstore.Event) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(text[:strings.LastIndexByte(string(text), '\n')+1])
	for event, err := range tokenstore.ReadEvents(strings.NewReader(whole)) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event)
	}
	return all
}

// After a restoration the copy of before is refused, and a new one begins.
func TestFeedCopyAfterRestoration(t *testing.T) {
	db, issued := fileWith(t, 2)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.ndjson"), filepath.Join(dir, "second.ndjson")
	p := serve(t, db, "--feed-copy", first)
	p.do("DELETE", "/api/v2/refresh-tokens/"+issued[0].Token.ID.String())
	p.until("GET", "/metrics", func(answer) bool { return len(eventsIn(t, first)) == 1 })
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if code, _, stderr := toEnd(t, "restore", "--db", db, "--override", "--in-place", "--reason", "a test", "--yes"); code != 0 {
		t.Fatal(stderr)
	}
	code, _, stderr := toEnd(t, "serve", "--db", db, "--static-token", token+"="+scopes, "--feed-copy", first)
	if code != exitFailed || !strings.Contains(stderr, "a new file is needed") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	p = serve(t, db, "--feed-copy", second)
	p.do("DELETE", "/api/v2/refresh-tokens/"+issued[1].Token.ID.String())
	p.until("GET", "/metrics", func(answer) bool { return len(eventsIn(t, second)) == 1 })
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	other, tokens := fileWith(t, 1)
	p = serve(t, other)
	p.do("DELETE", "/api/v2/refresh-tokens/"+tokens[0].Token.ID.String())
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	code, _, stderr = toEnd(t, "serve", "--db", other, "--static-token", token+"="+scopes, "--feed-copy", first)
	if code != exitFailed || !strings.Contains(stderr, "another feed") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestFeedCopyThatIsNone(t *testing.T) {
	db, _ := fileWith(t, 1)
	dir := t.TempDir()
	other, line := filepath.Join(dir, "other"), filepath.Join(dir, "line")
	for path, text := range map[string]string{other: "no event\n", line: "precious"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{other, line, dir, filepath.Join(dir, "none", "feed"), db} {
		code, _, stderr := toEnd(t, "serve", "--db", db, "--static-token", token+"="+scopes, "--feed-copy", path)
		if code != exitFailed || !strings.Contains(stderr, "--feed-copy") {
			t.Errorf("%s: exit code %d, %q", filepath.Base(path), code, stderr)
		}
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "no event\n" {
		t.Errorf("a file that is no copy must be left alone: %q, %v", text, err)
	}
	if text, err := os.ReadFile(line); err != nil || string(text) != "precious" {
		t.Errorf("a file that is no copy must be left alone: %q, %v", text, err)
	}
	if after, err := os.ReadFile(db); err != nil || len(after) < len(before) {
		t.Errorf("the database must be left alone: %d bytes of %d, %v", len(after), len(before), err)
	}
}

// Two servers never write to one copy; the second says so, and the file is free again when the first has ended.
func TestFeedCopyIsOnes(t *testing.T) {
	db, _ := fileWith(t, 1)
	other, _ := fileWith(t, 1)
	copied := filepath.Join(t.TempDir(), "feed.ndjson")
	p := serve(t, db, "--feed-copy", copied)
	code, _, stderr := toEnd(t, "serve", "--db", other, "--static-token", token+"="+scopes, "--feed-copy", copied)
	if code != exitFailed || !strings.Contains(stderr, copied+": another process copies a feed to it") {
		t.Errorf("the second: exit code %d, %q", code, stderr)
	}
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	p = serve(t, other, "--feed-copy", copied)
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("once it is free: exit code %d: %s", code, p.stderr)
	}
}
