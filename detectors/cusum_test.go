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

func ExampleCUSUM() {
	m := &detectors.CUSUM{RelativeFloor: -1}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 1000 {
		latency := 50 + float64(i*7%11-5) // 45 to 55
		if i >= 800 {
			latency += 5 // a shift of less than the noise
		}
		v := m.Observe(detectors.Point{At: at, Value: latency})
		if v.State == detectors.StateAnomalous {
			fmt.Printf("point %d: %s\n", i, v.Explain())
			break
		}
		at = at.Add(10 * time.Second)
	}
	// Output:
	// point 812: the level has moved by 5.225 (1.522 scales of 3.433) from 50.03 since 14:13:30 UTC
}

func TestCUSUMContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.CUSUM{} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.CUSUM{
			Shift: 0.5, ARL0: 100, MinPoints: 30, HeadStart: -1, Direction: detectors.Below, RelativeFloor: -1,
			AdaptAfter: 6 * time.Minute,
		}
	})
}

func TestCUSUMFalseAlarms(t *testing.T) {
	falseAlarms(t, func() detectors.Model { return &detectors.CUSUM{RelativeFloor: -1} }, 100, 1, 0.25, 0.5)
}

// Siegmund's limit is what it says: the run length of noise is of the size that was asked for.
func TestCUSUMRunLength(t *testing.T) {
	const runs, arl = 200, 2000
	var total int
	for seed := range uint64(runs) {
		m := &detectors.CUSUM{ARL0: arl, HeadStart: -1, RelativeFloor: -1, MinPoints: 2000, AdaptAfter: -1}
		for i, x := range noise(seed, 40*arl, 0, 1) {
			if feed(m, i, x)[0].State == detectors.StateAnomalous {
				total += i - 2000
				break
			}
		}
	}
	mean := float64(total) / runs
	t.Logf("average run length %.0f", mean)
	if mean < arl/2 || mean > 3*arl {
		t.Fatalf("average run length %.0f, want about %d", mean, arl)
	}
}

func TestCUSUMFindsASmallShiftAndItsTime(t *testing.T) {
	var delay, miss int
	const runs = 50
	for seed := range uint64(runs) {
		m := &detectors.CUSUM{RelativeFloor: -1}
		feed(m, 0, noise(seed, 3000, 10, 1)...)
		for i, x := range noise(seed+100, 300, 11, 1) {
			v := feed(m, 3000+i, x)[0]
			if v.State != detectors.StateAnomalous {
				continue
			}
			delay += i
			if d := v.Since.Sub(at(3000)) / (10 * time.Second); d < -15 || d > 10 {
				miss++
			}
			if v.Deviation < 0.3 || v.Deviation > 2.5 {
				t.Fatalf("a shift of 1: %s", v.Explain())
			}
			break
		}
	}
	if mean := float64(delay) / runs; mean < 15 || mean > 40 {
		t.Fatalf("found after %.0f points", mean)
	}
	if miss > runs/5 {
		t.Fatalf("the time of the change was far off in %d of %d", miss, runs)
	}
}

func TestCUSUMComesBackAndAdapts(t *testing.T) {
	m := &detectors.CUSUM{RelativeFloor: -1}
	feed(m, 0, noise(1, 2000, 10, 1)...)
	vs := feed(m, 2000, noise(2, 100, 13, 1)...)
	if v := vs[99]; v.State != detectors.StateAnomalous || math.Abs(v.Deviation-3) > 0.5 || math.Abs(v.Expected-10) > 0.3 {
		t.Fatalf("shifted: %s", v.Explain())
	}
	vs = feed(m, 2100, noise(3, 60, 10, 1)...)
	if vs[0].State != detectors.StateAnomalous || vs[59].State != detectors.StateNormal {
		t.Fatalf("back: %s, then %s", vs[0].State, vs[59].Explain())
	}
	vs = feed(m, 2160, noise(4, 400, 13, 1)...)
	var adapted bool
	for _, v := range vs {
		adapted = adapted || v.Reason == detectors.ReasonAdapted
	}
	if v := vs[399]; !adapted || v.State != detectors.StateNormal || math.Abs(v.Expected-13) > 0.3 {
		t.Fatalf("adapted %v: %s", adapted, v.Explain())
	}
}

