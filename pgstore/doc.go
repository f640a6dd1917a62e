// Package pgstore is the backend on PostgreSQL: many processes, one truth, and the promises of package store for all of them at
// once. [Migrate] makes the tables, and [Open] opens them; it refuses a server on which the promises would not hold.
//
// # Order
//
// A number that a sequence has given out says nothing about when its transaction will be seen. If an insert draws 7, a revocation draws 8,
// commits and is swept to its end, and then the insert commits, its token is below the watermark and lives for ever. So each write first
// takes an advisory lock of its tenant, which ends with the transaction: Insert, Update, Apply and Expire share it; Revoke, Trim, Remember, an
// erasure, and an Update that revokes hold it alone. Only after the lock, in statements with snapshots of their own, are
// numbers drawn and tombstones, guards and records read. From that follows:
//
//   - When a revocation draws its number, all inserts with lower numbers have committed or come to nothing, and none will come:
//     what a sweep does not find is not there (R3, R19).
//   - A revocation is committed when no Update is between its look at the fence and its commit: what is acknowledged
//     has been seen by every Update that commits later (R9).
//   - What admission reads is not changed by anybody who is alone until the insert is committed (R20).
//
// Beside that, an Update locks its record, a capped Insert locks its user and client, whoever writes an event shares a lock of the feed
// with the other writers and with no reader of a page, and each tombstone is locked by who sweeps it, which only shares the work.
// Locks are numbered by a hash; two with one number wait for each other, and nothing else.
//
// The option Serializable takes the portable mode instead, for servers of PostgreSQL's family that have no such locks, or sequences with a
// cache. All transactions are SERIALIZABLE then and repeated where they fail for it; a number is above all watermarks that name the token,
// and a watermark above all numbers (Lamport's rule); an event's number follows the highest. Each writer writes a row that
// each revocation reads, so that none can overlook the other. It is slower, the more so the more callers there are.
//
// # Cost
//
// An issue takes one round trip and an exchange two, if nothing is pending or remembered that might name the token: one
// statement asks for that and writes. Else they take the long way, in two and three. Calls that come while others are under way share a
// transaction. A revocation takes two, however many tokens it reaches, and waits for the calls of its tenant that are under
// way, as those wait for it. An exchange changes no column of an index.
//
// # Failures
//
// A call whose commit had no answer is [store.ErrUnknownOutcome]; any other failure of a write is [store.ErrNotCommitted], with its cause,
// but for a record that can't be read, which is [ErrCorrupt] of every verb that comes to it.
// Once a commit is on its way it is waited for, for up to Options.CommitTimeout, whatever has become of the context. A commit that may not
// have reached its synchronous standby is of unknown outcome, too. No error names the password of a connection whose address is well formed.
//
// docs/adr/0015-postgresql.md says why it is so, and docs/backends.md which backend to choose.
package pgstore
