// Package storetest is the conformance suite and the benchmark of package store, for any backend. It holds one test for
// each of the numbered promises there, and a failure names the promise, what was expected, and why it matters.
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, storetest.Config{New: func(t testing.TB) store.Backend { return mystore.New() }})
//	}
//
// Some rules are property tests. The flags and environment variables of pgregory.net/rapid apply to them: for instance
// -rapid.checks=20 makes fewer trials against a slow database.
package storetest

import (
	"fmt"
	"strings"
	"testing"

	"example.com/tokenstore/store"
)

// Config says how the suite gets at the backend under test.
type Config struct {
	// New returns a fresh and empty backend. The suite closes it.
	New func(t testing.TB) store.Backend

	// Reopen closes the backend and opens the same database again. Nil says that the backend keeps nothing: R29 is then
	// reported as skipped.
	Reopen func(t testing.TB, b store.Backend) store.Backend

	// Size counts the keys that the backend keeps, those of indexes among them, and the bytes of all keys and values. Nil
	// says that this can't be told: R6 then judges by what State counts.
	Size func(t testing.TB, b store.Backend) (keys, bytes int)

	// Bytes is how much the backend takes at the moment: of the heap if it keeps everything there, else of the disk. Nil says
	// that this can't be told: the benchmark "size" then reports nothing.
	Bytes func(t testing.TB, b store.Backend) int64

	// Tokens is how many tokens the backend holds while it is measured, 1000 at least. Defaults to 10,000.
	Tokens int
}

// Run tests every promise of package store in a subtest of its own, each against a fresh backend.
func Run(t *testing.T, c Config) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.title(), func(t *testing.T) {
			t.Helper()
			r.run(t, c)
		})
	}
}

// rule is the test of one promise.
type rule struct {
	number int
	name   string
	why    string // why is what goes wrong for users of a store that breaks the rule
	check  func(t testing.TB, e *env)
}

