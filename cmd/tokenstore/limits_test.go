package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Clients that don't get on with their requests are cut off, and meanwhile the others are served.
func TestSlowClients(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "tokens.db"), "--header-timeout", "300ms", "--read-timeout", "600ms", "--idle-timeout", "300ms", "--oauth-client", "web=secret")
	for name, text := range map[string]string{
		"silent":      "",
		"half a line": "GET /healthz HT",
		"half header": "GET /healthz HTTP/1.1\r\nHost: x\r\n",
		"half body":   "POST /oauth/revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ntoken=",
		"idle":        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &process{TB: t, address: p.address, stderr: p.stderr}
			conns := make([]net.Conn, 20)
			for i := range conns {
				conn, err := net.Dial("tcp", p.address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, text); err != nil {
					t.Fatal(err)
				}
				conns[i] = conn
			}
			if a := p.do("GET", "/api/v2/refresh-tokens?user_id=ann"); a.status != http.StatusOK {
				t.Errorf("a request beside them: status %d", a.status)
			}
			for _, conn := range conns { // long before the program is killed, which closes them too
				if err := conn.SetReadDeadline(time.Now().Add(patience / 3)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
					t.Fatal("the connection is never closed")
				}
			}
		})
	}
}

// What is too large is refused, and the program goes on.
func TestTooLarge(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "tokens.db"), "--oauth-client", "web=secret", "--max-header", "8192")
	// Not much over a limit, so that all of it is sent before the connection is closed, and the answer is read.
	huge := strings.Repeat("x", 264<<10)
	request := func(method, path, kind, body, header string) answer {
		req, err := http.NewRequest(method, "http://"+p.address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-More", header)
		return p.send(req)
	}
	for name, c := range map[string]struct {
		status int
		ask    func() answer
	}{
		"header": {431, func() answer { return request("GET", "/healthz", "", "", huge[:20_000]) }},
		"path":   {431, func() answer { return request("GET", "/"+huge[:20_000], "", "", "") }},
		"OAuth": {413, func() answer {
			return request("POST", "/oauth/revoke", "application/x-www-form-urlencoded", "token="+huge[:40_000], "")
		}},
		"JSON": {413, func() answer {
			return request("POST", "/api/v2/refresh-tokens/revoke", "application/json", `{"user_id":"`+huge+`"}`, "")
		}},
		"still ok": {200, func() answer { return request("GET", "/healthz", "", "", huge[:4000]) }},
		"other JSON": {400, func() answer {
			return request("POST", "/api/v2/refresh-tokens/revoke", "application/json", `{"user_id":"`+huge[:5000]+`"}`, "")
		}},
	} {
		if a := c.ask(); a.status != c.status {
			t.Errorf("%s: status %d, want %d", name, a.status, c.status)
		}
	}
}

func TestTLS(t *testing.T) {
	certificate, key, roots := selfSigned(t)
	p := serve(t, filepath.Join(t.TempDir(), "tokens.db"), "--tls-cert", certificate, "--tls-key", key)
	get := func(config *tls.Config) (int, error) {
		transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + p.address + "/healthz")
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	if status, err := get(&tls.Config{RootCAs: roots}); err != nil || status != http.StatusOK {
		t.Errorf("status %d, %v", status, err)
	}
	if _, err := get(&tls.Config{}); err == nil {
		t.Error("a client that does not know the certificate is served")
	}
	if _, err := get(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is served")
	}
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: status %d", resp.StatusCode)
	}
}

// selfSigned makes a certificate for 127.0.0.1.
func selfSigned(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, roots
}
