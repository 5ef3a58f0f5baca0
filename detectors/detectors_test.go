package detectors_test

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
	"pgregory.net/rapid"
)

func start() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }

func at(i int) time.Time { return start().Add(time.Duration(i) * 10 * time.Second) }

// feed gives the values to the model from index i on and returns the verdicts.
func feed(m detectors.Model, i int, xs ...float64) []detectors.Verdict {
	var out []detectors.Verdict
	for k, x := range xs {
		out = append(out, m.Observe(detectors.Point{At: at(i + k), Value: x}))
	}
	return out
}

func noise(seed uint64, n int, level, sd float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]float64, n)
	for i := range out {
		out[i] = level + sd*r.NormFloat64()
	}
	return out
}

func repeat(x float64, n int) []float64 { return slices.Repeat([]float64{x}, n) }

func TestContract(t *testing.T) {
	t.Run("robust-z", func(t *testing.T) {
		detectortest.Run(t, func() detectors.Model { return &detectors.RobustZ{} })
	})
	t.Run("robust-z small", func(t *testing.T) {
		detectortest.Run(t, func() detectors.Model {
			return &detectors.RobustZ{
				Window: 7, MinPoints: 3, Direction: detectors.Below, TriggerPoints: 2,
				RelativeFloor: -1, AdaptAfter: 3 * time.Minute,
			}
		})
	})
	t.Run("threshold above", func(t *testing.T) {
		detectortest.Run(t, func() detectors.Model {
			return &detectors.Threshold{Limit: 50, Direction: detectors.Above, Margin: 5, TriggerPoints: 2}
		})
	})
	t.Run("threshold both", func(t *testing.T) {
		detectortest.Run(t, func() detectors.Model { return &detectors.Threshold{Limit: 15} })
	})
}

// naive is the definition of median and MAD, without the cleverness of the window.
func naive(xs []float64) (median, mad float64) {
	mid := func(v []float64) float64 {
		s := slices.Sorted(slices.Values(v))
		a, b := s[(len(s)-1)/2], s[len(s)/2]
		if a == b {
			return a
		}
		return a/2 + b/2
	}
	median = mid(xs)
	d := make([]float64, len(xs))
	for i, x := range xs {
		d[i] = math.Abs(x - median)
	}
	return median, mid(d)
}

func TestRobustZMatchesTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(2, 12).Draw(t, "window")
		xs := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), window, 40).Draw(t, "xs")
		// A threshold that nothing reaches: every point is learned.
		m := &detectors.RobustZ{Window: window, MinPoints: window, Threshold: 1e300, RelativeFloor: -1}
		for i, x := range xs {
			v := feed(m, i, x)[0]
			if i < window {
				if v.State != detectors.StateWarming {
					t.Fatalf("point %d of %d is %s", i, window, v.State)
				}
				continue
			}
			median, mad := naive(xs[i-window : i])
			if v.Expected != median {
				t.Fatalf("median %v, want %v", v.Expected, median)
			}
			if v.ScaleFrom == detectors.ScaleMAD && math.Abs(v.Scale-1.482602218505602*mad) > 1e-9*mad {
				t.Fatalf("scale %v, want 1.4826 * %v", v.Scale, mad)
			}
			if v.ScaleFrom != detectors.ScaleMAD && mad != 0 {
				t.Fatalf("scale from the %s with a MAD of %v", v.ScaleFrom, mad)
			}
			if v.State == detectors.StateAnomalous { // a scale of next to nothing makes even that threshold reachable
				return // not learned, so the definition above no longer follows
			}
		}
	})
}

