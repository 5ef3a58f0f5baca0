package detectors_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

// week is how many points a week has at 10 s.
const week = 7 * 24 * 360

// ar1 is noise of standard deviation 1 in which each point remembers this share of the one before.
func ar1(seed uint64, n int, share float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, n)
	x := r.NormFloat64()
	for i := range out {
		out[i] = x
		x = share*x + math.Sqrt(1-share*share)*r.NormFloat64()
	}
	return out
}

// episodes is how many times the model begins to accuse the values.
func episodes(m detectors.Model, xs []float64) int {
	var n int
	on := false
	for i, x := range xs {
		v := m.Observe(detectors.Point{At: at(i), Value: x})
		if v.State == detectors.StateAnomalous && !on {
			n++
		}
		on = v.State == detectors.StateAnomalous
	}
	return n
}

// falseAlarms asserts the statistical promise of a model at its defaults: at most so many false alarms in a week
// of points at 10 s, over several weeks of independent noise and of noise that remembers.
func falseAlarms(t *testing.T, build func() detectors.Model, level, sd, white, remembering float64) {
	t.Helper()
	const weeks, runs = 4, 3
	f := func(name string, share, limit float64) {
		var n int
		for seed := range uint64(runs) {
			xs := ar1(seed+1, weeks*week, share)
			for i := range xs {
				xs[i] = level + sd*xs[i]
			}
			n += episodes(build(), xs)
		}
		rate := float64(n) / (weeks * runs)
		t.Logf("%s: %.2f false alarms a week", name, rate)
		if rate > limit {
			t.Errorf("%s: %.2f false alarms a week, at most %v are promised", name, rate, limit)
		}
	}
	f("white noise", 0, white)
	f("noise with a memory of 0.9", 0.9, remembering)
}

// points gives the model one point every interval from a time on, with values of a function of the time, and
// calls see with each verdict.
func points(m detectors.Model, from time.Time, interval, length time.Duration, value func(time.Time) float64,
	see func(detectors.Verdict),
) {
	for at := from; at.Before(from.Add(length)); at = at.Add(interval) {
		see(m.Observe(detectors.Point{At: at, Value: value(at)}))
	}
}

// refuses returns a check that Validate says what would be right and that Observe copes nevertheless.
func refuses(t *testing.T) func(m detectors.Model, want string) {
	return func(m detectors.Model, want string) {
		t.Helper()
		err := m.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("error %v, want it to say %q", err, want)
		}
		for i := range 100 {
			if s := detectortest.Check(m.Observe(detectors.Point{At: at(i), Value: float64(i % 7)})); s != "" {
				t.Fatalf("observe with bad parameters: %s", s)
			}
		}
	}
}

// The further a value is from what was expected, the higher its score, and never from anomalous to normal.
func TestScoresGrowWithTheDeviation(t *testing.T) {
	f := func(name string, build func() detectors.Model) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := build()
				xs := rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), 130, 160).Draw(t, "xs")
				feed(m, 0, xs...)
				snap, err := m.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				probe := func(x float64) detectors.Verdict {
					c := build()
					if err := c.Restore(snap); err != nil {
						t.Fatal(err)
					}
					return feed(c, len(xs), x)[0]
				}
				centre := probe(0)
				if !centre.HasExpected {
					t.Fatalf("expects nothing: %s", centre.Explain())
				}
				near := rapid.Float64Range(0, 1e4).Draw(t, "near")
				far := near + rapid.Float64Range(0, 1e4).Draw(t, "further")
				sign := rapid.SampledFrom([]float64{-1, 1}).Draw(t, "sign")
				a, b := probe(centre.Expected+sign*near), probe(centre.Expected+sign*far)
				if b.Score < a.Score-1e-12 || b.Tail > a.Tail+1e-12 {
					t.Fatalf("score falls from %v to %v as the deviation grows from %v to %v", a.Score, b.Score, near, far)
				}
				if a.State == detectors.StateAnomalous && b.State == detectors.StateNormal {
					t.Fatalf("%s at %v, %s at %v", a.Explain(), near, b.Explain(), far)
				}
			})
		})
	}
	f("seasonal", func() detectors.Model { return &detectors.Seasonal{AdaptAfter: -1} })
	f("seasonal below", func() detectors.Model { return &detectors.Seasonal{AdaptAfter: -1, Direction: detectors.Below} })
	f("local-fit", func() detectors.Model { return &detectors.LocalFit{} })
	f("local-fit above", func() detectors.Model { return &detectors.LocalFit{Direction: detectors.Above} })
}

