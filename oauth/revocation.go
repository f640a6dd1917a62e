package oauth

import (
	"log/slog"
	"net/http"

	"example.com/tokenstore"
)

// RevocationOptions of [NewRevocation]. The zero value, and nil, take every default.
type RevocationOptions struct {
	// Logger takes who revoked what, and what goes wrong. Defaults to none. No secret is ever logged.
	Logger *slog.Logger
}

// NewRevocation returns the revocation endpoint (RFC 7009) of a tenant. The form has the token, and perhaps a
// token_type_hint, which is ignored: there is one type. The answers:
//
//   - 200 without a body: the token was the client's own and has been revoked, durably, with all of its secrets; or it was
//     revoked before; or there is no such token; or it is another client's, which stays as it is. The client can't tell
//     these apart (§2.1 and §2.2), so nobody finds out whether a secret that he came by is worth anything elsewhere.
//   - 400, 405, 413 and 415 invalid_request: it is no POST of a form that has a token, each parameter once, in [MaxBody] bytes.
//   - 401 invalid_client: the client was not recognised.
//   - 503 temporarily_unavailable, with Retry-After: the token must be taken to be still good (§2.2.1).
//
// An outdated secret of a token that rotates revokes the token: see [tokenstore.Manager.RevokeSecret]. A missing manager or
// authenticator is a [tokenstore.FieldError].
func NewRevocation(m *tokenstore.Manager, clients Authenticator, opts *RevocationOptions) (http.Handler, error) {
	var o RevocationOptions
	if opts != nil {
		o = *opts
	}
	e, err := newEndpoint("revocation", m, clients, o.Logger)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(e.revoke), nil
}

func (e *endpoint) revoke(w http.ResponseWriter, r *http.Request) {
	clientID, secret, ok := e.read(w, r)
	if !ok {
		return
	}
	got, err := e.manager.RevokeSecret(r.Context(), clientID, secret)
	switch {
	case err != nil:
		e.fault(w, r, err)
		return
	case got.Cause != "":
		e.log.InfoContext(r.Context(), "nothing to revoke", "client_id", clientID, "cause", string(got.Cause))
	default:
		e.log.InfoContext(r.Context(), "token revoked by its client", "client_id", clientID, "revocation_id", got.Receipt.ID().String())
	}
	w.WriteHeader(http.StatusOK)
}
