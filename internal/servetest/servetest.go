// Package servetest runs cmd/tokenstore as a process, for the tests of the backends that several processes share.
package servetest

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/tokenstore"
)

// Bearer may read and delete refresh tokens, by the management API.
const Bearer = "bearer-of-the-tests-0123456789"

// Build builds the command in a folder, that of cmd/tokenstore, which is a module of its own.
func Build(t *testing.T, dir string) string {
	t.Helper()
	return BuildInto(t, dir, t.TempDir())
}

// BuildInto is Build, for several tests that share the command in a folder.
func BuildInto(t *testing.T, dir, into string) string {
	t.Helper()
	path := filepath.Join(into, "tokenstore")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// Server is a process of tokenstore serve.
type Server struct {
	PID     int
	t       *testing.T
	cmd     *exec.Cmd
	address string
	stderr  *bytes.Buffer
	ended   chan error
}

// Start starts a process, with more of an environment and flags, and waits until it serves. It is killed when the test ends.
func Start(t *testing.T, command string, env []string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, stderr: &bytes.Buffer{}, ended: make(chan error, 1)}
	args = append([]string{
		"serve", "--listen", "127.0.0.1:0", "--static-token", Bearer + "=read:refresh_tokens,delete:refresh_tokens",
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
	s.PID = s.cmd.Process.Pid
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(s.Kill)
	if err != nil {
		s.Kill()
		t.Fatalf("no first line: %v\n%s", err, s.stderr)
	}
	s.address = strings.TrimSpace(line)
	return s
}

// Kill ends the process at once, if it has not ended.
func (s *Server) Kill() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.ended = nil
}

// End ends the process in good order.
func (s *Server) End() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	if err := <-s.ended; err != nil {
		s.t.Errorf("the server must end in good order: got %v\n%s", err, s.stderr)
	}
	s.ended = nil
}

// Answer is what a server answered.
type Answer struct {
	Status int
	Body   string
}

// client makes a connection for each request, so that none is left over.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// Request makes a request, with a form of the OAuth client or with a bearer token.
func (s *Server) Request(method, path, bearer string, form url.Values) Answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("api", "secret-of-the-tests")
	} else if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Errorf("%v\n%s", err, s.stderr)
		return Answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return Answer{resp.StatusCode, string(body)}
}

// Active asks whether a secret could be exchanged.
func (s *Server) Active(secret tokenstore.Secret) bool {
	s.t.Helper()
	a := s.Request("POST", "/oauth/introspect", "", url.Values{"token": {secret.Reveal()}})
	if a.Status != http.StatusOK {
		s.t.Errorf("introspection must answer: got %d %s", a.Status, a.Body)
	}
	return strings.Contains(a.Body, `"active":true`)
}

// Log is what the server has logged. It is complete once the server has ended.
func (s *Server) Log() string { return s.stderr.String() }
