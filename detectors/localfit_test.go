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

func ExampleLocalFit() {
	m := &detectors.LocalFit{}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	wave := func(i int) float64 { return 100 + 40*math.Sin(float64(i)/40) }
	for i := range 500 {
		m.Observe(detectors.Point{At: at.Add(time.Duration(i) * 10 * time.Second), Value: wave(i)})
	}
	at = at.Add(500 * 10 * time.Second)
	fmt.Println(m.Observe(detectors.Point{At: at, Value: wave(500)}).Explain())
	fmt.Println(m.Observe(detectors.Point{At: at.Add(10 * time.Second), Value: wave(501) + 30}).Explain())
	// Output:
	// 97.35 is inside 81.90 to 113.1 (expected 97.50, 0.08005 scales of 1.950 away, scale from the relative floor of 500 points)
	// 128.3 is above 82.74 to 114.3 (expected 98.50, 15.15 scales of 1.970 away, scale from the relative floor of 501 points)
}

func TestLocalFitContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.LocalFit{} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.LocalFit{Window: 4, Threshold: 3, Direction: detectors.Above, RelativeFloor: -1, TriggerPoints: 2}
	})
}

func TestLocalFitFalseAlarms(t *testing.T) {
	falseAlarms(t, func() detectors.Model { return &detectors.LocalFit{RelativeFloor: -1} }, 100, 1, 0, 0)
}

// A quadratic is continued without an error, whatever its coefficients.
func TestLocalFitContinuesAQuadratic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SliceOfN(rapid.Float64Range(-10, 10), 3, 3).Draw(t, "c")
		window := rapid.IntRange(4, 60).Draw(t, "window")
		m := &detectors.LocalFit{Window: window}
		for i := range 2*window + 60 {
			u := float64(i) / 10
			x := c[0] + c[1]*u + c[2]*u*u
			v := feed(m, i, x)[0]
			if v.State == detectors.StateAnomalous || v.HasExpected && math.Abs(v.Expected-x) > 1e-6*(1+math.Abs(x)) {
				t.Fatalf("point %d: %s", i, v.Explain())
			}
		}
	})
}

func TestLocalFitFindsSpikesAndFollowsLevels(t *testing.T) {
	m := &detectors.LocalFit{RelativeFloor: -1}
	feed(m, 0, noise(1, 500, 10, 1)...)
	// A spike, and peace three points after it: the fit passed over it.
	want := []detectors.State{detectors.StateAnomalous, detectors.StateAnomalous, detectors.StateAnomalous, detectors.StateNormal}
	for i, v := range feed(m, 500, 100, 10, 10, 10) {
		if v.State != want[i] {
			t.Fatalf("%d points after a spike: %s", i, v.Explain())
		}
	}
	vs := feed(m, 504, noise(2, 200, 50, 1)...)
	if vs[0].Reason != detectors.ReasonAbove || vs[2].State != detectors.StateAnomalous {
		t.Fatalf("a new level: %s", vs[0].Explain())
	}
	for i, v := range vs[60:] {
		if v.State != detectors.StateNormal || math.Abs(v.Expected-50) > 5 {
			t.Fatalf("%d points after the level: %s", 60+i, v.Explain())
		}
	}
}

func TestLocalFitGaps(t *testing.T) {
	f := func(gap int, state detectors.State, points int) {
		t.Helper()
		m := &detectors.LocalFit{}
		for i := range 200 {
			feed(m, i, 100+float64(i))
		}
		v := feed(m, 199+gap, 100+float64(199+gap))[0]
		if v.State != state || v.State == detectors.StateWarming && v.Points != points || v.HasExpected && math.Abs(v.Expected-v.Value) > 1e-6 {
			t.Fatalf("after %d intervals: %s", gap, v.Explain())
		}
	}
	f(1, detectors.StateNormal, 0)
	f(4, detectors.StateNormal, 0) // three are bridged, on the line
	f(5, detectors.StateWarming, 30)
	f(1000, detectors.StateWarming, 30)
}

