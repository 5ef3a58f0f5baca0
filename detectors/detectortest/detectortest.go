// Package detectortest is the contract of detectors.Model as a test that any implementation can run.
package detectortest

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// Run checks the promises of detectors.Model. build returns a new model with the same parameters each time;
// it must be one that leaves its warm-up within 1000 points.
func Run(t *testing.T, build func() detectors.Model) {
	t.Helper()
	t.Run("parameters are valid", func(t *testing.T) {
		if err := build().Validate(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("verdicts are finite and consistent", func(t *testing.T) { finite(t, build) })
	t.Run("bad points change nothing", func(t *testing.T) { badPoints(t, build) })
	t.Run("same points same verdicts", func(t *testing.T) { deterministic(t, build) })
	t.Run("restore goes on where snapshot stood", func(t *testing.T) { restore(t, build) })
	t.Run("bad snapshots are refused", func(t *testing.T) { badSnapshots(t, build) })
	t.Run("leaves the warm-up", func(t *testing.T) { warms(t, build) })
	t.Run("observe allocates nothing", func(t *testing.T) { allocates(t, build) })
}

// start is the time of the first point of all series here.
func start() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }

// series is a seeded series with everything that operations metrics do: noise, a level shift, spikes, zeros,
// a constant stretch, very large and very small values.
func series(n int) []float64 {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test series, not a secret
	out := make([]float64, n)
	for i := range out {
		switch {
		case i%97 == 96:
			out[i] = 1e300
		case i%89 == 88:
			out[i] = -1e300
		case i > n/2 && i < n/2+20:
			out[i] = 0
		case i > n/4 && i < n/4+20:
			out[i] = 7
		case i > 3*n/4:
			out[i] = 100 + r.NormFloat64()
		default:
			out[i] = 10 + r.NormFloat64()
		}
	}
	return out
}

func point(i int, x float64) detectors.Point {
	return detectors.Point{At: start().Add(time.Duration(i) * 10 * time.Second), Value: x}
}

// Check reports what is wrong with a verdict by itself; empty when nothing is.
func Check(v detectors.Verdict) string {
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		if f := rv.Field(i); f.CanFloat() && (math.IsNaN(f.Float()) || math.IsInf(f.Float(), 0)) {
			return rv.Type().Field(i).Name + " is not finite"
		}
	}
	switch {
	case v.Score < 0 || v.Score > 1 || v.Tail < 0 || v.Tail > 1:
		return "score or tail is outside 0 to 1"
	case v.HasLower && v.HasUpper && v.Lower > v.Upper:
		return "lower is above upper"
	case v.HasExpected && v.HasUpper && v.Expected > v.Upper, v.HasExpected && v.HasLower && v.Expected < v.Lower:
		return "expected is outside the band"
	case v.State == detectors.StateWarming && v.HasScore:
		return "a warming model has a score"
	case v.State == detectors.StateAnomalous && v.Since.IsZero():
		return "anomalous since never"
	case v.Explain() == "":
		return "no explanation"
	}
	return ""
}

func finite(t *testing.T, build func() detectors.Model) {
	m := build()
	for i, x := range series(3000) {
		v := m.Observe(point(i, x))
		if s := Check(v); s != "" {
			t.Fatalf("point %d, value %v: %s: %+v", i, x, s, v)
		}
		if v.State == detectors.StateUnknown {
			t.Fatalf("point %d, value %v: unknown (%s) for a good point", i, x, v.Reason)
		}
	}
}

func badPoints(t *testing.T, build func() detectors.Model) {
	a, b := build(), build()
	for i, x := range series(1500) {
		at := point(i, x).At
		want := a.Observe(point(i, x))
		for _, bad := range []detectors.Point{
			{At: at, Missing: true, Value: x},
			{At: at, Value: math.NaN()},
			{At: at, Value: math.Inf(1)},
			{At: at, Value: math.Inf(-1)},
		} {
			if v := b.Observe(bad); v.State != detectors.StateUnknown || Check(v) != "" || v.HasScore {
				t.Fatalf("point %d: %+v answered with %+v", i, bad, v)
			}
		}
		if got := b.Observe(point(i, x)); got != want {
			t.Fatalf("point %d: bad points before it changed the verdict:\n got %+v\nwant %+v", i, got, want)
		}
		for _, back := range []time.Duration{0, -time.Nanosecond, -time.Hour} {
			if v := b.Observe(detectors.Point{At: at.Add(back), Value: 1e6}); v.State != detectors.StateUnknown ||
				v.Reason != detectors.ReasonOutOfOrder {
				t.Fatalf("point %d: time moved by %v and the verdict is %+v", i, back, v)
			}
		}
	}
}

func deterministic(t *testing.T, build func() detectors.Model) {
	a, b := build(), build()
	for i, x := range series(1500) {
		if va, vb := a.Observe(point(i, x)), b.Observe(point(i, x)); va != vb {
			t.Fatalf("point %d: %+v and %+v", i, va, vb)
		}
	}
}

func restore(t *testing.T, build func() detectors.Model) {
	m := build()
	for i, x := range series(1500) {
		if i%50 == 0 {
			snap, err := m.Snapshot()
			if err != nil {
				t.Fatalf("snapshot at point %d: %v", i, err)
			}
			fresh := build()
			fresh.Observe(point(0, 12345)) // what it had learned is replaced
			if err := fresh.Restore(snap); err != nil {
				t.Fatalf("restore at point %d: %v", i, err)
			}
			again, err := fresh.Snapshot()
			if err != nil || string(again) != string(snap) {
				t.Fatalf("snapshot of the restored model at point %d differs (%v):\n%s\n%s", i, err, snap, again)
			}
			defer func(m detectors.Model) { m.Observe(point(1<<20, 1)) }(m) // the old one stays usable
			m2 := m
			m = fresh
			if va, vb := m.Observe(point(i, x)), m2.Observe(point(i, x)); va != vb {
				t.Fatalf("point %d: restored says %+v, original says %+v", i, va, vb)
			}
			continue
		}
		m.Observe(point(i, x))
	}
}

func badSnapshots(t *testing.T, build func() detectors.Model) {
	m, twin := build(), build()
	for i, x := range series(500) {
		m.Observe(point(i, x))
		twin.Observe(point(i, x))
	}
	good, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range damaged(good) {
		err := m.Restore(b)
		if err == nil {
			t.Fatalf("a damaged snapshot was taken: %.200q", b)
		}
		if !errors.Is(err, detectors.ErrSnapshot) {
			t.Fatalf("error does not wrap ErrSnapshot: %v", err)
		}
	}
	if va, vb := m.Observe(point(500, 11)), twin.Observe(point(500, 11)); va != vb {
		t.Fatalf("a refused snapshot changed the model:\n got %+v\nwant %+v", va, vb)
	}
}

// damaged are snapshots that no model may take.
func damaged(good []byte) [][]byte {
	bad := [][]byte{nil, {}, []byte("{}"), []byte("null"), []byte(`{"model":"nobody","version":1}`), good[:len(good)/2]}
	for i := 0; i < len(good); i += 1 + len(good)/50 {
		c := append([]byte(nil), good...)
		c[i] ^= 1
		if string(c) != string(good) {
			bad = append(bad, c)
		}
	}
	return bad
}

func warms(t *testing.T, build func() detectors.Model) {
	m := build()
	var last detectors.Verdict
	for i := range 1000 {
		last = m.Observe(point(i, 10))
		if last.State == detectors.StateAnomalous {
			t.Fatalf("point %d of a constant series is anomalous: %s", i, last.Explain())
		}
	}
	if last.State != detectors.StateNormal {
		t.Fatalf("after 1000 points of a constant series: %s (%s)", last.State, last.Explain())
	}
}

func allocates(t *testing.T, build func() detectors.Model) {
	m := build()
	xs := series(1000)
	i := 0
	next := func() { m.Observe(point(i, xs[i%len(xs)])); i++ }
	for range xs {
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n != 0 {
		t.Fatalf("%v allocations per point", n)
	}
}
