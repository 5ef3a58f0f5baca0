package detectors

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The median absolute deviation is that of its definition, to the bit.
func TestMADIsTheMedianOfTheDeviations(t *testing.T) {
	value := rapid.OneOf(
		rapid.Map(rapid.IntRange(-3, 3), func(i int) float64 { return float64(i) }),
		rapid.Float64Range(-1e3, 1e3),
		rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
	)
	rapid.Check(t, func(t *rapid.T) {
		w := newWindow(rapid.IntRange(1, 40).Draw(t, "size"))
		for _, x := range rapid.SliceOfN(value, 1, 80).Draw(t, "xs") {
			w.add(x)
			m := w.median()
			var deviations []float64
			for _, y := range w.sorted {
				deviations = append(deviations, finite(math.Abs(y-m)))
			}
			slices.Sort(deviations)
			n := len(deviations)
			if got, want := w.mad(m), middle(deviations[(n-1)/2], deviations[n/2]); got != want {
				t.Fatalf("median absolute deviation of %v is %v, want %v", w.sorted, got, want)
			}
		}
	})
}

func TestRankedIsThatOfTheSorted(t *testing.T) {
	value := rapid.OneOf(
		rapid.Map(rapid.IntRange(-2, 2), func(i int) float64 { return float64(i) }),
		rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
	)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SliceOfN(value, 1, 200).Draw(t, "s")
		sorted := slices.Sorted(slices.Values(s))
		for range 4 { // each leaves it in another order
			k := rapid.IntRange(0, len(s)-1).Draw(t, "k")
			if got := ranked(s, k); got != sorted[k] {
				t.Fatalf("at %d of %v: %v, want %v", k, sorted, got, sorted[k])
			}
		}
		if slices.Sort(s); !slices.Equal(s, sorted) {
			t.Fatalf("of %v it has made %v", sorted, s)
		}
	})
}
