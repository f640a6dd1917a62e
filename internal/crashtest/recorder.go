package crashtest

import "testing"

// Recorder is a test that may fail: it counts.
type Recorder struct {
	testing.TB
	Failures int
}

// stop ends what a recorder runs.
type stop struct{}

// Run runs f until it returns, or fails for good.
func (r *Recorder) Run(f func()) {
	defer func() {
		if p := recover(); p != nil && p != any(stop{}) {
			panic(p)
		}
	}()
	f()
}

func (r *Recorder) Errorf(string, ...any) { r.Failures++ }

func (r *Recorder) Fatal(...any) {
	r.Failures++
	panic(stop{})
}

func (r *Recorder) Fatalf(string, ...any) { r.Fatal() }
