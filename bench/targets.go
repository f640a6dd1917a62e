package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// target is what a figure must be.
type target struct {
	measure string
	must    bound
	stretch bound // what would be better still; the zero bound for none
	figure  spread
	unit    string
	limit   string // why it, or the stretch, can't be met, where it is not
}

// bound is a limit from above or from below. The zero bound is none.
type bound struct {
	limit   float64
	atLeast bool
}

func atMost(v float64) bound  { return bound{limit: v} }
func atLeast(v float64) bound { return bound{limit: v, atLeast: true} }

func (b bound) String() string {
	switch {
	case b == (bound{}):
		return ""
	case b.atLeast:
		return "≥ " + short(b.limit)
	}
	return "≤ " + short(b.limit)
}

// verdict says whether the median keeps within a bound.
func (b bound) verdict(s spread) string {
	switch {
	case b == (bound{}):
		return ""
	case s.n == 0:
		return "not measured"
	case b.missed(s):
		return "**no**"
	}
	return "yes"
}

// missed says whether the median was measured, and does not keep within a bound. What is no number keeps within none.
func (b bound) missed(s spread) bool {
	return b != (bound{}) && s.n > 0 && !(b.atLeast && s.median >= b.limit || !b.atLeast && s.median <= b.limit)
}

// twicePostgres is how much faster an exchange must be than PostgreSQL's.
var twicePostgres = atLeast(2)

// none is the bound of what must not happen at all: a turn of thousands of calls has some allocations of its own.
var none = atMost(0.01)

