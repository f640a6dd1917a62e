package provider

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Client is an application that people sign in to.
type Client struct {
	ID   string
	Name string // Name is what people are shown.
	// Secret authenticates the client. Empty for a public one, which has to use PKCE by S256, and may have any port of a redirect URI
	// on the loopback interface (RFC 8252 §7.3).
	Secret       string
	RedirectURIs []string
	AfterSignOut []string // AfterSignOut are where the end of a session may lead to.
	digest       [sha256.Size]byte
	confidential bool
}

var errNoClient = errors.New("no such client")

type clients map[string]*Client

func newClients(all []Client) clients {
	c := clients{}
	for _, client := range all {
		client.confidential = client.Secret != ""
		client.digest = sha256.Sum256([]byte(client.Secret))
		client.Secret = ""
		c[client.ID] = &client
	}
	return c
}

// GetClientByClientID is op's.
func (c clients) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if client, ok := c[id]; ok {
		return opClient{client}, nil
	}
	return nil, errNoClient
}

// AuthorizeClientIDSecret compares in constant time.
func (c clients) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	client, ok := c[id]
	presented := sha256.Sum256([]byte(secret))
	if !ok || !client.confidential || subtle.ConstantTimeCompare(presented[:], client.digest[:]) != 1 {
		return errNoClient
	}
	return nil
}

func (c clients) name(id string) string {
	if client, ok := c[id]; ok && client.Name != "" {
		return client.Name
	}
	return id
}

// opClient is a Client as op sees it.
type opClient struct{ *Client }

func (c opClient) GetID() string                        { return c.ID }
func (c opClient) RedirectURIs() []string               { return c.Client.RedirectURIs }
func (c opClient) PostLogoutRedirectURIs() []string     { return c.AfterSignOut }
func (c opClient) LoginURL(id string) string            { return "/login?request=" + id }
func (c opClient) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c opClient) IDTokenLifetime() time.Duration       { return accessLife }
func (c opClient) DevMode() bool                        { return false }
func (c opClient) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c opClient) ClockSkew() time.Duration             { return 0 }

func (c opClient) ApplicationType() op.ApplicationType {
	if c.confidential {
		return op.ApplicationTypeWeb
	}
	return op.ApplicationTypeNative
}

func (c opClient) AuthMethod() oidc.AuthMethod {
	if c.confidential {
		return oidc.AuthMethodBasic
	}
	return oidc.AuthMethodNone
}

func (c opClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c opClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}

func (c opClient) IsScopeAllowed(string) bool { return false } // none but the standard ones

func (c opClient) RestrictAdditionalIdTokenScopes() func([]string) []string     { return sameScopes }
func (c opClient) RestrictAdditionalAccessTokenScopes() func([]string) []string { return sameScopes }

func sameScopes(scopes []string) []string { return scopes }
