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

func ExampleSeasonal() {
	m := &detectors.Seasonal{}
	// Three weeks of requests: 100 a second, 10 at night.
	requests := func(at time.Time) float64 {
		level := 100.0
		if at.Hour() < 6 {
			level = 10
		}
		return level + float64(at.Minute()%5)
	}
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for range 21 * 24 * 60 {
		m.Observe(detectors.Point{At: at, Value: requests(at)})
		at = at.Add(time.Minute)
	}
	night, day := at.Add(3*time.Hour), at.Add(12*time.Hour+30*time.Minute)
	fmt.Println(m.Observe(detectors.Point{At: night, Value: 13}).Explain())
	fmt.Println(m.Observe(detectors.Point{At: day, Value: 13}).Explain())
	// Output:
	// 13 is inside 5.452 to 20.13 (expected 12.79 from the same time of the past weeks, 0.1723 scales of 1.223 away, scale from the 90 % quantile of the residuals of 180 points)
	// 13 is below 90.47 to 115.1 (expected 102.8 from the same time of the past weeks, 43.68 scales of 2.056 away, scale from the relative floor of 180 points)
}

func TestSeasonalContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.Seasonal{} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.Seasonal{
			Slot: time.Minute, Weeks: 1, MinWeeks: 1, Direction: detectors.Below, RelativeFloor: -1,
			AdaptAfter: 2 * time.Minute, TriggerPoints: 2,
		}
	})
}

func TestSeasonalFalseAlarms(t *testing.T) {
	falseAlarms(t, func() detectors.Model { return &detectors.Seasonal{RelativeFloor: -1} }, 100, 1, 0.1, 0.5)
}

// daily is a day with a quiet night and a busy noon by the clock of a place, and weekends of half the size.
func daily(loc *time.Location, seed uint64) func(time.Time) float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	return func(at time.Time) float64 {
		at = at.In(loc)
		hour := float64(at.Hour()) + float64(at.Minute())/60
		x := 100 - 80*math.Cos(2*math.Pi*hour/24)
		if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
			x /= 2
		}
		return x * (1 + 0.03*r.NormFloat64())
	}
}

func TestSeasonalColdStart(t *testing.T) {
	m := &detectors.Seasonal{}
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) // a Monday
	first := map[detectors.Basis]time.Duration{}
	var warming int
	points(m, from, time.Minute, 16*24*time.Hour, daily(time.UTC, 1), func(v detectors.Verdict) {
		if v.State == detectors.StateWarming {
			warming++
			if v.Points >= v.Needed || v.Points != warming-1 {
				t.Fatalf("warming with %d of %d points after %d", v.Points, v.Needed, warming)
			}
			return
		}
		if _, ok := first[v.Basis]; !ok {
			first[v.Basis] = v.At.Sub(from)
		}
	})
	if warming != 30 || first[detectors.BasisRecent] != 30*time.Minute || first[detectors.BasisDay] != 48*time.Hour ||
		first[detectors.BasisWeek] != 14*24*time.Hour {
		t.Fatalf("warming for %d points, first %v", warming, first)
	}
	if n, of := m.Learned(); of != 168 || n != 168 {
		t.Fatalf("%d of %d slots learned after 16 days", n, of)
	}
}

// Two full weeks are enough for weekends not to be news, and for half the traffic at noon to be.
func TestSeasonalKnowsTheWeek(t *testing.T) {
	m := &detectors.Seasonal{}
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	value := daily(time.UTC, 2)
	points(m, from, time.Minute, 21*24*time.Hour, value, func(detectors.Verdict) {})
	from = from.Add(21 * 24 * time.Hour)
	var n int
	points(m, from, time.Minute, 7*24*time.Hour, value, func(v detectors.Verdict) {
		if v.State == detectors.StateAnomalous {
			n++
		}
	})
	if n > 0 {
		t.Fatalf("%d points of the fourth week accused", n)
	}
	noon := from.Add(7*24*time.Hour + 12*time.Hour) // Monday
	v := m.Observe(detectors.Point{At: noon, Value: 90})
	if v.State != detectors.StateAnomalous || v.Reason != detectors.ReasonBelow || v.Basis != detectors.BasisWeek {
		t.Fatalf("half of Monday noon: %s", v.Explain())
	}
	// What is right for a Saturday noon is wrong for a Monday noon, unless that Monday is a holiday.
	m.Special = []detectors.Interval{{From: noon.Add(7*24*time.Hour - 12*time.Hour), Until: noon.Add(7*24*time.Hour + 12*time.Hour), Like: detectors.Sunday}}
	if v = m.Observe(detectors.Point{At: noon.Add(7 * 24 * time.Hour), Value: 90}); math.Abs(v.Expected-90) > 5 {
		t.Fatalf("holiday noon like a Sunday: %s", v.Explain())
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
}

// The hours of the wall clock stay the hours on both sides of a change of the clocks.
func TestSeasonalFollowsTheWallClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(from time.Time, days int) {
		t.Helper()
		m := &detectors.Seasonal{Location: berlin}
		value := daily(berlin, 3)
		last := from.AddDate(0, 0, 28)
		points(m, from, time.Minute, last.Sub(from), value, func(detectors.Verdict) {})
		points(m, last, time.Minute, time.Duration(days)*24*time.Hour, value, func(v detectors.Verdict) {
			if v.State == detectors.StateAnomalous {
				t.Fatalf("%v: %s", v.At.In(berlin), v.Explain())
			}
		})
	}
	f(time.Date(2026, 2, 26, 0, 0, 0, 0, berlin), 10) // the day of 23 hours is 29 March
	f(time.Date(2026, 9, 24, 0, 0, 0, 0, berlin), 10) // the day of 25 hours is 25 October
}

