// Package jwtbearer lets callers of the management API in by access tokens that are JSON Web Tokens of one issuer (RFC 9068 in
// the parts that matter, and what Auth0 issues). Signature, algorithm, issuer, audience and expiry are verified by go-oidc;
// the keys come from the issuer's key set, and are fetched again when a token names a new one.
package jwtbearer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/domain"
	"example.com/tokenstore/management"
	"github.com/coreos/go-oidc/v3/oidc"
)

// Options of an [Authorizer].
type Options struct {
	// Issuer is the issuer as tokens name it, to the letter; an https URL, or http on a loopback address. It is required.
	Issuer string
	// Audience must be among the audiences of a token. It is required.
	Audience string
	// KeySetURL is where the issuer's keys are (RFC 7517). Defaults to what the issuer's OpenID Connect Discovery document says.
	KeySetURL string
	// Tenant is the tenant of every caller.
	Tenant string
	// TenantClaim is the claim of a token that names its tenant, instead of Tenant; a token without it is refused. Trust the
	// issuer to set it: whoever can choose it sees every tenant. Defaults to none.
	TenantClaim string
	// Algorithms are those that tokens may be signed with: asymmetric ones only. Defaults to RS256 and ES256, as an empty list does: there
	// is none that lets every algorithm in, or no token.
	Algorithms []string
	// Client fetches keys. Defaults to one that gives up after 10 s.
	Client *http.Client
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// algorithms are the asymmetric ones (RFC 7518 §3.1, RFC 8037 §3.1).
func algorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

func (o *Options) check() error {
	if err := checkURL("issuer", o.Issuer); err != nil {
		return err
	}
	if o.Audience == "" {
		return &tokenstore.FieldError{Field: "audience", Limit: "set"}
	}
	if o.KeySetURL != "" {
		if err := checkURL("key_set_url", o.KeySetURL); err != nil {
			return err
		}
	}
	if o.Tenant != "" && o.TenantClaim != "" {
		return &tokenstore.FieldError{Field: "tenant", Limit: "given by itself or by a claim"}
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(algorithms(), a) {
			return &tokenstore.FieldError{Field: "algorithms", Limit: "among " + strings.Join(algorithms(), ", "), Size: len(a)}
		}
	}
	return nil
}

// checkURL wants keys to come over TLS, or from the same machine.
func checkURL(field, text string) error {
	u, err := url.Parse(text)
	if err == nil && u.Host != "" && u.User == nil {
		ip := net.ParseIP(u.Hostname())
		if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
			return nil
		}
	}
	return &tokenstore.FieldError{Field: field, Limit: "an https URL", Size: len(text)}
}

// Authorizer lets callers in by their tokens. It is a [management.Authorizer].
type Authorizer struct {
	verifier    *oidc.IDTokenVerifier
	tenant      string
	tenantClaim string
}

// New returns the authorizer of an issuer. It asks the issuer where its keys are, unless that is given; it starts nothing. An
// option that is missing or out of range is a [tokenstore.FieldError].
func New(ctx context.Context, opts Options) (*Authorizer, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if len(opts.Algorithms) == 0 {
		opts.Algorithms = []string{oidc.RS256, oidc.ES256}
	}
	ctx = oidc.ClientContext(ctx, limitedClient(cmp.Or(opts.Client, &http.Client{Timeout: 10 * time.Second})))
	keysURL := opts.KeySetURL
	if keysURL == "" {
		provider, err := oidc.NewProvider(ctx, opts.Issuer)
		if err != nil {
			return nil, fmt.Errorf("jwtbearer: discovery: %w", err)
		}
		var found struct {
			KeySetURL string `json:"jwks_uri"`
		}
		if err := provider.Claims(&found); err != nil {
			return nil, fmt.Errorf("jwtbearer: discovery: %w", err)
		}
		if keysURL = found.KeySetURL; checkURL("jwks_uri", keysURL) != nil {
			return nil, checkURL("jwks_uri", keysURL)
		}
	}
	verifier := oidc.NewVerifier(opts.Issuer, oidc.NewRemoteKeySet(ctx, keysURL), &oidc.Config{
		ClientID: opts.Audience, SupportedSigningAlgs: opts.Algorithms, Now: opts.Now,
	})
	return &Authorizer{verifier, opts.Tenant, opts.TenantClaim}, nil
}

// Authorize returns the caller that the bearer token of the request is about: its subject is the actor, its scopes those of
// the claims scope and permissions. The error says what is wrong with the token, and holds nothing of it.
func (a *Authorizer) Authorize(r *http.Request) (management.Caller, error) {
	text, err := management.Bearer(r)
	if err != nil {
		return management.Caller{}, err
	}
	token, err := a.verifier.Verify(r.Context(), text)
	if err != nil {
		return management.Caller{}, refuse(err.Error())
	}
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return management.Caller{}, refuse("claims of a wrong form")
	}
	caller := management.Caller{Actor: token.Subject, Tenant: a.tenant}
	if caller.Actor == "" || domain.CheckActor(caller.Actor) != nil {
		return management.Caller{}, refuse("no subject, or one that is too long")
	}
	if a.tenantClaim != "" {
		if json.Unmarshal(claims[a.tenantClaim], &caller.Tenant) != nil || caller.Tenant == "" {
			return management.Caller{}, refuse("no tenant")
		}
	}
	caller.Scopes = append(texts(claims["scope"]), texts(claims["permissions"])...)
	return caller, nil
}

// refuse is the error for a token; the cause is cut, because a part of it may be what an issuer answered.
func refuse(cause string) error {
	return fmt.Errorf("%w: %.200s", management.ErrBadCredentials, cause)
}

// texts reads a claim that is a list, or one text with spaces in between (RFC 9068 §2.2.3). Any other form grants nothing.
func texts(claim json.RawMessage) []string {
	var list []string
	if json.Unmarshal(claim, &list) == nil {
		return list
	}
	var text string
	if json.Unmarshal(claim, &text) == nil {
		return strings.Fields(text)
	}
	return nil
}
