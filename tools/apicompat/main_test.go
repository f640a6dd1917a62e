package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore/tools/internal/repo"
)

// history is a temporary repository with one commit.
type history struct {
	*testing.T
	root string
}

const released = `package small

import "errors"

// ErrGone is exported.
var ErrGone = errors.New("gone")

// Options are exported.
type Options struct {
	Size int
	Name string
}

// Open is exported.
func Open(Options) error { return ErrGone }
`

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{t, t.TempDir()}
	h.git("init", "-q")
	h.write("go.mod", "module small\n\ngo 1.26.0\n")
	h.write("small.go", released)
	h.write("internal/inner/inner.go", "package inner\n\n// Gone is not for others.\nfunc Gone() {}\n")
	h.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 1.0.0\n\n- `./.Open: removed`\n")
	h.commit()
	return h
}

func (h *history) git(args ...string) {
	h.Helper()
	args = append([]string{"-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"}, args...)
	if _, err := repo.Run(h.Context(), h.root, nil, "git", args...); err != nil {
		h.Fatal(err)
	}
}

func (h *history) commit() {
	h.Helper()
	h.git("add", "-A")
	h.git("commit", "-q", "-m", "test")
}

func (h *history) write(name, text string) {
	h.Helper()
	file := filepath.Join(h.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

func (h *history) check() (string, error) {
	var out strings.Builder
	err := check(h.Context(), &out, h.root, []string{".", "later"})
	return out.String(), err
}

func TestNoTag(t *testing.T) {
	h := newHistory(t)
	h.git("tag", "nightly")
	out, err := h.check()
	if err != nil || out != "NOT RUN: no tag yet, so there is nothing to compare with\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestCompatible(t *testing.T) {
	h := newHistory(t)
	h.git("tag", "v1.0.0")
	h.write("small.go", released+"\n// Close is new.\nfunc Close() {}\n")
	h.write("internal/inner/inner.go", "package inner\n")
	h.write("later/go.mod", "module small/later\n\ngo 1.26.0\n")
	h.write("later/later.go", "package later\n")
	if out, err := h.check(); err != nil || out != "compatible with v1.0.0, but for what is announced\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// What is compared with is the latest release, which is none of those that led to it.
func TestLatest(t *testing.T) {
	for _, c := range []struct{ tags, want string }{
		{"v1.0.0-rc1 v1.0.0", "v1.0.0"},
		{"v1.0.0 v1.0.0-rc1", "v1.0.0"},
		{"v1.0.0-rc1 v1.0.0-rc2 v1.0.0-beta", "v1.0.0-rc2"},
		{"v1.0.0-rc.9 v1.0.0-rc.10", "v1.0.0-rc.10"},
		{"v0.9.0 v0.10.0 v0.10.0-rc1", "v0.10.0"},
		{"v1.0.0 v1.1.0-rc1", "v1.1.0-rc1"},
		{"v1.2.3 v1.2.3.4 v9.9.x", "v1.2.3"},
		{"v9.9.x", ""},
		{"", ""},
	} {
		if got := latest(strings.Fields(c.tags)); got != c.want {
			t.Errorf("of %q: got %q, want %q", c.tags, got, c.want)
		}
	}
	h := newHistory(t)
	h.git("tag", "v1.0.0-rc1")
	h.git("tag", "v1.0.0")
	if out, err := h.check(); err != nil || out != "compatible with v1.0.0, but for what is announced\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestIncompatible(t *testing.T) {
	for name, c := range map[string]struct{ old, replacement, change string }{
		"a function is gone":      {"func Open(", "func open(", "Open: removed"},
		"a field is gone":         {"\tName string\n", "", "Options.Name: removed"},
		"a type is another":       {"Size int", "Size int64", "Options.Size: changed from int to int64"},
		"a parameter is another":  {"func Open(Options)", "func Open(*Options)", "Open: changed from func(Options) error to func(*Options) error"},
		"an error is none":        {"var ErrGone = errors.New(\"gone\")", "var ErrGone, _ = \"gone\", errors.ErrUnsupported", "ErrGone: changed from error to string"},
		"not committed, but done": {"func Open(", "func open(", "Open: removed"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			h.git("tag", "v0.9.0")
			h.git("tag", "v0.10.0")
			text := strings.Replace(released, c.old, c.replacement, 1)
			if name == "an error is none" {
				text = strings.Replace(text, "error { return ErrGone }", "error { return nil }", 1)
			}
			h.write("small.go", text)
			if !strings.HasPrefix(name, "not committed") {
				h.commit()
			}
			out, err := h.check()
			if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "`"+c.change+"`") {
				t.Errorf("got %q, %v; want %q", out, err, c.change)
			}
			h.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n- Callers break:\n  `"+strings.Replace(c.change, " ", "\n  ", 1)+"`\n")
			if out, err := h.check(); err != nil || !strings.Contains(out, "announced: "+c.change) || !strings.Contains(out, "v0.10.0") {
				t.Errorf("announced: got %q, %v", out, err)
			}
		})
	}
}

// What does not build is not taken for compatible.
func TestBroken(t *testing.T) {
	h := newHistory(t)
	h.git("tag", "v1.0.0")
	h.write("small.go", strings.Replace(released, "ErrGone }", "missing }", 1))
	if out, err := h.check(); err == nil || errors.Is(err, errBroken) {
		t.Errorf("got %q, %v", out, err)
	}
}
