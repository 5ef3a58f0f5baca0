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

func ExampleAbsence() {
	m := &detectors.Absence{Interval: 10 * time.Second}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for second := range 80 {
		switch {
		case second%10 != 0:
			continue
		case second <= 10:
			m.Observe(detectors.Point{At: at.Add(time.Duration(second) * time.Second), Value: 7})
		default: // the caller's clock says that it is time for a value, and there is none
			v := m.Observe(detectors.Point{At: at.Add(time.Duration(second) * time.Second), Missing: true})
			fmt.Println(v.State, "-", v.Explain())
		}
	}
	// Output:
	// unknown - no value
	// unknown - no value
	// unknown - no value
	// unknown - no value
	// unknown - no value
	// anomalous - no value for 60 s, where one comes every 10 s and 50 s are the limit
}

func TestAbsenceContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.Absence{} })
	detectortest.Run(t, func() detectors.Model {
		return &detectors.Absence{Interval: 12 * time.Second, Patience: 1, FlatPatience: 1, FlatAfter: time.Minute, AdaptAfter: time.Minute}
	})
}

func value(i int) detectors.Point { return detectors.Point{At: at(i), Value: float64(i % 5)} }

func missing(i int) detectors.Point { return detectors.Point{At: at(i), Missing: true} }

func TestAbsenceOfALearnedInterval(t *testing.T) {
	m := &detectors.Absence{}
	for i := range 100 {
		if v := m.Observe(value(i)); (v.State == detectors.StateWarming) != (i <= 10) {
			t.Fatalf("point %d: %s", i, v.Explain())
		}
	}
	for i := 100; i < 110; i++ {
		v := m.Observe(missing(i))
		late := i-99 > 5
		if late != (v.State == detectors.StateAnomalous) || late != (v.Reason == detectors.ReasonGap) {
			t.Fatalf("%d intervals without a value: %s", i-99, v.Explain())
		}
		if late && (!v.Since.Equal(at(99)) || v.Value != float64(i-99)*10 || v.Expected != 10 || v.Upper != 50) {
			t.Fatalf("%+v", v)
		}
	}
	if v := m.Observe(detectors.Point{At: at(110), Value: math.NaN()}); v.Reason != detectors.ReasonGap {
		t.Fatalf("what is no number ended the gap: %s", v.Explain())
	}
	want := []detectors.Reason{detectors.ReasonGap, detectors.ReasonRecovering, detectors.ReasonRecovering, detectors.ReasonInside}
	for i, w := range want {
		if v := m.Observe(value(111 + i)); v.Reason != w {
			t.Fatalf("value %d after the gap: %s, want %s", i, v.Reason, w)
		}
	}
	if v := m.Observe(value(116)); v.Expected != 10 || v.Upper != 50 {
		t.Fatalf("the gap was learned: %s", v.Explain())
	}
}

func TestAbsenceWithoutTicksIsReportedByTheNextValue(t *testing.T) {
	m := &detectors.Absence{}
	for i := range 50 {
		m.Observe(value(i))
	}
	if v := m.Observe(value(80)); v.Reason != detectors.ReasonGap || !v.Since.Equal(at(49)) {
		t.Fatalf("after a gap: %s since %v", v.Explain(), v.Since)
	}
}

// Jitter, lost points and arrivals at random are not gaps: over weeks of them there is hardly a false alarm.
func TestAbsenceFalseAlarms(t *testing.T) {
	f := func(name string, limit int, interval func(*rand.Rand) float64) {
		t.Helper()
		const weeks = 8
		r := rand.New(rand.NewPCG(9, 9))
		m := &detectors.Absence{}
		var n int
		for at := 0.0; at < weeks*7*24*3600; {
			at += interval(r)
			v := m.Observe(detectors.Point{At: start().Add(time.Duration(at * 1e9)), Value: r.NormFloat64()})
			if v.Reason == detectors.ReasonGap {
				n++
			}
			if s := detectortest.Check(v); s != "" {
				t.Fatal(s)
			}
		}
		t.Logf("%s: %d false alarms in %d weeks", name, n, weeks)
		if n > limit {
			t.Errorf("%s: %d false alarms in %d weeks, at most %d are promised", name, n, weeks, limit)
		}
	}
	f("jitter", 0, func(r *rand.Rand) float64 { return 10 + 2*r.Float64() })
	f("a tenth lost", 4, func(r *rand.Rand) float64 {
		n := 1.0
		for r.Float64() < 0.1 {
			n++
		}
		return 10 * n
	})
	f("at random", 4, func(r *rand.Rand) float64 { return 10 * r.ExpFloat64() })
}