func TestSeasonalExcludesSpecialTimes(t *testing.T) {
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	flat := func(time.Time) float64 { return 50 }
	sale := detectors.Interval{From: from.AddDate(0, 0, 21), Until: from.AddDate(0, 0, 22)}
	m := &detectors.Seasonal{AbsoluteFloor: 1, Special: []detectors.Interval{sale}}
	points(m, from, 5*time.Minute, 21*24*time.Hour, flat, func(detectors.Verdict) {})
	points(m, sale.From, 5*time.Minute, 24*time.Hour, func(time.Time) float64 { return 51 }, func(v detectors.Verdict) {
		if v.Basis != detectors.BasisRecent || v.State != detectors.StateNormal {
			t.Fatalf("during the sale: %s", v.Explain())
		}
	})
	points(m, from.AddDate(0, 0, 28), 5*time.Minute, 24*time.Hour, flat, func(v detectors.Verdict) {
		if v.Expected != 50 || v.Points != 36 { // the sale's Monday is not among the visits
			t.Fatalf("a week after the sale: %s", v.Explain())
		}
	})
}

func TestSeasonalLevelAndUnitChange(t *testing.T) {
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	f := func(factor float64, basis detectors.Basis) {
		t.Helper()
		m := &detectors.Seasonal{}
		value := daily(time.UTC, 4)
		points(m, from, time.Minute, 21*24*time.Hour, value, func(detectors.Verdict) {})
		changed := from.AddDate(0, 0, 21)
		var adapted time.Time
		points(m, changed, time.Minute, 7*time.Hour, func(at time.Time) float64 { return value(at) * factor }, func(v detectors.Verdict) {
			if v.Reason == detectors.ReasonAdapted && adapted.IsZero() {
				adapted = v.At
			}
			if adapted.IsZero() && v.At.Sub(changed) > time.Minute && v.State != detectors.StateAnomalous {
				t.Fatalf("after a factor of %v: %s", factor, v.Explain())
			}
			if !adapted.IsZero() && v.At.After(adapted) && v.Basis != basis {
				t.Fatalf("after the adaption: %s", v.Explain())
			}
		})
		if d := adapted.Sub(changed); d < 6*time.Hour || d > 6*time.Hour+5*time.Minute {
			t.Fatalf("adapted after %v", d)
		}
	}
	f(1000, detectors.BasisRecent) // another unit: the profile is forgotten
	// Another level, the same shape: only the level moves.
	m := &detectors.Seasonal{AbsoluteFloor: 2}
	flat := func(x float64) func(time.Time) float64 { return func(time.Time) float64 { return x } }
	points(m, from, time.Minute, 21*24*time.Hour, flat(50), func(detectors.Verdict) {})
	points(m, from.AddDate(0, 0, 21), time.Minute, 6*time.Hour+time.Minute, flat(80), func(detectors.Verdict) {})
	points(m, from.AddDate(0, 0, 22), time.Minute, time.Hour, flat(80), func(v detectors.Verdict) {
		if v.Expected != 80 || v.Basis != detectors.BasisWeek || v.State != detectors.StateNormal {
			t.Fatalf("after the level: %s", v.Explain())
		}
	})
}

