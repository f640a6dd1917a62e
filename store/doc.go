// Package store is the contract between tokenstore and the database that keeps its records: the [Backend] and [Store]
// interfaces, the values they exchange, their errors, and the promises below. Package storetest holds a test for each of
// them, which fails by its number.
//
// A store is dumb on purpose. It reads no clock and draws no randomness: time, ids, salts and secrets come in as
// arguments. It decides nothing that package domain decides: who is covered is [domain.Tombstone.Covers], who may be
// inserted is [domain.Guard.Bars], what an exchange does is the caller's decide function.
//
// # Promises
//
// Each verb of a Store is one atomic step: all of it happens or nothing, nobody sees half of it, and all that a later
// call sees is consistent with one order of the steps (linearizable). A context that ends before the commit may end the
// call; what was returned without error is durable.
//
//   - R1 insert: Insert keeps every field of an admitted token as given, and numbers it. A row is refused on its own.
//   - R2 exists: an id that is taken is [ErrExists], with the record that has it; within one batch, the first row wins.
//   - R3 sequence: sequences rise with every insert and every revocation, across tenants' restarts too. A token inserted
//     after a revocation was acknowledged has a sequence above its watermark, one inserted before has not.
//   - R4 get: Get returns the record as last committed, covered or not, and names a tombstone that covers it.
//     An id that is not there is [ErrNotFound].
//   - R5 list: List returns tokens of the query by ascending id, each exactly once over all pages as long as it is there
//     throughout; a page has at most Limit rows; a page that is not the last has at least one; Fenced leaves out what
//     a tombstone covers.
//   - R6 update: Update shows decide the current record and whether it is covered, and commits what it decides, the
//     record and the revocation together, or nothing. A verdict of decide is returned, for errors.Is to find. The
//     record that was replaced leaves nothing behind.
//   - R7 pure: decide may run any number of times; only the last run counts. If it panics, its caller gets the panic and
//     nobody else notices anything.
//   - R8 identity: an Update that would change what never changes ([domain.RefreshToken.SameIdentity]) is
//     [ErrImmutable], and writes nothing.
//   - R9 fence: no Update replaces the record of a covered token: [ErrCovered]. A revocation that is acknowledged before
//     the Update commits has been seen by decide.
//   - R10 single use: of concurrent Updates of one record, each is decided on the outcome of the one before.
//   - R11 revoke: Revoke records one tombstone in one commit, whatever it reaches. The watermark is its own number in the
//     sequence; Through is not before the creation of any token then stored. Revocations lists each once, by ascending
//     id, in pages as in R5.
//   - R12 repeat: a Revoke with the id of an earlier one returns that one if the targets are the same, in the same
//     order, and it erases if that one does, also when their users were erased since; it is [ErrConflict] otherwise.
//   - R13 nothing to do: a Revoke whose targets all name an id, none of them a token that is there and that the target
//     matches, writes nothing and succeeds, as retired.
//   - R14 supersede: a later tombstone with the same targets retires the earlier, and says so in its status. Those
//     that erase do so among themselves.
//   - R15 unanchored: at most [MaxUnanchored] pending tombstones have a target without an anchor; one more is [ErrBusy], unless
//     it supersedes one of them.
//   - R16 exact: Apply removes only tokens that a given tombstone covers, or one that shares its walk.
//   - R17 bounds: Apply visits and removes at most as many rows as it is allowed to, but gets on if it may visit one.
//   - R18 progress: what Apply removed and what it reports are in the same commit; calling it again and again, in any
//     slices and from several callers, retires every tombstone.
//   - R19 retire: a tombstone is retired only when no token that it covers is left and none can still become visible, or
//     by R14. Together with that, its guards are remembered.
//   - R20 admission: Insert refuses a candidate that a pending tombstone or a guard bars at its as-of point
//     ([domain.ErrRevoked]), as it is or in its former session, or that stems from before the horizon
//     ([domain.ErrBeyondMemory]) and is not cleared of it.
//   - R21 guards: guards of the same target are joined by their maximum.
//   - R22 trim: Trim forgets only guards and retired tombstones older than it is told, and raises the horizon in the same
//     commit. It never drops what is pending, nor what leads to a revocation that superseded it and is still there.
//   - R23 memory: nothing that is handed in or out is shared. A caller may change what it gave or got as soon as the call has returned.
//   - R24 tenants: no verb of one tenant's store sees or touches another's.
//   - R25 pending: Backend.Pending names the tenants which have pending tombstones, and no others.
//   - R26 state: State counts what is there, tokens without a session apart.
//   - R27 bad input: what breaks a limit is a [domain.FieldError], and nothing is written.
//   - R28 closed: Close waits for what is in flight; after it every verb is [ErrClosed]. Close may be called again.
//   - R29 durable: what was acknowledged is there after the backend is opened again. (Backends that keep nothing
//     are exempt, and say so.)
//   - R30 expire: Expire removes only tokens that are expired at the instant it is given, within its bounds, and called
//     again and again all that have been so for a second. Its Next is at most a second after the earliest deadline that
//     was last seen, or than now where somebody else is at what is due.
//   - R31 cap: an insertion with a cap is counted, and evicts or is refused, in its own commit, so that no user ever has
//     more live tokens of a client than the cap of the latest insertion, whatever happens at once.
//   - R32 names: Backend.Tenants names every tenant that was created or written to, but for one that was erased since and
//     of which there is nothing left to trim.
//   - R33 erase user: when a revocation that erases a user is retired, nothing that was recorded before it names the user
//     any more: targets and guards bear the pseudonym, an actor too, and reasons are gone. They refuse what they refused
//     before. What was recorded later stays as it is.
//   - R34 erase tenant: when a revocation that erases everything is retired, nothing is left of what was recorded before it,
//     but for the sequence, a horizon that bars what stems from then, and its own entry in the history, without reason and
//     actor.
//   - R35 find: Find returns the id of the token that has the foreign digest, from the commit that inserts the token to the
//     one that removes it, whatever happens in between. A token without one is not found. An insertion whose digest is
//     that of a token that is there, under another id, is [ErrDigestTaken]; within one batch, the first row wins.
//   - R36 outbox: an event that a verb was asked to emit is in the feed if and only if what it reports is committed, from that
//     moment on; also where a refusal commits a revocation. Whether anybody reads makes no difference to a writer.
//   - R37 feed: numbers rise in the order of the commits, without a gap where the store is [Gapless] and says so. Feed returns each event after its cursor exactly once over all
//     pages; a page has at most the limit of rows, and one that is not the last has at least one.
//   - R38 kinds: no event is written of a kind that was not asked for. A slice of a sweep is one event for each revocation that
//     it removed tokens for or retired, and a slice of expiry is one if it removed any.
//   - R39 retention: Trim drops only events older than it is told, from the oldest on without a gap. A cursor from which events
//     were dropped is a [CursorGoneError] that says from where all is there; no number is given again.
//   - R40 erased events: when a revocation that erases a user is retired, no event of what was recorded before it names the
//     user. What was about her alone has become an event of [KindErased], under its number. The erasure of a tenant drops the
//     events of all that was recorded before it.
//   - R41 hand over: of a [Mover], Guards returns every guard that is there throughout, once or more over all pages; a page has
//     at most Limit guards, and none but the last is empty.
//   - R42 take over: of a [Mover], Remember raises the sequence and the horizon to at least what it is given, joins the guards
//     to those that are there, keeps an erasure key where there is none, and raises the number of the latest event while there
//     is no event, in one commit; again and again with the same origin, until that is complete. It is [ErrOccupied], and writes nothing, for a tenant that was written to before it first took over.
//   - R43 epoch: of a [Restorer], Restore raises the sequence, the horizon's, the number of the latest event and that up to which
//     events have been dropped to one number, in one commit with its record. The number is that of [NextEpoch]: above all that the tenant
//     has given out, and above what a lost life of it has. So an exact as-of point of the lost time, or of before, is
//     [domain.ErrBeyondMemory], and a cursor a [CursorGoneError] that leads to the new epoch. All else is as it was.
//   - R44 restored: Restorations lists the latest [MaxRestorations], oldest first. A Restore with the id of one that is recorded
//     begins nothing: it joins its guards, as of the epoch, to those that are there, until the restoration is complete, and changes nothing
//     from then on. Erasures leave of the records what they leave of revocations.
package store
