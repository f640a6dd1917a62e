// Package zitadel keeps the refresh tokens of an OpenID provider that is built on github.com/zitadel/oidc/v3 in a
// tokenstore.
//
// [Storage] is the part of [op.Storage] that has to do with refresh tokens. A host embeds it in the storage that it gives to
// [op.NewProvider], and keeps the rest itself: clients, authentication requests, users, keys, access tokens.
//
//	type storage struct {
//		*zitadel.Storage // refresh tokens
//		…                // and the rest
//	}
//
// # Which call does what
//
//	grant                  op asks                           and here
//	authorization_code     CreateAccessAndRefreshTokens      Issue
//	refresh_token          TokenRequestByRefreshToken        Recognise: a read, which consumes nothing
//	                       op compares client and scope
//	                       CreateAccessAndRefreshTokens      Exchange: the one atomic step, which checks everything again
//	revocation             GetRefreshTokenInfo, RevokeToken  Recognise, Revoke
//	end of session         TerminateSessionFromRequest       Revoke
//
// TokenRequestByRefreshToken decides nothing. What it read may be revoked, used or expired a moment later, and the exchange
// sees it. It also lets an outdated secret pass, since only the exchange can tell the retry of a client that lost an
// answer from a replay, and only once the client is known to be the right one: a wrong client, or a wider scope, writes
// nothing, not even with a stolen secret. As the exchange comes before the access token is made, a refused one leaves none
// behind; and a client whose access token failed, or whose answer was lost, gets the same refresh token again.
//
// # What holds
//
// All promises of docs/guarantees.md hold for refresh tokens. docs/integrations.md has them in a table, with what op does
// not let an adapter do. In short:
//
//   - An error of TokenRequestByRefreshToken is answered as invalid_grant by op, whatever it is. A client would give up a
//     good token because the database had a moment of trouble. [Interceptor] makes such answers 503, and has revocations
//     by a wrong hint reach their token: install it.
//   - op's introspection endpoint never asks a storage about a refresh token: it answers that it is not active. Mount the
//     one of package oauth beside it, with [Clients].
//   - op's token exchange grant (RFC 8693) takes a refresh token for its subject without exchanging it. The subject of an
//     outdated one is empty: a host that has this grant refuses those, and compares the client.
//   - Access tokens are the host's. It learns which refresh token each belongs to, and can refuse it when that is revoked;
//     a resource server that verifies JSON Web Tokens by itself does not ask.
package zitadel