func TestLocalFitOddSeries(t *testing.T) {
	f := func(name string, xs []float64, see func(i int, v detectors.Verdict) bool) {
		t.Helper()
		m := &detectors.LocalFit{}
		for i, x := range xs {
			if v := feed(m, i, x)[0]; detectortest.Check(v) != "" || !see(i, v) {
				t.Fatalf("%s, point %d: %s %s", name, i, v.Explain(), detectortest.Check(v))
			}
		}
	}
	never := func(_ int, v detectors.Verdict) bool { return v.State != detectors.StateAnomalous }
	f("constant", repeat(42, 300), never)
	f("zeros", repeat(0, 300), never)
	f("cold start", noise(1, 100, 0, 1), func(i int, v detectors.Verdict) bool {
		return (v.State == detectors.StateWarming) == (i < 60) && (i >= 60 || v.Points == i && v.Needed == 60)
	})
	f("a counter that is reset", append(counter(300), counter(300)...), func(i int, v detectors.Verdict) bool {
		return (i < 300 || i > 400) == (v.State != detectors.StateAnomalous) || i > 302 && i <= 400
	})
	scaled := noise(3, 400, 100, 1)
	for i := range scaled {
		scaled[i] *= 1000
	}
	f("another unit", append(noise(2, 400, 100, 1), scaled...), func(i int, v detectors.Verdict) bool {
		return i < 400 && v.State != detectors.StateAnomalous || i >= 400 && i < 403 && v.State == detectors.StateAnomalous ||
			i >= 403 && i < 700 || v.State == detectors.StateNormal
	})
	// What had never moved is news once; then its scale is learned.
	r := rand.New(rand.NewPCG(1, 1))
	moving := repeat(0, 200)
	for range 300 {
		moving = append(moving, r.NormFloat64())
	}
	f("zeros that begin to move", moving, func(i int, v detectors.Verdict) bool {
		return i == 200 == (v.Reason == detectors.ReasonConstant) && (i < 300 || v.State == detectors.StateNormal)
	})
}

func counter(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = 1000 * float64(i)
	}
	return out
}

func TestLocalFitSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &detectors.LocalFit{
			Window:        rapid.IntRange(-1, 20).Draw(t, "window"),
			Threshold:     rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64Range(-1, 10)).Draw(t, "threshold"),
			Direction:     detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")),
			AbsoluteFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Float64()).Draw(t, "absolute"),
			RelativeFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(-1.0), rapid.Float64()).Draw(t, "relative"),
			TriggerPoints: rapid.IntRange(-1, 4).Draw(t, "trigger"),
			TriggerOf:     rapid.IntRange(-1, 70).Draw(t, "trigger of"),
			RecoverOf:     rapid.IntRange(-1, 70).Draw(t, "recover of"),
		}
		other := *m
		survives(t, m, &other)
	})
}

func TestLocalFitScaleEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		xs := rapid.SliceOfN(scalable(), 70, 200).Draw(t, "xs")
		a, b := &detectors.LocalFit{}, &detectors.LocalFit{}
		for i, x := range xs {
			va, vb := feed(a, i, x)[0], feed(b, i, x*k)[0]
			if va.State != vb.State || va.Reason != vb.Reason || va.Expected*k != vb.Expected || va.Score != vb.Score {
				t.Fatalf("point %d scaled by %v: %s and %s", i, k, va.Explain(), vb.Explain())
			}
		}
	})
}

func TestLocalFitValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.LocalFit{Window: 3}, "want 4 to 1000")
	f(&detectors.LocalFit{Window: 1001}, "want 4 to 1000")
	f(&detectors.LocalFit{Threshold: -1}, "0 for 8")
	f(&detectors.LocalFit{Resolution: -1}, "resolution -1")
}
