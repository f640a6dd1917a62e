// Package pgtest starts real PostgreSQL servers for tests, from the programs that Debian's packages postgresql and pgbouncer
// install, and does to them what happens to servers: they are killed, restarted, followed by a standby that is promoted, and
// their connections are cut.
//
// A server keeps what it acknowledges: fsync and synchronous_commit are on. It listens on a socket in a folder of its own, which
// goes with it. The tests of a binary share one, on which each has a database of its own; those that harm it start another.
//
// A missing program fails the test, unless the environment variable PGSTORE_SKIP is 1.
package pgtest
