package detectors_test

import (
	"math"
	"testing"

	"github.com/evenkeel/evenkeel/detectors"
)

func TestShareInterval(t *testing.T) {
	f := func(k, n int, confidence, lower, upper float64) {
		t.Helper()
		l, u := detectors.ShareInterval(k, n, confidence)
		if math.Abs(l-lower) > 5e-4 || math.Abs(u-upper) > 5e-4 {
			t.Errorf("%d in %d at %v: %.4f to %.4f, want %.4f to %.4f", k, n, confidence, l, u, lower, upper)
		}
	}
	// Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
	f(81, 263, 0.95, 0.2553, 0.3662)
	f(15, 148, 0.95, 0.0624, 0.1605)
	f(0, 20, 0.95, 0, 0.1611)
	f(1, 29, 0.95, 0.0061, 0.1718)
	f(0, 0, 0.95, 0, 1)
	f(30, 20, 0.95, 1-0.1611, 1)
	l, u := detectors.ShareInterval(3, 10, 0.9)
	f(3, 10, 2, l, u)
}
