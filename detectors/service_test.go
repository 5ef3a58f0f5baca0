package detectors_test

import (
	"fmt"
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

// serviceRows are the figures of a service: noise of different size and level, the last one the sum of two others.
func serviceRows(seed uint64, n int) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 8))
	out := make([][]float64, n)
	for i := range out {
		row := make([]float64, 6)
		for k := range row[:5] {
			row[k] = float64(10*(k+1)) + float64(k+1)*r.NormFloat64()
		}
		row[5] = row[0] + row[1]
		out[i] = row
	}
	return out
}

func ExampleService() {
	m := &detectors.Service{}
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	noise := rand.New(rand.NewPCG(1, 1))
	row := func() []float64 { // requests a second, errors a second, latency in ms, replication lag in s
		return []float64{500 + 9*noise.NormFloat64(), 2 + 0.2*noise.NormFloat64(), 80 + 3*noise.NormFloat64(), 0.4 + 0.05*noise.NormFloat64()}
	}
	for range 3 * 24 * 60 {
		m.Observe(at, row())
		at = at.Add(time.Minute)
	}
	odd := row()
	odd[1], odd[2] = 5, 130
	v := m.Observe(at, odd)
	fmt.Println(v.State, "-", v.Reason)
	var top [3]detectors.Contributor
	for _, c := range top[:m.Contributors(top[:])] {
		fmt.Println([]string{"requests", "errors", "latency", "lag"}[c.Index], c.Value)
	}
	// Output:
	// anomalous - together
	// errors 5
	// latency 130
}

func TestServiceContract(t *testing.T) {
	detectortest.RunWhole(t, func() detectortest.Whole { return &detectors.Service{} })
	detectortest.RunWhole(t, func() detectortest.Whole {
		return &detectors.Service{FalseAlarmsPerWeek: 7, AdaptAfter: time.Minute, Floor: func(int) (absolute, relative float64) { return 1, 0.1 }}
	})
}

// How many points are missing is true from the first row on: the series have to be known before the row can be.
func TestServiceSaysWhenItWillBeReady(t *testing.T) {
	m := &detectors.Service{}
	rows := serviceRows(3, 400)
	var left []int
	for i, row := range rows {
		v := m.Observe(at(i), row)
		if v.State != detectors.StateWarming {
			break
		}
		left = append(left, v.Needed-v.Points)
	}
	for i, n := range left {
		if want := len(left) - i; n != want {
			t.Fatalf("in row %d it says that %d are missing, it is %d", i, n, want)
		}
	}
	if len(left) >= 120 || len(left) == 0 { // an hour of rows every 30 s
		t.Fatalf("warming for %d rows", len(left))
	}
}

func feedService(m *detectors.Service, from int, rows [][]float64) (last detectors.Verdict) {
	for i, row := range rows {
		last = m.Observe(at(from+i), row)
	}
	return last
}

// Several series that are odd at once are a trouble, where each of them alone is none.
func TestServiceSeesWhatHappensTogether(t *testing.T) {
	f := func(k float64, odd ...int) detectors.Verdict {
		m := &detectors.Service{}
		feedService(m, 0, serviceRows(1, 4000))
		row := []float64{10, 20, 30, 40, 50, 30}
		for _, i := range odd {
			row[i] += k * float64(i+1)
		}
		return m.Observe(at(4000), row)
	}
	if v := f(5, 0, 1, 2, 3); v.State != detectors.StateAnomalous || v.Reason != detectors.ReasonTogether || !v.Since.Equal(v.At) {
		t.Errorf("four series 5 deviations off: %s: %s", v.Reason, v.Explain())
	}
	if v := f(5, 2); v.State != detectors.StateNormal {
		t.Errorf("one series 5 deviations off: %s", v.Explain())
	}
	if v := f(9, 2); v.State != detectors.StateAnomalous || v.Reason != detectors.ReasonAlone || v.PerWeek >= 1 {
		t.Errorf("one series 9 deviations off: %s: %s", v.Reason, v.Explain())
	}
}

// What comes for a moment again and again is no news; that it stays is.
func TestServiceSeesWhatLasts(t *testing.T) {
	const past = 20000
	stall := func(k float64) []float64 { return []float64{10 + k, 20 + 2*k, 30 + 3*k, 40, 50, 30 + 3*k} }
	rows := serviceRows(1, past)
	r := rand.New(rand.NewPCG(1, 9))
	for i := 100; i < len(rows)-20; i += 20 + r.IntN(150) {
		rows[i] = stall(3 + 3*r.ExpFloat64())
	}
	m := &detectors.Service{}
	feedService(m, 0, rows)
	for i := range 2 {
		if v := m.Observe(at(past+i), stall(11)); v.State != detectors.StateNormal {
			t.Fatalf("row %d: %s", i, v.Explain())
		}
	}
	v := m.Observe(at(past+2), stall(11))
	if v.State != detectors.StateAnomalous || v.Reason != detectors.ReasonLasting || v.PerWeek >= 1 || !strings.HasPrefix(v.Explain(), "its series are odd for the third row") {
		t.Errorf("the third row: %s: %s", v.Reason, v.Explain())
	}
}

