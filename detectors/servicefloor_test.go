package detectors_test

import (
	"testing"

	"github.com/evenkeel/evenkeel/detectors"
)

// What moves by less than its floor is not odd, alone or together with others of the kind, and no contributor; what moves by more is.
func TestServiceFloorsSayWhatMatters(t *testing.T) {
	f := func(floor func(int) (float64, float64), by float64, want detectors.State, contributors int) {
		t.Helper()
		m := &detectors.Service{Floor: floor}
		rows := serviceRows(5, 3*24*60)
		feedService(m, 0, rows)
		odd := append([]float64(nil), rows[len(rows)-1]...)
		for i := range odd {
			odd[i] += by
		}
		v := m.Observe(at(len(rows)), odd)
		var top [8]detectors.Contributor
		if n := m.Contributors(top[:]); v.State != want || (n > 0) != (contributors > 0) {
			t.Errorf("by %v: %s with %d contributors, want %s: %s", by, v.State, n, want, v.Explain())
		}
	}
	absolute := func(int) (float64, float64) { return 60, 0 }
	f(nil, 50, detectors.StateAnomalous, 1)
	f(absolute, 50, detectors.StateNormal, 0)
	f(absolute, 90, detectors.StateAnomalous, 1)
	f(func(int) (float64, float64) { return 0, 1000 }, 50, detectors.StateNormal, 0)
	f(absolute, -50, detectors.StateNormal, 0)
	one := func(i int) (float64, float64) { // but for one of them
		if i == 1 {
			return 0, 0
		}
		return 60, 0
	}
	f(one, 50, detectors.StateAnomalous, 1)
}

// Floors take alarms away and make none, also where they are about as large as the noise.
func TestServiceFloorsRaiseNothing(t *testing.T) {
	for _, k := range []float64{2, 2.5} {
		plain, floored := &detectors.Service{}, &detectors.Service{Floor: func(i int) (float64, float64) { return k * float64(i+1), 0 }}
		for i, row := range serviceRows(9, 14*24*60) {
			without, with := plain.Observe(at(i), row), floored.Observe(at(i), row)
			if with.State == detectors.StateAnomalous && without.State != detectors.StateAnomalous {
				t.Fatalf("row %d: %s only with floors of %v deviations", i, with.Explain(), k)
			}
		}
	}
}
