package e2e

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

const redirectURI = "http://127.0.0.1:1/callback"

// library is a real client library, set up for one client of a server.
type library interface {
	// authorize returns where the browser of a user goes to sign in, and what makes tokens of where it comes back to.
	authorize(user string) (to string, callback func(back *url.URL) (tokens, error), err error)
	refresh(secret string) (tokens, error)
}

// revoker is a library that knows RFC 7009.
type revoker interface {
	giveUp(secret string) error
}

// tokens are what a library got, with what it read in the ID token if it verifies those.
type tokens struct {
	*oauth2.Token
	claims claims
}

type claims struct {
	Subject         string `json:"sub"`
	SessionID       string `json:"sid"`
	AuthenticatedAt int64  `json:"auth_time"`
}

// app is an application: a library, a browser that signs people in, and a connection of its own.
type app struct {
	*server
	library
	id, secret string
	http       *http.Client
}

// app is an application on golang.org/x/oauth2.
func (s *server) app(id string) *app { return s.appOn(newPlain, id) }

func (s *server) appOn(open func(*app) library, id string) *app {
	s.Helper()
	transport := &http.Transport{}
	s.Cleanup(transport.CloseIdleConnections)
	a := &app{server: s, id: id, secret: id + "-secret", http: &http.Client{Transport: transport}}
	a.library = open(a)
	return a
}

var scopes = []string{"openid", "email", "offline_access"}

// begin has a browser sign a user in, and returns what takes the code that the application is sent to the server.
func (a *app) begin(user string) func() (tokens, error) {
	a.Helper()
	to, callback, err := a.authorize(user)
	if err != nil {
		a.Fatal(err)
	}
	browser := &http.Client{Transport: a.http.Transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirectURI) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	answer, err := browser.Get(to)
	if err != nil {
		a.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	back, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		a.Fatalf("no code: %s, to %q: %s", answer.Status, back, body)
	}
	return func() (tokens, error) { return callback(back) }
}

// signIn is the authorization code grant with PKCE.
func (a *app) signIn(user string) tokens {
	a.Helper()
	got, err := a.begin(user)()
	if err != nil {
		a.Fatal(err)
	}
	if got.RefreshToken == "" {
		a.Fatal("no refresh token")
	}
	return got
}

func (a *app) mustRefresh(secret string) tokens {
	a.Helper()
	got, err := a.refresh(secret)
	if err != nil {
		a.Fatal(err)
	}
	return got
}

// wantError checks that a refresh is refused with an error of RFC 6749 §5.2.
func (a *app) wantError(secret, code string) {
	a.Helper()
	if _, err := a.refresh(secret); refusal(err) != code {
		a.Errorf("error %v, want %s", err, code)
	}
}

// post posts a form as the client, and returns the status and the body.
func (a *app) post(path string, form url.Values) (int, string) {
	a.Helper()
	request, err := http.NewRequestWithContext(a.Context(), http.MethodPost, a.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		a.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(a.id, a.secret)
	answer, err := a.http.Do(request)
	if err != nil {
		a.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode, string(body)
}

// userinfoStatus is the status of the answer to an access token.
func (a *app) userinfoStatus(access string) int {
	a.Helper()
	request, err := http.NewRequestWithContext(a.Context(), http.MethodGet, a.url+a.paths.userinfo, nil)
	if err != nil {
		a.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+access)
	answer, err := a.http.Do(request)
	if err != nil {
		a.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
