// Package tokenstoretest checks a whole [tokenstore.Manager], on any backend, against what tokenstore promises:
//
//   - S1 fence: after Revoke returns, no exchange or introspection of a covered token succeeds, and no update touches it.
//   - S2 exact: no token outside the targets, and none issued after the revocation, is touched.
//   - S3 monotone: what was once seen revoked is never seen live again.
//   - S4 no resurrection: no interleaving of issue, import, exchange, sweep, retirement, trim and restart brings a
//     covered token back.
//   - S5 durable: what was acknowledged is there after the backend has been opened again.
//   - S6 isolated: nothing crosses tenants.
//   - S7 single use: all exchanges of one secret that succeed receive the same successor.
//   - L1 converge: with the sweep going on and no new revocations, all of them retire, and what is expired is removed.
//   - F1 feed: of whatever was acknowledged there is an event, of nothing else is there one, and a reader that lags, crashes
//     and goes on from its cursor sees each at least once, or is told that it comes too late.
//
// Beside them it predicts what policies, caps and lifetimes make of each token: who is evicted, which use is noted, which
// tokens go when another begins to rotate.
//
// All that may come in between is drawn too: two planners that sweep at once, each by what it took for pending when it last
// looked; two engines on one backend, of which one is woken by nobody and lives on its polls; clocks that step back, or a year
// ahead; calls of the store that fail, with or without effect, while the host repeats them as docs/errors.md says; and a backup
// that takes the place of the database as it is, without [tokenstore.Restore]. Of that, what is checked is what holds all the same:
// what had been acknowledged before the backup, that a secret which is newer than its record is refused with ErrAhead or as unknown
// and writes nothing, that a cursor of the feed which was never given out is refused, and that what was revoked since can be revoked
// again.
//
// Concurrent calls are checked twice, in real time and with real times of the calls (Linearizable). One check searches for an order of
// the calls that explains every answer and keeps to the order of those that did not overlap: each call is one atomic step. The
// other, which knows nothing of the first, compares times only: what began after a revocation returned must fail (S1), what a
// revocation that had returned before the issue can't have refused must succeed (S2), and a secret has one successor (S7). Calls
// fail, are cancelled around the commit and repeated; one of unknown outcome may take effect at any later time, or never.
// What this does not show: a history has about a hundred calls of two dozen tokens, of one process; how calls overlap is up to the
// scheduler and is not repeated by a seed; what can't be told from answers alone, and what takes longer than a round, is not
// seen.
//
// Exhaustive leaves nothing to chance. Calls of a few parts, and the engine's Run, stand at a gate before each verb of the store, and are
// let through one at a time, in every order that there is; the process ends at each point in turn, before a verb and between its
// effect and its answer, and whoever had no answer calls again. After every step what the store shows is compared with a model that
// orders by the schedule alone, and at the end the oracle of real time has its say. What is atomic is taken from the backend's word: a
// verb is one step, or has the steps between which it asks its context for its error (Config.Steps). Verbs that share a commit are
// not played. Each number of steps is small: up to three tokens, three revocations, two planners, one crash, one lost answer.
//
// A test of a backend takes one call:
//
//	func TestPromises(t *testing.T) {
//		tokenstoretest.Run(t, tokenstoretest.Config{New: func(t testing.TB) store.Backend { return mystore.New() }})
//	}
//
// Random operations are drawn from a universe that is small enough for them to collide. Beside the manager runs a model
// that is a list of events: what was issued and what was revoked, in the order in which the calls returned. It orders by
// that list alone, never by the store's sequence, reads targets by rules of its own, and says after every step what must
// be seen.
//
// Two subtests predict nothing, or little. Laws has the same revocations recorded in two ways, and Metamorphic has the same
// actions happen on several backends used in several ways; what can be seen must be the same, byte for byte, in a canonical
// form. That form writes the numbers of a sequence as places among those that all have in common. It leaves out, by rule, what
// is not promised: tokens that are dead, which a sweep may have removed or not; and what is remembered of a revocation that
// names nothing but ids of dead tokens, which need not be recorded. An erasure has no part in either.
//
// The flags and environment variables of pgregory.net/rapid apply: -rapid.checks and -rapid.steps say how much is tried,
// -rapid.seed repeats a run. A failure names the promise; the log of the smallest failing case says how it came about. That of
// Linearizable, which is not made smaller, has the calls that led to it, and a picture of all of them for a browser, which go test
// keeps with -artifacts.
package tokenstoretest

import (
	"slices"
	"testing"

	"example.com/tokenstore"
	"example.com/tokenstore/store"
	"pgregory.net/rapid"
)