func TestSeasonalOddSeries(t *testing.T) {
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	f := func(name string, interval time.Duration, value func(time.Time) float64, see func(detectors.Verdict) bool) {
		t.Helper()
		points(&detectors.Seasonal{}, from, interval, 20*24*time.Hour, value, func(v detectors.Verdict) {
			if s := detectortest.Check(v); s != "" || !see(v) {
				t.Fatalf("%s at %v: %s %s", name, v.At, s, v.Explain())
			}
		})
	}
	calm := func(v detectors.Verdict) bool { return v.State != detectors.StateAnomalous }
	f("zeros", 10*time.Minute, func(time.Time) float64 { return 0 }, calm)
	f("constant", 10*time.Minute, func(time.Time) float64 { return 42 }, calm)
	f("sparse", 2*time.Hour, func(at time.Time) float64 { return float64(50 + at.Hour()) }, calm)
	start := 0.0
	f("a counter that is reset", 10*time.Minute, func(at time.Time) float64 {
		if at.Equal(from.Add(15 * 24 * time.Hour)) {
			start = at.Sub(from).Seconds()
		}
		return at.Sub(from).Seconds() - start
	}, func(v detectors.Verdict) bool {
		return !v.At.Equal(from.Add(15*24*time.Hour)) || v.State == detectors.StateAnomalous
	})
}

func drawSeasonal(t *rapid.T) *detectors.Seasonal {
	return &detectors.Seasonal{
		Slot:          rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour, 24 * time.Hour, 7 * time.Second}).Draw(t, "slot"),
		Weeks:         rapid.IntRange(-1, 13).Draw(t, "weeks"),
		MinWeeks:      rapid.IntRange(-1, 3).Draw(t, "min weeks"),
		Threshold:     rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64Range(-1, 10)).Draw(t, "threshold"),
		Direction:     detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")),
		AbsoluteFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Float64()).Draw(t, "absolute"),
		RelativeFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(-1.0), rapid.Float64()).Draw(t, "relative"),
		AdaptAfter:    rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "adapt"),
		Drift:         rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "drift"),
	}
}

// wildSeries is any values, of which those after the first may repeat, a step of time apart.
func wildSeries(t *rapid.T) (xs []float64, step time.Duration) {
	xs = rapid.SliceOfN(wild(), 0, 120).Draw(t, "xs")
	return xs, rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Minute, 3 * time.Hour, 24 * time.Hour}).Draw(t, "step")
}

// survives checks that nothing that is no number comes out, and that a restored model goes on as the original.
func survives(t *rapid.T, m, other detectors.Model) {
	xs, step := wildSeries(t)
	cut := rapid.IntRange(0, len(xs)).Draw(t, "cut")
	for i, x := range xs {
		if i == cut {
			snap, err := m.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Restore(snap); err != nil {
				t.Fatal(err)
			}
		}
		p := detectors.Point{At: start().Add(time.Duration(i) * step), Value: x}
		v := m.Observe(p)
		if s := detectortest.Check(v); s != "" {
			t.Fatalf("%v: %s: %+v", x, s, v)
		}
		if i >= cut {
			if w := other.Observe(p); w != v {
				t.Fatalf("point %d:\n original %+v\n restored %+v", i, v, w)
			}
		}
	}
}

func TestSeasonalSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawSeasonal(t)
		other := *m
		survives(t, m, &other)
	})
}

// Powers of two scale without rounding, so the equality is exact.
func TestSeasonalScaleEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		xs := rapid.SliceOfN(scalable(), 40, 200).Draw(t, "xs")
		a, b := &detectors.Seasonal{}, &detectors.Seasonal{}
		for i, x := range xs {
			p := detectors.Point{At: start().Add(time.Duration(i) * time.Hour), Value: x}
			va := a.Observe(p)
			p.Value *= k
			vb := b.Observe(p)
			if va.State != vb.State || va.Reason != vb.Reason || va.Expected*k != vb.Expected || va.Score != vb.Score {
				t.Fatalf("point %d scaled by %v: %s and %s", i, k, va.Explain(), vb.Explain())
			}
		}
	})
}

func TestSeasonalValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.Seasonal{Slot: 7 * time.Minute}, "a divisor of 24 hours")
	f(&detectors.Seasonal{Weeks: 13}, "want 1 to 12")
	f(&detectors.Seasonal{Weeks: 2, MinWeeks: 3}, "the weeks of 2")
	f(&detectors.Seasonal{Special: []detectors.Interval{{From: start(), Until: start()}}}, "special 0: from")
	f(&detectors.Seasonal{Special: []detectors.Interval{{From: start(), Until: at(1), Like: 8}}}, "not a day of the week")
	f(&detectors.Seasonal{Threshold: -1}, "0 for 6")
}
