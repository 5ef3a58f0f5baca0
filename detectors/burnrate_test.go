package detectors_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

func ExampleBurnRate() {
	m := &detectors.BurnRate{Objective: 0.999}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 600 {
		failed := 0.0
		if i >= 500 {
			failed = 10 // of 100 requests in 10 s
		}
		if v := m.ObserveCounts(at, failed, 100); v.State == detectors.StateAnomalous {
			rule, _ := m.Burning()
			fmt.Println(v.Explain())
			fmt.Println("over", rule.Long, "and", rule.Short, "from point", i)
			break
		}
		at = at.Add(10 * time.Second)
	}
	// Output:
	// errors burn their budget of 0.001000 at 14.44 times the speed that lasts, 14.4 times are the limit, since 13:31:50 UTC
	// over 1h0m0s and 5m0s from point 551
}

func TestBurnRateContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.BurnRate{Objective: 0.85, Whole: 100} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.BurnRate{
			Objective: 0.8, Whole: 100, RecoverPoints: 1,
			Windows: []detectors.BurnWindow{{Long: 2 * time.Minute, Short: time.Minute, Factor: 1}},
		}
	})
}

// An error ratio that wavers at half of its budget is what the objective allows.
func TestBurnRateFalseAlarms(t *testing.T) {
	falseAlarms(t, func() detectors.Model { return &detectors.BurnRate{} }, 0.0005, 0.0002, 0, 0)
	const weeks = 6
	f := func(name string, requests float64) {
		t.Helper()
		r := rand.New(rand.NewPCG(1, 3))
		m := &detectors.BurnRate{}
		var n int
		on := false
		for i := range weeks * week {
			total, bad := 0.0, 0.0
			for k := requests; k > 0; k-- {
				if k >= 1 || r.Float64() < k {
					total++
					if r.Float64() < 0.0005 {
						bad++
					}
				}
			}
			v := m.ObserveCounts(at(i), bad, total)
			if v.State == detectors.StateAnomalous && !on {
				n++
			}
			on = v.State == detectors.StateAnomalous
		}
		t.Logf("%s: %d false alarms in %d weeks", name, n, weeks)
		if n > 1 {
			t.Errorf("%s: %d false alarms in %d weeks", name, n, weeks)
		}
	}
	f("one request a second", 10)
	f("one request in 10 s", 1)
	f("one request in 5 minutes", 1.0/30)
}

// burns feeds a ratio at 10 s for a length of time and returns how long it took to become anomalous, by which rule.
func burns(m *detectors.BurnRate, from time.Time, length time.Duration, ratio float64) (time.Duration, detectors.BurnWindow) {
	for d := time.Duration(0); d < length; d += 10 * time.Second {
		v := m.Observe(detectors.Point{At: from.Add(d), Value: ratio})
		if v.Reason == detectors.ReasonBurn {
			rule, _ := m.Burning()
			return d, rule
		}
	}
	return -1, detectors.BurnWindow{}
}

// The fuller the outage, the sooner it is told, as the workbook computes: after factor * budget / ratio of the long
// window.
func TestBurnRateTimes(t *testing.T) {
	f := func(ratio float64, rule time.Duration, low, high time.Duration) {
		t.Helper()
		m := &detectors.BurnRate{}
		if d, _ := burns(m, start(), 4*24*time.Hour, 0); d >= 0 {
			t.Fatalf("burning without errors after %v", d)
		}
		d, w := burns(m, start().Add(4*24*time.Hour), 4*24*time.Hour, ratio)
		if w.Long != rule || d < low || d > high {
			t.Fatalf("ratio %v: after %v by the rule of %v, want %v to %v by that of %v", ratio, d, w.Long, low, high, rule)
		}
	}
	f(1, time.Hour, 40*time.Second, 2*time.Minute)
	f(0.1, time.Hour, 8*time.Minute, 11*time.Minute)
	f(0.0144*1.2, time.Hour, 45*time.Minute, time.Hour)
	f(0.009, 6*time.Hour, 3*time.Hour, 5*time.Hour)
	f(0.004, 24*time.Hour, 16*time.Hour, 20*time.Hour)
	f(0.002, 72*time.Hour, 30*time.Hour, 40*time.Hour)
	f(0.0009, 0, -1, -1)
}