// Config says how to get at the backend under test. Its first two fields are those of package storetest.
type Config struct {
	// New returns a fresh and empty backend. It is called for every case and round, for those of MachineWithEngine and Metamorphic
	// within a bubble of testing/synctest; t is the test as a whole. Each case closes its backend.
	New func(t testing.TB) store.Backend

	// Reopen closes the backend and opens the same database again. Nil says that the backend keeps nothing: S5 is then
	// not checked.
	Reopen func(t testing.TB, b store.Backend) store.Backend

	// Copy makes a copy of the backend as it is now, as a backup does, and returns what opens the copy, as often as it is called and
	// each time as a backend of its own. Nil has full exports be the backups, of stores that are a [store.Mover].
	Copy func(t testing.TB, b store.Backend) (open func(t testing.TB) store.Backend)

	// Quick returns such a backend as New, made quickly: Exhaustive wants thousands. Nil has it call New.
	Quick func(t testing.TB) store.Backend

	// Steps says that the verbs of a tenant that take more than one step ask their context for its error before each, and hold no
	// lock while they do. Exhaustive then lets other calls in between the steps, and not only between the verbs.
	Steps bool

	// NoBubble says that the backend does not work in a bubble of testing/synctest, for example because it talks to
	// another process. MachineWithEngine, Faults and Exhaustive are then skipped, and Metamorphic does without the engine.
	NoBubble bool

	// Others are further backends that have a part in Metamorphic, each in every other case, such as the same one with other
	// options. Of each, only New and Reopen are looked at.
	Others []Config

	wrap    func(store.Backend) store.Backend // puts a fault between the managers and the backend
	tune    func(*tokenstore.Options)         // makes a fault of an option
	without []string                          // operations and modes that are not drawn
	still   bool                              // no goroutine beside the case's own
}

// tells reports whether the stores of the backend have a feed.
func (c *Config) tells(t *testing.T) bool {
	t.Helper()
	backend := c.New(t)
	defer backend.Close()
	st, err := backend.Tenant(tenantNames[0])
	if err != nil {
		fail(t, "a tenant needs no creation", "Backend.Tenant: %v", err)
	}
	return tells(st)
}

// draws reports whether an operation or a mode is drawn.
func (c *Config) draws(name string) bool { return !slices.Contains(c.without, name) }

// Run checks the promises in seven subtests. A store that is no [store.Outbox] is not asked for its feed, and one that is no
// [store.Mover] is neither moved nor asked for what it remembers. Machine sweeps and trims by calls of its own, slice by slice, in between
// all other operations. MachineWithEngine has the Run of one or two engines do it, in virtual time. Laws checks that the order,
// grouping and repetition of revocations don't matter, nor when and by whom they are swept. Metamorphic has one list of actions
// happen to the backend that keeps everything in memory and to the configured ones, in other ways, and compares all answers. Faults has
// the n-th call of the store fail, for every n, and checks that a caller who repeats what failed loses nothing. Linearizable
// has callers overlap, in as many rounds as there are checks, but ends early after 20 ms for each: two seconds, by default. Exhaustive
// plays every schedule of small scopes; the environment variable EXHAUSTIVE asks for fewer scopes (small) or all of them (long).
func Run(t *testing.T, c Config) {
	t.Helper()
	t.Run("Machine", func(t *testing.T) {
		if c.Reopen == nil {
			t.Log("S5 durable is not checked: the backend keeps nothing (Config.Reopen is nil)")
		}
		if !c.tells(t) {
			t.Log("F1 feed is not checked: the stores of the backend have no feed (store.Outbox)")
		}
		checkCases(t, func(rt *rapid.T) { runMachine(rt, t, c) })
	})
	t.Run("MachineWithEngine", func(t *testing.T) {
		if c.NoBubble {
			t.Skip("the backend does not work in a bubble of testing/synctest (Config.NoBubble)")
		}
		checkCases(t, func(rt *rapid.T) {
			rapid.SyncTest(rt, func(rt *rapid.T) { runMachineWithEngine(rt, t, c) })
		})
	})
	t.Run("Laws", func(t *testing.T) {
		checkCases(t, func(rt *rapid.T) { runLaws(rt, t, c) })
	})
	t.Run("Metamorphic", func(t *testing.T) {
		checkCases(t, func(rt *rapid.T) {
			if c.NoBubble {
				runMetamorphic(rt, t, c)
				return
			}
			rapid.SyncTest(rt, func(rt *rapid.T) { runMetamorphic(rt, t, c) })
		})
	})
	t.Run("Faults", func(t *testing.T) {
		if c.NoBubble {
			t.Skip("the backend does not work in a bubble of testing/synctest (Config.NoBubble)")
		}
		runFaults(t, c)
	})
	Linearizable(t, c)
	t.Run("Exhaustive", func(t *testing.T) {
		if c.NoBubble {
			t.Skip("the backend does not work in a bubble of testing/synctest (Config.NoBubble)")
		}
		runExhaustive(t, c)
	})
}

// fail stops the case. The details go to the log only, because rapid can make a case smaller as long as the message stays
// the same.
func fail(t rapid.TB, promise, format string, args ...any) {
	t.Helper()
	t.Logf(format, args...)
	t.Fatal(promise)
}
