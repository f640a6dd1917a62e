package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/tokenstore/internal/daemon"
	"example.com/tokenstore/store"
	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the processes that do not survive what they show.
func TestMain(m *testing.M) {
	if ran, err := child(context.Background()); ran {
		exit(err)
	}
	os.Exit(m.Run())
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		name    string
		figures []float64
		want    spread
	}{
		{"none", nil, spread{}},
		{"one", []float64{7}, spread{1, 7, 7, 7, 7, 7}},
		{"two", []float64{3, 1}, spread{2, 2, 1.5, 2.5, 1, 3}},
		{"odd, unordered", []float64{5, 1, 4, 2, 3}, spread{5, 3, 2, 4, 1, 5}},
		{"one is far off", []float64{1, 1, 1, 1, 1000}, spread{5, 1, 1, 1, 1, 1000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := slices.Clone(test.figures)
			if got := spreadOf(test.figures); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if !slices.Equal(given, test.figures) {
				t.Error("the figures were put into another order")
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, test := range []struct {
		name   string
		sorted []int
		p      float64
		want   int
	}{
		{"none", nil, 50, 0},
		{"one", []int{4}, 99, 4},
		{"half of two", []int{1, 2}, 50, 1},
		{"median", hundred, 50, 50},
		{"p99", hundred, 99, 99},
		{"all", hundred, 100, 100},
		{"p99 of few is the worst", []int{1, 2, 3}, 99, 3},
		{"least", hundred, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.sorted, test.p); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestBound(t *testing.T) {
	two := spreadOf([]float64{2})
	for _, test := range []struct {
		bound  bound
		figure spread
		want   string
	}{
		{atMost(2), two, "yes"}, {atMost(1.9), two, "**no**"}, {atLeast(2), two, "yes"}, {atLeast(2.1), two, "**no**"},
		{bound{}, two, ""}, {atMost(2), spread{}, "not measured"}, {none, spreadOf([]float64{0}), "yes"}, {none, spreadOf([]float64{1}), "**no**"},
		{atMost(2), spreadOf([]float64{math.NaN()}), "**no**"}, {atLeast(2), spreadOf([]float64{math.NaN()}), "**no**"},
	} {
		if got := test.bound.verdict(test.figure); got != test.want {
			t.Errorf("%s of %s: got %q, want %q", test.bound, test.figure, got, test.want)
		}
	}
}

// TestTask: every call is made once, each is timed, and what several are about is counted.
func TestTask(t *testing.T) {
	for _, clocked := range []bool{true, false} {
		for _, callers := range []int{1, 7} {
			var mu sync.Mutex
			made := map[int]int{}
			k := task{callers: callers, first: 5, most: 1000, last: time.Minute, clocked: clocked, op: func(_ context.Context, i int) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				made[i]++
				return 3, nil
			}}
			got, err := k.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(made) != 1000 || made[5] != 1 || made[1004] != 1 {
				t.Errorf("clocked %v, callers %d: %d different calls were made", clocked, callers, len(made))
			}
			if got.calls != 1000 || got.tokens != 3000 {
				t.Errorf("clocked %v, callers %d: counted %d calls about %d tokens", clocked, callers, got.calls, got.tokens)
			}
			if want := map[bool]int{true: 1000}[clocked]; len(got.latencies) != want || !slices.IsSorted(got.latencies) {
				t.Errorf("clocked %v, callers %d: timed %d calls", clocked, callers, len(got.latencies))
			}
		}
	}
}

// TestTaskEnds: a turn ends with its time, when it is told to, and at the first error, and counts no call that was not made.
func TestTaskEnds(t *testing.T) {
	made := 0
	op := func(context.Context, int) (int, error) { made++; return 1, nil }
	over := make(chan struct{})
	close(over)
	for name, k := range map[string]task{
		"no time": {op: op, callers: 1, most: 1000, last: -time.Second, clocked: true},
		"told":    {op: op, callers: 1, most: 1000, last: time.Minute, until: over, clocked: true},
	} {
		got, err := k.run(t.Context())
		if err != nil || made != 0 || got.calls != 0 || got.tokens != 0 {
			t.Errorf("%s: %d calls were made, %d counted, error %v", name, made, got.calls, err)
		}
	}
	broken := errors.New("broken")
	_, err := task{callers: 3, most: 1000, last: time.Minute, op: func(context.Context, int) (int, error) { return 0, broken }}.run(t.Context())
	if !errors.Is(err, broken) {
		t.Errorf("got error %v, want that of the calls", err)
	}
}

func TestInTurn(t *testing.T) {
	var order [][2]int
	err := inTurn(3, 3, func(round, player int) error {
		order = append(order, [2]int{round, player})
		return nil
	})
	want := [][2]int{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {1, 0}, {2, 2}, {2, 0}, {2, 1}}
	if err != nil || !slices.Equal(order, want) {
		t.Errorf("got %v, want %v, error %v", order, want, err)
	}
}

// TestRatioIsOfEachRound: a machine that is slow in one round is slow for both, and the ratio does not change by it.
func TestRatioIsOfEachRound(t *testing.T) {
	r := results{}
	for _, slowness := range []time.Duration{1, 100, 10} {
		r.add("issue", "a", turn{tokens: 200, elapsed: slowness * time.Second})
		r.add("issue", "b", turn{tokens: 100, elapsed: slowness * time.Second})
	}
	if got := r.ratio("issue", "a", "issue", "b", (*turn).rate); got != (spread{3, 2, 2, 2, 2, 2}) {
		t.Errorf("got %+v, want 2 in all three rounds", got)
	}
	if got := r.ratio("issue", "a", "issue", "absent", (*turn).rate); got.n != 0 {
		t.Errorf("got %+v of a contender that was absent", got)
	}
}

func TestRowsAreAlike(t *testing.T) {
	p, again := newPopulation(1, 10), newPopulation(1, 10)
	last := row{}
	for i := range 1000 {
		r := p.row(i)
		if other := again.row(i); r.id != other.id || r.digest != other.digest || string(r.value) != string(other.value) {
			t.Fatalf("row %d differs from contender to contender", i)
		}
		if r.id.Compare(last.id) <= 0 {
			t.Fatalf("id %d does not follow the one before", i)
		}
		if size := len(record(&r, r.digest)); size != 320 {
			t.Fatalf("the peers' record has %d bytes", size)
		}
		last = r
	}
	token := last.token()
	if err := token.Validate(); err != nil {
		t.Error(err)
	}
}

// TestPeersExchange: a peer refuses a secret that is no longer the current one, as ours does.
func TestPeersExchange(t *testing.T) {
	for _, open := range []func(string) *contender{boltBatch, pebbleStore} {
		c := open(t.TempDir())
		rows := newPopulation(1, 10).rows(0, 10)
		if err := c.load(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		c.hold(rows) // a second client that holds the same secrets
		if err := c.exchange(t.Context(), 0); err != nil {
			t.Errorf("%s: the first exchange: %v", c.name, err)
		}
		if err := c.exchange(t.Context(), 10); !errors.Is(err, errLost) {
			t.Errorf("%s: the second exchange of one secret: got %v, want %v", c.name, err, errLost)
		}
		if err := errors.Join(c.verify(t.Context(), 0), c.get(t.Context(), 0)); err != nil {
			t.Errorf("%s: the new secret must be good: %v", c.name, err)
		}
		if err := c.verify(t.Context(), 10); err == nil {
			t.Errorf("%s: the old secret must be good no more", c.name)
		}
		if err := c.revokeUser(t.Context(), rows[0].user); err != nil {
			t.Error(err)
		}
		if err := c.verify(t.Context(), 0); err == nil {
			t.Errorf("%s: a token of a user who was revoked must be good no more", c.name)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestQuick runs all of it, hardly measuring anything, with the servers that this machine has.
func TestQuick(t *testing.T) {
	docs := t.TempDir()
	o := options{dir: os.TempDir(), out: t.Output(), find: daemon.Find}.hardlyAnything()
	if err := measure(t.Context(), o, docs); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(docs, "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	absent := strings.Contains(string(text), "was absent")
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "not measured |") && !absent {
			t.Errorf("a row has no figure: %s", line)
		}
	}
	for _, want := range []string{"Its figures mean nothing", "## In memory", "## On the disk", "## Revoking a user", "## Sweeping", "## Growth", "## Many tokens", boltName, fositeName,
		"merges in each turn, least", "The last five are the memory of a process of its own"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if image, err := os.ReadFile(filepath.Join(docs, "benchmarks.svg")); err != nil || !strings.Contains(string(image), pebbleName) {
		t.Errorf("the plot does not show %s: error %v", pebbleName, err)
	}
}

// TestMissed: of a target or a stretch that is missed the report says what the limit is, in figures of the same run; of one that is met, nothing.
func TestMissed(t *testing.T) {
	for _, test := range []struct {
		name   string
		ours   float64 // what the others are measured against
		rate   float64 // of a sweep
		missed int     // how many sentences it is
		want   []string
	}{
		{"all is met", 1000, 40_000, 0, nil},
		{"stretches are missed", 50, 20_000, 4, []string{
			"*memstore introspect, 1 caller, to fosite's lookup, which hashes nothing* is 20 × instead of the stretch, ≤ 1. A map, the SHA-256 of the secret and one field alone take 16.7 ×",
			"by pointer, they take 5 ×.",
			"*boltstore issue, 64 callers, to pebble* is 0.5 × instead of the stretch, ≥ 1. Bare bbolt commits of the records, in equal groups and without any index, are 0.8 ×",
			"*boltstore exchange, 64 callers, to Redis* is 0.25 × instead of the stretch, ≥ 1. Bare bbolt rewrites of the records, in equal groups and without any index, are 0.3 ×",
			"*sweep beside clients* is 20 k tokens/s instead of the stretch, ≥ 30 k. The tokens of one user stand between those of others, hardly two of them in a page. Alone, and without a rest, a sweep removes 150 k of them a second.",
			"the p99 of their issues, which is 1.5 ×",
		}},
		{"a must is missed beside a stretch", 1000, 5000, 1, []string{"*sweep beside clients* is 5 k tokens/s instead of ≥ 10 k. The tokens"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &bench{options: options{revoke: 10}, results: results{}, facts: facts{}}
			for measure, rates := range map[string]map[string]float64{
				"memory/introspect/1": {memName: test.ours, fositeName: 1000, mapName: 60, indexName: 200},
				"issue/64":            {boltName: test.ours, pebbleName: 100, bareName: 80},
				"exchange/64":         {boltName: test.ours, redisName: 200, bareName: 60},
			} {
				for name, rate := range rates {
					b.results.add(measure, name, turn{calls: 1, tokens: 1, merges: 1, elapsed: time.Duration(1e9 / rate), cpu: time.Duration(1e9 / rate)})
				}
			}
			b.results.add("issue quiet", boltName, turn{latencies: []time.Duration{2}})
			b.results.add("issue sweeping", boltName, turn{latencies: []time.Duration{3}})
			b.facts.add("sweep rate", test.rate)
			b.facts.add("sweep rate unthrottled", 150_000)
			var d document
			b.reportMissed(&d)
			for _, want := range test.want {
				if !strings.Contains(d.String(), want) {
					t.Errorf("the report does not say %q", want)
				}
			}
			if got := strings.Count(d.String(), " instead of "); got != test.missed {
				t.Errorf("it says that %d were missed, not %d", got, test.missed)
			}
			if t.Failed() {
				t.Log(d.String())
			}
		})
	}
}

// TestMerges: a turn has those merges that were made in it, and the turn with the fewest counts.
func TestMerges(t *testing.T) {
	var made store.Stats
	merge := func(context.Context, int) (int, error) {
		made.Commits, made.Calls, made.Merges = made.Commits+2, made.Calls+6, made.Merges+1
		return 1, nil
	}
	c := &contender{shared: func() store.Stats { return made }}
	r := results{}
	if got := leastMerges(r); got.n != 0 {
		t.Errorf("got %v merges where nothing was measured", got)
	}
	for _, calls := range []int{3, 2, 5} {
		got, err := c.measured(t.Context(), task{op: merge, callers: 1, most: calls, last: time.Minute, clocked: true})
		if err != nil || got.merges != float64(calls) || got.group != 3 {
			t.Errorf("got %v merges and groups of %v in a turn with %d merges and groups of 3: error %v", got.merges, got.group, calls, err)
		}
		r.add("issue/64", boltName, got)
	}
	if got := leastMerges(r); got != spreadOf([]float64{2}) {
		t.Errorf("got %v merges in the turn with the fewest, want 2", got)
	}
}

// TestOwnMemory: what a process writes to is its own memory, in bytes, and its program is mapped.
func TestOwnMemory(t *testing.T) {
	before, err := ownMemory()
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	block, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := range block {
		block[i] = 1
	}
	after, err := ownMemory()
	if grown := after.anonymous - before.anonymous; err != nil || grown < size/2 || grown > 2*size || before.file < 1<<20 {
		t.Errorf("%.0f bytes more after %d were written, and %.0f mapped: error %v", grown, size, before.file, err)
	}
	if err := unix.Munmap(block); err != nil {
		t.Error(err)
	}
}

// TestAbsentPeers: a peer whose program is not there is said to be absent, and is an error where all are required.
func TestAbsentPeers(t *testing.T) {
	nowhere := func(name string) (string, error) { return "", &exec.Error{Name: name, Err: exec.ErrNotFound} }
	b := &bench{options: options{out: io.Discard, find: nowhere, revoke: 10}, dir: t.TempDir(), absent: map[string]error{}}
	if servers, err := b.servers(t.Context()); err != nil || len(servers) > 0 || b.absent[redisName] == nil || b.absent[pgName] == nil {
		t.Errorf("got %d servers, %v absent, error %v", len(servers), b.absent, err)
	}
	if text := b.report(0); !strings.Contains(text, "**"+pgName+" was absent") {
		t.Error("the report does not say what is absent")
	}
	b.requireAll = true
	if _, err := b.servers(t.Context()); err == nil {
		t.Error("a peer that is required may not be absent")
	}
}
