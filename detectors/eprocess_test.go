package detectors_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/detectors"
)

func ExampleEProcess() {
	// A chance crossing once in 600000 windows at most: of five minutes, in six years.
	p := &detectors.EProcess{Crossing: 6e5}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, pvalue := range []float64{1, 0.3, 1e-7, 1e-9, 1e-3, 1, 1, 1, 1} {
		v := p.Step(at, detectors.EValue(pvalue))
		fmt.Println(v.State, "-", v.Explain())
		at = at.Add(5 * time.Minute)
	}
	// Output:
	// normal - evidence 0.5 of 600000
	// normal - evidence 1.169 of 600000
	// normal - evidence 1680 of 600000, since 12:10:00 UTC
	// anomalous - crossed at 12:15:00 UTC, since 12:10:00 UTC
	// anomalous - crossed at 12:15:00 UTC, since 12:10:00 UTC
	// anomalous - crossed at 12:15:00 UTC, calm for 1 of 4 windows
	// anomalous - crossed at 12:15:00 UTC, calm for 2 of 4 windows
	// anomalous - crossed at 12:15:00 UTC, calm for 3 of 4 windows
	// normal - evidence 0 of 600000
}

func ExampleMeanEValue() {
	// Three series of one thing, which may well be odd together by chance.
	mean, _ := detectors.MeanEValue(detectors.EValue(1e-4), detectors.EValue(0.4), detectors.EValue(1))
	fmt.Printf("%.0f\n", mean)
	// Output: 40
}

// An e-value is 1 on average of uniform p: the integral over the decades of p.
func TestEValueIsOneOnAverage(t *testing.T) {
	var sum float64
	const steps = 400_000
	const top = 690.0 // -ln p
	for i := range steps {
		u := (float64(i) + 0.5) * top / steps
		sum += detectors.EValue(math.Exp(-u)) * math.Exp(-u) * top / steps
	}
	if missing := 1 / top; math.Abs(sum+missing-1) > 1e-4 { // below exp(-top) lie 1/top of it
		t.Fatalf("the mean is %v and %v beyond, want 1 together", sum, missing)
	}
}

func TestEValueFallsAsPGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		q := rapid.Float64Range(p, 1).Draw(t, "q")
		if a, b := detectors.EValue(p), detectors.EValue(q); a < b*(1-1e-9) || b < 0.5-1e-9 {
			t.Fatalf("e(%v) = %v, e(%v) = %v", p, a, q, b)
		}
	})
	for _, p := range []float64{math.NaN(), -1, math.Inf(-1)} {
		if e := detectors.EValue(p); e != 1 {
			t.Errorf("e(%v) = %v, want 1: it says nothing", p, e)
		}
	}
	for p, want := range map[float64]float64{1: 0.5, 2: 0.5, math.Inf(1): 0.5, 1e-4: 117.8, 1e-6: 5239} {
		if e := detectors.EValue(p); math.Abs(e/want-1) > 1e-3 {
			t.Errorf("e(%v) = %v, want %v", p, e, want)
		}
	}
}

// The mean of e-values is one under any dependence: here the p-values are each uniform and any function of one another.
func TestMeanOfDependentEValuesIsOneOnAverage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "series")
		shift := rapid.SliceOfN(rapid.Float64Range(0, 1), n, n).Draw(t, "shift")
		flip := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "flip")
		const draws = 20_000
		var sum float64
		es := make([]float64, n)
		for i := range draws {
			u := (float64(i) + 0.5) / draws
			for k := range es {
				_, p := math.Modf(u + shift[k])
				if flip[k] {
					p = 1 - p
				}
				es[k] = detectors.EValue(p)
			}
			mean, _ := detectors.MeanEValue(es...)
			sum += min(mean, 100)
		}
		if got := sum / draws; got > 1.01 || got < 0.8 { // what is above 100 would add the rest
			t.Fatalf("the mean is %v, want about 1 and no more", got)
		}
	})
	if _, ok := detectors.MeanEValue(math.NaN(), -1); ok {
		t.Error("no e-value has a mean")
	}
}

