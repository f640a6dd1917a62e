package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/internal/servetest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
)

// TestFourServers has four processes of tokenstore serve one tenant. What one has answered that it is revoked is refused by all others
// at once, while they sweep together, and one of them is killed.
func TestFourServers(t *testing.T) {
	command := servetest.Build(t, "../cmd/tokenstore")
	s := pgtest.Shared(t)
	dsn := s.DSN(s.Database(t))
	if out, err := exec.CommandContext(t.Context(), command, "migrate", "--db", dsn).CombinedOutput(); err != nil {
		t.Fatalf("migrate must make the tables: %v: %s", err, out)
	}
	m, err := tokenstore.New(open(t, dsn, pgstore.Options{}), crashtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	var servers []*servetest.Server
	for range processes {
		servers = append(servers, servetest.Start(t, command, nil, "--db", dsn))
	}
	const users, tokensOfUser = 24, 5
	issued := make([][]tokenstore.Issued, users)
	for u := range issued {
		for range tokensOfUser {
			token, err := m.Issue(t.Context(), tokenstore.IssueRequest{UserID: fmt.Sprint("user", u), ClientID: "web", SessionID: session})
			if err != nil {
				t.Fatal(err)
			}
			issued[u] = append(issued[u], token)
		}
	}
	var asked atomic.Int64
	defer func() { t.Attr("operations", strconv.FormatInt(asked.Load(), 10)) }()
	alive := servers
	for u := range issued {
		if u == users/2 {
			servers[0].Kill()
			alive = servers[1:]
		}
		for _, server := range alive {
			if asked.Add(1); !server.Active(issued[u][0].Secret) {
				t.Fatal("S2: a token that nobody has revoked must be active")
			}
		}
		if answer := alive[u%len(alive)].Request("DELETE", fmt.Sprintf("/api/v2/users/user%d/refresh-tokens", u), servetest.Bearer, nil); answer.Status != http.StatusAccepted {
			t.Fatalf("a revocation must be accepted: got %d %s", answer.Status, answer.Body)
		}
		var asking sync.WaitGroup
		for _, server := range alive {
			asking.Go(func() {
				for _, token := range issued[u] {
					if asked.Add(1); server.Active(token.Secret) {
						t.Error("S1: what one process has revoked must be refused by all others at once")
					}
				}
				if answer := server.Request("GET", fmt.Sprintf("/api/v2/refresh-tokens?consistency=fenced&user_id=user%d", u), servetest.Bearer, nil); strings.Contains(answer.Body, "client_id") {
					t.Error("S1: what one process has revoked must be in no other's fenced list")
				}
			})
		}
		asking.Wait()
		if _, err := m.Exchange(t.Context(), tokenstore.ExchangeRequest{Secret: issued[u][0].Secret, ClientID: "web"}); !errors.Is(err, tokenstore.ErrInvalidGrant) {
			t.Errorf("S1: it must be refused at the exchange, too: got %v", err)
		}
	}
	for {
		state, err := m.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state.Tokens == 0 && state.Pending == 0 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("L1: all must be swept: got %+v", state)
		}
	}
	for _, server := range alive {
		server.End()
	}
}

// TestServersHearOfEachOther: a revocation that another process has recorded wakes a sweep that hardly polls. Without a connection to
// listen on, the polls find it.
func TestServersHearOfEachOther(t *testing.T) {
	command := servetest.Build(t, "../cmd/tokenstore")
	s := pgtest.Shared(t)
	for _, test := range []struct {
		name string
		args []string
	}{{"listens", []string{"--poll-every=1h"}}, {"polls", []string{"--pg-pooled", "--poll-every=100ms"}}} {
		t.Run(test.name, func(t *testing.T) {
			dsn := s.DSN(migrated(t, s, pgstore.Options{}))
			server := servetest.Start(t, command, nil, append(test.args, "--db", dsn)...)
			m, err := tokenstore.New(open(t, dsn, pgstore.Options{}), crashtest.Options())
			if err != nil {
				t.Fatal(err)
			}
			fill(t, m, "ann", 10)
			if test.name == "listens" {
				s.Await(t, "select count(*) > 0 from pg_stat_activity where query ilike 'listen%'")
			}
			receipt, err := m.Revoke(t.Context(), tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "ann"}}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			if _, err := m.Wait(ctx, receipt); err != nil {
				t.Errorf("L1: the other process must hear of a revocation, or find it, and sweep: got %v", err)
			}
			server.End()
		})
	}
}

// TestServeHidesPassword: a server is reached by a URL of the environment with a password, or by one on the command line without, and a
// file of passwords. No log has it.
func TestServeHidesPassword(t *testing.T) {
	command := servetest.Build(t, "../cmd/tokenstore")
	s := pgtest.Shared(t)
	dsn := s.DSN(migrated(t, s, pgstore.Options{}))
	const password = "hunter2-of-the-tests"
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte("*:*:*:*:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := strings.Replace(dsn, "@", ":"+password+"@", 1)
	for name, where := range map[string]struct {
		env  []string
		args []string
	}{
		"URL of the environment": {[]string{"TOKENSTORE_DB=" + secret}, nil},
		"file of passwords":      {[]string{"PGPASSFILE=" + passfile}, []string{"--db", dsn}},
	} {
		t.Run(name, func(t *testing.T) {
			server := servetest.Start(t, command, where.env, append(where.args, "--log-level=debug")...)
			if answer := server.Request("GET", "/readyz", "", nil); answer.Status != http.StatusOK && answer.Status != http.StatusServiceUnavailable {
				t.Errorf("the server must answer: got %d", answer.Status)
			}
			commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", server.PID))
			if err != nil {
				t.Fatal(err)
			}
			server.End()
			if strings.Contains(server.Log()+string(commandLine), password) {
				t.Error("the log, or the process list, has the password")
			}
		})
	}
}
