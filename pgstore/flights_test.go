package pgstore

import "testing"

// A second transaction begins once as many calls wait as share the first; or once some have waited for long; or at once, if it only reads.
func TestFlights(t *testing.T) {
	g := &group{}
	wait := func(n int) {
		for range n {
			g.queue = append(g.queue, &call{turn: make(chan []*call, 1)})
		}
	}
	began := func(what string, want int, long bool) {
		t.Helper()
		got := len(g.next(long))
		if got != want {
			t.Fatalf("%s: %d calls begin together, want %d", what, got, want)
		}
	}
	began("nobody waits", 0, false)
	wait(3)
	began("nothing is under way", 3, false)
	wait(2)
	began("two wait for three", 0, false)
	began("two have waited for long", 2, true)
	wait(9)
	began("two are under way", 0, false)
	began("two are under way, and some have waited for long", 0, true)
	g.queue = g.queue[:1]
	g.land(3) // where two are left under way
	began("one waits for two", 0, false)
	wait(1)
	began("two wait for two", 2, false)
	g.land(2)
	g.land(2)
	wait(maxGroup + 5)
	began("more wait than may share", maxGroup, false)
	began("five wait for many", 0, false)
	g.land(maxGroup) // the last lead begins the next
	if g.flights != 1 || g.aloft != 5 || len(g.queue) > 0 {
		t.Errorf("what is left must begin: got %+v", g)
	}
	g = &group{crowd: crowd{reads: true}}
	wait(3)
	began("reads: nothing is under way", 3, false)
	wait(1)
	began("reads: one waits for three", 1, false)
	wait(4)
	began("reads: two are under way", 0, false)
}
