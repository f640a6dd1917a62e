package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/tokenstore"
)

// tokenIDs are how the ids of tokens are told of.
var tokenIDs = regexp.MustCompile(`, token [0-9A-Z]{26}`)

// tokenLine is a token of auth0|ann, with a foreign id.
func tokenLine(id int, more string) string {
	return fmt.Sprintf(`{"id":"foreign-%d","user_id":"auth0|ann","client_id":"web","session_id":"s","created_at":"2024-03-01T00:00:00Z"%s}`, id, more)
}

func importText(t *testing.T, db, text string, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens.ndjson")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return toEnd(t, append([]string{"import", "--db", db, file}, flags...)...)
}

// Each line has its fate: what is good comes in, what is not is named, and nothing of it is repeated.
func TestImport(t *testing.T) {
	long := strings.Repeat("x", tokenstore.MaxLine+1)
	for name, c := range map[string]struct {
		text   string
		flags  []string
		stdout string
		stderr []string // the beginnings of its lines
	}{
		"empty":            {"", nil, "imported 0, unchanged 0, refused 0\n", nil},
		"one":              {tokenLine(1, "") + "\n", nil, "imported 1, unchanged 0, refused 0\n", nil},
		"no end of line":   {tokenLine(1, ""), nil, "imported 1, unchanged 0, refused 0\n", nil},
		"blank and CR LF":  {"\n\r\n" + tokenLine(1, "") + "\r\n \n", nil, "imported 1, unchanged 0, refused 0\n", nil},
		"twice":            {tokenLine(1, "") + "\n" + tokenLine(1, ""), nil, "imported 1, unchanged 1, refused 0\n", nil},
		"unknown property": {tokenLine(1, `,"more":{}`), nil, "imported 1, unchanged 0, refused 0\n", nil},
		"bad ones": {
			strings.Join([]string{
				"{", tokenLine(1, ""), "[]", "null", tokenLine(2, `,"rotating":"secret-value"`), `{"id":"secret-value"}`,
				tokenLine(3, `,"created_at":"2999-01-01T00:00:00Z"`), tokenLine(4, `,"session_id":null`), tokenLine(5, "") + tokenLine(6, ""),
				"\xff", tokenLine(7, ""),
			}, "\n"), nil, "imported 2, unchanged 0, refused 9\n",
			[]string{
				"line 1: tokenstore: line: must be a JSON object", "line 3: tokenstore: token: ", "line 5: tokenstore: token: ", "line 9: tokenstore: line: must be", "line 10: tokenstore: line: must be",
				"line 4: tokenstore: ", "line 6: tokenstore: ", "line 7: tokenstore: created_at: must be not in the future", "line 8: tokenstore: session_id: must be set",
			},
		},
		"too long":     {long + long + "\n" + tokenLine(1, "") + "\n" + long, nil, "imported 1, unchanged 0, refused 2\n", []string{"line 1: tokenstore: line: must be at most 4194304 bytes", "line 3: tokenstore: line: must be at most "}},
		"legacy":       {tokenLine(1, `,"created_at":"2023-12-01T00:00:00Z","session_id":null`), []string{"--region", "us-3"}, "imported 1, unchanged 0, refused 0\n", nil},
		"not legacy":   {tokenLine(1, `,"created_at":"2023-12-01T00:00:00Z","session_id":null`), nil, "imported 0, unchanged 0, refused 1\n", []string{"line 1: tokenstore: session_id"}},
		"legacy again": {tokenLine(1, `,"session_id":null`), []string{"--legacy-cutoff", "2024-03-01T00:00:00.001Z"}, "imported 1, unchanged 0, refused 0\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "tokens.db")
			code, stdout, stderr := importText(t, db, c.text, c.flags...)
			want, last := 0, ""
			if n := len(c.stderr); n > 0 {
				want, last = exitRefused, fmt.Sprintf("tokenstore: %d lines were refused", n)
			}
			if code != want || stdout != c.stdout {
				t.Errorf("exit code %d, stdout %q; want %d and %q", code, stdout, want, c.stdout)
			}
			for _, beginning := range append(c.stderr, last) {
				if !strings.Contains("\n"+tokenIDs.ReplaceAllString(stderr, ""), "\n"+beginning) {
					t.Errorf("stderr %q has no line that begins with %q", stderr, beginning)
				}
			}
			if strings.Contains(stderr, "secret-value") || strings.Count(stderr, "\n") != len(c.stderr)+min(len(c.stderr), 1) {
				t.Errorf("stderr is %q", stderr)
			}
		})
	}
}

