package tokenstoretest

import (
	"context"
	"errors"
	"time"

	"example.com/tokenstore"
	"example.com/tokenstore/revocation"
	"pgregory.net/rapid"
)

var (
	startOperation = operation{"start", 2, (*machine).start}
	stopOperation  = operation{"stop", 1, (*machine).halt}
	pauseOperation = operation{"pause", 4, (*machine).pause}
	waitOperation  = operation{"wait", 2, (*machine).wait}
)

// The engines of a case. The first is that of the managers under test, which wake it. The second is that of another process on
// the same backend: nobody wakes it, so all that it does it finds by looking.
const (
	woken = iota
	unwoken
)

// runner is an engine whose Run may be under way.
type runner struct {
	root *tokenstore.Manager
	stop func() // ends Run; nil while it does not run
}

// start has one of the engines go on in the background, perhaps beside the other.
func (m *machine) start(t *rapid.T) {
	i := m.drawEngine(t)
	if m.engines[i].stop != nil {
		t.Skip("running already")
	}
	m.startEngine(t, i)
}

func (m *machine) drawEngine(t *rapid.T) int {
	if !m.config.draws("unwoken") {
		return woken
	}
	return pick(t, "engine", woken, woken, unwoken)
}

func (m *machine) startEngine(t *rapid.T, i int) {
	r := &m.engines[i]
	ctx, cancel := context.WithCancel(m.ctx)
	ended := make(chan error, 1)
	root := r.root
	go func() { ended <- root.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Logf("Run: %v", err)
			m.runErr = err
		}
		r.stop = nil
	}
}

// halt ends an engine's Run, in the middle of whatever it does.
func (m *machine) halt(t *rapid.T) {
	r := &m.engines[m.drawEngine(t)]
	if r.stop == nil {
		t.Skip("not running")
	}
	r.stop()
}

// stopAll ends all that runs, and returns what starts it again, by managers that may have been made anew.
func (m *machine) stopAll() (resume func(*rapid.T)) {
	var ran []int
	for i := range m.engines {
		if m.engines[i].stop != nil {
			m.engines[i].stop()
			ran = append(ran, i)
		}
	}
	return func(t *rapid.T) {
		for _, i := range ran {
			m.startEngine(t, i)
		}
	}
}

func (m *machine) anyRunning() bool {
	return m.engines[woken].stop != nil || m.engines[unwoken].stop != nil
}

// pause lets virtual time pass, so that the engines get on by a slice or by many.
func (m *machine) pause(t *rapid.T) {
	if !m.anyRunning() {
		t.Skip("nobody to wait for")
	}
	time.Sleep(time.Duration(pick(t, "pause", 1, 5, 10, 20, 50, 200, 2000)) * time.Millisecond)
}

// wait waits for a receipt for a while. What has been waited for is done.
func (m *machine) wait(t *rapid.T) {
	w := m.tenant(t)
	var some []*acknowledged
	for _, r := range w.model.revocations {
		if r.receipt != nil {
			some = append(some, r)
		}
	}
	if len(some) == 0 || !m.anyRunning() {
		t.Skip("nothing to wait for")
	}
	r := rapid.SampledFrom(some).Draw(t, "revocation")
	ctx, cancel := context.WithTimeout(m.ctx, pick(t, "for", 10*time.Millisecond, time.Second, 2*time.Minute))
	defer cancel()
	status, err := w.Wait(ctx, *r.receipt)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			fail(t, "Wait must end with the work or with the context", "%s: %v", r.id, err)
		}
		return
	}
	if !status.Retired {
		fail(t, "Wait must not return before the work is done", "%s: %+v", r.id, status)
	}
	for _, l := range w.model.lives {
		if r.event <= l.event || !r.names(l) || l.gone {
			continue
		}
		if v, err := w.store.Get(m.ctx, l.id); err == nil && v.Token.Sequence == l.sequence {
			fail(t, "Wait must not return before the work is done", "%s: %s is there", r.id, l.id)
		}
	}
}

// restWithEngine ends a case with an engine: within bounded virtual time it must have retired everything.
func (m *machine) restWithEngine(t *rapid.T) {
	m.faults.disarm()
	failures := 0
	if m.config.draws("fault") && rapid.Bool().Draw(t, "faultAtRest") {
		failures = m.armSome(t)
	}
	if !m.anyRunning() {
		m.startEngine(t, m.drawEngine(t))
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
	// A slice and the rest after it take twice the delay. What nobody told the engine of, and what failed, is found by a look,
	// which may be due only after a poll. Upkeep that failed waits for the next walk, as often as it fails.
	time.Sleep(2*pollEvery + time.Duration(failures)*expireEvery + time.Duration(work)*2*m.delay)
	m.settle()
	m.faults.disarm()
	m.checkConverged(t)
	m.checkNoneExpired(t, before)
	m.checkDelay(t)
}

// checkDelay has one more revocation, of nobody, retired by an engine at rest: soon by one that is woken, by the look of the next
// poll by one that is not.
func (m *machine) checkDelay(t *rapid.T) {
	w := m.tenants[0]
	began := time.Now()
	receipt, err := w.Revoke(m.ctx, tokenstore.RevokeRequest{Targets: []tokenstore.Target{{UserID: "nobody"}}})
	if err != nil {
		fail(t, "a revocation that is within the limits must succeed", "%v", err)
	}
	limit := pollEvery * 7 / 4
	if m.engines[woken].stop != nil {
		limit = pollEvery / 6
	}
	for {
		status, err := w.Revocation(m.ctx, receipt.ID())
		if err != nil {
			fail(t, "Revocation must succeed", "%v", err)
		}
		if status.Retired {
			return
		}
		if time.Since(began) > limit {
			fail(t, "L1 converge: an engine must sweep as soon as it is woken, and without it at the next poll", "%+v after %v", status, limit)
		}
		time.Sleep(pollEvery / 60)
	}
}

// engineOptions are those of every engine under test.
func engineOptions() revocation.Options {
	return revocation.Options{MemoryFor: memoryFor, MaxSlice: 2, PollEvery: pollEvery, ExpireEvery: expireEvery, RetryTo: pollEvery / 6}
}