func TestScaleIsTheLargestOfItsCandidates(t *testing.T) {
	f := func(m detectors.RobustZ, xs []float64, want float64, from detectors.ScaleSource) {
		t.Helper()
		m.MinPoints = len(xs)
		feed(&m, 0, xs...)
		v := feed(&m, len(xs), xs[0])[0]
		if math.Abs(v.Scale-want) > 1e-9 || v.ScaleFrom != from {
			t.Fatalf("scale %v from %s, want %v from %s", v.Scale, v.ScaleFrom, want, from)
		}
	}
	moving := []float64{98, 99, 100, 101, 102, 100, 99, 101} // median 100, MAD 1
	f(detectors.RobustZ{RelativeFloor: -1}, moving, 1.482602218505602, detectors.ScaleMAD)
	f(detectors.RobustZ{}, moving, 2, detectors.ScaleRelative)
	f(detectors.RobustZ{RelativeFloor: 0.05}, moving, 5, detectors.ScaleRelative)
	f(detectors.RobustZ{AbsoluteFloor: 3}, moving, 3, detectors.ScaleAbsolute)
	f(detectors.RobustZ{Resolution: 8}, moving, 4, detectors.ScaleResolution)
	rare := []float64{0, 0, 0, 0, 0, 0, 0, 4}
	f(detectors.RobustZ{}, rare, math.Sqrt2, detectors.ScaleDeviation)
	f(detectors.RobustZ{AbsoluteFloor: 2}, rare, 2, detectors.ScaleAbsolute)
	// A scale that is zero from every source.
	f(detectors.RobustZ{}, repeat(0, 8), 0, detectors.ScaleDeviation)
}

func TestConstantSeries(t *testing.T) {
	f := func(m detectors.RobustZ, level, next float64, state detectors.State, reason detectors.Reason) {
		t.Helper()
		for _, v := range feed(&m, 0, repeat(level, 100)...) {
			if v.State == detectors.StateAnomalous {
				t.Fatalf("a constant accuses itself: %s", v.Explain())
			}
		}
		v := feed(&m, 100, next)[0]
		if v.State != state || v.Reason != reason || detectortest.Check(v) != "" {
			t.Fatalf("%v after %v: %s, %s: %s", next, level, v.State, v.Reason, v.Explain())
		}
	}
	f(detectors.RobustZ{}, 0, 0, detectors.StateNormal, detectors.ReasonInside)
	f(detectors.RobustZ{}, 0, 1e-9, detectors.StateAnomalous, detectors.ReasonConstant)
	f(detectors.RobustZ{AbsoluteFloor: 0.5}, 0, 2, detectors.StateNormal, detectors.ReasonInside)
	f(detectors.RobustZ{AbsoluteFloor: 0.5}, 0, 3, detectors.StateAnomalous, detectors.ReasonAbove)
	f(detectors.RobustZ{}, 100, 109, detectors.StateNormal, detectors.ReasonInside)
	f(detectors.RobustZ{}, 100, 111, detectors.StateAnomalous, detectors.ReasonAbove)
	f(detectors.RobustZ{}, 100, 89, detectors.StateAnomalous, detectors.ReasonBelow)
	f(detectors.RobustZ{Direction: detectors.Above}, 100, 10, detectors.StateNormal, detectors.ReasonOtherSide)
	f(detectors.RobustZ{Direction: detectors.Below}, 100, 10, detectors.StateAnomalous, detectors.ReasonBelow)
	f(detectors.RobustZ{TriggerPoints: 2}, 100, 500, detectors.StateNormal, detectors.ReasonPending)
}

// Bursts on zeros that were there when the band was learned are not accused, although the MAD is zero.
func TestLearnedBurstsOfAZeroSeriesAreNormal(t *testing.T) {
	m := &detectors.RobustZ{AbsoluteFloor: 0.01}
	var late int
	for i := range 3000 {
		x := 0.0
		if i%10 == 0 {
			x = 1
		}
		if v := feed(m, i, x)[0]; v.State == detectors.StateAnomalous {
			late++
		}
	}
	if late != 0 {
		t.Fatalf("%d points still anomalous", late)
	}
}

