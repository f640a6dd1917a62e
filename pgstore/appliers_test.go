package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
	"example.com/tokenstore/revocation"
	"github.com/oklog/ulid/v2"
)

// sweepChild sweeps the database of the first argument until it is killed, a hundred tokens at a time.
func sweepChild(args []string) error {
	b, err := pgstore.Open(context.Background(), args[0], &pgstore.Options{StatementTimeout: time.Second})
	if err != nil {
		return err
	}
	m, err := tokenstore.New(b, &tokenstore.Options{Engine: revocation.Options{MaxSlice: 100, PollEvery: 100 * time.Millisecond}})
	if err != nil {
		return err
	}
	return m.Run(context.Background())
}

// TestDeadApplier has a process sweep, and end or be stopped for good with a transaction open, in the middle of a revocation and
// with a claim on it. Nobody waits for it for long: others revoke and issue, another process finishes the sweep, and every token
// was counted once.
func TestDeadApplier(t *testing.T) {
	for _, test := range []struct {
		name string
		with syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"stopped", syscall.SIGSTOP}} {
		t.Run(test.name, func(t *testing.T) {
			s := pgtest.Shared(t)
			db := migrated(t, s, pgstore.Options{})
			b := open(t, s.DSN(db), pgstore.Options{})
			m, err := tokenstore.New(b, crashtest.Options())
			if err != nil {
				t.Fatal(err)
			}
			const revoked, others = 1500, 500
			fill(t, m, "ann", revoked)
			kept := fill(t, m, "bob", others)
			proxy := s.Proxy(t)
			held := proxy.Hold(4)
			dying := sweeper(t, proxy.DSN(db))
			receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
			if err != nil {
				t.Fatal(err)
			}
			<-held
			if err := dying.Process.Signal(test.with); err != nil {
				t.Fatal(err)
			}
			half, err := m.Revocation(t.Context(), receipt.Status.Tombstone.ID)
			if err != nil || half.Retired || half.Swept == 0 {
				t.Fatalf("the applier must die in the middle: got %+v, error %v", half, err)
			}

			if _, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "cyd"}}}); err != nil {
				t.Errorf("S1: a revocation must not wait for a dead applier: got %v", err)
			}
			fill(t, m, "ann", 1) // after the revocation, which does not reach it
			sweeper(t, s.DSN(db))
			status, err := m.Wait(t.Context(), receipt)
			if err != nil {
				t.Fatal(err)
			}
			if status.Swept != revoked {
				t.Errorf("L1: another applier must sweep all that is covered, and count each token once: got %d of %d", status.Swept, revoked)
			}
			state, err := m.State(t.Context())
			if err != nil || state.Tokens != others+1 {
				t.Errorf("S2: what is not covered must be left, and nothing else: got %d tokens, error %v", state.Tokens, err)
			}
			for _, id := range kept[:10] {
				if _, err := m.Get(t.Context(), id, tokenstore.Fenced); err != nil {
					t.Errorf("S2: a token that no revocation covers must survive the sweep: got %v", err)
				}
			}
			t.Attr("operations", strconv.Itoa(int(status.Swept)))
		})
	}
}

// fill gives a user n tokens.
func fill(t testing.TB, m *tokenstore.Manager, user string, n int) (ids []ulid.ULID) {
	t.Helper()
	for len(ids) < n {
		var batch []tokenstore.RefreshToken
		for range min(500, n-len(ids)) {
			token := tokenstore.RefreshToken{
				ID: ulid.Make(), UserID: user, ClientID: "web", CreatedAt: time.Now(), SessionID: tokenstore.MustSessionID(fmt.Sprint("session-", ulid.Make())),
			}
			batch = append(batch, token)
			ids = append(ids, token.ID)
		}
		results, err := m.Import(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Outcome != tokenstore.Imported {
				t.Fatalf("a token that nothing bars must be imported: got %v", r.Err)
			}
		}
	}
	return ids
}

// sweeper starts a process that sweeps. It is killed when the test ends.
func sweeper(t *testing.T, dsn string) *exec.Cmd {
	t.Helper()
	cmd := child(t, "sweep", dsn)
	cmd.Stdout = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait()
	})
	return cmd
}
