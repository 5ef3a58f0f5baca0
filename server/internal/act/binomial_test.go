package act

import "testing"

func TestUnlikely(t *testing.T) {
	f := func(requests, failures, rate float64, want bool) {
		t.Helper()
		if got := unlikely(requests, failures, rate); got != want {
			t.Errorf("%v of %v at %v: %v, want %v", failures, requests, rate, got, want)
		}
	}
	f(100, 0, 0.001, false)
	f(100, 1, 0.001, false) // 9.5 %
	f(100, 2, 0.001, true)  // 0.46 %
	f(10, 1, 0.001, true)   // 1.0 %
	f(3, 3, 0.001, true)
	f(1000, 15, 0.01, false) // 8.2 %
	f(1000, 17, 0.01, true)  // 2.6 %
	f(1e6, 10_100, 0.01, false)
	f(1e6, 11_000, 0.01, true)
	f(10, 1, 0, true)
	f(10, 0, 0, false)
}

func TestPercent(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(percent(0.33), "33 %")
	f(percent(0), "0 %")
	f(percent(0.01), "1 %")
	f(percent(0.004), "0.4 %")
	f(percent(1), "100 %")
	f(precise(0.999), "99.9 %")
	f(precise(1), "100 %")
	f(precise(0.99996), "99.99 %")
	f(precise(0), "0.0 %")
}
