package detectors_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

func ExampleTrend() {
	m := &detectors.Trend{Limit: 95, Direction: detectors.Above} // percent of a disk
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var v detectors.Verdict
	for minute := range 8 * 60 {
		used := 60 + 2*float64(minute)/60 + float64(minute*7%11-5)/10
		v = m.Observe(detectors.Point{At: at.Add(time.Duration(minute) * time.Minute), Value: used})
	}
	fmt.Println(v.State, "-", v.Explain())
	// Output:
	// anomalous - 76.37 reaches 95 in 9.6 h (9.4 h to 9.8 h)
}

func TestTrendContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.Trend{Limit: 1e6, Window: time.Hour} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.Trend{Limit: 12, Direction: detectors.Above, Window: 20 * time.Minute, Horizon: time.Hour, Confidence: 0.5, RecoverPoints: 1}
	})
	detectortest.Run(t, func() detectors.Model {
		return &detectors.Trend{Limit: 9, Direction: detectors.Below, Window: 10 * time.Minute}
	})
}

// Noise that goes nowhere is not on its way to a limit that is four of its deviations off.
func TestTrendFalseAlarms(t *testing.T) {
	falseAlarms(t, func() detectors.Model { return &detectors.Trend{Limit: 104, Direction: detectors.Above} }, 100, 1, 0, 0.5)
}

// line feeds a noisy line at a minute's distance from a start on and returns the last verdict.
func line(m detectors.Model, from time.Time, minutes int, first, perHour, sd float64) (v detectors.Verdict) {
	for i, e := range noise(8, minutes, 0, sd) {
		v = m.Observe(detectors.Point{At: from.Add(time.Duration(i) * time.Minute), Value: first + perHour*float64(i)/60 + e})
	}
	return v
}

func TestTrendTellsTheTime(t *testing.T) {
	f := func(m *detectors.Trend, first, perHour, sd float64, state detectors.State, hours float64) {
		t.Helper()
		v := line(m, start(), 360, first, perHour, sd)
		if v.State != state || detectortest.Check(v) != "" {
			t.Fatalf("%v from %v: %s %s", perHour, first, v.State, v.Explain())
		}
		if !v.ETA.Known || v.ETA.Earliest > v.ETA.Likely || v.ETA.Likely > v.ETA.Latest {
			t.Fatalf("times out of order: %+v", v.ETA)
		}
		if hours < 0 {
			if v.ETA.Likely < 1000*time.Hour {
				t.Fatalf("reaches the limit %s", v.ETA)
			}
			return
		}
		want := time.Duration(hours * float64(time.Hour))
		if v.ETA.Earliest > want+2*time.Minute || v.ETA.Latest < want-2*time.Minute || (v.ETA.Likely-want).Abs() > want/5+2*time.Minute {
			t.Fatalf("reaches the limit %s, want in %v", v.ETA, want)
		}
	}
	up := func(limit float64) *detectors.Trend {
		return &detectors.Trend{Limit: limit, Direction: detectors.Above}
	}
	f(up(100), 50, 5, 0, detectors.StateAnomalous, 4)
	f(up(100), 50, 5, 1, detectors.StateAnomalous, 4)
	f(up(100), 50, 1, 0.5, detectors.StateNormal, 44)
	f(up(100), 50, 0, 0, detectors.StateNormal, -1)
	f(up(100), 50, -5, 1, detectors.StateNormal, -1)
	f(up(60), 50, 5, 1, detectors.StateAnomalous, 0) // is past it
	f(&detectors.Trend{Limit: 10, Direction: detectors.Below}, 50, -5, 1, detectors.StateAnomalous, 2)
	f(&detectors.Trend{Limit: 10}, 50, -5, 1, detectors.StateAnomalous, 2)
	f(&detectors.Trend{Limit: 100}, 50, 5, 1, detectors.StateAnomalous, 4)
	f(&detectors.Trend{Limit: 10, Direction: detectors.Below}, 50, 5, 1, detectors.StateNormal, -1)
	f(&detectors.Trend{Limit: 100, Direction: detectors.Above, Horizon: time.Hour}, 50, 5, 1, detectors.StateNormal, 4)
}

// The interval holds the truth as often as it says.
func TestTrendIntervalCovers(t *testing.T) {
	var covered int
	const runs = 200
	for seed := range uint64(runs) {
		m := &detectors.Trend{Limit: 100, Direction: detectors.Above, Confidence: 0.9}
		var v detectors.Verdict
		for i, e := range noise(seed, 360, 0, 3) {
			v = m.Observe(detectors.Point{At: start().Add(time.Duration(i) * time.Minute), Value: 50 + 4*float64(i)/60 + e})
		}
		truth := time.Duration((50.0/4 - 359.0/60) * float64(time.Hour))
		if v.ETA.Earliest <= truth && truth <= v.ETA.Latest {
			covered++
		}
	}
	if share := float64(covered) / runs; share < 0.75 {
		t.Fatalf("the interval of 0.8 covers %.2f", share)
	}
}

