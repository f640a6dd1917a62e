package pgstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/internal/crashtest"
	"example.com/tokenstore/pgstore"
	"example.com/tokenstore/pgstore/internal/pgtest"
)

const bearer = "bearer-of-the-tests-0123456789"

// TestFourServers has four processes of tokenstore serve one tenant. What one has answered that it is revoked is refused by all others
// at once, while they sweep together, and one of them is killed.
func TestFourServers(t *testing.T) {
	command := buildCommand(t)
	s := pgtest.Shared(t)
	dsn := s.DSN(s.Database(t))
	if out, err := exec.CommandContext(t.Context(), command, "migrate", "--db", dsn).CombinedOutput(); err != nil {
		t.Fatalf("migrate must make the tables: %v: %s", err, out)
	}
	m, err := tokenstore.New(open(t, dsn, pgstore.Options{}), crashtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	var servers []*served
	for range processes {
		servers = append(servers, serve(t, command, dsn))
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
			servers[0].kill()
			alive = servers[1:]
		}
		for _, server := range alive {
			if asked.Add(1); !server.active(issued[u][0].Secret) {
				t.Fatal("S2: a token that nobody has revoked must be active")
			}
		}
		if answer := alive[u%len(alive)].request("DELETE", fmt.Sprintf("/api/v2/users/user%d/refresh-tokens", u), bearer, nil); answer.status != http.StatusAccepted {
			t.Fatalf("a revocation must be accepted: got %d %s", answer.status, answer.body)
		}
		var asking sync.WaitGroup
		for _, server := range alive {
			asking.Go(func() {
				for _, token := range issued[u] {
					if asked.Add(1); server.active(token.Secret) {
						t.Error("S1: what one process has revoked must be refused by all others at once")
					}
				}
				if answer := server.request("GET", fmt.Sprintf("/api/v2/refresh-tokens?consistency=fenced&user_id=user%d", u), bearer, nil); strings.Contains(answer.body, "client_id") {
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
		server.end()
	}
}

// TestServersHearOfEachOther: a revocation that another process has recorded wakes a sweep that hardly polls. Without a connection to
// listen on, the polls find it.
func TestServersHearOfEachOther(t *testing.T) {
	command := buildCommand(t)
	s := pgtest.Shared(t)
	for _, test := range []struct {
		name string
		args []string
	}{{"listens", []string{"--poll-every=1h"}}, {"polls", []string{"--pg-pooled", "--poll-every=100ms"}}} {
		t.Run(test.name, func(t *testing.T) {
			dsn := s.DSN(migrated(t, s, pgstore.Options{}))
			server := serve(t, command, dsn, test.args...)
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
			server.end()
		})
	}
}

// TestServeHidesPassword: a server is reached by a URL of the environment with a password, or by one on the command line without, and a
// file of passwords. No log has it.
func TestServeHidesPassword(t *testing.T) {
	command := buildCommand(t)
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
			server := serveWith(t, command, where.env, append(where.args, "--log-level=debug")...)
			if answer := server.request("GET", "/readyz", "", nil); answer.status != http.StatusOK && answer.status != http.StatusServiceUnavailable {
				t.Errorf("the server must answer: got %d", answer.status)
			}
			commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", server.cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			server.end()
			if strings.Contains(server.stderr.String()+string(commandLine), password) {
				t.Error("the log, or the process list, has the password")
			}
		})
	}
}

// buildCommand builds cmd/tokenstore, which is a module of its own.
func buildCommand(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokenstore")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Dir = "../cmd/tokenstore"
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// served is a process of tokenstore serve.
type served struct {
	*testing.T
	cmd     *exec.Cmd
	address string
	stderr  *bytes.Buffer
	ended   chan error
}

func serve(t *testing.T, command, dsn string, args ...string) *served {
	t.Helper()
	return serveWith(t, command, nil, append(args, "--db", dsn)...)
}

// serveWith starts a process and waits until it serves. It is killed when the test ends.
func serveWith(t *testing.T, command string, env []string, args ...string) *served {
	t.Helper()
	s := &served{T: t, stderr: &bytes.Buffer{}, ended: make(chan error, 1)}
	args = append([]string{
		"serve", "--listen", "127.0.0.1:0", "--static-token", bearer + "=read:refresh_tokens,delete:refresh_tokens",
		"--oauth-client", "api=secret-of-the-tests", "--oauth-resource-server", "api",
	}, args...)
	s.cmd = exec.Command(command, args...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(s.kill)
	if err != nil {
		s.kill()
		t.Fatalf("no first line: %v\n%s", err, s.stderr)
	}
	s.address = strings.TrimSpace(line)
	return s
}

// kill ends the process at once, if it has not ended.
func (s *served) kill() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.ended = nil
}

// end ends the process in good order.
func (s *served) end() {
	s.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.Fatal(err)
	}
	if err := <-s.ended; err != nil {
		s.Errorf("the server must end in good order: got %v\n%s", err, s.stderr)
	}
	s.ended = nil
}

type answer struct {
	status int
	body   string
}

// client makes a connection for each request, so that none is left over.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

func (s *served) request(method, path, bearer string, form url.Values) answer {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, "http://"+s.address+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("api", "secret-of-the-tests")
	} else if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.Errorf("%v\n%s", err, s.stderr)
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Error(err)
	}
	return answer{resp.StatusCode, string(body)}
}

// active asks whether a secret could be exchanged.
func (s *served) active(secret tokenstore.Secret) bool {
	s.Helper()
	a := s.request("POST", "/oauth/introspect", "", url.Values{"token": {secret.Reveal()}})
	if a.status != http.StatusOK {
		s.Errorf("introspection must answer: got %d %s", a.status, a.body)
	}
	return strings.Contains(a.body, `"active":true`)
}
