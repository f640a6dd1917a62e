package tokenstoretest

import (
	"context"
	"time"

	"pgregory.net/rapid"
)

var (
	startOperation = operation{"start", 2, (*machine).start}
	stopOperation  = operation{"stop", 1, (*machine).halt}
	pauseOperation = operation{"pause", 4, (*machine).pause}
)

// start has the engine's Run go on in the background.
func (m *machine) start(t *rapid.T) {
	if m.stop != nil {
		t.Skip("running already")
	}
	ctx, cancel := context.WithCancel(m.ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.root.Run(ctx) }()
	m.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Logf("Run: %v", err)
			m.runErr = err
		}
		m.stop = nil
	}
}

// halt ends the engine's Run, in the middle of whatever it does.
func (m *machine) halt(t *rapid.T) {
	if m.stop == nil {
		t.Skip("not running")
	}
	m.stop()
}

// pause lets virtual time pass, so that the engine gets on by a slice or by many.
func (m *machine) pause(t *rapid.T) {
	if m.stop == nil {
		t.Skip("nobody to wait for")
	}
	time.Sleep(time.Duration(pick(t, "pause", 1, 5, 10, 20, 50, 200, 2000)) * time.Millisecond)
}

// restWithEngine ends a case with the engine: within bounded virtual time it must have retired everything.
func (m *machine) restWithEngine(t *rapid.T) {
	if m.stop == nil {
		m.start(t)
	}
	work := 16
	for _, w := range m.tenants {
		for _, r := range w.model.revocations {
			work += 2*len(r.targets)*(len(w.model.lives)+2) + len(r.targets) + 1
		}
	}
	before := m.clock.now()
	for _, w := range m.tenants { // what is expired, and what is forgotten, in the worst case one by one
		work += 2*len(w.model.lives) + 4
	}
	// A slice and the rest after it take twice the delay. What nobody told the engine of is found by a look, which may be
	// due only after a poll and a half.
	time.Sleep(2*time.Minute + time.Duration(work)*2*m.delay)
	m.settle()
	m.checkConverged(t)
	m.checkNoneExpired(t, before)
}
