package detectors_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

func ExampleAuto() {
	m := &detectors.Auto{AbsoluteFloor: 1}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		m.Observe(detectors.Point{At: at.Add(time.Duration(i) * 10 * time.Second), Value: 100 + r.NormFloat64()})
	}
	for i, latency := range []float64{101, 135} {
		v := m.Observe(detectors.Point{At: at.Add(time.Duration(1000+i) * 10 * time.Second), Value: latency})
		fmt.Println(v.State, "-", v.Explain())
	}
	// Output:
	// normal - 101 is inside 93.42 to 106.9 (expected 100.1 from the recent past, 0.9433 scales of 0.9095 away, scale from the mean absolute deviation of 1000 points)
	// anomalous - 135 is above 93.65 to 107.1 (expected 100.4 from the recent past, 38.08 scales of 0.9094 away, scale from the mean absolute deviation of 1001 points); by chance, the like is expected less than once in 100 years
}

func TestAutoContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.Auto{} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.Auto{FalseAlarmsPerWeek: 7, Direction: detectors.Above, AbsoluteFloor: 1, RelativeFloor: 0.1, AdaptAfter: time.Minute}
	})
}

func TestAutoValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.Auto{FalseAlarmsPerWeek: -1}, "false alarms per week -1")
	f(&detectors.Auto{FalseAlarmsPerWeek: math.NaN()}, "such as 0.25")
	f(&detectors.Auto{AbsoluteFloor: -1}, "absolute floor -1")
	f(&detectors.Auto{RelativeFloor: math.Inf(1)}, "such as 0.2")
	f(&detectors.Auto{Direction: 9}, "direction 9")
	f(&detectors.Auto{AdaptAfter: -time.Second}, "adapt after -1s")
}

// autoAfter is what an Auto that has seen some values says of the ones that follow.
func autoAfter(m *detectors.Auto, xs []float64, then ...float64) []detectors.Verdict {
	feed(m, 0, xs...)
	return feed(m, len(xs), then...)
}

func TestAutoFindsWhatOperatorsCallAnIncident(t *testing.T) {
	f := func(name string, xs, then []float64, within int, reason detectors.Reason) {
		t.Helper()
		for i, v := range autoAfter(&detectors.Auto{}, xs, then...) {
			if v.State == detectors.StateAnomalous {
				if i > within || v.Reason != reason || !v.Since.Equal(v.At) || v.PerWeek >= 1 {
					t.Errorf("%s: at point %d: %s: %s", name, i, v.Reason, v.Explain())
				}
				return
			}
		}
		t.Errorf("%s: not found", name)
	}
	f("a spike", noise(1, 2000, 100, 1), []float64{130}, 0, detectors.ReasonAbove)
	f("a drop", noise(2, 2000, 100, 1), []float64{60, 60}, 0, detectors.ReasonBelow)
	f("slow requests", noise(3, 2000, 0.040, 0.004), noise(4, 20, 0.4, 0.04), 1, detectors.ReasonAbove)
	f("errors after none ever", repeat(0, 2000), []float64{3, 4, 3}, 0, detectors.ReasonAbove)
	f("a constant that moves", repeat(7, 2000), []float64{8}, 0, detectors.ReasonAbove)
	f("another unit", noise(5, 2000, 100, 1), noise(6, 20, 100_000, 1000), 0, detectors.ReasonAbove)
	f("a counter that begins again", noise(7, 2000, 1e6, 100), []float64{12, 15}, 0, detectors.ReasonBelow)
}

// raised calls see with the time of each alarm.
func raised(m detectors.Model, from time.Time, interval, length time.Duration, value func(time.Time) float64, see func(time.Time)) {
	on := false
	points(m, from, interval, length, value, func(v detectors.Verdict) {
		now := v.State == detectors.StateAnomalous
		if now && !on {
			see(v.At)
		}
		on = now
	})
}

