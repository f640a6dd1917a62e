package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/tokenstore/examples/authserver/provider"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is a running server, by what it prints.
type started struct {
	lines map[string]string
	text  string
	stop  func()
}

func start(t *testing.T, dir, listen string) started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, options{
			listen: listen, operators: "127.0.0.1:0", db: filepath.Join(dir, "authserver.db"), keys: filepath.Join(dir, "authserver.key"),
		}, write)
		_ = write.CloseWithError(err)
		ended <- err
	}()
	s := started{lines: map[string]string{}}
	lines := bufio.NewScanner(read)
	for len(s.lines) < 6 && lines.Scan() {
		s.text += lines.Text() + "\n"
		name, rest, _ := strings.Cut(lines.Text(), "  ")
		s.lines[name] = strings.TrimSpace(rest)
	}
	s.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(s.lines) < 6 {
		cancel()
		t.Fatal(<-ended)
	}
	return s
}

// signIn signs the account that the server prints in to the client that it prints.
func (s started) signIn(t *testing.T, config *oauth2.Config) *oauth2.Token {
	t.Helper()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), config.RedirectURL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := oauth2.GenerateVerifier()
	page, err := browser.Get(config.AuthCodeURL("a state of some length", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	_ = page.Body.Close()
	account := regexp.MustCompile(`^(\w+), with the password "(.+)"$`).FindStringSubmatch(s.lines["account"])
	if account == nil {
		t.Fatalf("account %q", s.lines["account"])
	}
	answer, err := browser.PostForm(config.Endpoint.AuthURL[:strings.LastIndex(config.Endpoint.AuthURL, "/")]+"/login", url.Values{
		"username": {account[1]}, "password": {account[2]}, "request": {page.Request.URL.Query().Get("request")},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	location, err := answer.Location()
	if err != nil {
		t.Fatal(answer.Status, err)
	}
	token, err := config.Exchange(t.Context(), location.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestTwoRuns: the second run goes on with the file of the first.
func TestTwoRuns(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	config := func(s started) *oauth2.Config {
		issuer := s.lines["issuer"]
		return &oauth2.Config{
			ClientID: trialClient, RedirectURL: strings.Replace(trialRedirect, "127.0.0.1", "127.0.0.1:1", 1), Scopes: []string{"openid", "offline_access"},
			Endpoint: oauth2.Endpoint{AuthURL: issuer + "/authorize", TokenURL: issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		}
	}
	first := start(t, dir, "127.0.0.1:0")
	token := first.signIn(t, config(first))
	http.DefaultClient.CloseIdleConnections()
	first.stop()

	second := start(t, dir, strings.TrimPrefix(first.lines["issuer"], "http://"))
	next, err := config(second).TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
	if err != nil {
		t.Error(err)
	} else if next.RefreshToken == token.RefreshToken {
		t.Error("it did not rotate")
	}
	http.DefaultClient.CloseIdleConnections()
	second.stop()
	if first.lines["management API"] == second.lines["management API"] {
		t.Error("the operator's token that was printed is good in the second run too")
	}
}

// TestREADME: what the README says that it prints is what it prints, but for the token.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir(), "127.0.0.1:0")
	s.stop()
	port := regexp.MustCompile(`127\.0\.0\.1:\d+/(docs|metrics)`)
	want := strings.ReplaceAll(s.text, s.lines["issuer"], "http://127.0.0.1:8090")
	want = port.ReplaceAllString(want, "127.0.0.1:8091/$1")
	want = regexp.MustCompile(`with the token .*`).ReplaceAllString(want, "with the token …")
	_, section, _ := strings.Cut(string(readme), "## An auth server")
	section, _, _ = strings.Cut(section, "\n## ")
	if !strings.Contains(section, "(cd examples/authserver && GOWORK=off go run .)") || !strings.Contains(section, "```console\n"+want+"```") {
		t.Errorf("the README does not show the command, or not what it prints:\n%s", want)
	}
}

// TestKeys: they are kept, for their owner only.
func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authserver.key")
	read := func() [sha256.Size]byte {
		if _, err := provider.LoadKeys(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(text)
	}
	first := read()
	if second := read(); second != first {
		t.Error("the second run has other keys than the first")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := provider.LoadKeys(path); err == nil {
		t.Error("a file that is no key was taken for one")
	}
}