func TestBurnRateEndsWithTheShortWindow(t *testing.T) {
	m := &detectors.BurnRate{}
	burns(m, start(), 4*24*time.Hour, 0)
	from := start().Add(4 * 24 * time.Hour)
	burns(m, from, 30*time.Second, 1)
	for d := 30 * time.Second; d < 90*time.Second; d += 10 * time.Second {
		m.Observe(detectors.Point{At: from.Add(d), Value: 1})
	}
	var ended time.Duration
	for d := 90 * time.Second; d < time.Hour; d += 10 * time.Second {
		v := m.Observe(detectors.Point{At: from.Add(d), Value: 0})
		if v.State == detectors.StateNormal {
			ended = d
			break
		}
	}
	if ended < 5*time.Minute || ended > 8*time.Minute {
		t.Fatalf("ended %v after it began", ended)
	}
}

// The first minutes of a model, and those after a gap, are not taken for days.
func TestBurnRateColdStartAndGap(t *testing.T) {
	m := &detectors.BurnRate{}
	if d, w := burns(m, start(), time.Hour, 1); d < 40*time.Second || d > 2*time.Minute || w.Long != time.Hour {
		t.Fatalf("errors only from the start: after %v by the rule of %v", d, w.Long)
	}
	m = &detectors.BurnRate{}
	burns(m, start(), time.Hour, 0)
	v := m.Observe(detectors.Point{At: start().Add(200 * time.Hour), Value: 1})
	if v.State != detectors.StateNormal || v.Reason != detectors.ReasonPending {
		t.Fatalf("one bad point after a gap: %s", v.Explain())
	}
	if d, _ := burns(m, start().Add(200*time.Hour+10*time.Second), time.Hour, 1); d < 20*time.Second || d > 2*time.Minute {
		t.Fatalf("errors only after a gap: after %v", d)
	}
}

func TestBurnRateOddCounts(t *testing.T) {
	m := &detectors.BurnRate{}
	i := 0
	f := func(bad, total float64, state detectors.State, value float64) {
		t.Helper()
		v := m.ObserveCounts(at(i), bad, total)
		i++
		if v.State != state || v.Value != value || detectortest.Check(v) != "" {
			t.Fatalf("%v of %v: %s", bad, total, v.Explain())
		}
	}
	f(0, 0, detectors.StateNormal, 0)
	f(0, 100, detectors.StateNormal, 0)
	f(5, 3, detectors.StateNormal, 1) // few
	f(-7, 100, detectors.StateNormal, 0)
	f(3, -100, detectors.StateNormal, 0) // a counter that was reset
	f(math.NaN(), 100, detectors.StateUnknown, 0)
	f(1, math.Inf(1), detectors.StateUnknown, 0)
	f(math.MaxFloat64, math.MaxFloat64, detectors.StateAnomalous, 1)
	// In percent, Whole says what errors only are.
	p := &detectors.BurnRate{Whole: 100}
	a, _ := burns(p, start(), time.Hour, 50)
	b, _ := burns(&detectors.BurnRate{}, start(), time.Hour, 0.5)
	if a != b || a < 0 {
		t.Fatalf("percent after %v, shares after %v", a, b)
	}
}

func TestBurnRateSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64())
		m := &detectors.BurnRate{
			Objective: rapid.OneOf(odd, rapid.Float64Range(0, 1)).Draw(t, "objective"), Whole: odd.Draw(t, "whole"), MinBad: odd.Draw(t, "min"),
			RecoverPoints: rapid.IntRange(-1, 4).Draw(t, "recover"),
		}
		for range rapid.IntRange(0, 9).Draw(t, "windows") {
			m.Windows = append(m.Windows, detectors.BurnWindow{
				Long: 24 * time.Hour, Short: rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "short"), Factor: odd.Draw(t, "factor"),
			})
		}
		other := *m
		survives(t, m, &other)
	})
}

func TestBurnRateValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.BurnRate{Objective: 99.9}, "below 1 such as 0.999")
	f(&detectors.BurnRate{Whole: -1}, "errors only")
	f(&detectors.BurnRate{Windows: []detectors.BurnWindow{{Long: time.Hour, Short: 2 * time.Hour, Factor: 1}}}, "a long one above a short one")
	f(&detectors.BurnRate{Windows: make([]detectors.BurnWindow, 9)}, "want at most 8")
	f(&detectors.BurnRate{Objective: 0.9, Windows: []detectors.BurnWindow{{Long: time.Hour, Short: time.Minute, Factor: 14.4}}},
		"factor 14.4 times the budget of 0.1 is all there is, and the rule would never speak; want a factor below 10")
	f(&detectors.BurnRate{MinBad: math.NaN()}, "min bad NaN")
	f(&detectors.BurnRate{RecoverPoints: -1}, "recover points -1")
}
