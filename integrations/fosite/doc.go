// Package fosite keeps the refresh tokens of an authorization server that is built on github.com/ory/fosite in a tokenstore.
//
// fosite splits what is one decision here: a strategy makes secrets, a storage keeps what it calls their signatures, and a
// handler calls one after the other, validating first and rotating later. A [Store] is both halves,
// oauth2.RefreshTokenStrategy and the refresh tokens of oauth2.TokenRevocationStorage. A host embeds it in its strategy and
// in its storage, in both or in none:
//
//	type strategy struct {
//		*compose.CommonStrategy // access tokens, codes, ID tokens
//		*adapter.Store          // refresh tokens
//	}
//
//	type storage struct {
//		*database      // clients, codes, access tokens, PKCE
//		*adapter.Store // refresh tokens
//	}
//
// # Which call does what
//
//	fosite calls                      and here
//	GetRefreshTokenSession            Recognise: a read. Of an outdated secret that a client wants to refresh with: Exchange,
//	                                  which tells a retry from a replay, and gives the retry what it is given again below
//	ValidateRefreshToken              Recognise
//	GenerateRefreshToken, refresh     Exchange: the one atomic step
//	GenerateRefreshToken, otherwise   Issue
//	RotateRefreshToken                a read: whether the exchange was refused
//	CreateRefreshTokenSession         a read: whether the token is still good
//	RevokeRefreshToken, Delete…       Revoke
//
// No secret that fosite is told goes to a client unless the tokenstore made it. What fosite's own storage loses between two
// of its calls is not lost here: the exchange is decided in one step, whatever comes between; a storage call that comes after
// a revocation creates nothing, as there is nothing for it to create.
//
// # Requests are sessions
//
// fosite knows a grant by the id of the request that it began with. That id is the session of the token: so
// RevokeRefreshToken is the revocation of a session, after which the session issues nothing any more. It has 1..50 characters,
// as fosite's own ids do. A host that wants the sessions in which its users signed in gives the authorize request the session's id (SetID) before fosite answers it. Then
// all grants of the session end together, where fosite revokes one: on a code that is used twice, and by RFC 7009.
//
// # What holds
//
// docs/integrations.md has the promises in a table, with what fosite does not let an adapter do. In short:
//
//   - Access tokens are the host's. An exchange that is under way while its grant is revoked may leave a live access token,
//     though no live refresh token. [Options.Replayed] ends those of a grant that was replayed.
//   - A refusal that only the exchange sees, because something came between, is answered as invalid_request, as fosite answers
//     all of its own races; the next attempt gets invalid_grant.
//   - A code whose grant has been revoked since is answered as server_error: a handler has nothing else to say then.
//   - fosite's WriteRevocationResponse answers 200 when the storage failed. Look at the error first.
//   - fosite grants all scopes at a refresh, whatever a client asks for: never more than the token has, and never fewer.
package fosite
