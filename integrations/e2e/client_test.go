package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"
)

const redirectURI = "http://127.0.0.1:1/callback"

// app is an application: golang.org/x/oauth2 on a connection of its own, which can lose an answer.
type app struct {
	*server
	config *oauth2.Config
	http   *http.Client
	lose   atomic.Bool
	lost   string // the body of the answer that was lost
}

var errLost = errors.New("the connection broke before the answer came")

func (s *server) app(clientID string) *app {
	a := &app{server: s, config: s.config(clientID)}
	transport := &http.Transport{}
	s.Cleanup(transport.CloseIdleConnections)
	a.http = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := transport.RoundTrip(r)
		if err != nil || !a.lose.CompareAndSwap(true, false) {
			return answer, err
		}
		body, err := io.ReadAll(answer.Body)
		a.lost = string(body)
		return nil, errors.Join(errLost, answer.Body.Close(), err)
	})}
	return a
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// context makes golang.org/x/oauth2 use the connection of the app.
func (a *app) context() context.Context {
	return context.WithValue(a.Context(), oauth2.HTTPClient, a.http)
}

// code has a browser sign a user in, and returns the code that the client is sent.
func (a *app) code(user string, options ...oauth2.AuthCodeOption) string {
	a.Helper()
	browser := &http.Client{Transport: a.http.Transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirectURI) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	options = append(options, oauth2.SetAuthURLParam("login_hint", user))
	answer, err := browser.Get(a.config.AuthCodeURL("a state of some length", options...))
	if err != nil {
		a.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	location, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || location.Query().Get("code") == "" {
		a.Fatalf("no code: %s, to %q: %s", answer.Status, location, body)
	}
	return location.Query().Get("code")
}

// signIn is the authorization code grant with PKCE.
func (a *app) signIn(user string) *oauth2.Token {
	a.Helper()
	verifier := oauth2.GenerateVerifier()
	token, err := a.config.Exchange(a.context(), a.code(user, oauth2.S256ChallengeOption(verifier)), oauth2.VerifierOption(verifier))
	if err != nil {
		a.Fatal(err)
	}
	if token.RefreshToken == "" {
		a.Fatal("no refresh token")
	}
	return token
}

// refresh refreshes as an application does whose access token has expired.
func (a *app) refresh(secret string) (*oauth2.Token, error) {
	return a.config.TokenSource(a.context(), &oauth2.Token{RefreshToken: secret}).Token()
}

func (a *app) mustRefresh(secret string) *oauth2.Token {
	a.Helper()
	token, err := a.refresh(secret)
	if err != nil {
		a.Fatal(err)
	}
	return token
}

// wantError checks that a refresh is refused with an error of RFC 6749 §5.2, and a status of 400.
func (a *app) wantError(secret, code string) {
	a.Helper()
	_, err := a.refresh(secret)
	told, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || told.ErrorCode != code || told.Response.StatusCode != http.StatusBadRequest {
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
	request.SetBasicAuth(a.config.ClientID, a.config.ClientSecret)
	answer, err := a.http.Do(request)
	if err != nil {
		a.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode, string(body)
}

// userinfo is the status of the answer to an access token.
func (a *app) userinfoStatus(access string) int {
	a.Helper()
	request, err := http.NewRequestWithContext(a.Context(), http.MethodGet, a.url+a.userinfo, nil)
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
