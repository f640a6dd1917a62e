// Package oauth has the two endpoints of OAuth 2.0 that are about a token by its secret: revocation (RFC 7009) and
// introspection (RFC 7662). Each is an [http.Handler] that can be mounted alone, on a [tokenstore.Manager]:
//
//	mux.Handle("/oauth/revoke", revocation)
//	mux.Handle("/oauth/introspect", introspection)
//
// Both take an HTTP POST of a form, from a client that an [Authenticator] has recognised. They serve refresh tokens only:
// an access token is not known here, and is answered as unknown. Secrets are read from the body alone, and are in no
// log, error or answer. Serve them by TLS only, which the RFCs demand.
package oauth
