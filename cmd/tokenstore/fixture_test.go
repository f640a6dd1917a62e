package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/domain"
	"github.com/oklog/ulid/v2"
)

// nobody is an account without rights.
const nobody = 65534

// sharedDir makes a folder that is of nobody where the test is root, so that the program can be refused there.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tokenstore-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	giveAway(t, dir)
	return dir
}

// giveAway makes a file nobody's, where the test is root.
func giveAway(t testing.TB, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(name, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

// toEndUnprivileged runs the program to its end, as one that is not root and that permissions are for.
func toEndUnprivileged(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return endOf(t, binary, true, args...)
}

func endOf(t testing.TB, program string, unprivileged bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	if unprivileged && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// inFile opens a file with the library, as long as no other process holds it.
func inFile(t testing.TB, db string, do func(ctx context.Context, m *tokenstore.Manager)) {
	t.Helper()
	file, err := boltstore.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := tokenstore.New(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	do(t.Context(), m)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// fileWith makes a file with so many tokens of auth0|ann and the client web.
func fileWith(t testing.TB, n int) (db string, issued []tokenstore.Issued) {
	t.Helper()
	db = filepath.Join(t.TempDir(), "tokens.db")
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		for i := range n {
			out, err := m.Issue(ctx, tokenstore.IssueRequest{
				UserID: "auth0|ann", ClientID: "web", SessionID: tokenstore.MustSessionID(fmt.Sprintf("session-%d", i)),
			})
			if err != nil {
				t.Fatal(err)
			}
			issued = append(issued, out)
		}
	})
	return db, issued
}

// fileOf makes a file with so many imported tokens, which takes fewer commits.
func fileOf(t testing.TB, n int) (db string, ids []ulid.ULID) {
	t.Helper()
	db = filepath.Join(t.TempDir(), "tokens.db")
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		var tokens []tokenstore.RefreshToken
		created := tokenstore.US3().At()
		for i := range n {
			id, err := domain.ForeignTokenID("default", fmt.Sprint(i), created)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			tokens = append(tokens, tokenstore.RefreshToken{
				ID: id, UserID: "auth0|ann", ClientID: "web", CreatedAt: created, SessionID: tokenstore.MustSessionID("session-1"),
			})
		}
		if _, err := m.Import(ctx, tokens); err != nil {
			t.Fatal(err)
		}
	})
	return db, ids
}

// stillThere counts the tokens that are in a file and not revoked.
func stillThere(t testing.TB, db string, ids []ulid.ULID) (n int) {
	t.Helper()
	inFile(t, db, func(ctx context.Context, m *tokenstore.Manager) {
		for _, id := range ids {
			_, err := m.Get(ctx, id, tokenstore.Fenced)
			switch {
			case err == nil:
				n++
			case !errors.Is(err, tokenstore.ErrNotFound):
				t.Fatal(err)
			}
		}
	})
	return n
}

// idsOf are the ids of issued tokens.
func idsOf(issued []tokenstore.Issued) (ids []ulid.ULID) {
	for _, out := range issued {
		ids = append(ids, out.Token.ID)
	}
	return ids
}
