package main

import (
	"math"
	"testing"
)

func TestQuantile(t *testing.T) {
	f := func(q, want float64, values ...float64) {
		t.Helper()
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g of %v is %g, want %g", q, values, got, want)
		}
	}
	f(0.5, 7, 7)
	f(0.99, 7, 7)
	f(0.5, 1, 2, 1)
	f(0.99, 2, 2, 1)
	f(0.5, 2, 3, 1, 2)
	f(0, 1, 3, 1, 2)
	f(1, 3, 3, 1, 2)
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	f(0.5, 50, hundred...)
	f(0.99, 99, hundred...)
	if !math.IsNaN(quantile(nil, 0.5)) {
		t.Error("a quantile of nothing is a number")
	}
}

func TestQuantileLeavesItsInputAlone(t *testing.T) {
	values := []float64{3, 1, 2}
	quantile(values, 0.5)
	median(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("the values are %v now", values)
	}
}

func TestMedianAndMean(t *testing.T) {
	f := func(wantMedian, wantMean float64, values ...float64) {
		t.Helper()
		if got := median(values); got != wantMedian {
			t.Errorf("median of %v is %g, want %g", values, got, wantMedian)
		}
		if got := mean(values); got != wantMean {
			t.Errorf("mean of %v is %g, want %g", values, got, wantMean)
		}
	}
	f(5, 5, 5)
	f(1.5, 1.5, 2, 1)
	f(2, 4, 9, 1, 2)
	f(2.5, 3, 6, 1, 2, 3)
	if !math.IsNaN(median(nil)) || !math.IsNaN(mean(nil)) {
		t.Error("the middle of nothing is a number")
	}
}

func TestNumber(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := number(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	f(0, "0")
	f(512345.4, "512345")
	f(123.4, "123")
	f(-45.678, "-45.7")
	f(3.14159, "3.14")
	f(1, "1")
	f(20, "20")
	f(0.8765, "0.876")
	f(0.001234, "0.00123")
	f(math.NaN(), "NaN")
}

func TestGoal(t *testing.T) {
	f := func(g goal, v float64, want bool) {
		t.Helper()
		if got := g.missed(v); got != want {
			t.Errorf("%g misses %s: %v, want %v", v, g, got, want)
		}
	}
	f(goal{limit: 300}, 300, false)
	f(goal{limit: 300}, 301, true)
	f(goal{limit: 300}, math.NaN(), true)
	f(goal{limit: 0.8, least: true}, 0.8, false)
	f(goal{limit: 0.8, least: true}, 0.79, true)
	f(goal{limit: 0.8, least: true}, math.NaN(), true)
}

func TestBenchmarkLine(t *testing.T) {
	f := func(line, name string, figures map[string]float64) {
		t.Helper()
		gotName, got := benchmarkLine(line)
		if gotName != name || len(got) != len(figures) {
			t.Errorf("%q is %q with %v, want %q with %v", line, gotName, got, name, figures)
		}
		for unit, v := range figures {
			if got[unit] != v {
				t.Errorf("%q has %v %s, want %v", line, got[unit], unit, v)
			}
		}
	}
	f("BenchmarkJudge/tenth_down-2   \t    1056\t   1135219 ns/op\t  163352 B/op\t    1234 allocs/op", "judge_tenth_down",
		map[string]float64{"ns/op": 1135219, "B/op": 163352, "allocs/op": 1234})
	f("BenchmarkObserve/robust-z 	 7 	 12.5 ns/op", "observe_robust-z", map[string]float64{"ns/op": 12.5})
	f("BenchmarkStepHealthy-16 1 9 ns/op", "step_healthy", map[string]float64{"ns/op": 9})
	f("ok  	github.com/evenkeel/evenkeel/detectors	1.2s", "", nil)
	f("PASS", "", nil)
	f("BenchmarkBroken-2", "", nil)
}

func TestReadOptions(t *testing.T) {
	f := func(env map[string]string, want func(options) bool, ok bool) {
		t.Helper()
		o, err := readOptions(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if (err == nil) != ok || err == nil && !want(o) {
			t.Errorf("%v gives %+v, %v", env, o, err)
		}
	}
	f(nil, func(o options) bool { return o.Faults == 20 && o.Starts == 10 }, true)
	f(map[string]string{"BENCH_N": "2"}, func(o options) bool { return o.Faults == 2 && o.Starts == 2 }, true)
	f(map[string]string{"BENCH_N": "2", "BENCH_STARTS": "3"}, func(o options) bool { return o.Starts == 3 }, true)
	f(map[string]string{"BENCH_MEASURE": "5s"}, func(o options) bool { return o.Measure.Seconds() == 5 }, true)
	f(map[string]string{"BENCH_N": "0"}, nil, false)
	f(map[string]string{"BENCH_N": "x"}, nil, false)
	f(map[string]string{"BENCH_MEASURE": "5"}, nil, false)
}

func TestLost(t *testing.T) {
	list := []second{{AtUnix: 9, OK: 5, Failed: 5}, {AtUnix: 10, OK: 2, Failed: 1}, {AtUnix: 11}, {AtUnix: 12, Failed: 4}, {AtUnix: 13, OK: 3}}
	if got, want := lost(list, 10, 13), 1.0/3+1; math.Abs(got-want) > 1e-9 {
		t.Errorf("lost are %g s, want %g", got, want)
	}
	if !math.IsNaN(lost(list, 20, 30)) {
		t.Error("without a record nothing is known to be lost")
	}
}
