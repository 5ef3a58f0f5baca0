package detectors_test

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// Points that trigger, and those that recover, may be some of the last few; then one in between that is inside takes nothing back.
func TestPointsOfTheLastFew(t *testing.T) {
	f := func(m *detectors.Threshold, values, want string, since int) {
		t.Helper()
		m.Limit, m.Direction = 10, detectors.Above
		var got strings.Builder
		var last time.Time
		for i, c := range values {
			x := 1.0
			if c == 'o' {
				x = 20
			}
			v := m.Observe(detectors.Point{At: at(i), Value: x})
			got.WriteString(v.State.String()[:1])
			if v.State == detectors.StateAnomalous && last.IsZero() {
				last = v.Since
			}
			snap, err := m.Snapshot()
			if err != nil || m.Restore(snap) != nil {
				t.Fatal(err)
			}
		}
		if got.String() != want {
			t.Errorf("%+v of %s:\n got %s\nwant %s", m, values, got.String(), want)
		}
		if since >= 0 && !last.Equal(at(since)) {
			t.Errorf("since %v, want %v", last, at(since))
		}
	}
	row := func(trigger, of, calm, calmOf int) *detectors.Threshold {
		return &detectors.Threshold{TriggerPoints: trigger, TriggerOf: of, RecoverPoints: calm, RecoverOf: calmOf}
	}
	f(row(3, 0, 1, 0), "io.o.ooo.", "nnnnnnnan", 5)
	f(row(3, 5, 1, 0), "io.o.o..", "nnnnnann", 1)
	f(row(3, 5, 1, 0), "io.o...o.o.", "nnnnnnnnnnn", -1) // of the last five never three
	f(row(2, 4, 1, 0), "io....o.o", "nnnnnnnna", 6)      // the first one is forgotten
	f(row(1, 0, 3, 5), "o.o.o.i.", "aaaaannn", 0)
	f(row(1, 0, 3, 0), "o.o.o.i.", "aaaaaaan", 0)
	f(row(3, 2, 1, 0), "oo.ooo", "nnnnna", 3) // fewer than the points are in a row
	f(row(2, 64, 1, 0), "o"+strings.Repeat(".", 63)+"o", strings.Repeat("n", 65), -1)
	f(row(2, 64, 1, 0), "o"+strings.Repeat(".", 62)+"o", strings.Repeat("n", 63)+"a", 0)
}

func TestPointsOfTheLastFewAreChecked(t *testing.T) {
	f := func(m detectors.Model, want string) {
		t.Helper()
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(&detectors.Threshold{TriggerPoints: 3, TriggerOf: 2}, "trigger of 2: want 3 to 64 points, or 0 for as many in a row")
	f(&detectors.RobustZ{RecoverOf: 65}, "recover of 65: want 3 to 64")
	f(&detectors.Seasonal{RecoverOf: 2}, "recover of 2: want 3")
	f(&detectors.LocalFit{TriggerOf: -1}, "trigger of -1: want 1")
}