func TestCUSUMOddSeries(t *testing.T) {
	f := func(name string, m *detectors.CUSUM, before, after []float64, want detectors.State) {
		t.Helper()
		for _, v := range feed(m, 0, before...) {
			if v.State == detectors.StateAnomalous {
				t.Fatalf("%s before: %s", name, v.Explain())
			}
		}
		var v detectors.Verdict
		for _, v = range feed(m, len(before), after...) {
			if s := detectortest.Check(v); s != "" {
				t.Fatalf("%s: %s", name, s)
			}
		}
		if v.State != want {
			t.Fatalf("%s after: %s", name, v.Explain())
		}
	}
	base := noise(6, 1000, 100, 1)
	scaled := noise(7, 30, 100, 1)
	for i := range scaled {
		scaled[i] *= 1000
	}
	f("another unit", &detectors.CUSUM{}, base, scaled, detectors.StateAnomalous)
	f("a reset counter's rate", &detectors.CUSUM{}, base, []float64{-1e9, 100, 100, 100}, detectors.StateNormal)
	f("zeros", &detectors.CUSUM{}, repeat(0, 500), repeat(0, 50), detectors.StateNormal)
	f("zeros with one burst", &detectors.CUSUM{}, repeat(0, 500), append([]float64{5}, repeat(0, 10)...), detectors.StateNormal)
	f("zeros that become ones", &detectors.CUSUM{}, repeat(0, 500), repeat(1, 20), detectors.StateAnomalous)
	f("a constant below its floor", &detectors.CUSUM{}, repeat(100, 500), repeat(100.5, 50), detectors.StateNormal)
	f("the other side", &detectors.CUSUM{Direction: detectors.Below}, base, repeat(200, 50), detectors.StateNormal)
	f("the watched side", &detectors.CUSUM{Direction: detectors.Above}, base, repeat(200, 50), detectors.StateAnomalous)
	rare := repeat(0, 4000)
	for i := 0; i < len(rare); i += 20 {
		rare[i] = 1
	}
	f("a burst every twenty points", &detectors.CUSUM{}, rare[:4000], rare[:100], detectors.StateNormal)
}

func TestCUSUMSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &detectors.CUSUM{
			Shift:         rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64()).Draw(t, "shift"),
			ARL0:          rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64()).Draw(t, "arl"),
			HeadStart:     rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64()).Draw(t, "head"),
			MinPoints:     rapid.IntRange(-1, 40).Draw(t, "min"),
			Direction:     detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")),
			AbsoluteFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Float64()).Draw(t, "absolute"),
			RelativeFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(-1.0), rapid.Float64()).Draw(t, "relative"),
			AdaptAfter:    rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "adapt"),
		}
		other := *m
		survives(t, m, &other)
	})
}

func TestCUSUMScaleAndShiftEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		xs := rapid.SliceOfN(scalable(), 150, 300).Draw(t, "xs")
		a, b := &detectors.CUSUM{RelativeFloor: -1}, &detectors.CUSUM{RelativeFloor: -1}
		for i, x := range xs {
			va, vb := feed(a, i, x)[0], feed(b, i, x*k)[0]
			if va.State != vb.State || va.Reason != vb.Reason || va.Score != vb.Score || va.Expected*k != vb.Expected {
				t.Fatalf("point %d scaled by %v: %s and %s", i, k, va.Explain(), vb.Explain())
			}
		}
	})
}

func TestCUSUMValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.CUSUM{Shift: -1}, "0.1 to 4 scales")
	f(&detectors.CUSUM{ARL0: 5}, "want 10 to")
	f(&detectors.CUSUM{HeadStart: 1}, "a share of up to 0.9")
	f(&detectors.CUSUM{MinPoints: 5}, "want 30 or more")
	f(&detectors.CUSUM{Direction: 9}, "direction 9")
	f(&detectors.CUSUM{AbsoluteFloor: -1}, "absolute floor")
}