// How long it takes to cross by chance: at least Crossing steps on average, for e-values of independent p-values.
func TestEProcessCrossesAsSeldomAsPromised(t *testing.T) {
	f := func(name string, crossing float64, dependent int) {
		const runs = 400
		r := rand.New(rand.NewPCG(11, uint64(dependent)))
		var steps float64
		for range runs {
			p := &detectors.EProcess{Crossing: crossing}
			es := make([]float64, max(1, dependent))
			for i := 0; ; i++ {
				shared := r.Float64()
				for k := range es {
					es[k] = detectors.EValue(math.Mod(shared+0.3*float64(k*k), 1))
				}
				e, _ := detectors.MeanEValue(es...)
				if p.Step(at(i), e).State == detectors.StateAnomalous {
					steps += float64(i + 1)
					break
				}
			}
		}
		mean := steps / runs
		t.Logf("%s: one in %.0f steps, promised is one in %.0f at most", name, mean, crossing)
		if mean < crossing {
			t.Errorf("%s: one in %.0f steps, promised is one in %.0f at most", name, mean, crossing)
		}
	}
	f("one series", 30, 0)
	f("one series", 300, 0)
	f("four series that depend on one another", 300, 4)
}

// What is odd all the time loses its weight: it is what this thing is like.
func TestEProcessLearnsWhatIsUsual(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	crossings := func(steps int) (first, later int) {
		p := &detectors.EProcess{Crossing: 1e4}
		on := false
		for i := range steps {
			v := p.Step(at(i), detectors.EValue(math.Pow(r.Float64(), 3))) // p-values that are a third of what they should be, in decades
			if v.State == detectors.StateAnomalous && !on {
				if i < steps/2 {
					first++
				} else {
					later++
				}
			}
			on = v.State == detectors.StateAnomalous
		}
		return first, later
	}
	first, later := crossings(40_000)
	t.Logf("crossings in the first half %d, in the second %d", first, later)
	if first == 0 || later > 4 {
		t.Errorf("crossings in the first half %d, in the second %d; want some, and then two at most as promised", first, later)
	}
}

func TestEProcessSaysWhatItRestsOn(t *testing.T) {
	p := &detectors.EProcess{Crossing: 1e4}
	step := func(i int, e float64) detectors.EVerdict { return p.Step(at(i), e) }
	if v := step(0, 1e9); v.State != detectors.StateNormal || v.E != 100 || v.R != 100 || !v.Since.Equal(at(0)) {
		t.Errorf("a lone window crosses or counts for more than the most: %+v", v)
	}
	v := step(1, 1e9)
	if v.State != detectors.StateAnomalous || v.R != 1e4 || !v.Since.Equal(at(0)) || !v.Crossed.Equal(at(1)) {
		t.Errorf("two windows do not cross at the crossing: %+v", v)
	}
	for _, bad := range []float64{math.NaN(), -1, math.Inf(-1)} {
		if v := step(2, bad); v.State != detectors.StateUnknown || v.R != 1e4 {
			t.Errorf("%v is a step: %+v", bad, v)
		}
	}
	if v := step(1, 0.5); v.State != detectors.StateUnknown || v.Calm != 0 {
		t.Errorf("the same window is a second step: %+v", v)
	}
	for i, e := range []float64{0.5, 0.5, 0.5, 1.1, 0.5, 0.5, 0.5} {
		if v := step(3+i, e); v.State != detectors.StateAnomalous {
			t.Fatalf("over after window %d: %+v", i, v)
		}
	}
	if v := step(10, 0.5); v.State != detectors.StateNormal || v.R != 0 || !v.Crossed.IsZero() {
		t.Errorf("four calm windows in a row do not end it: %+v", v)
	}
	step(11, 1e9)
	p.Reset()
	if v := p.Verdict(); v.R != 0 || v.State != detectors.StateNormal || v.Steps != 3 {
		t.Errorf("after a reset: %+v", v)
	}
}