// rules is in the order and with the names of package store's documentation; a test compares them.
var rules = []rule{
	{1, "insert", "what was issued must be exchanged under the terms that it was issued under", checkInsert},
	{2, "exists", "an id names one token for good; a second insert must not undo what happened to the first", checkExists},
	{3, "sequence", "the sequence alone tells which tokens a revocation reaches", checkSequence},
	{4, "get", "what is shown of a token must be what the last commit made of it", checkGet},
	{5, "list", "a walk over pages decides what an operator sees, and must miss and repeat nothing", checkList},
	{6, "update", "a record without its revocation, or the reverse, leaves a replayed token alive", checkUpdate},
	{7, "pure", "databases retry, and what a discarded run has decided must leave no trace", checkPure},
	{8, "identity", "a token that changes its owner, session or sequence slips away from its revocations", checkIdentity},
	{9, "fence", "a revocation that was acknowledged is final from that moment on", checkFence},
	{10, "single use", "two live successors of one secret are a stolen token that nobody notices", checkSingleUse},
	{11, "revoke", "a revocation is one durable write, however many tokens it reaches", checkRevoke},
	{12, "repeat", "a caller that got no answer must be able to ask again", checkRepeat},
	{13, "nothing to do", "ids that never were must not fill the database", checkNothingToDo},
	{14, "supersede", "repeating a revocation must not pile up work", checkSupersede},
	{15, "unanchored", "the fence looks at all of these at every exchange, so they must stay few", checkUnanchored},
	{16, "exact", "nobody may be logged out by a revocation that does not name them", checkExact},
	{17, "bounds", "the bounds are what keeps exchanges quick during a sweep", checkBounds},
	{18, "progress", "a sweep that is interrupted, repeated or shared must still come to its end", checkProgress},
	{19, "retire", "what is retired is not looked at again, so what it left behind would live for ever", checkRetire},
	{20, "admission", "a login or an import from before a revocation must not bring back what it ended", checkAdmission},
	{21, "guards", "a later guard must not make an earlier one forgotten", checkGuards},
	{22, "trim", "what is forgotten must be known to be forgotten, or it would be admitted again", checkTrim},
	{23, "memory", "a caller that reuses a buffer must not change what is revoked", checkMemory},
	{24, "tenants", "one customer's revocation must not reach another customer", checkTenants},
	{25, "pending", "a tenant that is not named is never swept", checkPending},
	{26, "state", "operators and pacing rely on the counts", checkState},
	{27, "bad input", "half of a bad batch, or a value that can't be read back, is worse than an error", checkBadInput},
	{28, "closed", "a write that nobody keeps must not look like success", checkClosed},
	{29, "durable", "a revocation that a restart forgets has never been one", checkDurable},
	{30, "expire", "what is over must go, and nothing else, without an exchange paying for it", checkExpire},
	{31, "cap", "a cap that two logins can pass at once is none", checkCap},
	{32, "names", "a tenant that is not named never has its expired tokens removed", checkNames},
	{33, "erase user", "a name that is left behind, or a guard that went with it, breaks the law or the fence", checkEraseUser},
	{34, "erase tenant", "a customer who leaves takes everything along, and nothing of it may come back", checkEraseTenant},
	{35, "find", "a client that still has a secret from elsewhere is known by nothing else, and its replay neither", checkFind},
	{36, "outbox", "who hears of a revocation that never was, or never hears of one, logs the wrong people out", checkOutbox},
	{37, "feed", "a reader that resumes must miss nothing", checkFeed},
	{38, "kinds", "every event costs a commit a write, so nobody pays for those that nobody asked for", checkKinds},
	{39, "retention", "a reader that is too late must know what it missed, or it will never ask", checkRetention},
	{40, "erased events", "a name that is left in the feed is read by those who must have forgotten it", checkErasedEvents},
	{41, "hand over", "a guard that is left behind lets what it refuses into the other database", checkHandOver},
	{42, "take over", "a tenant that moves must refuse what it refused, and must not mix with another", checkTakeOver},
	{43, "epoch", "numbers that are given twice let a login from before a revocation through, and hide events from readers", checkEpoch},
	{44, "restored", "a backup that was let un-revoke must be known, and a restoration that was broken off must come to its end", checkRestored},
}

func (r *rule) id() string { return fmt.Sprintf("R%d", r.number) }

func (r *rule) title() string {
	return fmt.Sprintf("R%02d_%s", r.number, strings.ReplaceAll(r.name, " ", "_"))
}

// run checks the rule against a fresh backend.
func (r *rule) run(t testing.TB, c Config) {
	t.Helper()
	tb := &ruled{TB: t, rule: r}
	e := &env{config: c, ctx: t.Context(), backend: c.New(tb)}
	defer func() {
		if err := e.backend.Close(); err != nil {
			tb.Errorf("Close must succeed: got %v", err)
		}
	}()
	r.check(tb, e)
}

// ruled puts the rule to every failure.
type ruled struct {
	testing.TB
	rule *rule
}

func (t *ruled) explain(what string) string {
	return fmt.Sprintf("%s %s: %s\n(%s)", t.rule.id(), t.rule.name, strings.TrimSuffix(what, "\n"), t.rule.why)
}

func (t *ruled) Error(args ...any) {
	t.Helper()
	t.TB.Error(t.explain(fmt.Sprintln(args...)))
}

func (t *ruled) Errorf(format string, args ...any) {
	t.Helper()
	t.TB.Error(t.explain(fmt.Sprintf(format, args...)))
}

func (t *ruled) Fatal(args ...any) {
	t.Helper()
	t.TB.Fatal(t.explain(fmt.Sprintln(args...)))
}

func (t *ruled) Fatalf(format string, args ...any) {
	t.Helper()
	t.TB.Fatal(t.explain(fmt.Sprintf(format, args...)))
}
