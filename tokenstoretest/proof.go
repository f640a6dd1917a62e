package tokenstoretest

import (
	"strconv"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// tally returns a counter of what a test really does. Its value becomes the test's attribute of that key when the test
// ends, however it ends. A test has one tally for each key.
func tally(t *testing.T, key string) *atomic.Int64 {
	n := new(atomic.Int64)
	t.Cleanup(func() { t.Attr(key, strconv.FormatInt(n.Load(), 10)) })
	return n
}

// checkCases checks a property as rapid.Check does, and reports the cases that ran to their end.
func checkCases(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	cases := tally(t, "cases")
	rapid.Check(t, func(rt *rapid.T) {
		property(rt)
		cases.Add(1)
	})
}