func TestLevelShiftIsLearnedAfterTheDocumentedTime(t *testing.T) {
	m := &detectors.RobustZ{AdaptAfter: 20 * time.Minute}
	feed(m, 0, noise(1, 300, 10, 1)...)
	vs := feed(m, 300, noise(2, 300, 100, 1)...)
	for i, v := range vs {
		after := v.At.Sub(at(300))
		switch {
		case after < 20*time.Minute && v.State != detectors.StateAnomalous:
			t.Fatalf("point %d, %v after the shift: %s", i, after, v.Explain())
		case after == 20*time.Minute && v.Reason != detectors.ReasonAdapted:
			t.Fatalf("%v after the shift: %s", after, v.Explain())
		case after > 20*time.Minute && (v.State != detectors.StateNormal || math.Abs(v.Expected-100) > 2):
			t.Fatalf("%v after the shift: %s", after, v.Explain())
		}
	}
	// A negative time never adapts.
	m = &detectors.RobustZ{AdaptAfter: -1}
	feed(m, 0, noise(1, 300, 10, 1)...)
	vs = feed(m, 300, repeat(100, 5000)...)
	if v := vs[len(vs)-1]; v.State != detectors.StateAnomalous || math.Abs(v.Expected-10) > 1 {
		t.Fatalf("learned from an anomaly: %s", v.Explain())
	}
}

func TestAShortTroubleLeavesNoTrace(t *testing.T) {
	a, b := &detectors.RobustZ{}, &detectors.RobustZ{}
	xs := noise(1, 300, 10, 1)
	feed(a, 0, xs...)
	feed(b, 0, xs...)
	vs := feed(a, 300, repeat(100, 50)...)
	if v := vs[49]; v.State != detectors.StateAnomalous || !v.Since.Equal(at(300)) {
		t.Fatalf("anomalous since %v: %s", v.Since, v.Explain())
	}
	// Two of the three points of recovery stay aside, the third is the first that is learned again.
	vs = feed(a, 350, 10, 10, 10, 10.5)
	if vs[0].Reason != detectors.ReasonRecovering || vs[1].Reason != detectors.ReasonRecovering ||
		vs[2].State != detectors.StateNormal {
		t.Fatalf("recovery: %s, %s, %s", vs[0].Reason, vs[1].Reason, vs[2].State)
	}
	feed(b, 352, 10)
	if got, want := vs[3], feed(b, 353, 10.5)[0]; got != want {
		t.Fatalf("the trouble left a trace:\n got %+v\nwant %+v", got, want)
	}
}

func TestHysteresisDoesNotFlap(t *testing.T) {
	m := &detectors.Threshold{Limit: 10, Direction: detectors.Above, Margin: 2, TriggerPoints: 2, RecoverPoints: 2}
	var got []string
	for _, v := range feed(m, 0, 11, 9, 11, 12, 9, 7, 9, 7, 7, 11) {
		got = append(got, v.Reason.String())
	}
	want := "pending inside pending above recovering recovering recovering recovering inside pending"
	if s := strings.Join(got, " "); s != want {
		t.Fatalf("\n got %s\nwant %s", s, want)
	}
}

func TestGapsHoldTheState(t *testing.T) {
	m := &detectors.RobustZ{}
	feed(m, 0, noise(1, 100, 10, 1)...)
	feed(m, 100, 50)
	for i := range 10 {
		m.Observe(detectors.Point{At: at(101 + i), Missing: true})
	}
	if v := feed(m, 111, 50)[0]; v.State != detectors.StateAnomalous || !v.Since.Equal(at(100)) {
		t.Fatalf("after a gap: %s since %v", v.State, v.Since)
	}
}

// drawModel is a robust-z with any parameters, sensible or not.
func drawModel(t *rapid.T) *detectors.RobustZ {
	return &detectors.RobustZ{
		Window:        rapid.IntRange(-1, 20).Draw(t, "window"),
		MinPoints:     rapid.IntRange(-1, 25).Draw(t, "min"),
		Threshold:     rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64Range(-1, 10)).Draw(t, "threshold"),
		RecoverAt:     rapid.Float64Range(-1, 10).Draw(t, "recover at"),
		Direction:     detectors.Direction(rapid.IntRange(0, 3).Draw(t, "direction")),
		AbsoluteFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Float64()).Draw(t, "absolute"),
		RelativeFloor: rapid.OneOf(rapid.Just(0.0), rapid.Just(-1.0), rapid.Float64()).Draw(t, "relative"),
		Resolution:    rapid.OneOf(rapid.Just(0.0), rapid.Float64()).Draw(t, "resolution"),
		TriggerPoints: rapid.IntRange(-1, 4).Draw(t, "trigger"),
		TriggerOf:     rapid.IntRange(-1, 70).Draw(t, "trigger of"),
		RecoverOf:     rapid.IntRange(-1, 70).Draw(t, "recover of"),
		RecoverPoints: rapid.IntRange(-1, 4).Draw(t, "recover"),
		AdaptAfter:    rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "adapt"),
	}
}

