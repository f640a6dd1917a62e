// Package management serves the refresh-token part of Auth0's Management API over a [tokenstore.Manager], so that clients,
// scripts and SDKs which know that API work unmodified. It needs net/http only: mount the handler of [New].
//
// A deletion is answered by 202 once the revocation is durable. From then on no exchange of a revoked token succeeds; reads
// may show it until it has been swept, unless they ask for consistency=fenced. The header Tokenstore-Revocation names the
// revocation, and GET /api/v2/revocations/{id} shows how far it has come. With an Idempotency-Key a repeated request is the
// same revocation; without one it is a new revocation of what exists by then.
//
// What is served, and what differs from the original, is in docs/management.md.
package management
