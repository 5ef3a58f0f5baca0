package detectors

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Forgetting leaves the newest episodes in their order, and how far they go back.
func TestPeaksAreForgotten(t *testing.T) {
	for _, episodes := range []int{peakFresh - 1, peakFresh, peakFresh + 1, 40, peakCount, peakCount + 30} {
		k := &peaks{}
		row := 0
		learn := func(x float64) { k.learn(x, 10080); row++ }
		for range peakEarly {
			learn(float64(row % 10))
		}
		var at []int
		for i := range episodes {
			learn(100 + float64(i))
			for range 10 + i%7 {
				learn(-100)
			}
			at = append(at, row)
		}
		all, last := k.span(), k.Last
		k.forget()
		want := min(episodes, peakFresh)
		if int(k.N) != want || k.Last != last {
			t.Fatalf("%d episodes: %d are left, the newest at row %d, want %d and %d", episodes, k.N, k.Last, want, last)
		}
		if episodes <= peakFresh {
			if k.span() != all {
				t.Errorf("%d episodes: they go back %d rows, want %d", episodes, k.span(), all)
			}
			continue
		}
		for i, x := range k.Peaks[:k.N] {
			if want := float32(100 + episodes - peakFresh + i); x != want {
				t.Errorf("%d episodes: peak %d is %v, want %v", episodes, i, x, want)
			}
		}
		// The newest that was forgotten was over, and taken, peakGap+1 rows after its own.
		fall := func(i int) int { return at[i] - (10 + i%7) + peakGap + 1 }
		if want := row - fall(episodes-peakFresh-1); k.span() != want {
			t.Errorf("%d episodes: they go back %d rows, want %d", episodes, k.span(), want)
		}
		before := k.span()
		for range 20 {
			learn(-100)
		}
		if !k.usable() || k.span() != before+20 {
			t.Errorf("%d episodes: 20 rows later they go back %d rows more, usable %v", episodes, k.span()-before, k.usable())
		}
	}
}

// A series with a steep day has no days to be judged by at first, and everything is as odd as the day is steep. What lasts is not
// measured by that for months: in the fifth week the level is again what few rows exceed.
func TestWhatLastsIsLearnedAnewWithTheDays(t *testing.T) {
	const day = 288
	exceed, rows := 0, 0
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &Auto{}
		at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		for i := range 5 * 7 * day {
			before := m.st.Stands
			m.Observe(Point{At: at, Value: 100 + 10*math.Sin(2*math.Pi*float64(i%day)/day) + r.NormFloat64()})
			at = at.Add(5 * time.Minute)
			if i < 4*7*day {
				continue
			}
			rows++
			if m.st.Stands.In && m.st.Stands.Calm == 0 && before.Level > 0 {
				exceed++
			}
		}
	}
	if share := float64(exceed) / float64(rows); share < peakShare/2 || share > peakShare*2 {
		t.Errorf("%.4f of the rows are above the level of what lasts, want about %.2f", share, peakShare)
	}
}