// What is usual at this hour is no news, however far it is from the last minutes; at another hour it is.
func TestAutoKnowsTheHoursOfTheDay(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	m := &detectors.Auto{}
	var early, late int
	raised(m, from, time.Minute, 14*24*time.Hour, func(at time.Time) float64 {
		if at.Hour() == 2 { // a job every night
			return 180 + r.NormFloat64()
		}
		return 100 + r.NormFloat64()
	}, func(at time.Time) {
		if at.Sub(from) < 4*24*time.Hour {
			early++
		} else {
			late++
		}
	})
	if early == 0 || late > 2 {
		t.Fatalf("%d alarms in the days in which it learns the job, %d in ten days after", early, late)
	}
	v := m.Observe(detectors.Point{At: from.Add(14*24*time.Hour + 9*time.Hour), Value: 180})
	if v.State != detectors.StateAnomalous || v.Reason != detectors.ReasonAbove {
		t.Fatalf("the load of the job at nine in the morning: %s", v.Explain())
	}
}

// The clock on the wall decides which hour it is: a job of four in the morning in Berlin is an hour earlier by UTC from
// the end of March on.
func TestAutoGoesByTheClockOnTheWall(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	change := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	f := func(where *time.Location) (alarms int) {
		r := rand.New(rand.NewPCG(9, 9))
		raised(&detectors.Auto{Location: where}, change.AddDate(0, 0, -14), 5*time.Minute, 16*24*time.Hour, func(at time.Time) float64 {
			if at.In(berlin).Hour() == 4 {
				return 180 + r.NormFloat64()
			}
			return 100 + r.NormFloat64()
		}, func(at time.Time) {
			if at.After(change) {
				alarms++
			}
		})
		return alarms
	}
	if n := f(berlin); n != 0 {
		t.Errorf("%d alarms in civil time after the clock change", n)
	}
	if n := f(nil); n == 0 {
		t.Error("no alarm by UTC either: the test shows nothing")
	}
}

func TestAutoWatchesOneSide(t *testing.T) {
	xs := noise(1, 2000, 100, 1)
	if v := autoAfter(&detectors.Auto{Direction: detectors.Above}, xs, 60)[0]; v.State != detectors.StateNormal || v.Reason != detectors.ReasonOtherSide {
		t.Errorf("below, watched above: %s: %s", v.Reason, v.Explain())
	}
	if v := autoAfter(&detectors.Auto{Direction: detectors.Below}, xs, 60)[0]; v.State != detectors.StateAnomalous {
		t.Errorf("below, watched below: %s", v.Explain())
	}
}

func TestAutoFloorsSayWhatMatters(t *testing.T) {
	xs := noise(1, 2000, 100, 1)
	f := func(m *detectors.Auto, x float64, want detectors.State) {
		t.Helper()
		if v := autoAfter(m, xs, x)[0]; v.State != want {
			t.Errorf("%v: %s", x, v.Explain())
		}
	}
	f(&detectors.Auto{AbsoluteFloor: 40}, 130, detectors.StateNormal)
	f(&detectors.Auto{AbsoluteFloor: 40}, 170, detectors.StateAnomalous)
	f(&detectors.Auto{RelativeFloor: 0.5}, 140, detectors.StateNormal)
	f(&detectors.Auto{RelativeFloor: 0.5}, 170, detectors.StateAnomalous)
}

// A trouble is anomalous for as long as it lasts, up to the time after which it is the level.
func TestAutoHoldsATroubleAndThenAdapts(t *testing.T) {
	m := &detectors.Auto{AdaptAfter: 20 * time.Minute}
	vs := autoAfter(m, noise(1, 3000, 100, 1), noise(2, 400, 160, 1)...)
	if !vs[0].Since.Equal(vs[0].At) {
		t.Fatalf("the first point: %s", vs[0].Explain())
	}
	for i, v := range vs[:118] { // 20 minutes less two points
		if v.State != detectors.StateAnomalous || !v.Since.Equal(vs[0].At) {
			t.Fatalf("point %d of the trouble: %s since %v: %s", i, v.State, v.Since, v.Explain())
		}
	}
	if v := vs[len(vs)-1]; v.State != detectors.StateNormal {
		t.Fatalf("after more than an hour at the new level: %s", v.Explain())
	}
}

