package tokenstoretest

import (
	"fmt"
	"hash/fnv"
	"os"
	"testing"
	"testing/synctest"

	"example.com/tokenstore/store"
)

// runExhaustive plays every schedule of the scopes.
func runExhaustive(t *testing.T, c Config) {
	schedules, states := tally(t, "schedules"), tally(t, "states")
	for _, s := range scopes {
		if !s.chosen(c) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			x := &explorer{config: c, scope: s}
			found := x.explore(t)
			t.Logf("%d schedules, %d states, up to %d steps", x.schedules, len(x.states), x.longest)
			schedules.Add(int64(x.schedules))
			states.Add(int64(len(x.states)))
			if found != nil {
				t.Logf("%s\n%s", found.details, found.story)
				t.Fatal(found.promise)
			}
		})
	}
}

// explorer plays all schedules of a scope, one after the other, each from its beginning: it goes down as far as it can, then takes
// the next alternative of the last choice that has one. It leaves out none, but for those of twins in another order.
type explorer struct {
	config Config
	scope  scope
	above  func(store.Store) store.Store // for tests: what stands between the gates and their callers

	choices   choices
	states    map[uint64]struct{}
	schedules int
	longest   int
}

// broken is a schedule that breaks a promise.
type broken struct {
	promise string
	details string
	story   string // in the form of the stories of revocation/testdata
}

// explore returns the first schedule that breaks a promise, or nil.
func (x *explorer) explore(t *testing.T) (found *broken) {
	x.states = map[uint64]struct{}{}
	s := newScratch(t)
	synctest.Test(t, func(*testing.T) {
		for more := true; more && found == nil; more = x.choices.next() {
			found = x.play(s)
			x.schedules++
		}
	})
	return found
}

// play plays one schedule. One that breaks a promise is played once more, with every step checked, to say where it did first.
func (x *explorer) play(s *scratch) *broken {
	for _, always := range []bool{false, true} {
		d := newDrama(x, s, always)
		d.play()
		d.end()
		s.clean()
		x.longest = max(x.longest, d.steps)
		if d.broken == nil {
			return nil
		}
		if always {
			return d.broken
		}
		x.choices.again()
	}
	return &broken{promise: "exhaustive: a schedule must be the same when it is played again"}
}

// see notes a state, by its text.
func (x *explorer) see(state string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(state))
	x.states[h.Sum64()] = struct{}{}
}

// choices are what was chosen in a schedule, wherever there was a choice.
type choices struct {
	path []turn
	at   int // how many have been made
	old  int // how many are as they were in the schedule before
}

type turn struct{ taken, of int }

// choose returns one of so many alternatives.
func (c *choices) choose(of int) int {
	if of == 1 {
		return 0
	}
	if c.at == len(c.path) {
		c.path = append(c.path, turn{of: of})
	}
	made := c.path[c.at]
	if made.of != of {
		panic(fmt.Sprintf("tokenstoretest: the schedule is not repeated: %d alternatives, before there were %d", of, made.of))
	}
	c.at++
	return made.taken
}

// fresh reports whether the last choice was made for the first time.
func (c *choices) fresh() bool { return c.at >= c.old }

// again goes back to the beginning of the same schedule.
func (c *choices) again() { c.at, c.old = 0, 0 }

// next goes on to the next schedule, and reports whether there is one.
func (c *choices) next() bool {
	for len(c.path) > 0 {
		last := &c.path[len(c.path)-1]
		if last.taken++; last.taken < last.of {
			break
		}
		c.path = c.path[:len(c.path)-1]
	}
	c.at, c.old = 0, len(c.path)
	return len(c.path) > 0
}

// scratch is a test whose cleanups are made, and whose folders are removed, after each schedule. They lie in memory where that is
// easy to have: that what was written is on a disk is not the question here.
type scratch struct {
	testing.TB
	root     string
	cleanups []func()
}

func newScratch(t *testing.T) *scratch {
	root, err := os.MkdirTemp("/dev/shm", "tokenstoretest-*")
	if err != nil {
		return &scratch{TB: t, root: t.TempDir()}
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return &scratch{TB: t, root: root}
}

// TempDir returns a folder that is there until the schedule ends.
func (s *scratch) TempDir() string {
	s.Helper()
	dir, err := os.MkdirTemp(s.root, "")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Cleanup has a function called when the schedule ends.
func (s *scratch) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scratch) clean() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}
