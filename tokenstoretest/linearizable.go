package tokenstoretest

import (
	"cmp"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

// How large a round is: enough for calls to overlap in many ways, and little enough for the search for an order to be
// quick.
const (
	callersOfTenant = 3
	callsOfCaller   = 30
	maxUnknowns     = 6 // of a tenant: each of them may take effect at any later time, or never
	searchLimit     = 30 * time.Second
	restLimit       = time.Minute           // for the sweep to end, once all callers have
	fewestRounds    = 3                     // however long they take
	timeOfRound     = 20 * time.Millisecond // so long, on average, or there are fewer rounds
)

// Linearizable is that subtest of [Run] alone, for a backend that is disturbed meanwhile: its writes may fail, as store.ErrNotCommitted
// or store.ErrUnknownOutcome, but its reads may not.
func Linearizable(t *testing.T, c Config) {
	t.Helper()
	t.Run("Linearizable", func(t *testing.T) { runLinearizable(t, c) })
}

// runLinearizable plays rounds of concurrent calls. The history of each has to be linearizable, and to keep the promises in real
// time.
func runLinearizable(t *testing.T, c Config) {
	operations := tally(t, "operations")
	rounds, seed := number("rapid.checks"), number("rapid.seed")
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-rapid.seed=%d repeats what is called, though not how the calls overlap", seed)
	end := time.Now().Add(time.Duration(rounds) * timeOfRound)
	for n := range max(rounds, fewestRounds) {
		if n >= fewestRounds && time.Now().After(end) {
			t.Logf("%d rounds instead of %d, for want of time", n, rounds)
			break
		}
		histories, err := play(t, c, rand.New(rand.NewPCG(seed, n)))
		if err != nil {
			fail(t, "linearizable: a round must come to its end", "round %d: %v", n, err)
		}
		for _, h := range histories {
			operations.Add(int64(len(h.calls)))
			h.check(t, t.ArtifactDir())
		}
	}
}

// number returns the value of a flag of rapid, or 0.
func number(name string) uint64 {
	if f := flag.Lookup(name); f != nil {
		switch n := f.Value.(flag.Getter).Get().(type) {
		case int:
			return uint64(n)
		case uint64:
			return n
		}
	}
	return 0
}

// check fails the test for a history that breaks a promise. It leaves a picture of it in a file.
func (h *chronicle) check(t rapid.TB, dir string) {
	t.Helper()
	verdict := h.judge()
	if verdict.promise == "" {
		return
	}
	t.Logf("tenant %s, %+v", h.tenant, h.rules)
	for _, c := range verdict.shown {
		t.Logf("%12d .. %-20d caller %2d: %v", c.called, c.returned, c.process, c)
	}
	if path, err := h.picture(dir); err != nil {
		t.Logf("no picture of the history: %v", err)
	} else {
		t.Logf("a picture of the history, for a browser, is in %s (-artifacts keeps it)", path)
	}
	t.Fatal(verdict.promise)
}

// verdict is a promise that a history breaks, and the calls that show it.
type verdict struct {
	promise string
	shown   []*call
}

// judge asks the oracle of real time and the search for an order, each of which knows nothing of the other.
func (h *chronicle) judge() verdict {
	if promise, shown := h.violation(); promise != "" {
		return verdict{promise, shown}
	}
	switch result, info := h.linearizable(searchLimit); result {
	case porcupine.Illegal:
		return verdict{"linearizable: no order of the calls explains what they answered", h.unexplained(info)}
	case porcupine.Unknown:
		return verdict{"linearizable: no order of the calls was found in time", nil}
	}
	return verdict{}
}

// unexplained returns the calls before the first one that has no place in the longest order that was found, and that one.
func (h *chronicle) unexplained(info porcupine.LinearizationInfo) []*call {
	var longest []porcupine.Operation
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	placed := map[*call]bool{}
	for _, op := range longest {
		placed[op.Input.(*call)] = true
	}
	stuck := int64(never)
	for _, c := range h.calls {
		if !placed[c] {
			stuck = min(stuck, c.returned)
		}
	}
	shown := slices.DeleteFunc(slices.Clone(h.calls), func(c *call) bool { return c.called > stuck })
	slices.SortFunc(shown, func(a, b *call) int { return cmp.Compare(a.called, b.called) })
	return shown[max(0, len(shown)-50):]
}

func (h *chronicle) picture(dir string) (path string, err error) {
	_, info := h.linearizable(searchLimit)
	path = filepath.Join(dir, "history-"+h.tenant+".html")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(porcupine.Visualize(h.model(), info, file), file.Close())
}