// What came many times a week is no news; the first of them is.
func TestAutoDoesNotRepeatItself(t *testing.T) {
	const week = 7 * 24 * time.Hour
	r := rand.New(rand.NewPCG(4, 4))
	var weeks [4]int
	next := start().Add(36 * time.Hour)
	raised(&detectors.Auto{}, start(), time.Minute, 4*week, func(at time.Time) float64 {
		if at.Before(next) {
			return 100 + r.NormFloat64()
		}
		next = at.Add(time.Duration(20+r.IntN(60)) * time.Minute) // about 28 a day, at no hour in particular
		return 140
	}, func(at time.Time) { weeks[at.Sub(start())/week]++ })
	if weeks[0] == 0 || weeks[1] > 20 || weeks[2] > 20 || weeks[3] > 20 {
		t.Fatalf("alarms a week: %v, of about 200 spikes", weeks)
	}
}

func TestAutoIsUsableWithinAnHour(t *testing.T) {
	f := func(interval time.Duration) {
		t.Helper()
		m := &detectors.Auto{}
		for i, x := range noise(1, 400, 100, 1) {
			v := m.Observe(detectors.Point{At: start().Add(time.Duration(i) * interval), Value: x})
			if v.State == detectors.StateWarming {
				if v.HasScore || v.Needed <= v.Points {
					t.Fatalf("point %d at %v: warming with %d of %d points", i, interval, v.Points, v.Needed)
				}
				continue
			}
			if took := time.Duration(i) * interval; took > time.Hour && i > 100 {
				t.Fatalf("usable after %v and %d points", took, i)
			}
			if v := m.Observe(detectors.Point{At: v.At.Add(interval), Value: 300}); v.State != detectors.StateAnomalous {
				t.Fatalf("three times the value after %d points: %s", i, v.Explain())
			}
			return
		}
		t.Fatal("never usable")
	}
	f(time.Second)
	f(10 * time.Second)
	f(30 * time.Second)
	f(time.Minute)
	f(5 * time.Minute)
	f(time.Hour)
}

// Gaps are gaps: no zero is put into them.
func TestAutoMissingDataIsNeverZero(t *testing.T) {
	m := &detectors.Auto{}
	feed(m, 0, noise(1, 3000, 100, 1)...)
	for i := range 500 {
		if v := m.Observe(detectors.Point{At: at(3000 + i), Missing: true}); v.State != detectors.StateUnknown || v.Reason != detectors.ReasonMissing {
			t.Fatalf("a missing point: %s", v.State)
		}
	}
	for i, v := range feed(m, 3500, noise(2, 300, 100, 1)...) {
		if v.State != detectors.StateNormal {
			t.Fatalf("point %d after the gap: %s", i, v.Explain())
		}
	}
}

// Noise that goes on as it was costs what was set: over twelve weeks, three deviations of a Poisson count more at most.
func TestAutoKeepsItsBudgetOnNoise(t *testing.T) {
	falseAlarms(t, func() detectors.Model { return &detectors.Auto{} }, 100, 1, 1.9, 1.9)
	falseAlarms(t, func() detectors.Model { return &detectors.Auto{FalseAlarmsPerWeek: 7} }, 100, 1, 9.3, 9.3)
}

