package storetest

import (
	"testing"

	"example.com/tokenstore/memstore"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
)

// brokenStore is a store with one mistake, and the rules that must find it: exactly these. Where there are several, the
// mistake breaks several promises.
type brokenStore struct {
	name   string
	rules  []string
	wrap   wrapping
	config func(*Config)
}

var broken = []brokenStore{
	// What is written and read (broken_records_test.go).
	{name: "drops a field", rules: []string{"R1", "R6", "R8", "R29"}, wrap: dropsField},
	{name: "overwrites a token whose id is taken", rules: []string{"R2"}, wrap: overwrites},
	{name: "asks the narrowest tombstone only", rules: []string{"R4", "R9"}, wrap: narrowest},
	{name: "unordered page", rules: []string{"R5"}, wrap: unordered},
	{name: "row repeated at a page boundary", rules: []string{"R5"}, wrap: repeatsRow},
	{name: "row skipped at a page boundary", rules: []string{"R5"}, wrap: skipsRow},
	{name: "shows covered tokens in a fenced list", rules: []string{"R5"}, wrap: unfencedList},
	{name: "forgets the revocation of a refusal", rules: []string{"R6"}, wrap: forgetsReplay},
	{name: "keeps the records that are replaced", rules: []string{"R6"}, wrap: keepsReplaced},
	{name: "believes the first run of decide", rules: []string{"R7"}, wrap: firstRun},
	{name: "swallows a panic of decide", rules: []string{"R7"}, wrap: swallowsPanic},
	{name: "ignores a change of identity", rules: []string{"R8"}, wrap: ignoresIdentity},
	{name: "no fence", rules: []string{"R6", "R9"}, wrap: noFence},
	{name: "fence outside the commit", rules: []string{"R9"}, wrap: staleFence},
	{name: "lost update", rules: []string{"R10"}, wrap: lostUpdate},
	{name: "two winners of one exchange", rules: []string{"R10"}, wrap: twoWinners},
	{name: "keeps the rows of a batch", rules: []string{"R23"}, wrap: keepsRows(2)},
	{name: "keeps a single row", rules: []string{"R23"}, wrap: keepsRows(1)},
	{name: "keeps the caller's targets", rules: []string{"R23"}, wrap: keepsTargets},
	{name: "uses one buffer for all pages", rules: []string{"R23"}, wrap: sharesPage},
	{name: "keeps half of a bad batch", rules: []string{"R27"}, wrap: halfBatch},

	// Revocations and sweeps (broken_sweeps_test.go).
	{name: "latest number lags", rules: []string{"R3", "R11", "R42", "R43", "R44"}, wrap: laggingSequence},
	{name: "forgets the actor", rules: []string{"R11"}, wrap: forgetsActor},
	{name: "takes a revocation id for other targets", rules: []string{"R12", "R33"}, wrap: noConflict},
	{name: "records what is not there", rules: []string{"R13"}, wrap: recordsNothing},
	{name: "never supersedes", rules: []string{"R14", "R22"}, wrap: neverSupersedes},
	{name: "any number without an anchor", rules: []string{"R15"}, wrap: neverBusy},
	{name: "revokes too much", rules: []string{"R16", "R33"}, wrap: overRevokes},
	{name: "ignores the watermark on sweep", rules: []string{"R16", "R33", "R34"}, wrap: ignoresWatermark},
	{name: "exceeds the bounds", rules: []string{"R17", "R33", "R34"}, wrap: exceedsBounds},
	{name: "reports no progress", rules: []string{"R18"}, wrap: reportsNothing},
	{name: "checkpoint before effect", rules: []string{"R18", "R19"}, wrap: losesTail},
	{name: "retires early", rules: []string{"R19", "R33", "R34", "R36", "R40"}, wrap: retiresEarly},
	{name: "forgets guards at retirement", rules: []string{"R19", "R20", "R21", "R42"}, wrap: forgetsGuards},
	{name: "the last guard wins", rules: []string{"R21"}, wrap: lastGuardWins},
	{name: "ignores the horizon", rules: []string{"R20", "R22", "R31", "R34", "R42", "R43"}, wrap: ignoresHorizon},
	{name: "does not raise the horizon", rules: []string{"R22", "R31", "R34", "R42", "R43"}, wrap: keepsHorizon},
	{name: "trims what is pending", rules: []string{"R22"}, wrap: trimsPending},
	{name: "revokes and does not erase", rules: []string{"R14", "R33", "R34", "R40", "R44"}, wrap: erasesNothing},
	{name: "forgets guards with the name", rules: []string{"R33"}, wrap: erasesGuards},
	{name: "leaks tokens of other tenants", rules: []string{"R24"}, wrap: leaks()},
	{name: "newest for oldest", rules: []string{"R26"}, wrap: newestPending},

	// Lifetimes and caps (broken_lifetimes_test.go).
	{name: "expires a minute early", rules: []string{"R30", "R36"}, wrap: expiresEarly},
	{name: "never expires", rules: []string{"R30"}, wrap: neverExpires},
	{name: "forgets the idle lifetime", rules: []string{"R30"}, wrap: forgetsIdle},
	{name: "counts before the commit", rules: []string{"R31"}, wrap: countsFirst},
	{name: "does not remember whom it evicted", rules: []string{"R31"}, wrap: evictsUnremembered},

	// The outbox (broken_outbox_test.go).
	{name: "writes events after the commit", rules: []string{"R36"}, wrap: eventsAfterCommit},
	{name: "loses the event of a refusal", rules: []string{"R36"}, wrap: losesEventOfRefusal},
	{name: "writes an event of what it refuses", rules: []string{"R36"}, wrap: inventsEvents},
	{name: "repeats an event at a page boundary", rules: []string{"R37", "R43"}, wrap: repeatsEvent},
	{name: "skips an event at a page boundary", rules: []string{"R37"}, wrap: skipsEvent},
	{name: "shares its events", rules: []string{"R37"}, wrap: sharesEvents},
	{name: "writes events of all kinds", rules: []string{"R38"}, wrap: emitsAll},
	{name: "does not say that a cursor is gone", rules: []string{"R39", "R40", "R42", "R43"}, wrap: resumesSilently},
	{name: "gives numbers again after a trim", rules: []string{"R39"}, wrap: reusesNumbers},
	{name: "drops events of any age", rules: []string{"R39"}, wrap: dropsYoung},
	{name: "leaves names in the feed", rules: []string{"R40"}, wrap: leavesNames},

	// Foreign digests (broken_find_test.go).
	{name: "finds nothing", rules: []string{"R35"}, wrap: findsNothing},
	{name: "finds what was removed", rules: []string{"R35"}, wrap: findsRemoved},
	{name: "loses what was exchanged", rules: []string{"R35"}, wrap: findsUnrotated},
	{name: "does not find what is covered", rules: []string{"R35"}, wrap: findsUncovered},
	{name: "finds tokens of other tenants", rules: []string{"R35"}, wrap: findsEverywhere()},
	{name: "takes a digest twice", rules: []string{"R35"}, wrap: sharesDigest},

	// Moving (broken_move_test.go).
	{name: "skips a guard at a page boundary", rules: []string{"R41", "R42"}, wrap: skipsGuard},
	{name: "does not ask about the former session", rules: []string{"R20"}, wrap: forgetsFormer},
	{name: "does not lift the sequence", rules: []string{"R42"}, wrap: keepsSequence},
	{name: "takes over no guards", rules: []string{"R42"}, wrap: takesNoGuards},
	{name: "begins the feed anew", rules: []string{"R42"}, wrap: changes(func(m *store.Memory) { m.LastEvent = 0 })},
	{name: "takes over again what was taken over to the end", rules: []string{"R42"}, wrap: changes(func(m *store.Memory) { m.Complete = false })},
	{name: "takes over what is occupied", rules: []string{"R42"}, wrap: mixesTenants},

	// What a restoration does (broken_restore_test.go).
	{name: "takes the lost time for current", rules: []string{"R43"}, wrap: takesLostTime},
	{name: "goes on with a cursor of the lost time", rules: []string{"R43"}, wrap: keepsFloor},
	{name: "forgets what a restoration remembers", rules: []string{"R44"}, wrap: restoresAs(func(r *store.Restoration) { r.Guards = nil })},
	{name: "never ends a restoration", rules: []string{"R44"}, wrap: restoresAs(func(r *store.Restoration) { r.Complete = false })},
	{name: "begins an epoch at each call", rules: []string{"R44"}, wrap: restoresAs(func(r *store.Restoration) { r.ID = ulid.Make() })},

	// The backend.
	{name: "grows with every look", rules: []string{"R6"}, config: func(c *Config) {
		keys := 0
		c.Size = func(testing.TB, store.Backend) (int, int) { keys++; return keys, 0 }
	}},
	{name: "names only tenants with work", rules: []string{"R32", "R34", "R43"}, config: func(c *Config) {
		inner := *c
		c.New = func(t testing.TB) store.Backend { return namesNone{inner.New(t)} }
		c.Reopen = nil
	}},
	{name: "names idle tenants", rules: []string{"R25"}, config: func(c *Config) {
		within(c, func(b store.Backend) store.Backend { return &namesAll{Backend: b} })
	}},
	{name: "does not close", rules: []string{"R28"}, config: func(c *Config) {
		within(c, func(b store.Backend) store.Backend { return neverCloses{b} })
		c.Reopen = nil
	}},
	{name: "forgets all at a restart", rules: []string{"R29", "R33", "R34", "R35", "R37", "R39", "R40", "R42", "R43", "R44"}, config: func(c *Config) {
		c.Reopen = func(_ testing.TB, b store.Backend) store.Backend { return memstore.New() }
	}},
}

// within puts something between the suite and every backend that it makes.
func within(c *Config, wrap func(store.Backend) store.Backend) {
	inner := *c
	c.New = func(t testing.TB) store.Backend { return wrap(inner.New(t)) }
	c.Reopen = func(t testing.TB, b store.Backend) store.Backend {
		n := b.(*namesAll)
		n.Backend = inner.Reopen(t, n.Backend)
		return n
	}
}