func TestEProcessValidate(t *testing.T) {
	for _, p := range []*detectors.EProcess{
		{Crossing: 1}, {Crossing: math.NaN()}, {MaxStep: -2}, {Recovery: math.Inf(1)}, {CalmShare: 1}, {CalmShare: math.NaN()},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is taken", p)
		}
		for i := range 20 {
			checkEVerdict(t, p.Step(at(i), 1e300))
		}
	}
	if err := (&detectors.EProcess{}).Validate(); err != nil {
		t.Error(err)
	}
}

func checkEVerdict(tb interface {
	Helper()
	Fatalf(format string, args ...any)
}, v detectors.EVerdict,
) {
	tb.Helper()
	for _, x := range []float64{v.E, v.Mean, v.R, v.Crossing, v.M} {
		if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
			tb.Fatalf("a figure is not finite: %+v", v)
		}
	}
	if v.R > v.Crossing || v.Explain() == "" || (v.State == detectors.StateAnomalous) && (v.Crossed.IsZero() || v.Since.IsZero()) {
		tb.Fatalf("it contradicts itself: %+v", v)
	}
}

// A process that was put away and taken up again goes on as if nothing had been.
func TestEProcessGoesOnFromASnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := &detectors.EProcess{Crossing: 500}, &detectors.EProcess{Crossing: 500}
		es := rapid.SliceOf(rapid.SampledFrom([]float64{0.5, 0.7, 1, 3, 20, 1e3, 1e300, math.NaN()})).Draw(t, "e")
		cut := rapid.IntRange(0, len(es)).Draw(t, "cut")
		for i, e := range es {
			if i == cut {
				snap, err := a.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				b = &detectors.EProcess{Crossing: 500}
				if err := b.Restore(snap); err != nil {
					t.Fatal(err)
				}
			}
			va := a.Step(at(i), e)
			if vb := b.Step(at(i), e); va != vb {
				t.Fatalf("step %d: %+v, from the snapshot %+v", i, va, vb)
			}
			checkEVerdict(t, va)
		}
	})
	p := &detectors.EProcess{}
	if err := p.Restore([]byte(`{"model":"auto"}`)); !errors.Is(err, detectors.ErrSnapshot) {
		t.Errorf("another model's snapshot: %v", err)
	}
}

// The values are those of the tables of Garwood (1936).
func TestCountIntervalByTheTables(t *testing.T) {
	f := func(n int, low, high float64) {
		t.Helper()
		l, h := detectors.CountInterval(n, 0.95)
		if math.Abs(l-low) > 0.005*low || math.Abs(h-high) > 0.005*high {
			t.Errorf("%d counts: %.4f to %.4f, want %.4f to %.4f", n, l, h, low, high)
		}
	}
	f(0, 0, 3.689)
	f(1, 0.0253, 5.572)
	f(10, 4.795, 18.39)
	f(100, 81.36, 121.6)
}

func TestCountInterval(t *testing.T) {
	f := func(n int, lower, upper float64) {
		t.Helper()
		l, u := detectors.CountInterval(n, 0.9)
		if math.Abs(l-lower) > 0.01 || math.Abs(u-upper) > 0.01 {
			t.Errorf("%d: %.3f to %.3f, want %v to %v", n, l, u, lower, upper)
		}
	}
	// Table of Garwood (1936) at 5 % on each side.
	f(0, 0, 3.00)
	f(1, 0.051, 4.74)
	f(10, 5.43, 16.96)
	f(-3, 0, 3.00)
	if l, u := detectors.CountInterval(10, math.NaN()); math.Abs(l-5.43) > 0.01 || math.Abs(u-16.96) > 0.01 {
		t.Errorf("without a confidence: %v to %v", l, u)
	}
}

// A crossing below 2, from where on evidence counts as beginning, and one that is lowered to below the evidence there is, have a
// beginning as well: the crossing itself.
func TestEProcessHasABeginningWhereverItCrosses(t *testing.T) {
	f := func(first, then float64) {
		t.Helper()
		p := &detectors.EProcess{Crossing: first}
		p.Step(at(0), 0.7)
		p.Crossing = then
		v := p.Step(at(1), 1.1)
		if v.State != detectors.StateAnomalous || !v.Since.Equal(at(1)) || !v.Crossed.Equal(at(1)) {
			t.Errorf("crossing %v, then %v: %+v", first, then, v)
		}
	}
	f(1.5, 1.5)
	f(2, 1.8)
	f(1e6, 1.8)
}