// targets compares the run with what is wanted.
func (b *bench) targets() []target {
	r := b.results
	rate, p50, cpu := (*turn).rate, (*turn).p50, (*turn).cpuPerCall
	of := func(measure, x, y string, figure func(*turn) float64) spread {
		return r.ratio(measure, x, measure, y, figure)
	}
	levels := b.levels()
	most := levels[len(levels)-1].key()
	slower := func(name string) spread {
		return of(most, name, boltName, func(t *turn) float64 { return float64(t.elapsed) })
	}
	sweeping := func(verb string) spread {
		return r.ratio(verb+" sweeping", boltName, verb+" quiet", boltName, (*turn).p99)
	}
	count := func(name string) spread {
		return spreadOf([]float64{b.facts["revoke many "+name].median / b.facts["revoke few "+name].median})
	}
	if b.facts["revoke few pages"].n == 0 {
		count = func(string) spread { return spread{} }
	}
	seenByP99 := atLeast(5) // a turn has some 500 commits, and fewer than a hundredth of them would not show in its p99
	twiceAlone := bound{}   // linear, and small
	if alone := b.facts["growth alone"]; alone.n > 0 {
		twiceAlone = atMost(math.Round(2 * alone.median))
	}
	stall := b.worstP99(named("issue", 64), boltName)
	allocs := spreadOf(r.each("memory/introspect/1", memName, func(t *turn) float64 { return t.allocs }))
	user := fmt.Sprintf("revoke a user, %s tokens to %s: ", short(float64(levels[len(levels)-1].tokens)), short(float64(levels[0].tokens)))
	return []target{
		{"memstore introspect, 1 caller, to a map, SHA-256 and one field", atMost(1.25), bound{}, of("memory/introspect/1", memName, mapName, cpu), "×", introspectLimit(r)},
		{"memstore introspect, 1 caller, to fosite's lookup, which hashes nothing", bound{}, atMost(1), of("memory/introspect/1", memName, fositeName, cpu), "×", lookupLimit(r)},
		{"memstore introspect, allocations", none, bound{}, allocs, "", ""},
		{"memstore issue with all indexes, 1 caller, to fosite's", atMost(1), bound{}, of("memory/issue/1", memName, fositeName, cpu), "×", issueLimit(r)},
		{"boltstore issue, 1 caller, to `db.Batch`", atLeast(10), bound{}, of("issue/1", boltName, batchName, rate), "×", batchLimit(r)},
		{"boltstore issue, 1 caller, p50 to a bbolt commit of the bare record", atMost(1.5), bound{}, of("issue/1", boltName, bareName, p50), "×", ""},
		{"boltstore issue, 64 callers, to `db.Batch` with four indexes", atLeast(4), bound{}, of("issue/64", boltName, batchName, rate), "×", ""},
		{"boltstore issue, 64 callers, worst turn's p99 to the median turn's", atMost(2), bound{}, stall, "×", stallLimit(r)},
		{"boltstore issue, 64 callers, merges in each turn, least", seenByP99, bound{}, leastMerges(r), "", ""},
		{"boltstore issue, 64 callers, to Redis", bound{}, atLeast(1), of("issue/64", boltName, redisName, rate), "×", ""},
		{"boltstore issue, 64 callers, to pebble", bound{}, atLeast(1), of("issue/64", boltName, pebbleName, rate), "×", pebbleLimit(r)},
		{"boltstore exchange, 64 callers, to a bare bbolt rewrite in equal groups", atLeast(0.8), bound{}, of("exchange/64", boltName, bareName, rate), "×", exchangeLimit(r)},
		{"boltstore exchange, 64 callers, to PostgreSQL", twicePostgres, bound{}, of("exchange/64", boltName, pgName, rate), "×", postgresLimit(r)},
		{"boltstore exchange, 64 callers, to Redis", bound{}, atLeast(1), of("exchange/64", boltName, redisName, rate), "×", redisLimit(r)},
		{user + "commits", atMost(1), bound{}, count("commits"), "×", ""},
		{user + "pages written", atMost(1.1), bound{}, count("pages"), "×", ""},
		{user + "time", atMost(1.5), bound{}, b.facts["revoke many/few"], "×", ""},
		{"revoke a user, commits (two fdatasync each)", bound{}, atMost(1), b.facts["revoke many commits"], "", ""},
		{"revoke a user, " + short(float64(levels[len(levels)-1].tokens)) + " tokens: Redis slower by", atLeast(100), bound{}, slower(redisName), "×", ""},
		{"the same: PostgreSQL's UPDATE slower by", atLeast(100), bound{}, slower(pgName), "×", ""},
		{"the same: bbolt's deletes slower by", atLeast(100), bound{}, slower(batchName), "×", ""},
		{"sweep beside clients", atLeast(10_000), atLeast(30_000), b.facts["sweep rate"], "tokens/s", sweepLimit(b.facts["sweep rate unthrottled"], sweeping("issue"))},
		{"issue during a sweep, p99 to undisturbed", atMost(2), bound{}, sweeping("issue"), "×", ""},
		{"introspect during a sweep, p99 to undisturbed", atMost(1.5), bound{}, sweeping("introspect"), "×", ""},
		{"get by id, " + short(float64(b.huge)) + " tokens to a tenth of them, p50", atMost(1.5), bound{}, of(named(getAtScale, 1), scaleName(b.huge), scaleName(b.huge/10), p50), "×", ""},
		{"open with " + short(float64(b.huge)) + " tokens after a close", atMost(1), bound{}, scaled(b.facts[fmt.Sprint("open a close ", b.huge)], 1e-9), "s", ""},
		{"open with " + short(float64(b.huge)) + " tokens after a crash", bound{}, bound{}, scaled(b.facts[fmt.Sprint("open a crash ", b.huge)], 1e-9), "s", ""},
		{"heap of boltstore, " + short(float64(b.huge)) + " tokens to a tenth of them", bound{}, bound{}, b.ofScale("heap a close"), "×", ""},
		{"anonymous memory of a process after use, " + short(float64(b.huge)) + " tokens to a tenth of them", atMost(1.5), bound{}, b.ofScale("process anonymous a close"), "×", ""},
		{"the same, where the file was opened after a crash", bound{}, bound{}, b.ofScale("process anonymous a crash"), "×", ""},
		{"the same, of what is left", atMost(1.5), bound{}, b.ofScale("process left a crash"), "×", ""},
		{"boltstore, bytes of file a token of " + short(b.facts["record bytes"].median) + " bytes, after a load", atMost(850), atMost(600), b.facts["file bytes"], "B", ""},
		{"memstore, bytes of heap a token to fosite's", atMost(1), bound{}, b.heapRatio(), "×", ""},
		{"growth of the file an issue, alone", bound{}, bound{}, b.facts["growth alone"], "B", ""},
		{"growth of the file an issue, beside a list", twiceAlone, bound{}, b.facts["growth beside a list"], "B", ""},
		{"growth of the file an issue, beside a backup", twiceAlone, bound{}, b.facts["growth beside a backup"], "B", ""},
		{"growth of the file an issue, beside a sweep", twiceAlone, bound{}, b.facts["growth beside a sweep"], "B", ""},
	}
}

