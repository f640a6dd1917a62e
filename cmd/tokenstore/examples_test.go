package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
)

// exampleFiles makes the files that the examples of the help texts are about.
func exampleFiles(t *testing.T, dir string) {
	t.Helper()
	db := filepath.Join(dir, "tokens.db")
	line := func(id, user string) string {
		return fmt.Sprintf(`{"id":%q,"user_id":%q,"client_id":"web","session_id":"s","created_at":"2024-02-25T00:00:00Z","resource_servers":[{"audience":"https://api.example.com/","scopes":"read"}]}`, id, user)
	}
	lines := line("01HPWVYJZ808DT7EJB5DEGYF84", "auth0|kiosk") + "\n" + line("01HPWVYJZ808DT7EJB5DEGYF85", "auth0|ann") + "\n"
	for name, text := range map[string]string{
		"tokens.ndjson":     lines,
		"static-tokens.txt": token + "=" + scopes + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		if report, err := m.ImportNDJSON(ctx, strings.NewReader(lines), nil); err != nil || report.Imported != 2 {
			t.Fatalf("imported %+v, %v", report, err)
		}
		for i, user := range []string{"auth0|bob", "auth0|carl", "auth0|dora"} {
			_, err := m.Revoke(ctx, tokenstore.RevokeRequest{
				ID: ulid.MustParse("01KJM9SR009WPFZ1FJR8TC7J5" + string("WYZ"[i])), Targets: []tokenstore.Target{{UserID: user}}, Reason: "an example",
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		all, err := os.Create(filepath.Join(dir, "all.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		defer all.Close()
		if _, err := m.Export(ctx, all, &tokenstore.ExportOptions{Full: true}); err != nil {
			t.Fatal(err)
		}
		var events bytes.Buffer
		if err := tokenstore.WriteEvents(&events, m.Events(ctx, 0)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"events.ndjson", "acme.ndjson", "globex.ndjson"} {
			if err := os.WriteFile(filepath.Join(dir, name), events.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := os.Mkdir(filepath.Join(dir, "backups"), 0o700); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := toEnd(t, "backup", "--db", db, filepath.Join(dir, "backups", "tokens-2026-11-26.db")); code != 0 {
		t.Fatal(stderr)
	}
}

// examples are those of the command and of all below it, by command.
func allExamples(cmd *cobra.Command, found map[string][]string) {
	for _, sub := range cmd.Commands() {
		allExamples(sub, found)
	}
	if cmd.HasSubCommands() || cmd.Name() == "help" {
		return
	}
	found[cmd.CommandPath()] = nil
	for line := range strings.Lines(cmd.Example) {
		if line = strings.TrimSpace(line); line != "" {
			found[cmd.CommandPath()] = append(found[cmd.CommandPath()], line)
		}
	}
}

// Every command has examples, and each of them does what it should, run as it stands.
func TestExamples(t *testing.T) {
	found := map[string][]string{}
	allExamples(newCommand(), found)
	fixture := t.TempDir()
	exampleFiles(t, fixture)
	if len(found) < 14 {
		t.Errorf("found only %d commands", len(found))
	}
	ran := 0
	for command, lines := range found {
		if len(lines) == 0 {
			t.Errorf("%s has no example", command)
		}
		for _, line := range lines {
			ran++
			t.Run(line, func(t *testing.T) {
				if !strings.HasPrefix(line, command+" ") && line != command {
					t.Errorf("it stands with %s", command)
				}
				dir := filepath.Join(t.TempDir(), "here")
				if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(line, "# until it is interrupted") {
					serveExample(t, dir, line)
					return
				}
				// Nobody is to answer: on this machine a server may.
				want := 0
				if strings.Contains(line, "@localhost/") {
					want = exitFailed
				}
				out, err := shell(t, dir, strings.ReplaceAll(line, "@localhost/", "@127.0.0.1:1/")).CombinedOutput()
				if got := exitCode(err); got != want {
					t.Errorf("exit code %d, want %d\n%s", got, want, out)
				}
			})
		}
	}
	t.Attr("cases", strconv.Itoa(ran))
}

// shell runs a line in a folder, where tokenstore is the program.
func shell(t *testing.T, dir, line string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
	return cmd
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return -1
}

// serveExample runs an example that goes on until it is interrupted, on a port that is free.
func serveExample(t *testing.T, dir, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, "#")
	cmd := shell(t, dir, "exec "+line+" --listen 127.0.0.1:0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	_, readErr := out.Read(first) // it says where it listens
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || readErr != nil {
		t.Errorf("%v, %v\n%s", readErr, err, stderr.String())
	}
}