func FuzzEProcess(f *testing.F) {
	f.Add(0.5, 1e-9, math.Inf(1), math.NaN(), 1e6)
	f.Add(-1.0, 0.0, 1e308, 5e-324, math.NaN())
	f.Add(10.7, 9e-10, math.Inf(1), math.NaN(), 1.94)
	f.Fuzz(func(t *testing.T, a, b, c, d, crossing float64) {
		p := &detectors.EProcess{Crossing: crossing, MaxStep: d, Recovery: c, CalmShare: b}
		for i := range 40 {
			for k, x := range []float64{a, b, c, d, detectors.EValue(a), detectors.EValue(b)} {
				checkEVerdict(t, p.Step(at(6*i+k), x))
			}
		}
		if e := detectors.EValue(a); math.IsNaN(e) || e < 0.49 || math.IsInf(e, 0) {
			t.Fatalf("e(%v) = %v", a, e)
		}
		if m, ok := detectors.MeanEValue(a, b, c, d); math.IsNaN(m) || math.IsInf(m, 0) || m < 0 || (!ok && m != 0) {
			t.Fatalf("mean of %v %v %v %v is %v, %t", a, b, c, d, m, ok)
		}
	})
}

func BenchmarkEProcess(b *testing.B) {
	p := &detectors.EProcess{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Step(at(i), detectors.EValue(0.3))
	}
}

// What is left of the promise over the real thing, as health uses it: scores of Auto, of which a window of 15 points takes the oddest, if half of the window was
// odd. Windows follow one another, and after one without an odd point the first odd point begins them anew, without evidence. Auto is
// calibrated on the past of each series and its points remember, so this is measured and not proven.
func TestEProcessOverAuto(t *testing.T) {
	const weeks, runs, window, crossing = 4, 2, 15, 1000
	f := func(name string, share float64, heavy bool) {
		crossings, windows := 0, 0
		for seed := range uint64(runs) {
			r := rand.New(rand.NewPCG(seed, 99))
			m, p := &detectors.Auto{}, &detectors.EProcess{Crossing: crossing}
			x, least, points, odd, calm, on := 0.0, 1.0, 0, 0, true, false
			for i := range weeks * week {
				n := r.NormFloat64()
				if heavy { // Student's t of three degrees of freedom
					a, b, c := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
					n /= math.Sqrt((a*a + b*b + c*c) / 3)
				}
				x = share*x + math.Sqrt(1-share*share)*n
				v := m.Observe(detectors.Point{At: at(i), Value: x})
				if v.State == detectors.StateAnomalous && v.Reason != detectors.ReasonRecovering {
					if calm {
						calm, points = false, 0
						if !on {
							p.Reset()
						}
					}
					least = min(least, v.Tail)
					odd++
				}
				if points++; points < window {
					continue
				}
				calm = odd == 0
				if 2*odd < points {
					least = 1
				}
				windows++
				step := p.Step(v.At, detectors.EValue(float64(points)*least))
				if step.State == detectors.StateAnomalous && !on {
					crossings++
				}
				on = step.State == detectors.StateAnomalous
				least, points, odd = 1, 0, 0
			}
		}
		nominal := float64(windows) / crossing
		t.Logf("%-34s %d crossings in %d windows, nominal at most %.0f", name, crossings, windows, nominal)
		if float64(crossings) > nominal {
			t.Errorf("%s: %d crossings, nominal %.1f", name, crossings, nominal)
		}
	}
	f("white noise", 0, false)
	f("memory 0.9", 0.9, false)
	f("memory 0.999", 0.999, false)
	f("heavy tails", 0, true)
	f("heavy tails, memory 0.9", 0.9, true)
	f("heavy tails, memory 0.99", 0.99, true)
}
