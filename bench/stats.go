package main

import (
	"fmt"
	"math"
	"slices"
)

// spread is how a figure came out over the rounds.
type spread struct {
	n                           int
	median, q1, q3, least, most float64
}

// spreadOf returns the spread of the figures, the zero spread for none.
func spreadOf(figures []float64) spread {
	if len(figures) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(figures))
	return spread{
		n: len(sorted), median: quantile(sorted, 0.5), q1: quantile(sorted, 0.25), q3: quantile(sorted, 0.75),
		least: sorted[0], most: sorted[len(sorted)-1],
	}
}

// quantile interpolates between the two nearest of ascending figures.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// percentile is the smallest of ascending samples that at least p percent of them don't exceed; 0 of none.
func percentile[T any](sorted []T, p float64) (zero T) {
	if len(sorted) == 0 {
		return zero
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// String shows the median, and the quartiles where there are enough figures for them.
func (s spread) String() string {
	switch {
	case s.n == 0:
		return "–"
	case s.n == 1:
		return short(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", short(s.median), short(s.q1), short(s.q3))
}

// short shows three digits of a figure.
func short(v float64) string {
	switch abs := math.Abs(v); {
	case v == 0:
		return "0"
	case abs >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case abs >= 10_000:
		return fmt.Sprintf("%.0f k", v/1e3)
	case abs >= 1000:
		return fmt.Sprintf("%.3g k", v/1e3)
	case abs >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
