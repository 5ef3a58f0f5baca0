package detectors_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"pgregory.net/rapid"
)

// floored is an Auto with floors next to one without, which see the same points. Of each point it reports what floors may not do, and
// empty when there is nothing.
type floored struct {
	with, without detectors.Auto
}

func (f *floored) observe(p detectors.Point) (with, without detectors.Verdict, wrong string) {
	with, without = f.with.Observe(p), f.without.Observe(p)
	if with.State == detectors.StateUnknown || with.State == detectors.StateWarming {
		if with != without {
			return with, without, "floors change a verdict that knows nothing"
		}
		return with, without, ""
	}
	floor := max(f.with.AbsoluteFloor, f.with.RelativeFloor*math.Abs(with.Expected))
	matters := with.Value >= with.Expected+floor || with.Value <= with.Expected-floor
	raises := with.Reason == detectors.ReasonAbove || with.Reason == detectors.ReasonBelow
	inside := func(v detectors.Verdict) bool { return v.Value >= v.Lower && v.Value <= v.Upper }
	switch {
	case with.State == detectors.StateAnomalous && without.State != detectors.StateAnomalous:
		wrong = "anomalous only with floors"
	case with.Expected != without.Expected || with.Scale != without.Scale || with.Deviation != without.Deviation:
		wrong = "floors change what is expected"
	case with.Lower > without.Lower || with.Upper < without.Upper:
		wrong = "floors make the band narrower"
	case with.PerWeek < without.PerWeek || with.Score > without.Score:
		wrong = "floors make a value odder"
	case !matters && (raises || with.Score != 0 && with.State != detectors.StateAnomalous):
		wrong = "what is within the floors is odd"
	case raises && inside(with) && !inside(without):
		wrong = "what is inside the band is an alarm"
	}
	return with, without, wrong
}

// Floors take alarms away and make none, also where they are about as large as the noise, and what is beyond them is seen as soon as ever.
func TestAutoFloorsRaiseNothing(t *testing.T) {
	for name, next := range map[string]func(*rand.Rand, float64) float64{
		"normal": func(r *rand.Rand, _ float64) float64 { return r.NormFloat64() },
		"heavy tails, t4": func(r *rand.Rand, _ float64) float64 {
			return r.NormFloat64() / math.Sqrt(r.ExpFloat64()+r.ExpFloat64())
		},
		"memory": func(r *rand.Rand, last float64) float64 { return 0.9*last + math.Sqrt(1-0.81)*r.NormFloat64() },
	} {
		for _, floor := range []float64{0, 1, 2, 2.3, 2.6, 3, 4} {
			r := rand.New(rand.NewPCG(1, 5))
			f := floored{with: detectors.Auto{AbsoluteFloor: floor}}
			x, at := 0.0, start()
			observe := func(off float64) (with, without detectors.Verdict) {
				t.Helper()
				x = next(r, x)
				with, without, wrong := f.observe(detectors.Point{At: at, Value: 100 + x + off})
				at = at.Add(10 * time.Second)
				if wrong != "" {
					t.Fatalf("%s, a floor of %v deviations: %s:\n%s\n%s", name, floor, wrong, with.Explain(), without.Explain())
				}
				return with, without
			}
			var with, without detectors.Verdict
			for range week {
				with, without = observe(0)
			}
			for without.State == detectors.StateAnomalous || with.State == detectors.StateAnomalous {
				with, without = observe(0)
			}
			for range 30 {
				with, without = observe(50)
				if with.State != detectors.StateAnomalous || !with.Since.Equal(without.Since) {
					t.Fatalf("%s, a floor of %v deviations: a step of 50: %s", name, floor, with.Explain())
				}
			}
		}
	}
}

// Whatever comes, and whatever the floors are: they judge, and nothing is learned by them.
func TestAutoFloorsOnlyTakeAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := floored{
			with: detectors.Auto{
				Direction:     detectors.Direction(rapid.IntRange(0, 2).Draw(t, "direction")),
				AbsoluteFloor: rapid.Float64Range(0, 12).Draw(t, "absolute"),
				RelativeFloor: rapid.Float64Range(0, 1).Draw(t, "relative"),
			},
		}
		f.without.Direction = f.with.Direction
		erratic(rapid.Uint64().Draw(t, "seed"), 1500, func(i int, p detectors.Point) {
			if with, without, wrong := f.observe(p); wrong != "" {
				t.Fatalf("point %d: %s:\n%s\n%s", i, wrong, with.Explain(), without.Explain())
			}
		})
	})
}

// A step that is odd and smaller than the floor is never told, nor is it anything for the score.
func TestAutoTellsNothingWithinItsFloor(t *testing.T) {
	f := floored{with: detectors.Auto{AbsoluteFloor: 20}}
	seen := false
	for i, x := range noise(1, 3000, 100, 1) {
		if i >= 2000 {
			x += 12
		}
		with, without, wrong := f.observe(detectors.Point{At: at(i), Value: x})
		if wrong != "" || with.State == detectors.StateAnomalous {
			t.Fatalf("point %d: %s: %s", i, wrong, with.Explain())
		}
		seen = seen || (i >= 2000 && without.State == detectors.StateAnomalous)
	}
	if !seen {
		t.Fatal("not seen without a floor either: the test shows nothing")
	}
}

// The floor is the smallest deviation that matters, and the band ends before it.
func TestAutoIsOddFromItsFloorOn(t *testing.T) {
	f := func(direction detectors.Direction, x float64, want detectors.Reason) {
		t.Helper()
		m := &detectors.Auto{AbsoluteFloor: 3, Direction: direction}
		v := autoAfter(m, repeat(0, 2000), x)[0]
		if v.Reason != want || (v.State == detectors.StateAnomalous) != (want == detectors.ReasonAbove || want == detectors.ReasonBelow) {
			t.Errorf("%v, %s: %s, want %s: %s", x, direction, v.Reason, want, v.Explain())
		}
		if v.State == detectors.StateAnomalous && v.Value >= v.Lower && v.Value <= v.Upper {
			t.Errorf("%v: inside %v to %v", x, v.Lower, v.Upper)
		}
	}
	f(detectors.Both, 2.999, detectors.ReasonInside)
	f(detectors.Both, 3, detectors.ReasonAbove)
	f(detectors.Both, -3, detectors.ReasonBelow)
	f(detectors.Above, 3, detectors.ReasonAbove)
	f(detectors.Above, -3, detectors.ReasonOtherSide)
	f(detectors.Below, -3, detectors.ReasonBelow)
	f(detectors.Below, 3, detectors.ReasonOtherSide)
}

// A deviation that lasts is as large as it is by the days, however near to it the curve through the last points already is.
func TestAutoTellsWhatLastsBeyondItsFloor(t *testing.T) {
	f := func(floor float64, want bool) {
		t.Helper()
		m := &detectors.Auto{AbsoluteFloor: floor}
		xs := noise(2, 3*week, 100, 1)
		feed(m, 0, xs...)
		lasting, within := false, false
		for i := range 12 {
			v := feed(m, len(xs)+i, 104.2)[0]
			lasting = lasting || v.Reason == detectors.ReasonLasting
			within = within || v.State == detectors.StateAnomalous && math.Abs(v.Value-v.Expected) < floor
		}
		if lasting != want || within != want {
			t.Errorf("with a floor of %v: lasting %v, within the floor of the last points %v; want both %v", floor, lasting, within, want)
		}
	}
	f(4, true)
	f(5, false)
}