func TestAbsenceLearnsAnotherInterval(t *testing.T) {
	m := &detectors.Absence{AdaptAfter: time.Hour}
	for i := range 100 {
		m.Observe(value(i))
	}
	var adapted time.Time
	for i := 110; i < 1000; i += 10 { // every 100 s instead of every 10
		v := m.Observe(value(i))
		switch {
		case v.Reason == detectors.ReasonAdapted:
			adapted = v.At
		case adapted.IsZero() && v.State != detectors.StateAnomalous, !adapted.IsZero() && v.State != detectors.StateNormal:
			t.Fatalf("%v: %s", v.At, v.Explain())
		}
	}
	if d := adapted.Sub(at(99)); d < time.Hour || d > time.Hour+2*time.Minute {
		t.Fatalf("adapted after %v", d)
	}
}

func TestFlatline(t *testing.T) {
	// A series that moves at every point for two days, and then stands.
	f := func(m *detectors.Absence, stands float64, want bool) {
		t.Helper()
		for i, x := range noise(4, 2*8640, 10, 1) {
			feed(m, i, x)
		}
		var first int
		for i := range 200 {
			v := feed(m, 2*8640+i, stands)[0]
			if v.Reason == detectors.ReasonFlat && first == 0 {
				first = i + 1
				if s := v.Since; !s.Equal(at(2 * 8640)) {
					t.Fatalf("flat since %v", s)
				}
			}
		}
		if (first == 30) != want || !want && first != 0 {
			t.Fatalf("flat at point %d, want it %v", first, want)
		}
		if v := feed(m, 2*8640+200, 11)[0]; v.State != detectors.StateNormal {
			t.Fatalf("moved again: %s", v.Explain())
		}
	}
	f(&detectors.Absence{}, 10, true)
	f(&detectors.Absence{}, 0, true)
	f(&detectors.Absence{RestsAtZero: true}, 0, false)
	f(&detectors.Absence{RestsAtZero: true}, 10, true)
	f(&detectors.Absence{FlatPatience: -1}, 10, false)
	f(&detectors.Absence{FlatAfter: 72 * time.Hour}, 10, false)
}

// What has always stood still, a gauge that seldom moves and nights of zeros are not flat.
func TestFlatlineFalseAlarms(t *testing.T) {
	f := func(name string, value func(time.Time) float64) {
		t.Helper()
		points(&detectors.Absence{}, start(), time.Minute, 28*24*time.Hour, value, func(v detectors.Verdict) {
			if v.State == detectors.StateAnomalous {
				t.Fatalf("%s at %v: %s", name, v.At, v.Explain())
			}
		})
	}
	r := rand.New(rand.NewPCG(5, 5))
	f("constant", func(time.Time) float64 { return 3 })
	f("zeros", func(time.Time) float64 { return 0 })
	f("nights of zeros", func(at time.Time) float64 {
		if at.Hour() < 8 {
			return 0
		}
		return r.Float64()
	})
	level := 3.0
	f("a gauge that moves once an hour", func(time.Time) float64 {
		if r.Float64() < 1.0/60 {
			level = math.Floor(10 * r.Float64())
		}
		return level
	})
	f("rare errors", func(time.Time) float64 {
		if r.Float64() < 0.005 {
			return 1
		}
		return 0
	})
}

