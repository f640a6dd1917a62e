package zitadel

import (
	"errors"
	"net/http"

	"example.com/tokenstore/oauth"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Clients recognises the clients of a provider by their secrets, in the header or in the form, and by signed assertions,
// for the handlers of package oauth: op's own introspection endpoint knows nothing of refresh tokens. A public client, which
// authenticates by nothing, is not recognised.
func Clients(provider op.ClientProvider) oauth.Authenticator {
	return oauth.AuthenticatorFunc(func(r *http.Request) (string, error) {
		clientID, authenticated, err := op.ClientIDFromRequest(r, provider)
		if secret := r.PostForm.Get("client_secret"); err == nil && !authenticated && secret != "" {
			err = op.AuthorizeClientIDSecret(r.Context(), clientID, secret, provider.Storage())
			authenticated = err == nil
		}
		if told, ok := errors.AsType[*oidc.Error](err); ok && told.ErrorType == oidc.ServerError {
			return "", errors.New("zitadel: the client could not be looked up")
		}
		if !authenticated {
			return "", oauth.ErrInvalidClient
		}
		return clientID, nil
	})
}