// wild is any float64 there is, the special ones often.
func wild() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64(), rapid.Float64Range(-10, 10), rapid.SampledFrom([]float64{
		0, math.Copysign(0, -1), 1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64,
		math.SmallestNonzeroFloat64,
	}))
}

func TestNothingThatIsNoNumberComesOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		for i, x := range rapid.SliceOfN(wild(), 0, 80).Draw(t, "xs") {
			if v := feed(m, i, x)[0]; detectortest.Check(v) != "" {
				t.Fatalf("%v: %s: %+v", x, detectortest.Check(v), v)
			}
		}
	})
}

func TestMonotoneInDeviation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		feed(m, 0, rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), 30, 60).Draw(t, "xs")...)
		snap, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		probe := func(x float64) detectors.Verdict {
			c := *m
			if err := c.Restore(snap); err != nil {
				t.Fatal(err)
			}
			return c.Observe(detectors.Point{At: at(1000), Value: x})
		}
		centre := probe(0)
		if !centre.HasExpected {
			return
		}
		near := rapid.Float64Range(0, 1e4).Draw(t, "near")
		far := near + rapid.Float64Range(0, 1e4).Draw(t, "further")
		sign := rapid.SampledFrom([]float64{-1, 1}).Draw(t, "sign")
		a, b := probe(centre.Expected+sign*near), probe(centre.Expected+sign*far)
		if b.Score < a.Score-1e-12 || b.Tail > a.Tail+1e-12 {
			t.Fatalf("score falls from %v to %v as the deviation grows from %v to %v", a.Score, b.Score, near, far)
		}
		if a.State == detectors.StateAnomalous && b.State == detectors.StateNormal && b.Reason != detectors.ReasonAdapted {
			t.Fatalf("%s at %v, %s at %v", a.Explain(), near, b.Explain(), far)
		}
	})
}

func TestRestoreIsEquivalent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		xs := rapid.SliceOfN(wild(), 1, 80).Draw(t, "xs")
		cut := rapid.IntRange(0, len(xs)-1).Draw(t, "cut")
		feed(m, 0, xs[:cut]...)
		snap, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		c := *m
		if err := c.Restore(snap); err != nil {
			t.Fatal(err)
		}
		a, b := feed(m, cut, xs[cut:]...), feed(&c, cut, xs[cut:]...)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("point %d:\n original %+v\n restored %+v", cut+i, a[i], b[i])
			}
		}
	})
}

// scalable is values that a power of two scales without rounding: none is so near to zero that what a model makes of
// it is subnormal, where digits are lost.
func scalable() *rapid.Generator[float64] {
	return rapid.Custom(func(t *rapid.T) float64 {
		if x := rapid.Float64Range(-1e3, 1e3).Draw(t, "x"); math.Abs(x) > 1e-30 {
			return x
		}
		return 0
	})
}

// Powers of two scale without rounding, so the equality is exact.
func TestScaleEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t, "exponent"))
		xs := rapid.SliceOfN(scalable(), 1, 80).Draw(t, "xs")
		floor := rapid.Float64Range(0, 10).Draw(t, "floor")
		a := &detectors.RobustZ{Window: 20, MinPoints: 5, AbsoluteFloor: floor}
		b := &detectors.RobustZ{Window: 20, MinPoints: 5, AbsoluteFloor: floor * k}
		for i, x := range xs {
			va, vb := feed(a, i, x)[0], feed(b, i, x*k)[0]
			if va.State != vb.State || va.Reason != vb.Reason || math.Abs(va.Score-vb.Score) > 1e-9 {
				t.Fatalf("point %d scaled by %v: %s and %s", i, k, va.Explain(), vb.Explain())
			}
		}
	})
}

