package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The first line is the address, and the only one; each of the signals ends the program well.
func TestServeFirstLine(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "tokens.db")
			p := serve(t, db)
			host, port, err := net.SplitHostPort(p.address)
			if err != nil || host != "127.0.0.1" || port == "0" {
				t.Errorf("the first line is %q", p.address)
			}
			if a := p.do("GET", "/api/v2/refresh-tokens?user_id=ann"); a.status != http.StatusOK {
				t.Errorf("status %d: %s", a.status, a.body)
			}
			if code := p.end(signal); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.stderr)
			}
			if rest := p.rest(); rest != "" {
				t.Errorf("after the first line: %q", rest)
			}
			if info, err := os.Stat(db); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file: %v, %v", info, err)
			}
		})
	}
}

// What is looked at from outside.
func TestLook(t *testing.T) {
	db, issued := fileWith(t, 3)
	p := serve(t, db)
	if a := p.do("GET", "/healthz"); a.status != http.StatusOK || a.body != "{\"status\":\"ok\"}\n" {
		t.Errorf("/healthz: %d %s", a.status, a.body)
	}
	p.until("GET", "/readyz", func(a answer) bool { return a.status == http.StatusOK && a.body == "{\"status\":\"ok\"}\n" })
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if a := p.do("POST", path); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d", path, a.status)
		}
		if a := p.do("HEAD", path); a.status != http.StatusOK || a.body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.status, a.body)
		}
	}
	if a := p.do("DELETE", "/api/v2/refresh-tokens/"+issued[0].Token.ID.String()); a.status != http.StatusAccepted {
		t.Fatalf("DELETE: %d %s", a.status, a.body)
	}
	p.until("GET", "/metrics", func(a answer) bool {
		return strings.Contains(a.body, "\ntokenstore_revocations_retired_total 1\n") && strings.Contains(a.body, "\ntokenstore_revocations_pending 0\n")
	})
	metrics := p.do("GET", "/metrics").body
	for _, line := range []string{
		"tokenstore_tokens 2", "tokenstore_tenants 1", "tokenstore_sweep_running 1", "tokenstore_oldest_pending_age_seconds 0",
		"tokenstore_tokens_swept_total 1", "tokenstore_revocations_recorded_total 1", `tokenstore_operations_total{operation="revoke",outcome="ok"} 1`,
		`tokenstore_http_requests_total{method="DELETE",route="/api/v2/refresh-tokens/{id}",status="202"} 1`,
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
}

