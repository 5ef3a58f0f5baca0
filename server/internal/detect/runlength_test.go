package detect

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// What noise may cost in a week is a number of values to cusum, by how far they are apart.
func TestFalseAlarmsOfCUSUM(t *testing.T) {
	f := func(w Watch, want float64) {
		t.Helper()
		w.Model = ModelCUSUM
		if m, ok := w.newModel(nil).(*detectors.CUSUM); !ok || m.ARL0 != want {
			t.Errorf("every %v cron %q, %v a week: %+v, want %v", w.Every, w.Cron, w.FalseAlarms, m, want)
		}
		if w.falseAlarms() != 0 {
			t.Error("cusum is taken for a calibrated model")
		}
	}
	f(Watch{Every: 10 * time.Second}, 0)
	f(Watch{Every: 10 * time.Second, FalseAlarms: 1}, 60480)
	f(Watch{Every: time.Minute, FalseAlarms: 0.25}, 40320)
	f(Watch{Cron: "*/5 * * * *", FalseAlarms: 2}, 1008)
}
