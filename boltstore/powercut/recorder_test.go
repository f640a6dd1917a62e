package powercut_test

import "testing"

// recorder is a test that may fail: it counts.
type recorder struct {
	testing.TB
	failures int
}

// stop ends what a recorder runs.
type stop struct{}

func (r *recorder) run(f func()) {
	defer func() {
		if p := recover(); p != nil && p != any(stop{}) {
			panic(p)
		}
	}()
	f()
}

func (r *recorder) Errorf(string, ...any) { r.failures++ }

func (r *recorder) Fatal(...any) {
	r.failures++
	panic(stop{})
}

func (r *recorder) Fatalf(string, ...any) { r.Fatal() }
