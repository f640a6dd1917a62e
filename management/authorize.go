package management

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// The scopes that the routes demand.
const (
	ScopeReadTokens    = "read:refresh_tokens"
	ScopeUpdateTokens  = "update:refresh_tokens"
	ScopeDeleteTokens  = "delete:refresh_tokens"
	ScopeDeleteSession = "delete:sessions"
	ScopeReadDevices   = "read:device_credentials"
	ScopeDeleteDevices = "delete:device_credentials"
)

// Scopes are all scopes that any route demands.
func Scopes() []string {
	return []string{ScopeReadTokens, ScopeUpdateTokens, ScopeDeleteTokens, ScopeDeleteSession, ScopeReadDevices, ScopeDeleteDevices}
}

// Caller is who sent a request, and what it may do.
type Caller struct {
	Actor  string   // Actor is noted in every revocation: up to 300 characters.
	Tenant string   // Tenant is the one tenant that the caller sees.
	Scopes []string // Scopes are the granted ones, for example "read:refresh_tokens".
}

func (c *Caller) may(scope string) bool { return slices.Contains(c.Scopes, scope) }

// Authorizer says who sent a request. Any error is answered by 401, and is logged: it must not hold the credential. It must
// be safe for concurrent use, and leave the body of the request alone.
type Authorizer interface {
	Authorize(r *http.Request) (Caller, error)
}

// AuthorizerFunc is an [Authorizer] that is a function.
type AuthorizerFunc func(r *http.Request) (Caller, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(r *http.Request) (Caller, error) { return f(r) }

// MaxBearer is the longest bearer token that is looked at, in bytes.
const MaxBearer = 16 << 10

var (
	// ErrNoCredentials: a request has no bearer token (RFC 6750 §2.1), or more than one Authorization header.
	ErrNoCredentials = errors.New("management: no bearer token")
	// ErrBadCredentials: a request has a bearer token that is not valid.
	ErrBadCredentials = errors.New("management: bearer token not valid")
)

// Bearer returns the bearer token of a request (RFC 6750 §2.1), or [ErrNoCredentials], or [ErrBadCredentials] if it is longer
// than [MaxBearer].
func Bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return "", ErrNoCredentials
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", ErrNoCredentials
	}
	if len(token) > MaxBearer {
		return "", ErrBadCredentials
	}
	return token, nil
}
