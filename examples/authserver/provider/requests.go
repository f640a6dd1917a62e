package provider

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// authRequest is an authorization request, from /authorize until its code is used. It is never changed, only replaced.
type authRequest struct {
	*oidc.AuthRequest
	id      string
	session *session // nil until somebody has signed in
}

const (
	requestLife = 10 * time.Minute
	codeLife    = time.Minute
	maxRequests = 10_000
)

const tooLong = "This sign-in has taken too long. Go back to the application, and begin again."

// errNoRequest is a new one each time, as op writes the state of the request into it.
func errNoRequest() error { return oidc.ErrInvalidRequest().WithDescription(tooLong) }

// requests are the authorization requests under way. They are in memory.
type requests struct {
	pending *expiring[*authRequest]
	codes   *expiring[*authRequest] // by code
}

func newRequests(now func() time.Time) *requests {
	return &requests{newExpiring[*authRequest](now, maxRequests), newExpiring[*authRequest](now, maxRequests)}
}

func (q *requests) CreateAuthRequest(_ context.Context, asked *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	r := &authRequest{AuthRequest: asked, id: rand.Text()}
	if !q.pending.put(r.id, r, requestLife) {
		return nil, errors.New("too many people are signing in")
	}
	return r, nil
}

func (q *requests) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	r, ok := q.pending.get(id)
	if !ok {
		return nil, errNoRequest()
	}
	return r, nil
}

// complete says who has signed in. It reports false if that comes too late.
func (q *requests) complete(id string, by session) bool {
	r, ok := q.pending.get(id)
	return ok && q.pending.put(id, &authRequest{r.AuthRequest, id, &by}, codeLife)
}

// browserKey is for the id of the session of the browser that asks for the code.
type browserKey struct{}

// SaveAuthCode ends the request: from here on there is only its code. The browser that gets it is the one that has signed in.
func (q *requests) SaveAuthCode(ctx context.Context, id, code string) error {
	r, ok := q.pending.take(id)
	if !ok || r.session == nil || ctx.Value(browserKey{}) != r.session.id || !q.codes.put(digest(code), r, codeLife) {
		return errNoRequest()
	}
	return nil
}

// AuthRequestByCode takes the code, so that it is good once (RFC 6749 §4.1.2).
func (q *requests) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	r, ok := q.codes.take(digest(code))
	if !ok {
		return nil, errors.New("no such code")
	}
	return r, nil
}

// DeleteAuthRequest has nothing left to do.
func (q *requests) DeleteAuthRequest(context.Context, string) error { return nil }

// wantsPassword says whether a session is not enough for the request.
func (r *authRequest) wantsPassword(s session, now time.Time) bool {
	return s.stale || slices.Contains(r.Prompt, oidc.PromptLogin) || slices.Contains(r.Prompt, oidc.PromptSelectAccount) ||
		r.MaxAge != nil && now.Sub(s.began) >= time.Duration(*r.MaxAge)*time.Second
}

func (r *authRequest) GetID() string          { return r.id }
func (r *authRequest) GetACR() string         { return "" }
func (r *authRequest) GetAMR() []string       { return []string{"pwd"} }
func (r *authRequest) GetAudience() []string  { return []string{r.ClientID} }
func (r *authRequest) GetClientID() string    { return r.ClientID }
func (r *authRequest) GetNonce() string       { return r.Nonce }
func (r *authRequest) GetScopes() []string    { return r.Scopes }
func (r *authRequest) Done() bool             { return r.session != nil }
func (r *authRequest) GetRedirectURI() string { return r.RedirectURI }
func (r *authRequest) GetState() string       { return r.State }

func (r *authRequest) GetResponseType() oidc.ResponseType { return r.ResponseType }
func (r *authRequest) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }

func (r *authRequest) GetAuthTime() time.Time {
	if r.session == nil {
		return time.Time{}
	}
	return r.session.began
}

func (r *authRequest) GetSubject() string {
	if r.session == nil {
		return ""
	}
	return r.session.user
}

func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	if r.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}