// The first rows back from what was beyond doubt are no row of their own.
func TestServiceCallsTheFirstRowsBackRecovering(t *testing.T) {
	m := &detectors.Service{}
	rows := serviceRows(1, 20000)
	feedService(m, 0, rows)
	i := len(rows)
	f := func(k float64, want detectors.Reason) {
		t.Helper()
		v := m.Observe(at(i), []float64{10 + k, 20 + 2*k, 30 + 3*k, 40, 50, 30 + 3*k})
		if v.State != detectors.StateAnomalous || v.Reason != want {
			t.Errorf("off by %v: %s, want %s: %s", k, v.Reason, want, v.Explain())
		}
		i++
	}
	for range 3 {
		f(9, detectors.ReasonTogether)
	}
	f(2.5, detectors.ReasonRecovering)
	f(2.5, detectors.ReasonRecovering)
	f(2.5, detectors.ReasonLasting)
}

func TestServiceNamesItsContributors(t *testing.T) {
	m := &detectors.Service{}
	feedService(m, 0, serviceRows(1, 4000))
	m.Observe(at(4000), []float64{10, 20, 3000, 40, 5000, 30})
	var top [3]detectors.Contributor
	n := m.Contributors(top[:])
	if n != 2 {
		t.Fatalf("%d contributors: %+v", n, top)
	}
	for _, c := range top[:n] {
		want := map[int]float64{2: 30, 4: 50}[c.Index]
		if want == 0 || math.Abs(c.Expected-want) > 0.2*want || c.Value < 3000 || c.PerWeek >= 1 {
			t.Errorf("contributor %+v", c)
		}
	}
	if n := m.Contributors(nil); n != 0 {
		t.Errorf("%d contributors in no room", n)
	}
	m.Forget(2)
	if n := m.Contributors(top[:]); n != 1 || top[0].Index != 4 {
		t.Errorf("one of them is forgotten: %+v", top[:n])
	}
}

// A series without a value takes no part, and its return is no news.
func TestServiceGoesOnWithoutASeries(t *testing.T) {
	m := &detectors.Service{}
	rows := serviceRows(1, 5000)
	feedService(m, 0, rows[:3000])
	for i, row := range rows[3000:4000] {
		row[1], row[4] = math.NaN(), math.Inf(1)
		if v := m.Observe(at(3000+i), row[:5]); v.State != detectors.StateNormal || detectortest.Check(v) != "" {
			t.Fatalf("row %d: %s: %s", i, v.State, v.Explain())
		}
	}
	if v := feedService(m, 4000, rows[4000:]); v.State != detectors.StateNormal {
		t.Fatalf("all are back: %s", v.Explain())
	}
	nan := math.NaN()
	if v := m.Observe(at(5000), []float64{nan, nan}); v.State != detectors.StateUnknown || v.Reason != detectors.ReasonMissing {
		t.Fatalf("no value at all: %s", v.Reason)
	}
	if v := m.Observe(at(4999), rows[0]); v.Reason != detectors.ReasonOutOfOrder {
		t.Fatalf("time going back: %s", v.Reason)
	}
}

// The place of a series that is gone goes to another one, which is not judged by what the first one was.
func TestServiceForgetsASeries(t *testing.T) {
	f := func(forget bool) (anomalous int) {
		m := &detectors.Service{}
		rows := serviceRows(1, 6000)
		feedService(m, 0, rows[:4000])
		for i := range 3 {
			if forget {
				m.Forget(i)
			}
			for _, row := range rows[4000:] {
				row[i] = 1000 - 7*row[i]
			}
		}
		m.Forget(-1)
		m.Forget(6)
		for i, row := range rows[4000:] {
			if m.Observe(at(4000+i), row).State == detectors.StateAnomalous {
				anomalous++
			}
		}
		return anomalous
	}
	if n := f(false); n == 0 {
		t.Error("three other series in the places of three are no news: nothing is shown of Forget")
	}
	if n := f(true); n > 0 {
		t.Errorf("%d of 2000 rows are anomalous after three series were forgotten", n)
	}
}

func TestServiceKeepsItsBudgetOnNoise(t *testing.T) {
	m := &detectors.Service{}
	rows := serviceRows(3, 4*week)
	var n int
	on := false
	for i, row := range rows {
		v := m.Observe(at(i), row)
		if v.State == detectors.StateAnomalous && !on {
			n++
		}
		on = v.State == detectors.StateAnomalous
	}
	if n > 4 {
		t.Fatalf("%d false alarms in four weeks, at most one a week is promised", n)
	}
}

