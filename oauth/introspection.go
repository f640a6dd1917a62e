package oauth

import (
	"log/slog"
	"net/http"
	"strings"

	"example.com/tokenstore"
)

// IntrospectionOptions of [NewIntrospection]. The zero value, and nil, take every default.
type IntrospectionOptions struct {
	// Others says which clients may introspect tokens of other clients, as a resource server has to. To all others such a
	// token is not active. Defaults to none.
	Others func(clientID string) bool
	// Issuer is the iss of the answers. Defaults to none.
	Issuer string
	// Logger takes what goes wrong. Defaults to none. No secret is ever logged.
	Logger *slog.Logger
}

// NewIntrospection returns the introspection endpoint (RFC 7662) of a tenant. The form has the token, and perhaps a
// token_type_hint, which is ignored. The answers:
//
//   - 200 and {"active":false}: the secret can't be exchanged now, for whatever reason, an acknowledged revocation among
//     them; or the client may not ask about it. It is no more than that (§2.2).
//   - 200 and {"active":true, …} with client_id, sub, iat and token_type, and, where the token has them, scope and aud of
//     all its resource servers, exp (absolute or idle lifetime, whichever ends first), sid, cnf (RFC 7800) and jti, the
//     token's id. The token_type is refresh_token: this is no access token, and must not be taken for one.
//   - all others as [NewRevocation] has them.
//
// Asking changes nothing, not even for an outdated secret. A missing manager or authenticator is a [tokenstore.FieldError].
func NewIntrospection(m *tokenstore.Manager, clients Authenticator, opts *IntrospectionOptions) (http.Handler, error) {
	var o IntrospectionOptions
	if opts != nil {
		o = *opts
	}
	e, err := newEndpoint("introspection", m, clients, o.Logger)
	if err != nil {
		return nil, err
	}
	if o.Others == nil {
		o.Others = func(string) bool { return false }
	}
	return &introspection{e, o}, nil
}

type introspection struct {
	endpoint
	opts IntrospectionOptions
}

// inactive is all that is said of a token that is not active.
var inactive = struct {
	Active bool `json:"active"`
}{}

// answer is what is said of an active token (RFC 7662 §2.2).
type answer struct {
	Active    bool              `json:"active"`
	Issuer    string            `json:"iss,omitempty"`
	ClientID  string            `json:"client_id"`
	Subject   string            `json:"sub"`
	Scope     string            `json:"scope,omitempty"`
	Audience  []string          `json:"aud,omitempty"`
	Expires   int64             `json:"exp,omitempty"`
	IssuedAt  int64             `json:"iat"`
	TokenType string            `json:"token_type"`
	SessionID string            `json:"sid,omitempty"`
	ID        string            `json:"jti"`
	Key       map[string]string `json:"cnf,omitempty"`
}

func (i *introspection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	clientID, secret, ok := i.read(w, r)
	if !ok {
		return
	}
	got, err := i.manager.Introspect(r.Context(), secret)
	if err != nil {
		i.fault(w, r, err)
		return
	}
	if !got.Active || got.Token.ClientID != clientID && !i.opts.Others(clientID) {
		writeJSON(w, http.StatusOK, inactive)
		return
	}
	writeJSON(w, http.StatusOK, i.describe(&got.Token))
}

func (i *introspection) describe(token *tokenstore.RefreshToken) answer {
	a := answer{
		Active: true, Issuer: i.opts.Issuer, ClientID: token.ClientID, Subject: token.UserID, ID: token.ID.String(),
		IssuedAt: token.CreatedAt.Unix(), TokenType: "refresh_token",
	}
	if end := token.Deadline(); !end.IsZero() {
		a.Expires = end.Unix()
	}
	a.SessionID, _ = token.SessionID.Get()
	if token.Confirmation != (tokenstore.Confirmation{}) {
		a.Key = map[string]string{token.Confirmation.Kind: token.Confirmation.Value}
	}
	a.Audience, a.Scope = token.ResourceServers.Audiences(), strings.Join(token.ResourceServers.Scopes(), " ")
	return a
}
