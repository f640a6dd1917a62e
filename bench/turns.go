package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// operation is one call of a contender: the i-th of those that its turns have made. It returns how many tokens it was about.
type operation func(ctx context.Context, i int) (tokens int, err error)

// task is what a turn does.
type task struct {
	op      operation
	first   int             // the number of the turn's first call
	callers int             // how many goroutines call at once
	most    int             // how many calls there are at most
	last    time.Duration   // when no further call begins
	until   <-chan struct{} // once it is closed, no further call begins; nil for never
	beside  bool            // another task runs beside this one, which must not disturb it
	clocked bool            // each call is timed; without it, those that are too quick for a clock are timed together
	// present brings what call i is about into the caches, where a server has what it has just read off a connection. It is called
	// beside the clock, for calls that are not clocked; nil for nothing.
	present func(i int)
}

// turn is what one contender did when it was its turn.
type turn struct {
	calls, tokens int
	elapsed       time.Duration
	cpu           time.Duration   // of this process, the collection of its garbage included
	latencies     []time.Duration // ascending; empty if the calls were not clocked
	allocs, bytes float64         // of the heap, a call
	group         float64         // how many calls shared a commit; 0 if that is not known
	merges        float64         // how many commits merged parts of the indexes; 0 if that is not known
}

func (t *turn) rate() float64 { return float64(t.tokens) / t.elapsed.Seconds() }

// perCall is the time from call to call, as all callers together saw it, in nanoseconds.
func (t *turn) perCall() float64 { return float64(t.elapsed.Nanoseconds()) / float64(max(t.calls, 1)) }

// cpuPerCall is what a call keeps a processor busy, in nanoseconds. Others that use the machine meanwhile hardly change it.
func (t *turn) cpuPerCall() float64 { return float64(t.cpu.Nanoseconds()) / float64(max(t.calls, 1)) }

func (t *turn) p50() float64 { return float64(percentile(t.latencies, 50).Nanoseconds()) }
func (t *turn) p99() float64 { return float64(percentile(t.latencies, 99).Nanoseconds()) }

const unclocked = 64 // how many calls that are not clocked are drawn at once

// run makes the calls. The first error ends it.
func (k task) run(ctx context.Context) (turn, error) {
	if !k.beside {
		runtime.GC() // each turn begins with the same
	}
	var (
		drawn, tokens atomic.Int64
		aside         aside
		failed        atomic.Pointer[error]
		wg            sync.WaitGroup
		before, after runtime.MemStats
	)
	latencies := make([][]time.Duration, k.callers)
	for i := range latencies {
		if k.clocked {
			latencies[i] = make([]time.Duration, 0, min(k.most/k.callers, 1<<16)+16)
		}
	}
	step := unclocked
	if k.clocked {
		step = 1
	}
	start := make(chan struct{})
	var deadline time.Time
	for caller := range k.callers {
		wg.Go(func() {
			<-start
			done := 0
			defer func() { tokens.Add(int64(done)) }()
			for {
				from := int(drawn.Add(int64(step))) - step
				if from >= k.most || failed.Load() != nil {
					return
				}
				began := time.Now()
				if began.After(deadline) || k.over() {
					drawn.Add(int64(-step))
					return
				}
				if k.present != nil {
					aside.do(func() {
						for i := from; i < min(from+step, k.most); i++ {
							k.present(k.first + i)
						}
					})
				}
				for i := from; i < min(from+step, k.most); i++ {
					n, err := k.op(ctx, k.first+i)
					if err != nil {
						failure := err // so that err itself stays off the heap
						failed.CompareAndSwap(nil, &failure)
						return
					}
					done += n
				}
				if k.clocked {
					latencies[caller] = append(latencies[caller], time.Since(began))
				}
			}
		})
	}
	runtime.ReadMemStats(&before)
	busy := cpuTime()
	began := time.Now()
	deadline = began.Add(k.last)
	close(start)
	wg.Wait()
	t := turn{
		elapsed: time.Since(began) - time.Duration(aside.elapsed.Load())/time.Duration(min(k.callers, runtime.GOMAXPROCS(0))),
		cpu:     cpuTime() - busy - time.Duration(aside.cpu.Load()), tokens: int(tokens.Load()),
	}
	runtime.ReadMemStats(&after)
	if err := failed.Load(); err != nil {
		return turn{}, *err
	}
	t.calls = min(int(drawn.Load()), k.most)
	t.latencies = slices.Concat(latencies...)
	slices.Sort(t.latencies)
	t.allocs = float64(after.Mallocs-before.Mallocs) / float64(max(t.calls, 1))
	t.bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(max(t.calls, 1))
	return t, nil
}

// aside is the time that callers spent on what is not counted.
type aside struct{ elapsed, cpu atomic.Int64 }

func (a *aside) do(f func()) {
	runtime.LockOSThread() // for the clock
	defer runtime.UnlockOSThread()
	began, busy := time.Now(), cpuTimeOf(unix.CLOCK_THREAD_CPUTIME_ID)
	f()
	a.elapsed.Add(int64(time.Since(began)))
	a.cpu.Add(int64(cpuTimeOf(unix.CLOCK_THREAD_CPUTIME_ID) - busy))
}

// cpuTime is how long this process has kept processors busy.
func cpuTime() time.Duration { return cpuTimeOf(unix.CLOCK_PROCESS_CPUTIME_ID) }

// cpuTimeOf reads a clock. What getrusage tells is in whole ticks of the kernel, which are longer than much of what is measured here.
func cpuTimeOf(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func (k *task) over() bool {
	select {
	case <-k.until: // never, if it is nil
		return true
	default:
		return false
	}
}

// results are the turns of every contender, one a round, by measure.
type results map[string]map[string][]turn

func (r results) add(measure, contender string, t turn) {
	if r[measure] == nil {
		r[measure] = map[string][]turn{}
	}
	r[measure][contender] = append(r[measure][contender], t)
}

// each returns a figure of each round.
func (r results) each(measure, contender string, figure func(*turn) float64) []float64 {
	turns := r[measure][contender]
	figures := make([]float64, len(turns))
	for i := range turns {
		figures[i] = figure(&turns[i])
	}
	return figures
}

// ratio returns the ratio of a figure of two contenders, taken round by round: what slows the machine for a while slows both.
func (r results) ratio(measure, a string, over, b string, figure func(*turn) float64) spread {
	x, y := r.each(measure, a, figure), r.each(over, b, figure)
	ratios := make([]float64, 0, len(x))
	for i := range min(len(x), len(y)) {
		if y[i] > 0 {
			ratios = append(ratios, x[i]/y[i])
		}
	}
	return spreadOf(ratios)
}

// latencies returns those of all calls in all rounds, ascending.
func (r results) latencies(measure, contender string) []time.Duration {
	var all []time.Duration
	for _, t := range r[measure][contender] {
		all = append(all, t.latencies...)
	}
	slices.Sort(all)
	return all
}

// inTurn calls f for everybody in each round; who is first rotates.
func inTurn(rounds, players int, f func(round, player int) error) error {
	for round := range rounds {
		for i := range players {
			if err := f(round, (i+round)%players); err != nil {
				return err
			}
		}
	}
	return nil
}

func named(measure string, callers int) string { return fmt.Sprintf("%s/%d", measure, callers) }
