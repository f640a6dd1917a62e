// Package tokenstore keeps OAuth 2.0 refresh tokens and revokes them, as a library for auth servers written in Go.
//
// A [Manager] on a backend (package memstore keeps everything in memory, package boltstore in a file) covers a token's life:
//
//   - Issue creates a token and returns its secret, once. Only digests of it are stored.
//   - Exchange takes a secret and returns the next one. The record is updated in place. A client that lost the answer asks
//     again and gets the same secret; anyone who shows an older one has the token revoked.
//   - Introspect, Get, List and All read; UpdateMetadata changes what is the host's.
//   - Revoke names tokens by id, user, client, session, audience, time, or any conjunction, and returns a receipt.
//   - Import brings tokens in from elsewhere.
//   - Feed and Follow show what happened, to those who must hear of it: events written in the commits that they report.
//
// # How a revocation flows
//
// Revoke writes one tombstone, durably, whatever it reaches. That is the revocation: a token is revoked if any tombstone
// covers it, which every exchange checks in the same atomic step in which it would commit. So a revoked token is refused
// from the moment on that Revoke returns, in every process that shares the database, also after a crash. The records
// themselves stay until the engine, which Run drives, has swept them in small slices in the background; Get and List may
// show them that long, unless asked for a Fenced view. When nothing is left, the tombstone is retired: Wait returns. What
// must be remembered stays as a guard, so that a login made before the revocation can't issue after it, and a revoked token
// can't be imported again.
//
// No clock decides what a revocation reaches. Every token gets a number inside the commit that creates it, and every
// tombstone one from the same sequence: what has a lower number is older.
//
// # Packages
//
// Package domain holds the types and the rules, package store the contract that a backend keeps, package revocation the
// engine; package caep makes security event tokens of the feed. Package store/storetest tests any backend against the
// contract, package tokenstoretest a whole Manager on it against the promises of docs/guarantees.md.
package tokenstore