// busy is how many times as long as another one a contender in memory keeps a processor busy, with one caller.
func (r results) busy(verb, name, other string) spread {
	measure := named("memory/"+verb, 1)
	return r.ratio(measure, name, measure, other, (*turn).cpuPerCall)
}

// introspectLimit says what the floor lacks that an introspection can't do without.
func introspectLimit(r results) string {
	to := func(name string) spread { return r.busy("introspect", name, mapName) }
	return fmt.Sprintf("The answer is the whole token: to copy it out of a bare map, with the same hash and field, takes %s × what the floor takes. Asked as every store is, by an interface and under a lock, "+
		"for a secret that is read out of its text, that is %s ×, with no rule of who is refused, and no fence.", to(indexName), to(askedName))
}

// issueLimit says what an issue does that fosite's store does not do.
func issueLimit(r results) string {
	to := func(name string) spread { return r.busy("issue", name, fositeName) }
	return fmt.Sprintf("Without any index, rows that a caller hands over, each field of which is checked, of each of which a copy is kept by its id, and each of which has a result, "+
		"take %s × what fosite's store takes, which keeps what it is given, unchecked. Bare maps and slices by id, in order of ids, by user, by session and by when tokens are due, "+
		"which never remove anything, take %s ×, and with those checks, copies and results %s ×.", to(copiedName), to(indexName), to(askedName))
}

// exchangeLimit says what an exchange does that a rewrite of the record does not do.
func exchangeLimit(r results) string {
	busy := r.ratio("exchange/64", boltName, "exchange/64", bareName, func(t *turn) float64 { return float64(t.cpu) / float64(t.tokens) })
	return fmt.Sprintf("An exchange keeps the processors busy %s × as long as the rewrite of a record in its place: it reads and checks the token, and derives a secret. "+
		"The store without the manager is compared by `go test ./boltstore -run '^$' -bench AgainstBare -benchtime 40x`.", busy)
}

// postgresLimit says what bbolt itself does beside PostgreSQL.
func postgresLimit(r results) string {
	bare := r.ratio("exchange/64", bareName, "exchange/64", pgName, (*turn).rate)
	ours := r.ratio("exchange/64", boltName, "exchange/64", bareName, (*turn).rate)
	left := "what bbolt leaves above the bound is less than an exchange takes for its checks, its secret and its tenant's order"
	if bare.median < twicePostgres.limit {
		left = "records that are rewritten in their places are below the bound, and what notes of them gain ([how](adr/0013-bbolt-speed.md#decision)) does not lead beyond it"
	}
	return fmt.Sprintf("Bare bbolt rewrites of the records, in equal groups and without any index, are %s × as fast as PostgreSQL, and the store is %s × as fast as those: "+
		"%s. bbolt writes whole pages anew, where PostgreSQL appends what has "+
		"changed to its log; it gains where the disk syncs slowly, because a whole group shares two syncs.", bare, ours, left)
}

// stallLimit says how alike the turns were.
func stallLimit(r results) string {
	p99s := r.each("issue/64", boltName, (*turn).p99)
	slices.Sort(p99s)
	texts := make([]string, len(p99s))
	for i, p99 := range p99s {
		texts[i] = short(p99 / 1e6)
	}
	return fmt.Sprintf("The turns' p99 were %s ms. Each turn had %s merges or more, so their stalls would be in all of them.", strings.Join(texts, ", "), short(leastMerges(r).median))
}

