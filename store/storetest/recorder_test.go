package storetest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	// The self-test makes properties fail on purpose: no files of failures, no time for smaller ones, and fewer trials.
	// Most of the time the suite waits for timers, so many may run at once.
	for name, value := range map[string]string{
		"rapid.nofailfile": "true", "rapid.shrinktime": "0s", "rapid.checks": "50", "test.parallel": "8",
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// recorder notes failures instead of failing. A rule under it runs in a goroutine of its own, which FailNow ends.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	messages []string
	skipped  bool
	cleanups []func()
}

func (r *recorder) note(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, message)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages) > 0
}

func (r *recorder) Cleanup(f func())               { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(args ...any)              { r.note(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, a ...any) { r.note(fmt.Sprintf(format, a...)) }
func (r *recorder) Fail()                          { r.note("failed") }
func (r *recorder) FailNow()                       { r.Fail(); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)              { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, a ...any) { r.Errorf(format, a...); runtime.Goexit() }
func (r *recorder) Helper()                        {}
func (r *recorder) Log(...any)                     {}
func (r *recorder) Logf(string, ...any)            {}
func (r *recorder) Skip(...any)                    { r.SkipNow() }
func (r *recorder) Skipf(string, ...any)           { r.SkipNow() }
func (r *recorder) SkipNow()                       { r.skipped = true; runtime.Goexit() }
func (r *recorder) Skipped() bool                  { return r.skipped }

// violations runs the rules and returns what they complained of, by the rule's id.
func violations(t testing.TB, c Config) map[string][]string {
	found := map[string][]string{}
	for _, r := range rules {
		rec := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					rec.note(fmt.Sprint("panic: ", p))
				}
			}()
			r.run(rec, c)
		}()
		<-done
		for i := len(rec.cleanups) - 1; i >= 0; i-- {
			rec.cleanups[i]()
		}
		if rec.Failed() {
			found[r.id()] = rec.messages
		}
	}
	return found
}
