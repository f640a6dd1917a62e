package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/tokenstore/tools/internal/repo"
)

// small is a repository whose program is the same wherever it is built with the flags, and another one without -trimpath.
func small(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module small\n\ngo 1.26.0\n",
		"cmd/prog/main.go": "package main\n\nfunc main() { panic(\"a stack with the folder in it\") }\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := repo.Run(t.Context(), root, nil, "git", "init", "-q"); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestSame(t *testing.T) {
	var out strings.Builder
	if err := check(t.Context(), &out, small(t), "cmd/prog", flags); err != nil || !regexp.MustCompile(`sha256 [0-9a-f]{64}\n$`).MatchString(out.String()) {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// A build that depends on its folder is found.
func TestDiffer(t *testing.T) {
	var out strings.Builder
	if err := check(t.Context(), &out, small(t), "cmd/prog", []string{"-buildvcs=false"}); !errors.Is(err, errDiffer) || out.Len() > 0 {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// The flags are those that the documentation tells operators to use.
func TestDocumentedFlags(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "serve.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "CGO_ENABLED=0 GOWORK=off go build " + strings.Join(flags, " ") + " -o "; !strings.Contains(string(text), want) {
		t.Errorf("docs/serve.md does not have %q", want)
	}
}