// And no much less than what was set: a budget that is not used is recall that is lost.
func TestAutoUsesItsBudgetOnNoise(t *testing.T) {
	f := func(perWeek float64, least int) {
		t.Helper()
		n := 0
		const series, weeks = 8, 6
		for seed := range uint64(series) {
			r := rand.New(rand.NewPCG(seed, 5))
			raised(&detectors.Auto{FalseAlarmsPerWeek: perWeek}, start(), 5*time.Minute, weeks*7*24*time.Hour, func(time.Time) float64 {
				return 100 + r.NormFloat64()
			}, func(at time.Time) {
				if at.Sub(start()) > 2*7*24*time.Hour {
					n++
				}
			})
		}
		t.Logf("%d alarms at %v a week in 32 series-weeks", n, perWeek)
		if n < least {
			t.Errorf("%d alarms at %v a week in 32 series-weeks, want %d at least", n, perWeek, least)
		}
	}
	f(7, 150)
	f(1, 16)
}

func TestAutoMeansTheSameOnEveryScale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		xs := rapid.SliceOfN(scalable(), 100, 300).Draw(t, "xs")
		a, b := &detectors.Auto{}, &detectors.Auto{}
		for i, x := range xs {
			va, vb := feed(a, i, x)[0], feed(b, i, x*k)[0]
			if va.State != vb.State || va.Reason != vb.Reason || math.Abs(va.Score-vb.Score) > 1e-6 {
				t.Fatalf("point %d scaled by %v: %s and %s", i, k, va.Explain(), vb.Explain())
			}
		}
	})
}

func TestAutoTakesAnyNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &detectors.Auto{
			Direction:     detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")),
			AbsoluteFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Float64()).Draw(t, "floor"),
		}
		s := &detectors.Service{}
		for i, x := range rapid.SliceOfN(wild(), 70, 250).Draw(t, "xs") {
			if v := feed(m, i, x)[0]; detectortest.Check(v) != "" {
				t.Fatalf("%v: %s: %+v", x, detectortest.Check(v), v)
			}
			if v := s.Observe(at(i), []float64{x, -x, float64(i % 3), math.Sqrt(x)}); detectortest.Check(v) != "" {
				t.Fatalf("%v: %s: %+v", x, detectortest.Check(v), v)
			}
		}
	})
}

func TestAutoSaysHowOftenTheLikeIsExpected(t *testing.T) {
	v := autoAfter(&detectors.Auto{}, noise(1, 5000, 100, 1), 400)[0]
	if s := v.Explain(); !strings.Contains(s, "by chance, the like is expected") || v.PerWeek <= 0 || v.PerWeek > 0.1 {
		t.Fatalf("%v a week: %s", v.PerWeek, s)
	}
	if want := v.PerWeek / (7 * 8640); math.Abs(v.Tail-want) > 1e-12 {
		t.Fatalf("tail %v, want %v", v.Tail, want)
	}
}

func BenchmarkAuto(b *testing.B) {
	xs := noise(3, 4096, 10, 1)
	m := &detectors.Auto{}
	for i := range 30_000 {
		m.Observe(detectors.Point{At: at(i), Value: xs[i%len(xs)]})
	}
	b.ReportAllocs()
	i := 30_000
	for b.Loop() {
		i++
		m.Observe(detectors.Point{At: at(i), Value: xs[(i*7)%len(xs)]})
	}
}

// A series that begins with points closer together or further apart than they come later is judged by the later ones.
func TestAutoLearnsTheIntervalAgain(t *testing.T) {
	f := func(first, then time.Duration) {
		t.Helper()
		r := rand.New(rand.NewPCG(3, 3))
		m := &detectors.Auto{}
		from := start()
		for range 20 {
			from = from.Add(first)
			m.Observe(detectors.Point{At: from, Value: 100 + r.NormFloat64()})
		}
		alarms := 0
		last := from.Add(then)
		raised(m, last, then, 7*24*time.Hour, func(at time.Time) float64 {
			last = at
			return 100 + r.NormFloat64()
		}, func(time.Time) { alarms++ })
		if alarms > 4 { // one is expected
			t.Errorf("%v, then %v: %d alarms in a week of noise", first, then, alarms)
		}
		v := m.Observe(detectors.Point{At: last.Add(then), Value: 130})
		if week := v.PerWeek / v.Tail; v.State != detectors.StateAnomalous || math.Abs(week*then.Hours()-7*24) > 1e-6*week {
			t.Errorf("%v, then %v: %v points a week, %s", first, then, week, v.Explain())
		}
	}
	f(time.Second, 5*time.Minute)
	f(time.Hour, 10*time.Second)
	f(10*time.Minute, 10*time.Second)
	f(time.Minute, time.Minute)
}

