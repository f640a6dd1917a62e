package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/tokenstore"
	"github.com/oklog/ulid/v2"
)

// Nothing is taken away that was not confirmed, and what is asked says how much it is.
func TestConfirm(t *testing.T) {
	question := map[string]string{
		"revoke":     "revoke 3 tokens (user auth0|ann)? yes/no: ",
		"erase-user": "erase user auth0|ann, with 3 tokens? yes/no: ",
	}
	for command, asks := range question {
		for name, c := range map[string]struct {
			keys string
			code int
			left int
		}{
			"yes":        {"yes\n", 0, 0},
			"no":         {"no\n", exitUsage, 3},
			"y":          {"y\n", exitUsage, 3},
			"nothing":    {"\n", exitUsage, 3},
			"end":        {"\x04", exitUsage, 3},
			"more":       {"yes please\n", exitUsage, 3},
			"interrupt ": {"", exitUsage, 3},
		} {
			t.Run(command+" "+name, func(t *testing.T) {
				db, issued := fileWith(t, 3)
				p := onTerminal(t, command, "--db", db, "--user", "auth0|ann")
				p.answer(asks, c.keys)
				if c.keys == "" {
					_ = p.cmd.Process.Signal(os.Interrupt)
				}
				stdout := p.rest()
				if code := p.wait(); code != c.code || (stdout == "") != (code != 0) {
					t.Errorf("exit code %d, %q, want %d\n%s", code, stdout, c.code, p.stderr)
				}
				if c.code != 0 && !strings.Contains(p.stderr.String(), "Nothing was done") {
					t.Errorf("it does not say that nothing was done: %q", p.stderr)
				}
				if left := stillThere(t, db, idsOf(issued)); left != c.left {
					t.Errorf("%d tokens are left, want %d", left, c.left)
				}
			})
		}
	}
}

// Without a terminal there is nobody to ask: it is refused, unless --yes is given.
func TestConfirmWithoutTerminal(t *testing.T) {
	for _, command := range []string{"revoke", "erase-user"} {
		db, issued := fileWith(t, 1)
		code, stdout, stderr := toEnd(t, command, "--db", db, "--user", "auth0|ann")
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, "--yes") || stillThere(t, db, idsOf(issued)) != 1 {
			t.Errorf("%s: exit code %d, %q, %q", command, code, stdout, stderr)
		}
		if code, _, stderr := toEnd(t, command, "--db", db, "--user", "auth0|ann", "--yes"); code != 0 || stderr != "" || stillThere(t, db, idsOf(issued)) != 0 {
			t.Errorf("%s --yes: exit code %d, %q", command, code, stderr)
		}
	}
}

// A wait that is interrupted says that the revocation stands. The same command goes on with it.
func TestInterruptedWait(t *testing.T) {
	const tokens, id = 30_000, "01KJM9SR009WPFZ1FJR8TC7J5W"
	db, ids := fileOf(t, tokens)
	args := []string{"revoke", "--db", db, "--user", "auth0|ann", "--wait", "--yes", "--id", id}
	p := onTerminal(t, args...)
	if err := p.stderr.await("sweeping"); err != nil {
		t.Fatalf("no bar: %q", p.stderr)
	}
	if code := p.end(syscall.SIGINT); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	said := p.stderr.String()
	if !strings.Contains(said, "revocation "+id+" stands, and what it covers is refused. It is not swept yet") || !strings.Contains(said, "--id "+id+" --wait") {
		t.Errorf("it says %q", said)
	}
	left := 0
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		if status, err := m.Revocation(ctx, ulid.MustParse(id)); err != nil || status.Retired {
			t.Errorf("the revocation: %+v, %v", status, err)
		}
		for _, err := range m.All(ctx, tokenstore.ListRequest{Limit: 100}) {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
	})
	if left == 0 || left == tokens || stillThere(t, db, ids[:100]) != 0 {
		t.Errorf("%d tokens are left", left)
	}
	code, stdout, stderr := toEnd(t, append(args, "-o", "json")...)
	if code != 0 || stderr != "" || !strings.Contains(stdout, `"state":"retired"`) || !strings.Contains(stdout, `"swept":30000`) {
		t.Errorf("again: exit code %d, %q, %q", code, stdout, stderr)
	}
}