// leastMerges is how many merges the turn with the fewest had.
func leastMerges(r results) spread {
	merges := r.each("issue/64", boltName, func(t *turn) float64 { return t.merges })
	if len(merges) == 0 {
		return spread{}
	}
	return spreadOf([]float64{slices.Min(merges)})
}

// lookupLimit says what an introspection takes at least that hashes.
func lookupLimit(r results) string {
	to := func(name string) spread { return r.busy("introspect", name, fositeName) }
	return fmt.Sprintf("A map, the SHA-256 of the secret and one field alone take %s × what fosite's lookup takes. With the whole token copied out, which fosite's hands out "+
		"by pointer, they take %s ×.", to(mapName), to(indexName))
}

// pebbleLimit says what bbolt itself does beside pebble.
func pebbleLimit(r results) string {
	bare := r.ratio("issue/64", bareName, "issue/64", pebbleName, (*turn).rate)
	return fmt.Sprintf("Bare bbolt commits of the records, in equal groups and without any index, are %s × as fast as pebble with its indexes. A commit of bbolt syncs twice and writes "+
		"whole pages, where pebble appends to a log and syncs once.", bare)
}

// redisLimit says what bbolt itself does beside Redis.
func redisLimit(r results) string {
	bare := r.ratio("exchange/64", bareName, "exchange/64", redisName, (*turn).rate)
	return fmt.Sprintf("Bare bbolt rewrites of the records, in equal groups and without any index, are %s × as fast as Redis. They write whole pages anew, "+
		"and a group syncs twice, where Redis appends to a log and syncs once for all who wait.", bare)
}

// sweepLimit says what a sweep leaves to the clients.
func sweepLimit(unthrottled, issue spread) string {
	return fmt.Sprintf("The tokens of one user stand between those of others, hardly two of them in a page. Alone, and without a rest, a sweep removes %s of them a second. Beside clients a slice waits for the commit under way and shares its own with them. "+
		"It is fitted to 3 ms, or to three times what its smallest slices take, and the sweep rests after it for as long as it worked, and half of what it took at least. "+
		"It does that for the p99 of their issues, which is %s × what it is undisturbed.", unthrottled, issue)
}

// batchLimit says what the least is that a lone issue takes.
func batchLimit(r results) string {
	bare := r.ratio("issue/1", bareName, "issue/1", batchName, (*turn).rate)
	return fmt.Sprintf("A lone issue of `db.Batch` waits 10 ms for others, and then for the disk. A bbolt commit of the bare record, without any index, is %s × as fast as it: "+
		"where the disk takes longer for two syncs than a tenth of that wait, nothing that commits by bbolt can be ten times as fast.", bare)
}

// worstP99 is the worst p99 of any round to that of the median round.
func (b *bench) worstP99(measure, contender string) spread {
	s := spreadOf(b.results.each(measure, contender, (*turn).p99))
	if s.median == 0 {
		return spread{}
	}
	return spreadOf([]float64{s.most / s.median})
}

// ofScale is the ratio of a fact of the largest file to that of the one of a tenth.
func (b *bench) ofScale(fact string) spread {
	small, large := b.facts[fmt.Sprint(fact, " ", b.huge/10)], b.facts[fmt.Sprint(fact, " ", b.huge)]
	if small.median <= 0 {
		return spread{}
	}
	return spreadOf([]float64{large.median / small.median})
}

func (b *bench) heapRatio() spread {
	of := map[string]float64{}
	for _, h := range b.heap {
		of[h.name] = h.bytes
	}
	if of[fositeName] == 0 {
		return spread{}
	}
	return spreadOf([]float64{of[memName] / of[fositeName]})
}

// scaled is a spread in another unit.
func scaled(s spread, by float64) spread {
	s.median, s.q1, s.q3, s.least, s.most = s.median*by, s.q1*by, s.q3*by, s.least*by, s.most*by
	return s
}
