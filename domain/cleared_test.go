package domain_test

import (
	"math"
	"testing"
	"time"

	"example.com/tokenstore/domain"
)

// What is cleared passes the horizon up to there, and no guard.
func TestCleared(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	horizon := domain.Horizon{Sequence: 10, Time: noon}
	for name, c := range map[string]struct {
		asOf domain.AsOf
		want bool
	}{
		"sequence":                    {domain.AsOfSequence(5), true},
		"sequence, cleared before":    {domain.AsOfSequence(5).Cleared(9), true},
		"sequence, cleared":           {domain.AsOfSequence(5).Cleared(10), false},
		"sequence, cleared of all":    {domain.AsOfSequence(5).Cleared(math.MaxUint64), false},
		"sequence, cleared of none":   {domain.AsOfSequence(5).Cleared(0), true},
		"time":                        {domain.AsOfTime(noon, 0), true},
		"time, cleared before":        {domain.AsOfTime(noon, 0).Cleared(9), true},
		"time, cleared":               {domain.AsOfTime(noon, 0).Cleared(10), false},
		"later, whatever is cleared":  {domain.AsOfSequence(10).Cleared(3), false},
		"no horizon, nothing cleared": {domain.AsOf{}, false},
	} {
		if got := horizon.Beyond(c.asOf); got != c.want {
			t.Errorf("%s: beyond is %v, want %v", name, got, c.want)
		}
	}
	token := domain.RefreshToken{UserID: "ann"}
	guard := domain.Guard{Target: domain.Target{UserID: "ann"}, Watermark: 10, Through: noon}
	for _, asOf := range []domain.AsOf{domain.AsOfSequence(5), domain.AsOfTime(noon, 0)} {
		if !guard.Bars(&token, asOf.Cleared(math.MaxUint64)) {
			t.Error("a guard must bar what is cleared")
		}
	}
}

func TestHorizonJoin(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	a, b := domain.Horizon{Sequence: 10, Time: noon}, domain.Horizon{Sequence: 3, Time: noon.Add(1)}
	want := domain.Horizon{Sequence: 10, Time: noon.Add(1)}
	if a.Join(b) != want || b.Join(a) != want || want.Join(a) != want || a.Join(domain.Horizon{}) != a {
		t.Errorf("%+v, %+v", a.Join(b), b.Join(a))
	}
}
