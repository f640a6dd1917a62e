package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// Whatever ends the program under load, no revocation that was acknowledged is lost.
func TestNoAcknowledgedRevocationIsLost(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			db, ids := fileOf(t, 400)
			p := serve(t, db)
			acknowledged := p.revokeUntilEnded(ids, 60, signal)
			code := p.wait()
			if (code == 0) != (signal == syscall.SIGTERM) {
				t.Errorf("exit code %d\n%s", code, p.stderr)
			}
			if len(acknowledged) < 60 || len(acknowledged) == len(ids) {
				t.Errorf("%d of %d were acknowledged before the end: the test shows nothing", len(acknowledged), len(ids))
			}
			if n := stillThere(t, db, acknowledged); n > 0 {
				t.Errorf("%d of %d acknowledged revocations are lost", n, len(acknowledged))
			}
		})
	}
}

// revokeUntilEnded revokes tokens one by one from several connections, sends the signal after so many acknowledgements, and goes
// on until no request is answered any more. It returns what was acknowledged.
func (p *process) revokeUntilEnded(ids []ulid.ULID, after int, signal syscall.Signal) (acknowledged []ulid.ULID) {
	p.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan ulid.ULID)
	for range 8 {
		wg.Go(func() {
			for id := range work {
				req, err := http.NewRequest("DELETE", "http://"+p.address+"/api/v2/refresh-tokens/"+id.String(), nil)
				if err != nil {
					p.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				a, err := send(req)
				if err != nil {
					continue // the program has ended, or is about to
				}
				if a.status != http.StatusAccepted {
					p.Errorf("status %d: %s", a.status, a.body)
					continue
				}
				mu.Lock()
				acknowledged = append(acknowledged, id)
				if len(acknowledged) == after {
					if err := p.cmd.Process.Signal(signal); err != nil {
						p.Error(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	for _, id := range ids {
		work <- id
	}
	close(work)
	wg.Wait()
	return acknowledged
}

// half sends a revocation of which the second half of the body is missing, and returns when the program waits for it.
func (p *process) half(secret string) (conn net.Conn, rest string, answers *bufio.Reader) {
	p.Helper()
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.Fatal(err)
	}
	body := "client_id=web&client_secret=secret&token=" + secret
	fmt.Fprintf(conn, "POST /oauth/revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	answers = bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		p.Fatalf("got %q, %v; want 100 Continue", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil {
		p.Fatal(err)
	}
	if _, err := conn.Write([]byte(body[:len(body)/2])); err != nil {
		p.Fatal(err)
	}
	return conn, body[len(body)/2:], answers
}

// A request that is under way when the signal comes is answered, and what it says holds.
func TestRequestUnderWayIsAnswered(t *testing.T) {
	db, issued := fileWith(t, 1)
	p := serve(t, db, "--oauth-client", "web=secret")
	conn, rest, answers := p.half(issued[0].Secret.Reveal())
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.stderr.await(`"stopping"`); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(rest)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the request under way was not answered: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	if n := stillThere(t, db, []ulid.ULID{issued[0].Token.ID}); n != 0 {
		t.Error("the acknowledged revocation is lost")
	}
}

// A client that does not get on is waited for only so long.
func TestDrainIsBounded(t *testing.T) {
	db, issued := fileWith(t, 1)
	p := serve(t, db, "--oauth-client", "web=secret", "--drain-timeout", "10ms")
	p.half(issued[0].Secret.Reveal())
	if code := p.end(syscall.SIGTERM); code != exitFailed || !strings.Contains(p.stderr.String(), "not answered in time") {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	if n := stillThere(t, db, []ulid.ULID{issued[0].Token.ID}); n != 1 {
		t.Error("half a request revoked a token")
	}
}

// The sweep begins with what an earlier process left.
func TestSweepGoesOn(t *testing.T) {
	db, ids := fileOf(t, 3000)
	p := serve(t, db)
	if a := p.do("DELETE", "/api/v2/users/auth0%7Cann/refresh-tokens"); a.status != http.StatusAccepted {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	p.end(syscall.SIGKILL)
	if n := stillThere(t, db, ids); n != 0 {
		t.Errorf("%d tokens are not revoked", n)
	}
	p = serve(t, db)
	p.until("GET", "/metrics", func(a answer) bool { return strings.Contains(a.body, "\ntokenstore_tokens 0\n") })
}

// A second process on the file says what is the matter, and the first goes on.
func TestSecondProcess(t *testing.T) {
	db, _ := fileWith(t, 1)
	p := serve(t, db)
	for name, args := range map[string][]string{
		"serve":  {"serve", "--db", db, "--listen", "127.0.0.1:0", "--static-token", token + "=a"},
		"import": {"import", "--db", db, "../../examples/quickstart/testdata/tokens.ndjson"},
	} {
		code, stdout, stderr := toEnd(t, args...)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, "is in use by another process, such as tokenstore serve, and only one can hold it") {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	if a := p.do("GET", "/api/v2/refresh-tokens?user_id=auth0%7Cann"); a.status != http.StatusOK {
		t.Errorf("the first process: status %d", a.status)
	}
}
