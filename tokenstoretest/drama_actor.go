package tokenstoretest

import (
	"context"
	"math/rand/v2"
	"runtime"
)

// actor is a caller or a planner.
type actor struct {
	part
	drama  *drama
	random *rand.ChaCha8
	twin   *actor // it begins first

	next    int // the task that is under way, or the next one
	begun   bool
	planner bool
	resume  chan bool // whether to go on, or else end: its process is gone
	parked  bool
	verb    string // what it is about to do; empty at the beginning of a call
	fresh   bool   // it has just begun a call, whose first verb needs no leave of its own
	tries   int    // verbs of the call so far
	call    *call
	from    point  // what its insertion stems from
	answer  string // of its last call
}

func (a *actor) String() string {
	switch {
	case a.planner:
		return a.name + " " + a.verb
	case a.verb == "":
		return a.name + ": " + a.tasks[a.next].String()
	}
	return a.name + ": " + a.tasks[a.next].String() + " " + a.verb
}

// run makes the calls of a part, one after the other.
func (a *actor) run(ctx context.Context) {
	for a.next < len(a.tasks) {
		a.park("")
		a.fresh = true
		a.tries = 0
		a.drama.perform(ctx, a, &a.tasks[a.next])
		a.fresh = false
		a.next++
	}
}

// park waits at a gate.
func (a *actor) park(verb string) {
	a.verb, a.parked = verb, true
	if !<-a.resume {
		runtime.Goexit()
	}
	a.verb = ""
}

// ready reports whether the actor stands at a gate and may go on.
func (a *actor) ready() bool {
	switch {
	case !a.parked:
		return false
	case a.verb != "" || a.planner && len(a.tasks) == 0:
		return true
	case a.twin != nil && !a.twin.begun:
		return false
	}
	return a.drama.possible(&a.tasks[a.next])
}

// writes reports whether what the actor does next may write, and answers somebody who would do it again.
func (a *actor) writes() bool {
	if a.planner {
		return false
	}
	switch a.tasks[a.next].kind {
	case toExchange:
		return !a.drama.explorer.config.Steps || a.verb == "commit"
	case toIssue, toRevoke, toImport:
		return true
	}
	return false
}

// unanswered notes that the actor's call, if it has made any, has no answer.
func (a *actor) unanswered() {
	if c := a.call; c != nil {
		c.fate = unknown
		a.call = nil
		a.drama.note(c)
	}
}
