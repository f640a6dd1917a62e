package sidebyside

import (
	"testing"
	"time"
)

// TestRatios: above one is quicker than the other, and a turn that is held up counts in all of them together.
func TestRatios(t *testing.T) {
	for _, c := range []struct {
		name        string
		took        [][2]time.Duration
		median, all float64
	}{
		{"twice as quick", [][2]time.Duration{{1, 2}}, 2, 2},
		{"half as quick", [][2]time.Duration{{2, 1}, {4, 2}}, 0.5, 0.5},
		{"between two turns", [][2]time.Duration{{1, 3}, {1, 1}}, 2, 2},
		{"the other held up once", [][2]time.Duration{{1, 1}, {1, 7}, {1, 1}}, 1, 3},
	} {
		if median, all := ratios(c.took); median != c.median || all != c.all {
			t.Errorf("%s: got %v and %v, want %v and %v", c.name, median, all, c.median, c.all)
		}
	}
}
