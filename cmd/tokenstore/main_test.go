package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// binary is the program, built once for all tests, with these flags; and plain is without them, for a test that starts it hundreds of times,
// each of which takes several times as long with the race detector.
var (
	binary, plain string
	buildFlags    []string
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tokenstore-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // some tests run it as another account
		panic(err)
	}
	plain = filepath.Join(dir, "tokenstore")
	binary = plain
	builds := [][]string{{"build", "-o", plain, "."}}
	if len(buildFlags) > 0 {
		binary = filepath.Join(dir, "flagged")
		builds = append(builds, slices.Concat([]string{"build", "-o", binary}, buildFlags, []string{"."}))
	}
	for _, build := range builds {
		if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// patience bounds every wait. Nothing is meant to take that long.
const patience = time.Minute

// process is the program as it runs.
type process struct {
	testing.TB
	cmd     *exec.Cmd
	stdout  *bufio.Reader
	stderr  *output
	ended   chan struct{}
	code    int
	address string
}

func command(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return commandWith(t, nil, env, args...)
}

func commandWith(t testing.TB, stdin *os.File, env []string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &process{TB: t, cmd: exec.CommandContext(ctx, binary, args...), stderr: newOutput(), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	writer := p.pipe()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		cancel()
	})
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	go func() {
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		p.stderr.close()
		close(p.ended)
	}()
	return p
}

// pipe lets the test read what the program prints. The caller closes the end that is returned, once the program has it.
func (p *process) pipe() *os.File {
	p.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { reader.Close() })
	p.cmd.Stdout, p.stdout = writer, bufio.NewReader(reader)
	return writer
}

// token is that of all tests, and may do everything.
const (
	token  = "bearer-of-the-tests-0123456789=="
	scopes = "read:refresh_tokens,update:refresh_tokens,delete:refresh_tokens,delete:sessions,read:device_credentials"
)

// serve starts the program, and returns once it says where it listens.
func serve(t testing.TB, db string, args ...string) *process {
	t.Helper()
	args = append([]string{"serve", "--db", db, "--listen", "127.0.0.1:0", "--static-token", token + "=" + scopes}, args...)
	p := command(t, nil, args...)
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		<-p.ended
		t.Fatalf("no first line: %v\n%s", err, p.stderr)
	}
	p.address = strings.TrimSuffix(line, "\n")
	return p
}

// end sends a signal, and returns the exit code.
func (p *process) end(signal syscall.Signal) int {
	p.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() int {
	p.Helper()
	<-p.ended
	return p.code
}

// rest is what the program has printed, but for lines that were read before.
func (p *process) rest() string {
	p.Helper()
	text, err := io.ReadAll(p.stdout)
	if err != nil {
		p.Fatal(err)
	}
	return string(text)
}

// toEnd runs the program to its end.
func toEnd(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := command(t, nil, args...)
	stdout = p.rest()
	return p.wait(), stdout, p.stderr.String()
}

// answer is what was answered to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// client makes a connection for each request, so that none is left over.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// do sends a request with the token of the tests.
func (p *process) do(method, path string) answer {
	p.Helper()
	req, err := http.NewRequest(method, "http://"+p.address+path, nil)
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return p.send(req)
}

func (p *process) send(req *http.Request) answer {
	p.Helper()
	a, err := send(req)
	if err != nil {
		p.Fatalf("%v\n%s", err, p.stderr)
	}
	return a
}

func send(req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// until asks again and again, until the answer is good.
func (p *process) until(method, path string, good func(answer) bool) {
	p.Helper()
	for end := time.Now().Add(patience); ; {
		a := p.do(method, path)
		if good(a) {
			return
		}
		if time.Now().After(end) {
			p.Fatalf("the answer never became good")
		}
	}
}

// output is what a program writes, and can be waited for.
type output struct {
	mu     sync.Mutex
	more   *sync.Cond
	text   bytes.Buffer
	closed bool
}

func newOutput() *output {
	o := &output{}
	o.more = sync.NewCond(&o.mu)
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.more.Broadcast()
	return o.text.Write(p)
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.more.Broadcast()
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits for a text.
func (o *output) await(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.text.String(), text) {
		if o.closed {
			return errors.New("the program ended before it wrote what was awaited")
		}
		o.more.Wait()
	}
	return nil
}
