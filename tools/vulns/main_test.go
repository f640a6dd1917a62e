package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore/tools/internal/repo"
)

// repository is a temporary one with a program that parses a URL.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module small\n\ngo 1.26.0\n",
		"main.go": "package main\n\nimport \"net/url\"\n\nfunc main() { _, _ = url.Parse(\"/\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := repo.Run(t.Context(), root, nil, "git", "init", "-q"); err != nil {
		t.Fatal(err)
	}
	return root
}

// database is one with a vulnerability in a package of the standard library.
func database(t *testing.T, pkg string) string {
	t.Helper()
	dir := t.TempDir()
	const modified = "2026-01-02T03:04:05Z"
	affected := map[string]any{
		"package":            map[string]any{"name": "stdlib", "ecosystem": "Go"},
		"ranges":             []any{map[string]any{"type": "SEMVER", "events": []any{map[string]any{"introduced": "0"}}}},
		"ecosystem_specific": map[string]any{"imports": []any{map[string]any{"path": pkg}}},
	}
	for name, content := range map[string]any{
		"index/db.json":      map[string]any{"modified": modified},
		"index/modules.json": []any{map[string]any{"path": "stdlib", "vulns": []any{map[string]any{"id": "GO-2026-0001", "modified": modified}}}},
		"index/vulns.json":   []any{map[string]any{"id": "GO-2026-0001", "modified": modified}},
		"ID/GO-2026-0001.json": map[string]any{
			"schema_version": "1.3.1", "id": "GO-2026-0001", "modified": modified, "published": modified, "details": "of a test",
			"database_specific": map[string]any{"url": "https://pkg.go.dev/vuln/GO-2026-0001", "review_status": "REVIEWED"},
			"affected":          []any{affected},
		},
	} {
		text, err := json.Marshal(content)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + filepath.ToSlash(dir)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func TestFound(t *testing.T) {
	var out strings.Builder
	err := check(t.Context(), &out, repository(t), database(t, "net/url"))
	if !errors.Is(err, errFound) || !strings.Contains(out.String(), "GO-2026-0001") {
		t.Errorf("got %v and\n%s", err, out.String())
	}
}

func TestNoneFound(t *testing.T) {
	var out strings.Builder
	err := check(t.Context(), &out, repository(t), database(t, "encoding/gob"))
	if err != nil || lastLine(out.String()) != "no known vulnerability in what 1 modules import" {
		t.Errorf("got %v and\n%s", err, out.String())
	}
}

// A module that govulncheck can't look at is not taken for a good one.
func TestBroken(t *testing.T) {
	root := repository(t)
	if err := os.WriteFile(filepath.Join(root, "main.go"), []byte("package main\n\nimport _ \"small/missing\"\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := check(t.Context(), &out, root, database(t, "net/url")); err == nil || errors.Is(err, errFound) {
		t.Errorf("got %v and\n%s", err, out.String())
	}
}

// Where there is no database nothing is claimed.
func TestNotRun(t *testing.T) {
	broken := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(broken.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, database := range map[string]string{
		"nobody listens": gone.URL, "not found": broken.URL, "no such folder": "file://" + filepath.ToSlash(t.TempDir()),
	} {
		var out strings.Builder
		if err := check(t.Context(), &out, repository(t), database); err != nil || !strings.HasPrefix(out.String(), "NOT RUN: ") {
			t.Errorf("%s: got %v and\n%s", name, err, out.String())
		}
	}
}

// The stage of CI ends with NOT RUN, does not fail for it, and does not say that all has passed.
func TestStage(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	cmd := exec.CommandContext(t.Context(), "bash", ".ci/run", "vulns")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "VULN_DB="+gone.URL)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(lastLine(string(out)), "NOT RUN: vulns: ") || strings.Contains(string(out), "all passed") {
		t.Errorf("got %v and\n%s", err, out)
	}
}
