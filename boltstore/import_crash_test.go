package boltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/memstore"
)

const (
	importTokens = 12_000
	importUsers  = 40
	importKills  = 6
)

// importChild imports the lines in args[1] into the file in args[0], as args[2] says, and tells how far it is.
func importChild(args []string) error {
	b, err := boltstore.Open(args[0], nil)
	if err != nil {
		return err
	}
	m, err := tokenstore.New(b, crashtest.Options())
	if err != nil {
		return err
	}
	in, err := os.Open(args[1])
	if err != nil {
		return err
	}
	read := m.ImportNDJSON
	if args[2] == "full" {
		read = m.ImportFull
	}
	report, err := read(context.Background(), in, &tokenstore.ImportOptions{Progress: func(r tokenstore.ImportReport) {
		fmt.Printf("progress %d\n", r.Imported+r.Unchanged+r.Refused)
	}})
	fmt.Printf("ended %d\n", report.Imported+report.Unchanged+report.Refused)
	return err
}

// exported writes tokens of many users to a file, and returns which of them are in it: none of user-0, who was revoked.
func exported(t *testing.T, opts *tokenstore.ExportOptions) (path string, users map[string]int) {
	t.Helper()
	m, err := tokenstore.New(memstore.New(), crashtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	users = map[string]int{}
	for i := range importTokens {
		user := fmt.Sprint("user-", i%importUsers)
		_, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: user, ClientID: "client", SessionID: tokenstore.MustSessionID("session")})
		if err != nil {
			t.Fatal(err)
		}
		users[user]++
	}
	if _, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "user-0"}}}); err != nil {
		t.Fatal(err)
	}
	delete(users, "user-0")
	path = filepath.Join(t.TempDir(), "tokens.ndjson")
	out, err := os.Create(path)
	if err == nil {
		_, err = m.Export(t.Context(), out, opts)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, users
}

// An import that is killed at any instant, again and again, ends as if it had not been: nothing is lost or doubled, and what
// was revoked in between stays out.
func TestImportKilled(t *testing.T) {
	for form, opts := range map[string]*tokenstore.ExportOptions{"lines": nil, "full": {Full: true}} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			lines, users := exported(t, opts)
			path := temporary(t)
			for round := range importKills {
				if importAndKill(t, path, lines, form, 1+rand.IntN(1+2*round)) {
					break
				}
				inspectImport(t, path, fmt.Sprint("user-", 1+round))
				delete(users, fmt.Sprint("user-", 1+round))
			}
			cmd := child(t, bounded(t, time.Minute), "import", path, lines, form)
			cmd.Stdout = io.Discard
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			b := open(t, path, nil)
			wantClean(t, b)
			m, err := tokenstore.New(b, crashtest.Options())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for token, err := range m.All(t.Context(), tokenstore.ListRequest{Limit: 100, Consistency: tokenstore.Fenced}) {
				if err != nil {
					t.Fatal(err)
				}
				got[token.UserID]++
			}
			for i := range importUsers {
				user := fmt.Sprint("user-", i)
				if got[user] != users[user] {
					t.Errorf("%s has %d tokens, want %d", user, got[user], users[user])
				}
			}
		})
	}
}

// importAndKill kills a child that imports at some instant after it has told of so many batches, and reports whether it came
// to its end before.
func importAndKill(t *testing.T, path, lines, form string, batches int) (ended bool) {
	t.Helper()
	cmd := child(t, bounded(t, time.Minute), "import", path, lines, form)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for range batches {
		if !said.Scan() {
			break
		}
	}
	instant := time.NewTimer(time.Duration(rand.IntN(20_000)) * time.Microsecond)
	<-instant.C
	_ = cmd.Process.Kill()
	for said.Scan() {
	}
	return cmd.Wait() == nil
}

// inspectImport looks at the file that a killed child has left, and revokes a user, all of whose tokens may be there or none.
func inspectImport(t *testing.T, path, user string) {
	t.Helper()
	b, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, b)
	wantClean(t, b)
	m, err := tokenstore.New(b, crashtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: user}}}); err != nil {
		t.Fatal(err)
	}
	if err := sweep(t.Context(), tenant(t, b, "default")); err != nil {
		t.Fatal(err)
	}
	state, err := m.State(t.Context())
	if err != nil || state.Tokens == 0 || state.Pending != 0 {
		t.Fatalf("what was told of must be there, and what was revoked swept: %+v, %v", state, err)
	}
}