// A series of ten seconds has so many points that an alarm a week is far beyond what its first days show. What it raises then by chance is
// not many times what was set, however its noise is made: skewed as latencies are, of heavy tails, or with a memory.
func TestAutoKeepsItsBudgetOfQuickPoints(t *testing.T) {
	const series, days = 20, 4
	for name, next := range map[string]func(*rand.Rand, float64) float64{
		"log-normal":  func(r *rand.Rand, _ float64) float64 { return math.Exp(r.NormFloat64() / 2) },
		"exponential": func(r *rand.Rand, _ float64) float64 { return r.ExpFloat64() },
		"heavy tails, t4": func(r *rand.Rand, _ float64) float64 {
			return r.NormFloat64() / math.Sqrt((r.ExpFloat64()+r.ExpFloat64())/2)
		},
		"memory": func(r *rand.Rand, last float64) float64 { return 0.9*last + r.NormFloat64() },
	} {
		alarms := 0
		for seed := range uint64(series) {
			r := rand.New(rand.NewPCG(seed, 5))
			m := &detectors.Auto{}
			x, on := 0.0, false
			points(m, start(), 10*time.Second, days*24*time.Hour, func(time.Time) float64 { x = next(r, x); return 100 + 10*x }, func(v detectors.Verdict) {
				now := v.State == detectors.StateAnomalous
				if now && !on {
					alarms++
				}
				on = now
			})
		}
		if set := series * days / 7.0; float64(alarms) > 3.3*set {
			t.Errorf("%s: %d alarms in the first %d days of %d series, %.0f are set", name, alarms, days, series, set)
		}
	}
}

// What lasts is on one side: what goes to and fro is as odd at each point, and is noise.
func TestAutoTellsWhatLastsFromWhatGoesToAndFro(t *testing.T) {
	raised := func(sides ...float64) (lasting bool) {
		r := rand.New(rand.NewPCG(2, 2))
		m := &detectors.Auto{}
		at := start()
		for range 3 * week {
			m.Observe(detectors.Point{At: at, Value: 100 + r.NormFloat64()})
			at = at.Add(10 * time.Second)
		}
		for i := range 12 {
			v := m.Observe(detectors.Point{At: at, Value: 100 + 4.2*sides[i%len(sides)]})
			lasting = lasting || v.Reason == detectors.ReasonLasting
			at = at.Add(10 * time.Second)
		}
		return lasting
	}
	if !raised(1) || !raised(-1) {
		t.Errorf("above: %v, below: %v, want both to be seen to last", raised(1), raised(-1))
	}
	if raised(1, -1) {
		t.Error("what goes to and fro is said to last")
	}
}

// The first points back from a trouble are on their way back and no row of their own, though they and the last of it are three; those that follow and are
// still off are one.
func TestAutoCallsTheFirstPointsBackRecovering(t *testing.T) {
	m := &detectors.Auto{}
	feed(m, 0, noise(2, 3*week, 100, 1)...)
	i := 3 * week
	f := func(off float64, want detectors.Reason) {
		t.Helper()
		if v := feed(m, i, 100+off)[0]; v.State != detectors.StateAnomalous || v.Reason != want {
			t.Errorf("off by %v: %s, want %s: %s", off, v.Reason, want, v.Explain())
		}
		i++
	}
	for range 3 {
		f(12, detectors.ReasonAbove)
	}
	f(4.2, detectors.ReasonRecovering)
	f(4.2, detectors.ReasonRecovering)
	f(4.2, detectors.ReasonLasting)
}
