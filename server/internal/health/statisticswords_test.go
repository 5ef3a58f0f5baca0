package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What another replica found may be seen a step late of some series and in time of others: of ten of which one is odd, a window is worth the same.
func TestWordsMayComeAStepLate(t *testing.T) {
	f := func(late int) (most float64, accused time.Duration) {
		t.Helper()
		const series, interval = 10, 10 * time.Second
		tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
		s := &tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics
		for k := range 90 {
			at := epoch.Add(time.Duration(k) * interval)
			for i := range series {
				of := at
				if i >= series-late {
					of = at.Add(-interval)
				}
				state, chance := core.DetectorNormal, 1.0
				if i == series-1 && of.Sub(epoch) >= 20*interval {
					state, chance = core.DetectorAnomalous, 1e-7
				}
				w := point("latency", "fra", of, interval, state, chance)
				w.Labels = map[string]string{"route": fmt.Sprint(i)}
				tr.Signal(w)
			}
			tr.Judge(at, nil)
			most = max(most, s.verdict().E)
			if s.accuses() && accused == 0 {
				accused = at.Sub(epoch)
			}
		}
		return most, accused
	}
	most, accused := f(0)
	for late := 1; late <= 9; late++ {
		if got, when := f(late); got != most || when != accused+10*time.Second {
			t.Errorf("%d of 10 series a step late: a window is worth up to %.1f and accuses after %s, want %.1f, and a step after %s", late, got, when, most, accused)
		}
	}
	if accused == 0 {
		t.Error("nobody was accused: the test looks at nothing")
	}
}