func (p *process) oauth(path, clientID, clientSecret, secret string) answer {
	p.Helper()
	req, err := http.NewRequest("POST", "http://"+p.address+path, strings.NewReader(url.Values{"token": {secret}}.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(clientID, clientSecret)
	return p.send(req)
}

const inactive = `{"active":false}`

// A revocation that was answered is seen at once by introspection, whoever asked for it in whatever way; the view follows.
func TestReadAfterRevoke(t *testing.T) {
	db, issued := fileWith(t, 3)
	p := serve(t, db, "--oauth-client", "web=web=secret", "--oauth-client", "api=secret", "--oauth-client", "other=secret", "--oauth-resource-server", "api")
	active := func(i int) bool {
		t.Helper()
		a := p.oauth("/oauth/introspect", "api", "secret", issued[i].Secret.Reveal())
		if a.status != http.StatusOK {
			t.Fatalf("introspection: %d %s", a.status, a.body)
		}
		return a.body != inactive
	}
	for i := range issued {
		if !active(i) {
			t.Fatalf("token %d is not active at first", i)
		}
	}
	if a := p.oauth("/oauth/introspect", "other", "secret", issued[0].Secret.Reveal()); a.body != inactive {
		t.Errorf("a client sees another's token: %s", a.body)
	}
	if a := p.oauth("/oauth/revoke", "other", "secret", issued[0].Secret.Reveal()); a.status != http.StatusOK || !active(0) {
		t.Errorf("another client's revocation: status %d, active %t", a.status, active(0))
	}

	a := p.do("DELETE", "/api/v2/refresh-tokens/"+issued[0].Token.ID.String())
	if a.status != http.StatusAccepted || active(0) {
		t.Errorf("deleted: status %d, active %t", a.status, active(0))
	}
	if a := p.oauth("/oauth/revoke", "web", "web=secret", issued[1].Secret.Reveal()); a.status != http.StatusOK || a.body != "" || active(1) {
		t.Errorf("revoked by its client: status %d, active %t", a.status, active(1))
	}
	if !active(2) {
		t.Error("a third token is not active any more")
	}
	p.until("GET", "/api/v2/refresh-tokens/"+issued[0].Token.ID.String(), func(a answer) bool { return a.status == http.StatusNotFound })
	if page := p.do("GET", "/api/v2/revocations/"+a.header.Get("Tokenstore-Revocation")); page.status != http.StatusOK {
		t.Errorf("the revocation's page: %d %s", page.status, page.body)
	}
}

// Without clients there is nothing at the paths of OAuth.
func TestNoOAuthWithoutClients(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "tokens.db"))
	for _, path := range []string{"/oauth/revoke", "/oauth/introspect"} {
		if a := p.oauth(path, "web", "secret", "x"); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// Tokens and clients come from files and from the environment too.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens.txt")
	text := "# of the trial\n\n  token-of-the-file-1==read:refresh_tokens\r\ntoken-of-the-file-2=a:b,c\ntoken-of-the-file-3=a:b, read:refresh_tokens\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"TOKENSTORE_STATIC_TOKENS=token-of-the-environment=read:refresh_tokens\n", "TOKENSTORE_OAUTH_CLIENTS=web=secret"}
	p := command(t, env, "serve", "--db", filepath.Join(dir, "tokens.db"), "--listen", "127.0.0.1:0", "--static-token-file", file, "--log-format", "text")
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr)
	}
	p.address = strings.TrimSpace(line)
	for bearer, status := range map[string]int{
		"token-of-the-file-1=": 200, "token-of-the-file-2": 403, "token-of-the-file-3": 200, "token-of-the-environment": 200, "token-of-the-file-1": 401, "# of the trial": 401,
	} {
		req, err := http.NewRequest("GET", "http://"+p.address+"/api/v2/refresh-tokens?user_id=ann", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		if a := p.send(req); a.status != status {
			t.Errorf("%s: status %d, want %d", bearer, a.status, status)
		}
	}
	if a := p.oauth("/oauth/introspect", "web", "secret", "x"); a.body != inactive {
		t.Errorf("a client of the environment: %d %s", a.status, a.body)
	}
	if !strings.Contains(p.stderr.String(), "level=INFO") {
		t.Error("the log is not in text form")
	}
}

// A request's id is taken over if it is sane; the log has it.
func TestRequestID(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "tokens.db"))
	for id, taken := range map[string]bool{
		"req-1_2.3": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "": false, "two words": false, "a\"b": false, "ä": false,
	} {
		req, err := http.NewRequest("GET", "http://"+p.address+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Request-Id", id)
		got := p.send(req).header.Get("X-Request-Id")
		if (got == id) != taken || got == "" {
			t.Errorf("of %q came %q", id, got)
		}
		if err := p.stderr.await(fmt.Sprintf(`"request_id":%q`, got)); err != nil {
			t.Error(err)
		}
	}
}

// Whatever a client puts where, no secret is in the log.
func TestNoSecretInLog(t *testing.T) {
	db, issued := fileWith(t, 2)
	const clientSecret = "secret-of-the-client"
	p := serve(t, db, "--oauth-client", "web="+clientSecret, "--log-level", "debug")
	secret := issued[0].Secret.Reveal()
	p.oauth("/oauth/introspect", "web", clientSecret, secret)
	p.oauth("/oauth/introspect", "web", clientSecret+"?", secret)
	p.oauth("/oauth/introspect?token="+secret, clientSecret, clientSecret, secret)
	p.oauth("/oauth/"+secret, "web", clientSecret, secret)
	for _, path := range []string{"/" + secret, "/api/v2/" + secret, "/api/v2/refresh-tokens/" + secret, "/api/v2/refresh-tokens?user_id=" + secret, "/healthz?" + secret} {
		for _, method := range []string{"GET", "DELETE", "POST"} {
			for _, bearer := range []string{secret, token} {
				req, err := http.NewRequest(method, "http://"+p.address+path, strings.NewReader(secret))
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"X-Request-Id", "Idempotency-Key", "User-Agent", "Referer"} {
					req.Header.Set(name, secret)
				}
				req.Header.Set("Authorization", "Bearer "+bearer)
				p.send(req)
			}
		}
	}
	p.oauth("/oauth/revoke", "web", clientSecret, secret)
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := p.stderr.String()
	for _, text := range []string{secret, secret[len(secret)-40:], token, clientSecret} {
		if strings.Contains(log, text) {
			t.Error("a secret is in the log")
			t.Logf("%q in\n%s", text, log)
		}
	}
	if !strings.Contains(log, "token revoked by its client") {
		t.Errorf("the log lacks the revocation:\n%s", log)
	}
}