// Shifts by whole numbers of whole numbers are exact, as long as no relative floor looks at the level.
func TestShiftEquivariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := float64(rapid.IntRange(-1e6, 1e6).Draw(t, "by"))
		xs := rapid.SliceOfN(rapid.IntRange(-1000, 1000), 1, 80).Draw(t, "xs")
		a := &detectors.RobustZ{Window: 20, MinPoints: 5, RelativeFloor: -1}
		b := &detectors.RobustZ{Window: 20, MinPoints: 5, RelativeFloor: -1}
		for i, x := range xs {
			va, vb := feed(a, i, float64(x))[0], feed(b, i, float64(x)+by)[0]
			if va.State != vb.State || math.Abs(va.Score-vb.Score) > 1e-9 {
				t.Fatalf("point %d shifted by %v: %s and %s", i, by, va.Explain(), vb.Explain())
			}
		}
	})
}

// A score that is a tail probability must not accuse white noise: at 5 scales and 360 points the nominal rate is
// a few in a hundred thousand.
func TestWhiteNoiseIsNotAccused(t *testing.T) {
	m := &detectors.RobustZ{RelativeFloor: -1}
	var alarms, low int
	const n = 50_000
	for i, x := range noise(7, n, 0, 1) {
		v := feed(m, i, x)[0]
		if v.Reason == detectors.ReasonAbove || v.Reason == detectors.ReasonBelow {
			alarms++
		}
		if v.HasScore && v.Tail < 0.01 {
			low++
		}
	}
	if alarms > 3 {
		t.Fatalf("%d alarms in %d points of noise", alarms, n)
	}
	if share := float64(low) / n; share < 0.005 || share > 0.015 {
		t.Fatalf("tail below 1 %% for %.2f %% of the points of noise", 100*share)
	}
}

func TestValidateSaysWhatWouldBeRight(t *testing.T) {
	f := func(m detectors.Model, want string) {
		t.Helper()
		err := m.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("error %v, want it to say %q", err, want)
		}
		if v := m.Observe(detectors.Point{At: start(), Value: 1}); detectortest.Check(v) != "" {
			t.Fatalf("observe with bad parameters: %s", detectortest.Check(v))
		}
	}
	f(&detectors.RobustZ{Window: 1}, "want 2 to 100000")
	f(&detectors.RobustZ{Window: 10, MinPoints: 11}, "want 2 to the window of 10")
	f(&detectors.RobustZ{Threshold: -1}, "number of scales above 0")
	f(&detectors.RobustZ{Threshold: 3, RecoverAt: 4}, "the threshold of 3 scales")
	f(&detectors.RobustZ{AbsoluteFloor: math.NaN()}, "absolute floor NaN")
	f(&detectors.RobustZ{RelativeFloor: math.Inf(1)}, "a share such as 0.05")
	f(&detectors.RobustZ{Resolution: -1}, "resolution -1")
	f(&detectors.RobustZ{Direction: 9}, "direction 9")
	f(&detectors.RobustZ{TriggerPoints: -1}, "trigger points -1")
	f(&detectors.Threshold{Limit: math.NaN()}, "limit NaN")
	f(&detectors.Threshold{Margin: -1}, "margin -1")
	f(&detectors.Threshold{Limit: 1, Margin: 2}, "could never recover")
	f(&detectors.Threshold{RecoverPoints: -1}, "recover points -1")
}