// An import may be repeated: nothing is doubled, and what was revoked stays out.
func TestImportAgain(t *testing.T) {
	db := filepath.Join(t.TempDir(), "tokens.db")
	const file = "../../examples/quickstart/testdata/tokens.ndjson"
	for _, want := range []string{"imported 1200, unchanged 0, refused 0\n", "imported 0, unchanged 1200, refused 0\n"} {
		if code, stdout, stderr := toEnd(t, "import", "--db", db, file); code != 0 || stdout != want || stderr != "" {
			t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
		}
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		receipt, err := m.Revoke(ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "auth0|kiosk"}}})
		if err != nil {
			t.Fatal(err)
		}
		sweeping, stop := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- m.Run(sweeping) }()
		_, err = m.Wait(ctx, receipt)
		stop()
		if err := errors.Join(err, <-ended); err != nil {
			t.Fatal(err)
		}
	})
	code, stdout, stderr := toEnd(t, "import", "--db", db, file)
	if code != exitRefused || stdout != "imported 0, unchanged 800, refused 400\n" || !strings.Contains(stderr, ": tokenstore: refused: revoked\n") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// From stdin, and into a tenant.
func TestImportFromStdin(t *testing.T) {
	db := filepath.Join(t.TempDir(), "tokens.db")
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		defer out.Close()
		for i := range 2500 {
			_, _ = io.WriteString(out, tokenLine(i, "")+"\n")
		}
	}()
	p := commandWith(t, in, nil, "import", "--db", db, "--tenant", "acme", "-")
	if stdout := p.rest(); p.wait() != 0 || stdout != "imported 2500, unchanged 0, refused 0\n" {
		t.Errorf("exit code %d, %q, %s", p.code, stdout, p.stderr)
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		acme, err := m.Tenant("acme", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[*tokenstore.Manager]int{acme: 2500, m: 0} {
			if state, err := name.State(ctx); err != nil || state.Tokens != want {
				t.Errorf("%d tokens, %v; want %d", state.Tokens, err, want)
			}
		}
	})
}

// An input that can't be read to its end is no success, and what was read by then is in.
func TestImportCutShort(t *testing.T) {
	code, stdout, stderr := toEnd(t, "import", "--db", filepath.Join(t.TempDir(), "tokens.db"), t.TempDir())
	if code != exitFailed || stdout != "imported 0, unchanged 0, refused 0\n" || !strings.Contains(stderr, "is a directory") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// A file that was made for an import that failed, and of which nothing came in, is removed again; one that was there, or that something
// came into, is not.
func TestImportLeavesNoEmptyFile(t *testing.T) {
	bad := `{"id":"foreign-1"}` + "\n"
	for name, c := range map[string]struct {
		text  string
		flags []string
		code  int
		kept  bool
	}{
		"all refused":      {bad, nil, exitRefused, false},
		"no full export":   {tokenLine(1, "") + "\n", []string{"--full"}, exitFailed, false},
		"nothing in it":    {"", nil, 0, true},
		"some were let in": {bad + tokenLine(1, "") + "\n", nil, exitRefused, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "tokens.db")
			code, _, stderr := importText(t, db, c.text, c.flags...)
			if _, err := os.Lstat(db); code != c.code || (err == nil) != c.kept {
				t.Errorf("exit code %d, %q; the file: %v", code, stderr, err)
			}
		})
	}
	db := filepath.Join(t.TempDir(), "tokens.db")
	inFile(t, db, func(context.Context, *tokenstore.Manager) {})
	if code, _, _ := importText(t, db, bad); code != exitRefused {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Lstat(db); err != nil {
		t.Errorf("what was there before must stay, though it is empty: %v", err)
	}
}
