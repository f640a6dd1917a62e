package servetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/tokenstore"
)

// Run runs the command to its end, with more of an environment and arguments.
func Run(t *testing.T, command string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errs.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String(), errs.String()
}

// Operate has an operator look at tokens and revoke them by the commands, in a database that m is a manager of, too.
func Operate(t *testing.T, command, db string, m *tokenstore.Manager) {
	t.Helper()
	operate := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := Run(t, command, nil, append(args, "--db", db)...)
		if code != want {
			t.Fatalf("%v: exit code %d, want %d: %q, %q", args, code, want, stdout, stderr)
		}
		return stdout
	}
	lines := func(want int, args ...string) {
		t.Helper()
		if out := operate(0, append(args, "--output", "ndjson")...); strings.Count(out, "\n") != want {
			t.Errorf("%v: want %d lines: %q", args, want, out)
		}
	}
	var secret tokenstore.Secret
	var id string
	for range 3 {
		issued, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: "ann", ClientID: "web", SessionID: tokenstore.MustSessionID("s")})
		if err != nil {
			t.Fatal(err)
		}
		secret, id = issued.Secret, issued.Token.ID.String()
	}
	lines(3, "list", "--user", "ann")
	if out := operate(0, "show", id); !strings.Contains(out, id) {
		t.Errorf("show: %q", out)
	}
	if out := operate(0, "revoke", "--user", "ann", "--dry-run", "-o", "json"); !strings.Contains(out, `"matched":3,"complete":true`) {
		t.Errorf("revoke --dry-run: %q", out)
	}
	operate(2, "revoke", "--user", "ann") // nobody can be asked
	lines(3, "list", "--user", "ann")
	if out := operate(0, "revoke", "--user", "ann", "--wait", "--yes", "-o", "json"); !strings.Contains(out, `"state":"retired"`) {
		t.Errorf("revoke --wait: %q", out)
	}
	if _, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: secret, ClientID: "web"}); !errors.Is(err, tokenstore.ErrInvalidGrant) {
		t.Errorf("what is revoked was exchanged: %v", err)
	}
	lines(0, "list", "--user", "ann", "--fenced=false")
	lines(1, "revocations")
	operate(5, "show", id)
	operate(0, "erase-user", "--user", "ann", "--wait", "--yes")
	n, last := 0, uint64(0)
	for event, err := range tokenstore.ReadEvents(strings.NewReader(operate(0, "events"))) {
		if err != nil || event.Number <= last {
			t.Fatalf("after event %d: %+v, %v", last, event, err)
		}
		n, last = n+1, event.Number
	}
	lines(1, "tenants")
	var stats struct{ Tokens, Events, Pending int }
	if err := json.Unmarshal([]byte(operate(0, "stats", "-o", "json")), &stats); err != nil || stats.Tokens != 0 || stats.Events != n || n == 0 || stats.Pending != 0 {
		t.Errorf("stats: %+v, %v, want %d events", stats, err, n)
	}
	operate(0, "check")
	operate(2, "check", "--repair", "--yes")
	operate(5, "list", "--tenant", "mistyped")
	operate(5, "revoke", "--tenant", "mistyped", "--everything", "--yes")
	lines(1, "tenants")
	follow(t, command, db, m, n)
}

// follow has the command follow the feed, which has so many events and gets one more, until it is interrupted.
func follow(t *testing.T, command, db string, m *tokenstore.Manager, events int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, "events", "--follow", "--after", "0", "--db", db)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	printed := bufio.NewScanner(out)
	for i := range events + 1 {
		if i == events { // all that was there has been read
			if _, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "bob"}}}); err != nil {
				t.Error(err)
			}
		}
		if !printed.Scan() {
			t.Errorf("event %d did not come", i+1)
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it was interrupted: %v", err)
	}
}