func FuzzObserve(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0xf0, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8}, uint8(3))
	f.Add([]byte("constant constant constant constant"), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, window uint8) {
		models := []detectors.Model{
			&detectors.RobustZ{Window: int(window), MinPoints: 3, AdaptAfter: time.Minute},
			&detectors.Threshold{Limit: float64(window)},
			&detectors.Seasonal{Slot: 24 * time.Hour, MinWeeks: 1, AdaptAfter: time.Minute},
			&detectors.Absence{AdaptAfter: time.Minute, FlatAfter: time.Minute},
			&detectors.CUSUM{MinPoints: 30, ARL0: 100, AdaptAfter: time.Minute},
			&detectors.BurnRate{Objective: 0.5, Whole: float64(window)},
			&detectors.Trend{Limit: float64(window), Window: time.Minute},
			&detectors.LocalFit{Window: int(window)},
			&detectors.Auto{AdaptAfter: time.Minute},
		}
		var xs []float64
		for i := 0; i+8 <= len(data); i += 8 {
			xs = append(xs, math.Float64frombits(binary.BigEndian.Uint64(data[i:])))
		}
		if len(xs) == 0 {
			return
		}
		service, peers := &detectors.Service{AdaptAfter: time.Minute}, &detectors.Peers{AdaptAfter: time.Minute}
		for i := range max(len(xs), 200) { // again and again, until all of them judge
			var row []float64
			for k := range 4 {
				row = append(row, xs[(i+k*i)%len(xs)])
			}
			verdicts := append([]detectors.Verdict{service.Observe(at(i), row)}, peers.Observe(at(i), row)...)
			for _, m := range models {
				verdicts = append(verdicts, feed(m, i, row[0])...)
			}
			for _, v := range verdicts {
				if s := detectortest.Check(v); s != "" {
					t.Fatalf("%s: %+v", s, v)
				}
			}
		}
		for _, m := range models {
			if _, err := m.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	models := func() []detectors.Model {
		return []detectors.Model{
			&detectors.RobustZ{Window: 5, MinPoints: 2}, &detectors.Threshold{Limit: 2}, &detectors.Seasonal{Slot: 24 * time.Hour},
			&detectors.Absence{}, &detectors.CUSUM{MinPoints: 30}, &detectors.BurnRate{}, &detectors.Trend{Limit: 2, Window: time.Minute},
			&detectors.LocalFit{Window: 5}, &detectors.Auto{},
		}
	}
	for _, m := range models() {
		feed(m, 0, 1, 2, 3, 50)
		feed(m, 10, noise(1, 60, 1, 1)...)
		snap, err := m.Snapshot()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(snap)
	}
	// The sum over the state is put right, so that the fuzzer gets past it.
	sealed := func(b []byte) []byte {
		var e struct {
			Model   string          `json:"model"`
			Version int             `json:"version"`
			Sum     uint32          `json:"sum"`
			State   json.RawMessage `json:"state"`
		}
		if json.Unmarshal(b, &e) != nil {
			return b
		}
		e.Sum = crc32.ChecksumIEEE(e.State)
		out, err := json.Marshal(e)
		if err != nil {
			return b
		}
		return out
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range models() {
			if m.Restore(sealed(b)) != nil {
				continue
			}
			for i := range 100 {
				if s := detectortest.Check(feed(m, 100+i, float64(i%7))[0]); s != "" {
					t.Fatal(s)
				}
			}
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	run := func(name string, build func() detectors.Model) {
		b.Run(name, func(b *testing.B) {
			m, xs := build(), noise(3, 4096, 10, 1) // a model of its own for each count
			m.Observe(detectors.Point{At: start()})
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				m.Observe(detectors.Point{At: start().Add(time.Duration(i) * time.Second), Value: xs[i%len(xs)]})
			}
		})
	}
	run("robust-z", func() detectors.Model { return &detectors.RobustZ{} })
	run("seasonal", func() detectors.Model { return &detectors.Seasonal{} })
	run("absence", func() detectors.Model { return &detectors.Absence{} })
	run("cusum", func() detectors.Model { return &detectors.CUSUM{} })
	run("burn-rate", func() detectors.Model { return &detectors.BurnRate{} })
	run("trend", func() detectors.Model { return &detectors.Trend{Limit: 100} })
	run("local-fit", func() detectors.Model { return &detectors.LocalFit{} })
	run("threshold", func() detectors.Model { return &detectors.Threshold{Limit: 11} })
}
