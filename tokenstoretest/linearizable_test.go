package tokenstoretest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/anishathalye/porcupine"
	"github.com/oklog/ulid/v2"
)

// overlapping are faults that the check of concurrent calls has to see, some of them from faults. The oracle of real time must name the
// promise that is given, if one is; the search for an order must see them all.
var overlapping = []struct {
	name    string
	wrap    func(*faultyStore) store.Store
	promise string
}{
	{"no fence", noFenceAtAll, "S1"},
	{"stale fence", staleFence, "S1"},
	{"no fence for reads", func(s *faultyStore) store.Store { return noFence{s} }, "S1"},
	{"secret not advanced", func(s *faultyStore) store.Store { return notAdvanced{s} }, "S7"},
	{"decided on a stale record", func(s *faultyStore) store.Store {
		return staleUpdate{s, map[ulid.ULID]domain.RefreshToken{}}
	}, "S7"},
	{"acknowledged before the effect", func(s *faultyStore) store.Store { return &early{faultyStore: s} }, "S1"},
	{"retired before the last page", func(s *faultyStore) store.Store { return earlyRetire{s} }, "S1"},
	{"lost after an unknown outcome", func(s *faultyStore) store.Store { return &takenForDone{faultyStore: s} }, "S1"},
	{"most specific", func(s *faultyStore) store.Store { return mostSpecific{s} }, "S1"},
	{"no watermark", func(s *faultyStore) store.Store { return noWatermark{s} }, "S2"},
	{"tenant leak", func(s *faultyStore) store.Store { return tenantLeak{s} }, "S2"},
	{"revoked in pieces", func(s *faultyStore) store.Store { return inPieces{s} }, ""},
	{"no horizon", func(s *faultyStore) store.Store { return noHorizon{s} }, ""},
	{"forgotten guards", func(s *faultyStore) store.Store { return forgottenGuards{s} }, ""},
}

func TestLinearizableCatchesFaults(t *testing.T) {
	for _, fault := range overlapping {
		t.Run(fault.name, func(t *testing.T) {
			c := Config{New: func(testing.TB) store.Backend { return newFaulty(fault.wrap) }}
			named, disordered := fault.promise == "", false
			rounds := someRounds(t, c, func(h *chronicle) bool {
				promise, _ := h.violation()
				result, _ := h.linearizable(searchLimit)
				named = named || strings.HasPrefix(promise, fault.promise+" ")
				disordered = disordered || result == porcupine.Illegal
				return named && disordered
			})
			t.Logf("%d rounds", rounds)
			if !named {
				t.Errorf("the oracle of real time never named %s", fault.promise)
			}
			if !disordered {
				t.Error("an order of the calls was found every time")
			}
		})
	}
}

// someRounds plays up to a hundred rounds, until it has seen enough, and returns how many.
func someRounds(t *testing.T, c Config, enough func(*chronicle) bool) int {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n := range uint64(100) {
		histories, err := play(t, c, rand.New(rand.NewPCG(seed, n)))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range histories {
			if enough(h) {
				return int(n) + 1
			}
		}
	}
	return 100
}

// A check of calls that never overlap, never fail and never meet a revocation would pass as well.
func TestRoundsReachEverything(t *testing.T) {
	wanted := map[string]bool{}
	for _, what := range []string{
		"overlap", "revoked in the middle of it", "repeated revocation", "issued as of before", "refused as of before",
		"authenticate: done", "issue: done", "issue: tokenstore: refused: revoked", "issue: tokenstore: refused: beyond memory",
		"exchange: done", "exchange: retried", "exchange: outcome unknown", "exchange: tokenstore: refused: reused",
		"exchange: tokenstore: refused: revoked", "exchange: tokenstore: refused: unknown",
		"introspect: done", "introspect: tokenstore: refused: reused", "introspect: tokenstore: refused: revoked",
		"introspect: tokenstore: refused: unknown", "update: done", "update: tokenstore: refused: revoked",
		"update: tokenstore: not found", "get: done", "get: tokenstore: not found", "list: done", "revoke: done", "revoke: outcome unknown",
	} {
		wanted[what] = true
	}
	c := Config{New: func(testing.TB) store.Backend { return newFaulty(func(s *faultyStore) store.Store { return s }) }}
	someRounds(t, c, func(h *chronicle) bool {
		for _, what := range h.reached() {
			delete(wanted, what)
		}
		return len(wanted) == 0
	})
	for what := range wanted {
		t.Errorf("a hundred rounds never reach this: %s", what)
	}
}

// reached names what a history has that is worth a check.
func (h *chronicle) reached() (all []string) {
	presented := map[int]bool{}
	revoked := map[*cut]bool{}
	for i, c := range h.calls {
		a := c.answer
		a.handed, a.shown = 0, 0
		all = append(all, string(c.kind)+": "+a.String())
		switch {
		case c.kind == toIssue && c.grant.asOf && c.fate == done:
			all = append(all, "issued as of before")
		case c.kind == toIssue && c.grant.asOf && c.fate == refused:
			all = append(all, "refused as of before")
		case c.kind == toExchange && c.fate == done && c.grant.rotating && presented[c.presented]:
			all = append(all, "exchange: retried")
		case c.kind == toRevoke && revoked[c.cut]:
			all = append(all, "repeated revocation")
		}
		presented[c.presented], revoked[c.cut] = true, true
		for _, other := range h.calls[:i] {
			if other.called > c.returned || other.returned < c.called {
				continue
			}
			all = append(all, "overlap")
			if c.kind == toExchange && c.fate == done && other.kind == toRevoke && other.effect.names.has(c.grant.number) {
				all = append(all, "revoked in the middle of it")
			}
		}
	}
	return all
}

// What a failure leaves behind: a constant message, the calls that led to it, and a picture.
func TestLinearizableReports(t *testing.T) {
	c := Config{New: func(testing.TB) store.Backend { return newFaulty(noFenceAtAll) }}
	var found *chronicle
	someRounds(t, c, func(h *chronicle) bool {
		found = h
		return strings.HasPrefix(h.judge().promise, "S1 ") // and not what only the search for an order has seen
	})
	r, dir, ended := &recorder{name: t.Name()}, t.TempDir(), make(chan struct{})
	go func() { defer close(ended); found.check(r, dir) }()
	<-ended
	if !r.failed || !strings.Contains(r.log.String(), "\nS1 fence: ") || !strings.Contains(r.log.String(), "issue of token") {
		t.Errorf("the log does not say what happened:\n%s", r.log.String())
	}
	picture, err := os.ReadFile(filepath.Join(dir, "history-"+found.tenant+".html"))
	if err != nil || !strings.Contains(string(picture), "exchange of token") {
		t.Errorf("no picture of the history: %v", err)
	}
}