// Where a week has no more points than the budget has alarms, what is like most of the others is still none.
func TestAutoOfSlowSeriesIsMostlyNormal(t *testing.T) {
	f := func(m *detectors.Auto, interval time.Duration) {
		t.Helper()
		anomalous, n := 0, 0
		r := rand.New(rand.NewPCG(1, 2))
		points(m, start(), interval, 2000*interval, func(time.Time) float64 { return 100 + r.NormFloat64() }, func(v detectors.Verdict) {
			if n++; v.State == detectors.StateAnomalous {
				anomalous++
			}
		})
		if anomalous > n/2 {
			t.Errorf("%v at %v a week: %d of %d points anomalous", interval, m.FalseAlarmsPerWeek, anomalous, n)
		}
	}
	f(&detectors.Auto{}, 24*time.Hour)
	f(&detectors.Auto{}, 7*24*time.Hour)
	f(&detectors.Auto{FalseAlarmsPerWeek: 100}, time.Hour)
}

// What stands is the new level, and stays it when the days that are remembered become days of the new level. Its noise, which is new, may
// raise one more alarm by chance in all these series.
func TestAutoTakesANewLevelOnce(t *testing.T) {
	more := 0
	f := func(interval time.Duration, series uint64, shift float64, within time.Duration) {
		t.Helper()
		for seed := range series {
			r := rand.New(rand.NewPCG(seed+1, 2))
			change := start().Add(10 * 24 * time.Hour)
			var alarms []time.Duration
			var last time.Duration
			on := false
			points(&detectors.Auto{FalseAlarmsPerWeek: 0.1}, start(), interval, 22*24*time.Hour, func(at time.Time) float64 {
				if at.Before(change) {
					return 100 + r.NormFloat64()
				}
				return 100 + shift + r.NormFloat64()
			}, func(v detectors.Verdict) {
				now := v.State == detectors.StateAnomalous
				if now && !on && !v.At.Before(change) {
					alarms = append(alarms, v.At.Sub(change))
				}
				if on = now; on && len(alarms) == 1 {
					last = v.At.Sub(change)
				}
			})
			if len(alarms) == 0 || alarms[0] != 0 {
				t.Errorf("%v, by %v, series %d: alarms %v after the change, want one at once", interval, shift, seed, alarms)
			}
			more += max(0, len(alarms)-1)
			if last > within {
				t.Errorf("%v, by %v, series %d: anomalous until %v after the change, want at most %v", interval, shift, seed, last, within)
			}
		}
	}
	f(10*time.Second, 1, 60, 90*time.Minute)
	f(time.Minute, 2, 25, 150*time.Minute)
	f(5*time.Minute, 20, 25, 12*time.Hour)
	if more > 1 {
		t.Errorf("%d more alarms later, want 1 at most", more)
	}
}

// However seldom an alarm may be, the band of a series that was always zero has numbers for its ends.
func TestAutoHasABandAroundZero(t *testing.T) {
	m := &detectors.Auto{FalseAlarmsPerWeek: 1e-12}
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 300 {
		v := m.Observe(detectors.Point{At: at.Add(time.Duration(i) * 10 * time.Second), Value: 0})
		if v.HasUpper && !(v.Lower <= 0 && v.Upper >= 0) {
			t.Fatalf("point %d: from %v to %v", i, v.Lower, v.Upper)
		}
	}
}

