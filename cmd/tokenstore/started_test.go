package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The lines of docs/getting-started.md do what it says, up to the move to PostgreSQL, which pgstore tests. They are run as they stand, but
// for the folder and the port.
func TestGettingStarted(t *testing.T) {
	text, err := os.ReadFile("../../docs/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of shell, want 3", len(blocks))
	}
	lines := blocks[0][1] + "echo restoring\n" + blocks[1][1]
	dir := t.TempDir()
	address := filepath.Join(dir, "address")
	for _, replaced := range [][2]string{
		{"bin/", dir + "/"}, {"tokens.db", filepath.Join(dir, "tokens.db")},
		{"backup.db", filepath.Join(dir, "backup.db")}, {"feed.ndjson", filepath.Join(dir, "feed.ndjson")},
		{"127.0.0.1:8080", `'"$address"'`}, {"kill %1\nwait %1\n", "kill $!\nwait $!\n"},
		{" &\n", " --listen 127.0.0.1:0 >" + address + " &\ntrap 'kill $!' ERR\nread -r address <" + address + "\n"},
	} {
		if !strings.Contains(lines, replaced[0]) {
			t.Errorf("%q is nowhere in the lines", replaced[0])
		}
		lines = strings.ReplaceAll(lines, replaced[0], replaced[1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-Eeuc", "mkfifo "+address+"\n"+lines)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "GOWORK=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before, after, _ := strings.Cut(string(out), "restoring\n")
	if n := strings.Count(before, "auth0|kiosk  "); n != 3 || !strings.Contains(before, "imported 1200") || !strings.Contains(before, "01GNP5GF0051GFP00764MH90G6") {
		t.Errorf("%d tokens are listed, and this is said:\n%s", n, before)
	}
	if strings.Contains(after, "auth0|kiosk") || !strings.Contains(after, "revocations 1;") || !strings.Contains(after, "is in order") {
		t.Errorf("what was revoked must be so in the restored file; it says\n%s", after)
	}
}