func TestTrendBeginsAnewAfterAJump(t *testing.T) {
	m := &detectors.Trend{Limit: 100, Direction: detectors.Above}
	if v := line(m, start(), 600, 50, 4.5, 0.5); v.State != detectors.StateAnomalous {
		t.Fatalf("filling: %s", v.Explain())
	}
	// Cleaned up: the disk is at 20, and fills at the same speed.
	from := start().Add(600 * time.Minute)
	if v := line(m, from, 30, 20, 4.5, 0.5); v.State != detectors.StateWarming || v.Points > 3 {
		t.Fatalf("after the clean-up: %s", v.Explain())
	}
	v := line(m, from.Add(30*time.Minute), 120, 22.25, 4.5, 0.5)
	if want := time.Duration((100 - 31.25) / 4.5 * float64(time.Hour)); v.State != detectors.StateAnomalous || (v.ETA.Likely-want).Abs() > 2*time.Hour {
		t.Fatalf("filling again: %s", v.Explain())
	}
}

func TestTrendOddSeries(t *testing.T) {
	f := func(name string, value func(i int) float64, step time.Duration, want detectors.State) {
		t.Helper()
		m := &detectors.Trend{Limit: 1000, Direction: detectors.Above}
		var v detectors.Verdict
		for i := range 2000 {
			v = m.Observe(detectors.Point{At: start().Add(time.Duration(i) * step), Value: value(i)})
			if s := detectortest.Check(v); s != "" {
				t.Fatalf("%s: %s", name, s)
			}
		}
		if v.State != want {
			t.Fatalf("%s: %s", name, v.Explain())
		}
	}
	f("constant", func(int) float64 { return 42 }, time.Minute, detectors.StateNormal)
	f("zeros", func(int) float64 { return 0 }, time.Minute, detectors.StateNormal)
	f("spikes", func(i int) float64 { return float64(i%10/9) * 1e6 }, time.Minute, detectors.StateNormal)
	f("a counter that is reset each day", func(i int) float64 { return float64(i % 1440) }, time.Minute, detectors.StateAnomalous)
	f("a point a day", func(i int) float64 { return float64(i) }, 24*time.Hour, detectors.StateWarming)
	f("steps", func(i int) float64 { return float64(i / 100) }, time.Minute, detectors.StateNormal)
}

func TestTrendSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Float64())
		times := rapid.SampledFrom([]time.Duration{0, -1, time.Minute, 48 * time.Hour, math.MaxInt64})
		m := &detectors.Trend{
			Limit: odd.Draw(t, "limit"), Confidence: odd.Draw(t, "confidence"), Window: times.Draw(t, "window"), Horizon: times.Draw(t, "horizon"),
			Direction: detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")), RecoverPoints: rapid.IntRange(-1, 4).Draw(t, "recover"),
		}
		other := *m
		survives(t, m, &other)
	})
}

// The line does not care about the unit: scaled by powers of two and shifted by whole numbers, it reaches the limit at
// the same time.
func TestTrendEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		by := float64(rapid.IntRange(-1000, 1000).Draw(t, "by"))
		xs := rapid.SliceOfN(rapid.IntRange(-1000, 1000), 60, 120).Draw(t, "xs")
		a := &detectors.Trend{Limit: 2000, Window: 48 * time.Minute, Direction: detectors.Above}
		b := &detectors.Trend{Limit: (2000 + by) * k, Window: 48 * time.Minute, Direction: detectors.Above}
		for i, x := range xs {
			at := start().Add(time.Duration(i) * time.Minute)
			va := a.Observe(detectors.Point{At: at, Value: float64(x)})
			vb := b.Observe(detectors.Point{At: at, Value: (float64(x) + by) * k})
			if d := (va.ETA.Likely - vb.ETA.Likely).Abs(); va.State != vb.State || d > 1+va.ETA.Likely/1e6 {
				t.Fatalf("point %d: %s and %s", i, va.ETA, vb.ETA)
			}
		}
	})
}

func TestTrendValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.Trend{Limit: math.Inf(1)}, "not a finite number")
	f(&detectors.Trend{Window: time.Second}, "want 1m0s or more")
	f(&detectors.Trend{Horizon: -1}, "horizon -1ns")
	f(&detectors.Trend{Confidence: 0.2}, "0.5 to below 1")
	f(&detectors.Trend{Direction: 9}, "direction 9")
}
