package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

// libraries are those that the stories are played with.
var libraries = map[string]func(*app) library{
	"x/oauth2":      newPlain,
	"relying party": newRelying,
	"openid-client": newNode,
}

// refusal is the error of RFC 6749 §5.2 that a library reports, if that is what it is.
func refusal(err error) string {
	if told, ok := errors.AsType[*oauth2.RetrieveError](err); ok && told.Response.StatusCode == http.StatusBadRequest {
		return told.ErrorCode
	}
	if told, ok := errors.AsType[*oidc.Error](err); ok {
		return string(told.ErrorType)
	}
	if told, ok := errors.AsType[*nodeError](err); ok && told.Status == http.StatusBadRequest {
		return told.Code
	}
	return ""
}

// plain is golang.org/x/oauth2, which does not read ID tokens.
type plain struct {
	*app
	config oauth2.Config
}

func newPlain(a *app) library {
	return &plain{a, oauth2.Config{
		ClientID: a.id, ClientSecret: a.secret, RedirectURL: redirectURI, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: a.url + a.paths.authorize, TokenURL: a.url + a.paths.token, AuthStyle: oauth2.AuthStyleInHeader},
	}}
}

// context makes golang.org/x/oauth2 use the connection of the app.
func (p *plain) context() context.Context {
	return context.WithValue(p.Context(), oauth2.HTTPClient, p.http)
}

func (p *plain) authorize(user string) (string, func(*url.URL) (tokens, error), error) {
	verifier := oauth2.GenerateVerifier()
	to := p.config.AuthCodeURL("a state of some length", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("login_hint", user))
	return to, func(back *url.URL) (tokens, error) {
		got, err := p.config.Exchange(p.context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
		return tokens{Token: got}, err
	}, nil
}

// refresh is that of an application whose access token has expired.
func (p *plain) refresh(secret string) (tokens, error) {
	got, err := p.config.TokenSource(p.context(), &oauth2.Token{RefreshToken: secret}).Token()
	return tokens{Token: got}, err
}

// relying is zitadel's relying party.
type relying struct {
	*app
	party rp.RelyingParty
}

func newRelying(a *app) library {
	party, err := rp.NewRelyingPartyOIDC(a.Context(), a.url, a.id, a.secret, redirectURI, scopes,
		rp.WithHTTPClient(a.http), rp.WithAuthStyle(oauth2.AuthStyleInHeader))
	if err != nil {
		a.Fatal(err)
	}
	return &relying{a, party}
}

func (r *relying) authorize(user string) (string, func(*url.URL) (tokens, error), error) {
	verifier := oauth2.GenerateVerifier()
	to := rp.AuthURL("a state of some length", r.party, rp.WithCodeChallenge(oauth2.S256ChallengeFromVerifier(verifier)),
		rp.AuthURLOpt(rp.WithURLParam("login_hint", user)))
	return to, func(back *url.URL) (tokens, error) {
		return told(rp.CodeExchange[*oidc.IDTokenClaims](r.Context(), back.Query().Get("code"), r.party, rp.WithCodeVerifier(verifier)))
	}, nil
}

func (r *relying) refresh(secret string) (tokens, error) {
	return told(rp.RefreshTokens[*oidc.IDTokenClaims](r.Context(), r.party, secret, "", ""))
}

func (r *relying) giveUp(secret string) error {
	return rp.RevokeToken(r.Context(), r.party, secret, "refresh_token")
}

func told(got *oidc.Tokens[*oidc.IDTokenClaims], err error) (tokens, error) {
	if err != nil {
		return tokens{}, err
	}
	if got.IDTokenClaims == nil {
		return tokens{}, errors.New("no ID token")
	}
	c := got.IDTokenClaims
	return tokens{got.Token, claims{c.Subject, c.SessionID, c.AuthTime.AsTime().Unix()}}, nil
}

// node is openid-client, in a process of its own that ends with the test.
type node struct {
	*app
	ask    *json.Encoder
	answer *json.Decoder
}

// nodeError is what openid-client throws.
type nodeError struct {
	Code    string `json:"code"`
	Status  int    `json:"status"`
	Message string `json:"message"`
}

func (e *nodeError) Error() string { return e.Message }

type nodeAnswer struct {
	URL    string          `json:"url"`
	Checks json.RawMessage `json:"checks"`
	Tokens *oauth2.Token   `json:"tokens"`
	Claims *claims         `json:"claims"`
	Error  *nodeError      `json:"error"`
}

func newNode(a *app) library {
	a.Helper()
	if _, err := os.Stat("nodeclient/node_modules/openid-client"); err != nil {
		missing := "openid-client is not installed: (cd integrations/e2e/nodeclient && npm ci)"
		if os.Getenv("CI") != "" {
			a.Fatal(missing)
		}
		a.Skip("NOT RUN: " + missing)
	}
	process := exec.Command("node", "client.mjs")
	process.Dir, process.Stderr = "nodeclient", a.Output()
	in, err := process.StdinPipe()
	if err != nil {
		a.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		a.Fatal(err)
	}
	if err := process.Start(); err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() {
		if err := errors.Join(in.Close(), process.Wait()); err != nil {
			a.Error(err)
		}
	})
	n := &node{a, json.NewEncoder(in), json.NewDecoder(out)}
	if _, err := n.call("discover", map[string]any{"issuer": a.url, "id": a.id, "secret": a.secret}); err != nil {
		a.Fatal(err)
	}
	return n
}

func (n *node) call(name string, parameters map[string]any) (nodeAnswer, error) {
	parameters["call"] = name
	var answer nodeAnswer
	if err := n.ask.Encode(parameters); err != nil {
		return answer, err
	}
	if err := n.answer.Decode(&answer); err != nil {
		return answer, fmt.Errorf("the process of openid-client: %w", err)
	}
	if answer.Error != nil {
		return answer, answer.Error
	}
	return answer, nil
}

func (n *node) tokens(name string, parameters map[string]any) (tokens, error) {
	answer, err := n.call(name, parameters)
	if err != nil {
		return tokens{}, err
	}
	if answer.Tokens == nil || answer.Claims == nil {
		return tokens{}, errors.New("no tokens, or no ID token")
	}
	return tokens{answer.Tokens, *answer.Claims}, nil
}

func (n *node) authorize(user string) (string, func(*url.URL) (tokens, error), error) {
	answer, err := n.call("authorize", map[string]any{"parameters": map[string]string{
		"redirect_uri": redirectURI, "scope": strings.Join(scopes, " "), "login_hint": user,
	}})
	return answer.URL, func(back *url.URL) (tokens, error) {
		return n.tokens("callback", map[string]any{"url": back.String(), "checks": answer.Checks})
	}, err
}

func (n *node) refresh(secret string) (tokens, error) {
	return n.tokens("refresh", map[string]any{"secret": secret})
}

func (n *node) giveUp(secret string) error {
	_, err := n.call("revoke", map[string]any{"secret": secret})
	return err
}
