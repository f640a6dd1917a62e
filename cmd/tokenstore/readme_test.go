package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The README's lines do what it says. They are run as they stand, but for where files are put and for the port: the server
// takes any that is free, and says which to a pipe.
func TestREADMEServe(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```\n\n(.*?)\n\n").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of shell, want 1", len(blocks))
	}
	lines, said := strings.TrimSpace(blocks[0][1]), blocks[0][2]
	if n := strings.Count(lines, "\n") + 1; n != 5 {
		t.Errorf("%d lines, want 5", n)
	}
	dir := t.TempDir()
	address := filepath.Join(dir, "address")
	replaced := func(old, replacement string, want int) {
		t.Helper()
		if n := strings.Count(lines, old); n != want {
			t.Errorf("%q is there %d times, want %d", old, n, want)
		}
		lines = strings.ReplaceAll(lines, old, replacement)
	}
	replaced("bin/", dir+"/", 3)
	replaced("tokens.db", filepath.Join(dir, "tokens.db"), 2)
	replaced(" &\n", " --listen 127.0.0.1:0 >"+address+" &\ntrap 'kill $!; wait $!' EXIT\nread -r address <"+address+"\n", 1)
	replaced("127.0.0.1:8080", `'"$address"'`, 2)

	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", "mkfifo "+address+"\n"+lines)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "GOWORK=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	report, answers, _ := strings.Cut(string(out), "\n")
	const deleted, listed = "{}", `{"refresh_tokens":[]}`
	if report != "imported 1200, unchanged 0, refused 0" || answers != deleted+listed {
		t.Errorf("got %q and %q\n%s", report, answers, stderr.String())
	}
	if !strings.Contains(said, "`"+deleted+"`") || !strings.Contains(said, "202") || !strings.Contains(said, "`"+listed+"`") {
		t.Errorf("the README says %q of the answers", said)
	}
	if !strings.Contains(stderr.String(), `"route":"/api/v2/users/{user_id}/refresh-tokens","status":202`) {
		t.Errorf("no status 202 in the log:\n%s", stderr.String())
	}
}

// docs/command.md has a row for every command and every exit code, and none that there is not.
func TestCommandDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/command.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := func(head string) (names []string) {
		t.Helper()
		_, table, found := strings.Cut(string(text), head)
		if !found {
			t.Fatalf("no table %q", head)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		for _, row := range strings.Split(table, "\n")[2:] {
			first, _, _ := strings.Cut(strings.Trim(row, "| "), " |")
			for _, name := range strings.Split(first, ", ") {
				names = append(names, strings.Fields(strings.Trim(name, "`"))[0])
			}
		}
		slices.Sort(names)
		return names
	}
	var commands []string
	for _, cmd := range newCommand().Commands() {
		commands = append(commands, cmd.Name())
	}
	slices.Sort(commands)
	if got := rows("| Command | What it does |"); !slices.Equal(got, commands) {
		t.Errorf("it has %q, the program %q", got, commands)
	}
	codes := []string{"0", strconv.Itoa(exitFailed), strconv.Itoa(exitUsage), strconv.Itoa(exitRefused), strconv.Itoa(exitFound), strconv.Itoa(exitNotFound)}
	if got := rows("| Code | Meaning |"); !slices.Equal(got, codes) {
		t.Errorf("it has %q, the program %q", got, codes)
	}
}