// A step of twenty deviations is seen within the first hour, however quick the points are, also while the tail of the noise is
// hardly known.
func TestAutoSeesAStepSoonAfterItsStart(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		for _, n := range []int{100, 200, 300, 360} {
			const seeds = 20
			found := 0
			for seed := range uint64(seeds) {
				r := rand.New(rand.NewPCG(seed, 3))
				m := &detectors.Auto{}
				at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
				for range n {
					m.Observe(detectors.Point{At: at, Value: 100 + 5*r.NormFloat64()})
					at = at.Add(every)
				}
				for range 12 {
					v := m.Observe(detectors.Point{At: at, Value: 200 + 5*r.NormFloat64()})
					if v.State == detectors.StateAnomalous {
						found++
						break
					}
					at = at.Add(every)
				}
			}
			if found < seeds*3/4 {
				t.Errorf("every %s, after %d points: %d of %d found", every, n, found, seeds)
			}
		}
	}
}

// A series that changes its unit, and one that was far off for hours that nobody marked, are soon watched as closely as before.
func TestAutoSeesASmallStepAfterAnotherUnit(t *testing.T) {
	level := func(r *rand.Rand, x float64) float64 { return x * math.Exp(0.05*r.NormFloat64()) }
	f := func(name string, every time.Duration, was, trouble, now float64) {
		r := rand.New(rand.NewPCG(1, 1))
		m := &detectors.Auto{}
		at := start()
		run := func(d time.Duration, x float64) (anomalous bool) {
			for end := at.Add(d); at.Before(end); at = at.Add(every) {
				v := m.Observe(detectors.Point{At: at, Value: level(r, x)})
				anomalous = anomalous || v.State == detectors.StateAnomalous
			}
			return anomalous
		}
		run(10*24*time.Hour, was)
		if trouble > 0 {
			run(2*time.Hour, trouble)
		}
		run(24*time.Hour, now)
		if !run(15*every, 3*now) {
			t.Errorf("%s, every %s: three times as much a day later is not seen", name, every)
		}
	}
	for _, every := range []time.Duration{10 * time.Second, time.Minute} {
		f("ms become s", every, 200, 0, 0.2)
		f("two hours of 30 s", every, 0.03, 30, 0.03)
	}
}

// An incident in the first hours of a quick series, or a day of bursts, does not hide the next one.
func TestAutoSeesTheNextIncident(t *testing.T) {
	const every, seeds = 10 * time.Second, 8
	type span struct {
		lasts time.Duration
		off   float64 // deviations
		burst bool    // off in 30 s of seven minutes, and more or less so
	}
	f := func(name string, least int, past ...span) {
		found := 0
		for seed := range uint64(seeds) {
			r := rand.New(rand.NewPCG(seed, 4))
			m := &detectors.Auto{}
			at, i := start(), 0
			run := func(s span) (anomalous bool) {
				for end := at.Add(s.lasts); at.Before(end); at = at.Add(every) {
					x := 100 + r.NormFloat64()
					if i++; !s.burst {
						x += s.off
					} else if i%42 < 3 {
						x += s.off * r.ExpFloat64()
					}
					anomalous = m.Observe(detectors.Point{At: at, Value: x}).State == detectors.StateAnomalous || anomalous
				}
				return anomalous
			}
			for _, s := range past {
				run(s)
			}
			if run(span{2 * time.Minute, 12, false}) {
				found++
			}
		}
		if found < least {
			t.Errorf("%s: 12 deviations are seen in %d of %d series, want %d", name, found, seeds, least)
		}
	}
	const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour
	f("6 h after 20 min of 20 deviations", seeds, span{2 * hour, 0, false}, span{20 * minute, 20, false}, span{6 * hour, 0, false})
	f("a day after 20 min of 20 deviations", seeds, span{2 * hour, 0, false}, span{20 * minute, 20, false}, span{day, 0, false})
	f("6 h after 5 min of 8 deviations", seeds, span{30 * minute, 0, false}, span{5 * minute, 8, false}, span{6 * hour, 0, false})
	f("a week after a day of bursts", seeds, span{3 * day, 0, false}, span{day, 10, true}, span{7 * day, 0, false})
}
