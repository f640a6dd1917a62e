package tokenstoretest

import (
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"example.com/tokenstore/domain"
	"example.com/tokenstore/store"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// faults are made by hand, each of them one mistake that a backend could make.
var faults = []struct {
	name  string
	wrap  func(*faultyStore) store.Store
	laws  bool // the laws see it too
	alike bool // and so does a comparison with another backend
}{
	{"no fence", func(s *faultyStore) store.Store { return noFence{s} }, false, true},
	{"unfenced update", func(s *faultyStore) store.Store { return unfencedUpdate{s} }, false, true},
	{"early retire", func(s *faultyStore) store.Store { return earlyRetire{s} }, true, true},
	{"skipped row", func(s *faultyStore) store.Store { return skippedRow{s} }, true, true},
	{"forgotten guards", func(s *faultyStore) store.Store { return forgottenGuards{s} }, true, true},
	{"no horizon", func(s *faultyStore) store.Store { return noHorizon{s} }, true, true},
	{"most specific", func(s *faultyStore) store.Store { return mostSpecific{s} }, false, true},
	{"no watermark", func(s *faultyStore) store.Store { return noWatermark{s} }, false, true},
	{"tenant leak", func(s *faultyStore) store.Store { return tenantLeak{s} }, false, false},
	{"last wins", func(s *faultyStore) store.Store { return lastWins{s} }, true, false},
	{"stale update", func(s *faultyStore) store.Store {
		return staleUpdate{s, map[ulid.ULID]domain.RefreshToken{}}
	}, false, true},
	{"expires too much", func(s *faultyStore) store.Store { return expiresTooMuch{s} }, false, true},
	{"no cap", func(s *faultyStore) store.Store { return noCap{s} }, false, true},
	{"event lost on refusal", func(s *faultyStore) store.Store { return eventLost{s} }, false, true},
	{"event invented", func(s *faultyStore) store.Store { return eventInvented{s} }, false, true},
	{"events dropped silently", func(s *faultyStore) store.Store { return droppedSilently{s} }, false, false},
	{"events dropped unasked", func(s *faultyStore) store.Store { return droppedUnasked{s} }, false, true},
	{"names left in events", func(s *faultyStore) store.Store {
		return namesLeft{s, map[uint64]store.Event{}}
	}, false, false},
	{"forgets foreign secrets", func(s *faultyStore) store.Store { return forgetsForeign{s} }, false, false},
	{"no sweep", func(s *faultyStore) store.Store { return noSweep{s} }, true, true},
}

func TestMachineCatchesFaults(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			c := Config{New: func(testing.TB) store.Backend { return newFaulty(fault.wrap) }}
			mustFail(t, func(rt *rapid.T) { runMachine(rt, t, c) })
		})
	}
}

// TestMachineWithEngineCatchesFaults has all cases of a fault in one bubble, because rapid makes one a case only for what
// is a test of its own right.
func TestMachineWithEngineCatchesFaults(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := Config{New: func(testing.TB) store.Backend { return newFaulty(fault.wrap) }}
				mustFail(t, func(rt *rapid.T) { runMachineWithEngine(rt, t, c) })
			})
		})
	}
}

// mustFail runs a property that has to fail.
func mustFail(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	if testing.Short() {
		t.Skip("short cases may miss a fault")
	}
	setFlags(t, "10000", "200ms")
	r := check(t.Name(), property)
	if !r.failed {
		t.Fatalf("passed, though it must fail:\n%s", r.log.String())
	}
	message := caught.FindStringSubmatch(r.log.String())
	if message == nil {
		t.Fatalf("failed in another way than it must:\n%s", r.log.String())
	}
	t.Logf("failed with: %s", cmp.Or(message[1], message[2]))
}

// caught finds the message of a failure. That of a case with a race may not come again.
var caught = regexp.MustCompile(`\[rapid\] failed after \d+ tests: (.*)|Original traceback \((.*)\):`)

// check runs a property as a test of its own. It has a goroutine of its own because a test that fails ends its goroutine.
func check(name string, property func(*rapid.T)) *recorder {
	r := &recorder{name: name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		rapid.Check(r, property)
	}()
	<-done
	return r
}

// setFlags has rapid try so many cases, shrink for so long, and write no file; for as long as the test lasts. For the
// latter two, what the command line says comes first.
func setFlags(t *testing.T, checks, shrink string) {
	t.Helper()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = f.Name != "rapid.checks" })
	for name, value := range map[string]string{
		"rapid.checks": checks, "rapid.shrinktime": shrink, "rapid.nofailfile": "true",
	} {
		f := flag.Lookup(name)
		if given[name] {
			continue
		}
		was := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(was) })
	}
}

// recorder is a test that takes notes.
type recorder struct {
	name   string
	mu     sync.Mutex
	log    strings.Builder
	failed bool
}

func (r *recorder) note(failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	r.log.WriteString(strings.TrimSuffix(text, "\n") + "\n")
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Helper()                           {}
func (r *recorder) Name() string                      { return r.name }
func (r *recorder) Log(args ...any)                   { r.note(false, fmt.Sprintln(args...)) }
func (r *recorder) Logf(format string, args ...any)   { r.note(false, fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.note(true, fmt.Sprintln(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.note(true, fmt.Sprintf(format, args...)) }
func (r *recorder) Fail()                             { r.note(true, "Fail") }
func (r *recorder) FailNow()                          { r.note(true, "FailNow"); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
func (r *recorder) SkipNow()                          { runtime.Goexit() }
func (r *recorder) Skip(args ...any)                  { r.Log(args...); runtime.Goexit() }
func (r *recorder) Skipf(format string, args ...any)  { r.Logf(format, args...); runtime.Goexit() }
