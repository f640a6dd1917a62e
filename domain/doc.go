// Package domain holds the types and the rules of tokenstore: what a refresh token is, what a revocation names, and
// when the one covers the other. It is pure: no I/O, no goroutine, no clock; time, ids and randomness are arguments.
//
// The words, as the code and the documents use them:
//
//   - token: the record ([RefreshToken]). Its id is a ULID: public, and stable for the token's whole life.
//   - secret: the text that a client holds and exchanges ([Secret]). It is never stored and never logged.
//   - generation: how often the secret of a rotating token has been replaced.
//   - session id: nullable ([SessionID]); null for legacy tokens ([LegacyRule]).
//   - issue sequence: the number a store gives a token inside the commit that creates it. It orders issues against
//     revocations; no clock does.
//   - target: what a revocation names ([Target]).
//   - tombstone: the durable, immutable record of one revocation ([Tombstone]).
//   - covers: a tombstone covers a token if one of its targets matches it and the token's sequence is not above the
//     tombstone's watermark ([Tombstone.Covers], the one definition).
//   - guard: what is remembered of a tombstone after it has been swept ([Guard]), bounded by a [Horizon].
//   - as-of: the point that an issue or an import claims to stem from ([AsOf]).
//
// All types are values. The ones that hold several things ([ResourceServers], [Metadata]) are immutable, so that a
// record may be copied by assignment and no two holders of it can disturb each other.
package domain
