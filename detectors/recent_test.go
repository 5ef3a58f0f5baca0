package detectors

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// The weights of the curve are those of the least squares fit, and the median is that of the last points.
func TestRecentForecasts(t *testing.T) {
	want := forecastWeights(curvePoints, 2)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // noise, the same in every run
	var c recent
	var xs []float64
	for range 5 * curvePoints {
		x := float64(r.IntN(20)) // with equal ones
		xs = append(xs, x)
		c.learn(x)
		if !c.usable() {
			t.Fatalf("after %d points: %+v", len(xs), c)
		}
		got, ok := c.median()
		if ok != (len(xs) >= localPoints) {
			t.Fatalf("a median of %d points: %v", len(xs), ok)
		}
		if ok {
			last := slices.Sorted(slices.Values(xs[len(xs)-localPoints:]))
			if got != last[localPoints/2] {
				t.Fatalf("median %v after %d points, want %v", got, len(xs), last[localPoints/2])
			}
		}
		f, ok := c.curve()
		if ok != (len(xs) >= curvePoints) {
			t.Fatalf("a curve of %d points: %v", len(xs), ok)
		}
		if ok {
			sum := 0.0
			for i, x := range xs[len(xs)-curvePoints:] {
				sum += want[i] * x
			}
			if math.Abs(f-sum) > 1e-9 {
				t.Fatalf("curve %v after %d points, want %v", f, len(xs), sum)
			}
		}
	}
}

// A series costs at most 12 kB: the struct and the days of a quick series, in the size classes of Go's allocator.
func TestAutoIsSmall(t *testing.T) {
	const class, days = 3456, 8192
	if n := unsafe.Sizeof(Auto{}); n > class {
		t.Errorf("an Auto of %d B, want at most %d", n, class)
	}
	if n := 4 * dayCount * daySlots; n > days || class+days > 12_000 {
		t.Errorf("days of %d B", n)
	}
}
