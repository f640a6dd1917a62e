package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is the document of a run, in Markdown.
func (b *bench) report(took time.Duration) string {
	var d document
	d.line("# Benchmarks")
	d.line("Written by `make bench-peers` in %s, on %s, %d cores, %s/%s, %s.", took.Round(time.Minute/10), processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if b.quick {
		d.line("**This was a quick run, which shows that everything works. Its figures mean nothing.**")
	}
	d.line("The load average was %s when it began, and %s when it ended.", b.loadBefore, loadAverage())
	d.line("All that is compared took turns in one run, %d rounds, and who began a round changed. A ratio is taken round by round, and its median over the rounds is given, "+
		"with the quartiles in brackets. Absolute figures hold for that machine alone, and change with what else it does; the ratios are what to look at.", b.rounds)
	for _, name := range slices.Sorted(maps.Keys(b.absent)) {
		d.line("**%s was absent, and is not measured.**", name)
	}
	d.line("## What is wanted, and what is")
	d.table("| measure | must | stretch | measured | met | stretch met |", func(row func(format string, args ...any)) {
		for _, t := range b.targets() {
			row("| %s | %s | %s | %s %s | %s | %s |", t.measure, t.must, t.stretch, t.figure, t.unit, t.must.verdict(t.figure), t.stretch.verdict(t.figure))
		}
	})
	b.reportMissed(&d)
	b.reportMemory(&d)
	b.reportDurable(&d)
	b.reportRevocation(&d)
	b.reportRest(&d)
	d.line("## How it is measured")
	d.line("In memory and on the disk every store holds %s tokens at first, and what turns have issued since. Records are of the same size, and inputs are made before, but for what a store keeps. "+
		"Each turn lasts %s, or %s calls. Before it the garbage is collected, caches and connections are warm, and, but for those in memory, the processors are idle. Percentiles are over all calls of all turns, each timed on its own. "+
		"In memory calls are too quick for that: there the time of a whole turn is divided, and what is compared is the time that they keep the processor busy, which other "+
		"programs on the machine hardly change. What a client presents to an introspection in memory is read once before its turn, for a server has just read it off a connection; "+
		"that time is not counted.", short(float64(b.tokens)), b.turn, short(float64(b.most)))
	d.line("`cd bench && GOWORK=off go run . -docs ../docs` repeats it, with `-huge 10000000` at ten million tokens; `-quick` only tries it out.")
	return d.String()
}

// reportMissed says of each target, and of each stretch, that was missed what the limit is.
func (b *bench) reportMissed(d *document) {
	for _, t := range b.targets() {
		switch {
		case t.limit == "":
		case t.must.missed(t.figure):
			d.line("*%s* is %s %s instead of %s. %s", t.measure, t.figure, t.unit, t.must, t.limit)
		case t.stretch.missed(t.figure):
			d.line("*%s* is %s %s instead of the stretch, %s. %s", t.measure, t.figure, t.unit, t.stretch, t.limit)
		}
	}
}

func (b *bench) reportMemory(d *document) {
	if len(b.results["memory/introspect/1"]) == 0 {
		return
	}
	d.line("## In memory")
	d.line("ns of processor a call with one caller, and ns from call to call of all callers together with more. fosite's store is asked for a signature and hashes nothing. What an issue keeps, fosite's request with its session or our token, is made in the call. " +
		"The manager also takes the secret's text apart, and draws the secrets that it issues. An exchange at fosite's is three calls, of which others may come between any two, and keeps the old token; " +
		"with more than one caller it ends the process.")
	for _, verb := range []string{"introspect", "issue", "exchange"} {
		d.table("| "+verb+" | processor | to fosite's | 1 caller | 16 | 64 | allocations | bytes |", func(row func(format string, args ...any)) {
			for _, name := range []string{mapName, indexName, askedName, copiedName, memName, fositeName, managerName} {
				key := func(n int) string { return named("memory/"+verb, n) }
				if len(b.results[key(1)][name]) == 0 {
					continue
				}
				wall := func(n int) spread { return spreadOf(b.results.each(key(n), name, (*turn).perCall)) }
				row("| %s | %s | %s | %s | %s | %s | %s | %s |", name, spreadOf(b.results.each(key(1), name, (*turn).cpuPerCall)),
					b.results.ratio(key(1), name, key(1), fositeName, (*turn).cpuPerCall), wall(1), wall(16), wall(64),
					short(spreadOf(b.results.each(key(1), name, func(t *turn) float64 { return t.allocs })).median),
					short(spreadOf(b.results.each(key(1), name, func(t *turn) float64 { return t.bytes })).median))
			}
		})
	}
	d.table("| heap | bytes a token |", func(row func(format string, args ...any)) {
		for _, h := range b.heap {
			row("| %s | %s |", h.name, short(h.bytes))
		}
	})
	if b.fate != "" {
		d.line("fosite's MemoryStore ends the process where tokens are looked up and revoked at the same time, which was tried in a process of its own: `%s`. "+
			"It has no way at all to revoke the tokens of a user.", b.fate)
	}
}

func (b *bench) reportDurable(d *document) {
	if len(b.told) == 0 {
		return
	}
	d.line("## On the disk")
	d.line("A lone caller of `db.Batch` waits 10 ms for others, bbolt's default, before its commit begins.")
	d.line("![issues and exchanges a second, by contender](benchmarks.svg)")
	for _, verb := range []string{"issue", "exchange", "get", "introspect", "revoke one"} {
		for _, n := range callers {
			key := named(verb, n)
			if len(b.results[key]) == 0 {
				continue
			}
			d.table(fmt.Sprintf("| %s, callers: %d | a second | boltstore's to it | p50 | p99 | a commit |", verb, n), func(row func(format string, args ...any)) {
				for _, c := range b.told {
					if len(b.results[key][c.name]) == 0 {
						continue
					}
					all := b.results.latencies(key, c.name)
					group := spreadOf(b.results.each(key, c.name, func(t *turn) float64 { return t.group }))
					if group.median == 0 {
						group = spread{}
					}
					row("| %s | %s | %s | %s | %s | %s |", c.name, spreadOf(b.results.each(key, c.name, (*turn).rate)),
						b.results.ratio(key, boltName, key, c.name, (*turn).rate), percentile(all, 50).Round(time.Microsecond/10), percentile(all, 99).Round(time.Microsecond/10), group)
				}
			})
		}
	}
	d.line("What has been written when a call returns:")
	d.table("| | |", func(row func(format string, args ...any)) {
		for _, c := range b.told {
			row("| %s | %s |", c.name, c.durable)
		}
	})
	d.line("bbolt and pebble have a record and four indexes: by digest, user, session and client; so have Redis, in keys and sets, and PostgreSQL. An exchange is a compare-and-swap of the digest: " +
		"a transaction in bbolt, a lock beside pebble, a script in Redis, an UPDATE in PostgreSQL. boltstore also keeps when each token is to expire. " +
		fmt.Sprintf("What an exchange leaves to those to come is measured too: each store makes %s of them before, or what it can in %s; boltstore made %s. ",
			short(float64(leftFor*b.most)), leftMost*b.turn, short(b.facts["exchanges before"].median)) +
		"The floors have one caller. That of bare commits writes records to one bucket and has no index; with several callers it writes as many a commit as boltstore does.")
}

func (b *bench) reportRevocation(d *document) {
	levels := b.levels()
	if len(b.results[levels[0].key()]) == 0 {
		return
	}
	d.line("## Revoking a user")
	d.line("Time until none of her tokens can be used any more: a tombstone, a set of keys that are deleted in slices of a thousand, an UPDATE.")
	head := "| |"
	for _, l := range levels {
		head += fmt.Sprintf(" %s tokens |", short(float64(l.tokens)))
	}
	d.table(head, func(row func(format string, args ...any)) {
		for _, name := range []string{boltName, memName, batchName, pebbleName, redisName, pgName} {
			if len(b.results[levels[0].key()][name]) == 0 {
				continue
			}
			line := "| " + name + " |"
			for _, l := range levels {
				line += " " + spreadOf(b.results.each(l.key(), name, func(t *turn) float64 { return t.elapsed.Seconds() * 1e3 })).String() + " ms |"
			}
			row("%s", line)
		}
		row("%s", "| "+fositeName+strings.Repeat(" | impossible", len(levels))+" |")
	})
	d.table("| boltstore writes | commits | pages | ms |", func(row func(format string, args ...any)) {
		for _, of := range []string{"few", "many"} {
			n := map[string]int{"few": levels[0].tokens, "many": levels[len(levels)-1].tokens}[of]
			row("| %s tokens | %s | %s | %s |", short(float64(n)), b.facts["revoke "+of+" commits"], b.facts["revoke "+of+" pages"], scaled(b.facts["revoke "+of+" ns"], 1e-6))
		}
	})
	d.line("Commits are those that the store counts, pages the bytes that the process wrote by system calls meanwhile, in units of 4 KiB. bbolt syncs twice a commit.")
}

func (b *bench) reportRest(d *document) {
	if len(b.results["issue sweeping"]) > 0 {
		d.line("## Sweeping")
		d.line("%s tokens of a user, between those of others, are revoked and swept by an engine with its defaults, beside 8 clients that issue and one that introspects. Unthrottled, and alone, a sweep removes %s tokens/s.",
			short(float64(b.sweep)), b.facts["sweep rate unthrottled"])
		d.table("| | p50 quiet | p50 sweeping | p99 quiet | p99 sweeping |", func(row func(format string, args ...any)) {
			for _, verb := range []string{"issue", "introspect"} {
				quiet, busy := b.results.latencies(verb+" quiet", boltName), b.results.latencies(verb+" sweeping", boltName)
				row("| %s | %s | %s | %s | %s |", verb, percentile(quiet, 50), percentile(busy, 50), percentile(quiet, 99), percentile(busy, 99))
			}
		})
	}
	if b.facts["growth alone"].n > 0 {
		d.line("## Growth of the file")
		d.table("| | bytes an issue |", func(row func(format string, args ...any)) {
			for _, name := range []string{"alone", "beside a list", "beside a backup", "beside a sweep", "alone again"} {
				row("| %s | %s |", name, b.facts["growth "+name])
			}
		})
	}
	if len(b.results[named(getAtScale, 1)]) > 0 {
		d.line("## Many tokens")
		d.table("| | get, p50 | get, p99 | open after a close, s | after a crash, s | heap, open, MB | after a crash, MB | "+
			"a process before the open, anonymous MB | after use, anonymous MB | the same after a crash, MB | of that left, MB | of the file mapped, MB |", func(row func(format string, args ...any)) {
			for _, n := range []int{b.huge / 10, b.huge} {
				all := b.results.latencies(named(getAtScale, 1), scaleName(n))
				fact := func(name string, by float64) spread { return scaled(b.facts[fmt.Sprint(name, " ", n)], by) }
				row("| %s tokens | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |", short(float64(n)), percentile(all, 50), percentile(all, 99),
					fact("open a close", 1e-9), fact("open a crash", 1e-9), fact("heap a close", 1e-6), fact("heap a crash", 1e-6),
					fact("process before a close", 1e-6), fact("process anonymous a close", 1e-6), fact("process anonymous a crash", 1e-6), fact("process left a crash", 1e-6), fact("process file a close", 1e-6))
			}
		})
		if b.facts[fmt.Sprint("process anonymous a close ", b.huge)].n == 0 {
			d.line("What memory a process has is left out, for the kernel does not tell it.")
		} else {
			d.line("The last five are the memory of a process of its own, which opens the file, gets %s different tokens by id, lists %d pages, issues %s tokens with 16 callers, and revokes and sweeps them. "+
				"It is looked at after each of these, and the most is given. What is mapped of the file is the kernel's cache, which it takes back where memory is short. "+
				"After a crash bbolt looks at all pages while it opens, and notes which are used: what that took is in the process until the runtime gives it back, though nothing holds it any more. What is left is measured after that.",
				short(processGets), processPages, short(processIssues))
		}
	}
}

// document is text in Markdown: paragraphs and tables.
type document struct{ strings.Builder }

func (d *document) line(format string, args ...any) { fmt.Fprintf(d, format+"\n\n", args...) }

func (d *document) table(head string, rows func(row func(format string, args ...any))) {
	fmt.Fprintln(d, head)
	fmt.Fprintln(d, "|"+strings.Repeat("---|", strings.Count(head, "|")-1))
	rows(func(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) })
	fmt.Fprintln(d)
}

// loadAverage is how many programs have wanted to run of late, as the kernel tells it.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	average, _, _ := strings.Cut(string(text), " ")
	return average
}

// processor is its name, as the kernel tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "a processor without a name"
}
