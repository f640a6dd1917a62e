package etcdstore

import (
	"slices"
	"sync"
	"time"
)

const (
	maxFlights = 2                     // from how many requests of a group under way on others gather
	slowFlight = 50 * time.Millisecond // those that gather wait no longer, so that a member that does not answer holds up nobody else
)

// gathering is where calls wait to share a request. A call that finds few requests under way goes at once, alone; those that begin later wait
// until one of them lands, and then go together, all that wait, in as many requests as they need. So there are the more under way the more
// calls there are, and none is small while there are many. Calls of different groups don't share, and don't wait for each other.
type gathering[C comparable] struct {
	// board takes the first of those that wait, one at least, and returns what sends their request, and calls landed once there is an
	// answer. It is called under the lock.
	board func(group string, waiting []C) (taken int, request func(landed func()))
	// verbs are those in flight. A request is made for one, or at the end of one.
	verbs *sync.WaitGroup

	mu     sync.Mutex
	groups map[string]*group[C] // those that have requests under way that count
}

type group[C comparable] struct {
	flights int // requests under way
	waiting []C
	slow    *time.Timer // ends the wait; nil if nobody waits
}

// join has a call go alone, which has to call what is returned at the end of its request; or wait, if that is nil.
func (g *gathering[C]) join(name string, call C) (landed func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.groups[name]
	if of == nil {
		of = &group[C]{}
		g.groups[name] = of
	}
	if of.flights < maxFlights { // so nobody waits
		return g.underWay(name, of)
	}
	of.waiting = append(of.waiting, call)
	if of.slow == nil {
		of.slow = time.AfterFunc(slowFlight, func() { g.pass(name, of) })
	}
	return nil
}

// busy reports whether requests of a group are under way.
func (g *gathering[C]) busy(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.groups[name] != nil
}

// withdraw takes a call out of those that wait, and reports whether it was still there.
func (g *gathering[C]) withdraw(name string, call C) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.groups[name]
	if of == nil {
		return false
	}
	i := slices.Index(of.waiting, call)
	if i < 0 {
		return false
	}
	of.waiting = slices.Delete(of.waiting, i, i+1)
	return true
}

// underWay counts a request that is being sent. It returns what is to be called at its end: those that have gathered go then.
func (g *gathering[C]) underWay(name string, of *group[C]) (landed func()) {
	of.flights++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if of.flights--; g.groups[name] == of {
			g.send(name, of)
		}
	}
}

// pass is for requests that are slow. Those that have gathered go, and what is under way counts no longer for anybody who comes.
func (g *gathering[C]) pass(name string, of *group[C]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups[name] != of {
		return
	}
	next := &group[C]{waiting: of.waiting, slow: of.slow}
	g.groups[name] = next
	g.send(name, next)
}

// send sends those that have gathered, and forgets a group that is idle.
func (g *gathering[C]) send(name string, of *group[C]) {
	if of.slow != nil {
		of.slow.Stop()
		of.slow = nil
	}
	for len(of.waiting) > 0 {
		taken, request := g.board(name, of.waiting)
		of.waiting = slices.Delete(of.waiting, 0, taken)
		landed := g.underWay(name, of)
		g.verbs.Go(func() { request(landed) })
	}
	if of.flights == 0 {
		delete(g.groups, name)
	}
}
