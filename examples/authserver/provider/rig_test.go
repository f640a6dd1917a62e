package provider_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/boltstore"
	"example.com/tokenstore/examples/authserver/provider"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	redirectURI   = "http://127.0.0.1:1/callback"
	password      = "a password for tests"
	operatorToken = "a-token-for-the-operator"
)

// rig is a provider on a bbolt file, with the clients "notes" and "other", which are public, and "web", whose secret is
// "web-secret", and the users ann and bob. Nothing is swept unless a test says so.
type rig struct {
	*testing.T
	tokens         *tokenstore.Manager
	url, operators string
	ahead          atomic.Int64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t}
	now := func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
	dir := t.TempDir()
	backend, err := boltstore.Open(filepath.Join(dir, "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	if r.tokens, err = tokenstore.New(backend, &tokenstore.Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	keys, err := provider.LoadKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	var p *provider.Provider
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Public().ServeHTTP(w, r) }))
	t.Cleanup(public.Close)
	p, err = provider.New(provider.Config{
		Issuer: public.URL, Tokens: r.tokens, Keys: keys, OperatorToken: operatorToken, Now: now,
		Accounts: []provider.Account{
			{ID: "user-ann", Username: "ann", Name: "Ann Example", Password: hash},
			{ID: "user-bob", Username: "bob", Name: "Bob Example", Password: hash},
		},
		Clients: []provider.Client{
			{ID: "notes", Name: "Notes", RedirectURIs: []string{redirectURI}, AfterSignOut: []string{redirectURI}},
			{ID: "other", RedirectURIs: []string{redirectURI}},
			{ID: "web", Name: "Web", Secret: "web-secret", RedirectURIs: []string{redirectURI}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	operators := httptest.NewServer(p.Operators())
	t.Cleanup(operators.Close)
	r.url, r.operators = public.URL, operators.URL
	return r
}

// sweep removes what has been revoked, until the test ends.
func (r *rig) sweep() {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.tokens.Run(ctx) }()
	r.Cleanup(func() { stop(); <-ended })
}

func (r *rig) wait(d time.Duration) { r.ahead.Add(int64(d)) }

// browser is one that a person uses, without JavaScript.
type browser struct {
	*rig
	http  *http.Client
	agent string
}

// answer is what a browser has got. Where it stopped is the redirect URI of an application, or the page.
type answer struct {
	status int
	header http.Header
	url    *url.URL
	body   string
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

func (r *rig) browser() *browser {
	jar, _ := cookiejar.New(nil)
	transport := &http.Transport{}
	r.Cleanup(transport.CloseIdleConnections)
	return &browser{r, &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(to *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(to.URL.String(), redirectURI) {
			return http.ErrUseLastResponse
		}
		return nil
	}}, firefox}
}

func (b *browser) do(method, to string, form url.Values, header http.Header) answer {
	b.Helper()
	if strings.HasPrefix(to, "/") {
		to = b.url + to
	}
	request, err := http.NewRequestWithContext(b.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", b.agent)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	got, err := b.http.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		b.Fatal(err)
	}
	_ = got.Body.Close()
	at := got.Request.URL
	if location, err := got.Location(); err == nil {
		at = location
	}
	return answer{got.StatusCode, got.Header, at, string(body)}
}

func (b *browser) get(to string) answer { b.Helper(); return b.do(http.MethodGet, to, nil, nil) }

func (b *browser) post(to string, form url.Values) answer {
	b.Helper()
	return b.do(http.MethodPost, to, form, nil)
}

// signIn is for the page alone.
func (b *browser) signIn(user string) answer {
	b.Helper()
	got := b.post("/login", url.Values{"username": {user}, "password": {password}})
	if got.status != http.StatusOK || got.url.Path != "/devices" {
		b.Fatalf("signed in: %d at %s", got.status, got.url)
	}
	return got
}

func (r *rig) config(client string) *oauth2.Config {
	config := &oauth2.Config{
		ClientID: client, RedirectURL: redirectURI, Scopes: []string{"openid", "profile", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: r.url + "/authorize", TokenURL: r.url + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	if client == "web" {
		config.ClientSecret, config.Endpoint.AuthStyle = "web-secret", oauth2.AuthStyleInHeader
	}
	return config
}

var requestField = regexp.MustCompile(`name="request" value="([^"]+)"`)

// begin goes to the application, and where it leads to.
func (b *browser) begin(client, verifier string, options ...oauth2.AuthCodeOption) answer {
	b.Helper()
	options = append(options, oauth2.S256ChallengeOption(verifier))
	return b.get(b.config(client).AuthCodeURL("a state of some length", options...))
}

// fill fills in the login form of a page.
func (b *browser) fill(page answer, user string) answer {
	b.Helper()
	request := requestField.FindStringSubmatch(page.body)
	if request == nil {
		b.Fatalf("no login form: %d at %s", page.status, page.url)
	}
	return b.post("/login", url.Values{"username": {user}, "password": {password}, "request": {request[1]}})
}

// code is what the application has been sent.
func (b *browser) code(at answer) string {
	b.Helper()
	if code := at.url.Query().Get("code"); code != "" {
		return code
	}
	b.Fatalf("no code: %d at %s", at.status, at.url)
	return ""
}

// open signs in to an application, with the password if it is asked for.
func (b *browser) open(client, user string) *oauth2.Token {
	b.Helper()
	verifier := oauth2.GenerateVerifier()
	at := b.begin(client, verifier)
	if at.url.Path == "/login" {
		at = b.fill(at, user)
	}
	token, err := b.config(client).Exchange(b.Context(), b.code(at), oauth2.VerifierOption(verifier))
	if err != nil {
		b.Fatal(err)
	}
	return token
}

func (r *rig) refresh(client, secret string) (*oauth2.Token, error) {
	return r.config(client).TokenSource(r.Context(), &oauth2.Token{RefreshToken: secret}).Token()
}

func (r *rig) mustRefresh(token *oauth2.Token) *oauth2.Token {
	r.Helper()
	next, err := r.refresh("notes", token.RefreshToken)
	if err != nil {
		r.Fatal(err)
	}
	return next
}

func (r *rig) wantRefused(token *oauth2.Token) {
	r.Helper()
	if _, err := r.refresh("notes", token.RefreshToken); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		r.Errorf("refreshed, or not refused as it should be: %v", err)
	}
}

// userinfo is the status of the answer to an access token.
func (r *rig) userinfo(token *oauth2.Token) int {
	r.Helper()
	b := r.browser()
	return b.do(http.MethodGet, "/userinfo", nil, http.Header{"Authorization": {"Bearer " + token.AccessToken}}).status
}

// sessionOf is the session that a token belongs to.
func (r *rig) sessionOf(token *oauth2.Token) string {
	r.Helper()
	known, err := r.tokens.Introspect(r.Context(), tokenstore.NewSecret(token.RefreshToken))
	if err != nil || !known.Active {
		r.Fatalf("not active: %v, %v", known.Cause, err)
	}
	return known.Token.SessionID.String()
}