func TestServiceNamesItsContributorsWithoutAllocating(t *testing.T) {
	m := &detectors.Service{}
	feedService(m, 0, serviceRows(4, 2000))
	var top [3]detectors.Contributor
	if n := testing.AllocsPerRun(500, func() { m.Contributors(top[:]) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkService(b *testing.B) {
	m := &detectors.Service{}
	rows := serviceRows(4, 4000)
	feedService(m, 0, rows)
	b.ReportAllocs()
	i := 4000
	for b.Loop() {
		m.Observe(at(i), rows[(i*7)%len(rows)])
		i++
	}
}

// A series that has a value now and then does not make the rows rarer than they are.
func TestServiceGoesByItsQuickestSeries(t *testing.T) {
	m := &detectors.Service{}
	for i, row := range serviceRows(5, 3000) {
		if i%10 != 0 {
			row[0] = math.NaN()
		}
		if v := m.Observe(at(i), row); v.HasScore && v.Tail < 1 && math.Abs(v.PerWeek/v.Tail-week) > 1e-6*week {
			t.Fatalf("row %d: %v rows a week, want %d", i, v.PerWeek/v.Tail, week)
		}
	}
}

// However places are forgotten and states are restored in between, a restored service goes on as the one that was never
// stopped, its verdicts are whole, and nothing is said of a place before it has been learned anew.
func TestServiceForgetsAndRestoresInAnyOrder(t *testing.T) {
	const untold = 60 // points of a series that say nothing of it yet
	rapid.Check(t, func(t *rapid.T) {
		rows := serviceRows(rapid.Uint64().Draw(t, "seed"), 150)
		a, b := &detectors.Service{}, &detectors.Service{}
		var top, topB [6]detectors.Contributor
		var told [6]int // points of each place since it was forgotten or new
		for i := 0; i < len(rows); {
			switch rapid.SampledFrom([]string{"rows", "rows", "forget", "forget", "jump", "jump", "gap", "restore"}).Draw(t, "what") {
			case "forget":
				k := rapid.IntRange(-1, 6).Draw(t, "place")
				a.Forget(k)
				b.Forget(k)
				if k >= 0 && k < len(told) {
					told[k] = 0
				}
				for _, c := range top[:a.Contributors(top[:])] {
					if c.Index == k {
						t.Fatalf("row %d: place %d contributes, which is forgotten", i, k)
					}
				}
				continue
			case "restore":
				snap, err := b.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				b = &detectors.Service{}
				if err := b.Restore(snap); err != nil {
					t.Fatal(err)
				}
				continue
			case "jump":
				for k := range rows[i] {
					rows[i][k] *= 50
				}
			case "gap":
				rows[i][rapid.IntRange(0, 5).Draw(t, "none")] = math.NaN()
			}
			for range min(len(rows)-i, rapid.IntRange(1, 40).Draw(t, "rows")) {
				va, vb := a.Observe(at(i), rows[i]), b.Observe(at(i), rows[i])
				if va != vb {
					t.Fatalf("row %d: the restored one says\n%+v\nthe other\n%+v", i, vb, va)
				}
				if s := detectortest.Check(va); s != "" {
					t.Fatalf("row %d: %s: %+v", i, s, va)
				}
				for k, x := range rows[i] {
					if !math.IsNaN(x) {
						told[k]++
					}
				}
				names, others := top[:a.Contributors(top[:])], topB[:b.Contributors(topB[:])]
				if !slices.Equal(names, others) {
					t.Fatalf("row %d: the restored one names %+v, the other %+v", i, others, names)
				}
				for _, c := range names {
					if told[c.Index] <= untold {
						t.Fatalf("row %d: place %d contributes after %d rows", i, c.Index, told[c.Index])
					}
				}
				i++
			}
		}
	})
}

// To forget a place is to have it new: what stood there before makes no difference to what is said of the next series.
func TestServiceForgetsWhateverWasThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := serviceRows(rapid.Uint64().Draw(t, "seed"), 300)
		place := rapid.IntRange(0, 5).Draw(t, "place")
		before := rapid.IntRange(0, 60).Draw(t, "before") // fewer than it takes to know anything of the row as a whole
		a, b := &detectors.Service{}, &detectors.Service{}
		for i, row := range rows {
			if i == before {
				a.Forget(place)
				b.Forget(place)
			}
			other := slices.Clone(row)
			if i < before {
				other[place] = 1e6 - 3*row[place]
			}
			if va, vb := a.Observe(at(i), row), b.Observe(at(i), other); va != vb {
				t.Fatalf("row %d:\n%+v\n%+v", i, va, vb)
			}
		}
	})
}
