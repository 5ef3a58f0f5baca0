package detectors

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Subtracting instants is subtracting times, also where the difference is more than a Duration can be.
func TestSinceLastIsSub(t *testing.T) {
	times := rapid.Custom(func(t *rapid.T) time.Time {
		sec := rapid.OneOf(rapid.Int64Range(-10, 10), rapid.Int64Range(-1<<34, 1<<34), rapid.SampledFrom([]int64{math.MinInt64 / 2, math.MaxInt64 / 2})).Draw(t, "sec")
		return time.Unix(sec, rapid.Int64Range(0, 999999999).Draw(t, "nsec")).UTC()
	})
	rapid.Check(t, func(t *rapid.T) {
		from, to := times.Draw(t, "from"), times.Draw(t, "to")
		if got, want := sinceLast(instantOf(from), to), to.Sub(from); got != want {
			t.Fatalf("from %v to %v: %v, want %v", from, to, got, want)
		}
	})
}