func TestFlatIsNewsForADayOnly(t *testing.T) {
	m := &detectors.Absence{AdaptAfter: time.Hour}
	for i, x := range noise(4, 2*8640, 10, 1) {
		feed(m, i, x)
	}
	vs := feed(m, 2*8640, repeat(10, 1000)...)
	if vs[100].Reason != detectors.ReasonFlat || vs[29+360].Reason != detectors.ReasonAdapted || vs[999].State != detectors.StateNormal {
		t.Fatalf("%s, %s, %s", vs[100].Reason, vs[29+360].Reason, vs[999].Reason)
	}
}

func TestAbsenceSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &detectors.Absence{
			Interval:      rapid.SampledFrom([]time.Duration{0, -1, 1, time.Minute, math.MaxInt64}).Draw(t, "interval"),
			Patience:      rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64()).Draw(t, "patience"),
			FlatPatience:  rapid.OneOf(rapid.Just(0.0), rapid.Just(math.NaN()), rapid.Float64()).Draw(t, "flat"),
			FlatAfter:     rapid.SampledFrom([]time.Duration{0, -1, 1}).Draw(t, "flat after"),
			RecoverPoints: rapid.IntRange(-1, 4).Draw(t, "recover"),
			AdaptAfter:    rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "adapt"),
		}
		other := *m
		survives(t, m, &other)
	})
}

func TestAbsenceValidate(t *testing.T) {
	f := refuses(t)
	f(&detectors.Absence{Interval: -1}, "0 to learn it")
	f(&detectors.Absence{Patience: 0.5}, "1 or more intervals")
	f(&detectors.Absence{Patience: math.NaN()}, "1 or more intervals")
	f(&detectors.Absence{FlatPatience: 0.5}, "negative for no limit")
	f(&detectors.Absence{FlatAfter: -1}, "flat after -1ns")
	f(&detectors.Absence{RecoverPoints: -1}, "recover points -1")
}

// A time in which nobody could take a value is no silence, is no usual interval, and does not end a gap that is known.
func TestAbsenceExcusesWhatNobodyCouldTake(t *testing.T) {
	f := func(silent, excused int, lasted time.Duration, want int) {
		t.Helper()
		m := &detectors.Absence{Interval: at(1).Sub(at(0))}
		m.Observe(value(0))
		m.Observe(value(1))
		for i := range silent {
			m.Observe(missing(2 + i))
		}
		last := 1 + silent + excused
		m.Excuse(at(last), lasted)
		due, ok := m.Due()
		snap, err := m.Snapshot()
		if m = (&detectors.Absence{Interval: m.Interval}); err != nil || m.Restore(snap) != nil || !ok {
			t.Fatal(err, ok)
		}
		for i := 1; i <= want; i++ {
			v := m.Observe(missing(last + i))
			if gone := v.State == detectors.StateAnomalous; gone != (i == want) || gone != at(last+i).After(due) {
				t.Fatalf("%d intervals silent, %d excused by %s, due at %s: %s after %d", silent, excused, lasted, due, v.Explain(), i)
			}
		}
		if v := m.Observe(value(last + want + 1)); v.Reason != detectors.ReasonGap {
			t.Errorf("the value after: %s", v.Explain())
		}
	}
	ivl := at(1).Sub(at(0))
	f(0, 100, 100*ivl, 6)
	f(3, 100, 100*ivl, 3)
	f(3, 100, 1000*ivl, 6) // no more than there was
	f(3, 100, 99*ivl, 2)
	f(8, 100, 1000*ivl, 1) // known to be gone

	m := &detectors.Absence{}
	k := 0
	for ; k < 20; k++ {
		m.Observe(value(k))
	}
	k += 1000
	m.Excuse(at(k-1), time.Hour*1000)
	if v := m.Observe(value(k)); v.State != detectors.StateNormal || v.Value > ivl.Seconds() || v.Upper > 6*ivl.Seconds() {
		t.Errorf("a value after an excused time: %s", v.Explain())
	}
}
