package zitadel

import (
	"slices"
	"time"

	"example.com/tokenstore"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var _ op.RefreshTokenRequest = (*RefreshTokenRequest)(nil)

// RefreshTokenRequest is the [op.RefreshTokenRequest] of a token. It belongs to one HTTP request. A host may embed it in a
// type of its own.
type RefreshTokenRequest struct {
	token   tokenstore.RefreshToken
	scopes  []string
	amr     []string
	pending bool // the secret is outdated, and whether it is a retry has not been decided
}

// RefreshToken returns the record: as it was read, or as it is after the exchange.
func (r *RefreshTokenRequest) RefreshToken() tokenstore.RefreshToken { return r.token }

// GetAMR returns what [Options.AMR] says.
func (r *RefreshTokenRequest) GetAMR() []string { return r.amr }

// GetAudience returns the audiences of all resource servers.
func (r *RefreshTokenRequest) GetAudience() []string { return r.token.ResourceServers.Audiences() }

// GetAuthTime returns when the user authenticated, or the zero time if that is not known.
func (r *RefreshTokenRequest) GetAuthTime() time.Time { return r.token.AuthenticatedAt }

// GetClientID returns the client that the token was issued to.
func (r *RefreshTokenRequest) GetClientID() string { return r.token.ClientID }

// GetScopes returns the scopes of the token, or those that [RefreshTokenRequest.SetCurrentScopes] has left.
func (r *RefreshTokenRequest) GetScopes() []string { return r.scopes }

// GetSubject returns the user. It is empty for an outdated secret that has not been exchanged, as by a token exchange,
// which asks for the subject of a refresh token that it leaves as it is: such a secret stands for nobody.
func (r *RefreshTokenRequest) GetSubject() string {
	if r.pending {
		return ""
	}
	return r.token.UserID
}

// SetCurrentScopes narrows the scopes of the access and ID token that are about to be made. The refresh token keeps all of
// its own (RFC 6749 §6). A scope that it was not granted is left out.
func (r *RefreshTokenRequest) SetCurrentScopes(current []string) {
	granted := r.token.ResourceServers.Scopes()
	r.scopes = slices.DeleteFunc(slices.Clone(current), func(scope string) bool { return !slices.Contains(granted, scope) })
}

func (r *RefreshTokenRequest) exchanged(token tokenstore.RefreshToken) {
	r.token, r.pending = token, false
}
