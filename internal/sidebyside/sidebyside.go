// Package sidebyside measures two ways of doing the same in one run, for benchmarks that claim no more than a ratio.
package sidebyside

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// turns is how many turns each of the two has.
const turns = 20

// Compare has the two take turns at b.N calls each, as many callers at once as it says, and reports under the unit how many times as
// quick as the other ours is: the median over the turns, and beside it the ratio of all turns together, in which one that something
// else held up weighs as much as it took. Each number below b.N is given to each of the two once.
func Compare(b *testing.B, unit string, callers int, ours, other func(i int) error) {
	b.Helper()
	b.ResetTimer()
	var took [][2]time.Duration
	for turn := range turns {
		from, to := b.N*turn/turns, b.N*(turn+1)/turns
		if from == to {
			continue
		}
		sides := []func(int) error{ours, other}
		var t [2]time.Duration
		for k := range sides {
			side := (k + turn) % 2 // neither is always the first
			began := time.Now()
			Call(b, from, to, callers, sides[side])
			t[side] = time.Since(began)
		}
		took = append(took, t)
	}
	median, all := ratios(took)
	b.ReportMetric(median, unit)
	b.ReportMetric(all, unit+"-in-all")
	b.ReportMetric(0, "ns/op") // of both together: it would say nothing
}

// ratios are how many times as quick the first of two is, by what they took in turns: the median of the turns, and that of all together.
func ratios(took [][2]time.Duration) (median, all float64) {
	var sum [2]time.Duration
	var each []float64
	for _, t := range took {
		sum[0], sum[1] = sum[0]+t[0], sum[1]+t[1]
		each = append(each, float64(t[1])/float64(t[0]))
	}
	slices.Sort(each)
	return (each[(len(each)-1)/2] + each[len(each)/2]) / 2, float64(sum[1]) / float64(sum[0])
}

// Call makes the calls with the numbers from..to-1, so many at once.
func Call(b *testing.B, from, to, callers int, call func(i int) error) {
	b.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for i := int(next.Add(1) - 1); i < to; i = int(next.Add(1) - 1) {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	calling.Wait()
}
