package decide

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// capacityRuling is what the capacity guard says of the last decision about the site.
func capacityRuling(t *testing.T, w *world, site string) core.Ruling {
	t.Helper()
	ep, _ := w.episode(site)
	for _, r := range w.decision(ep.DecisionID).Rulings {
		if r.Guard == "capacity" {
			return r
		}
	}
	t.Fatalf("no ruling on capacity: %s", ep.Sentence)
	return core.Ruling{}
}

func suspected(t *testing.T, capacity float64) *world {
	t.Helper()
	topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
	for i := range topo.Sites {
		topo.Sites[i].Capacity["checkout"] = capacity
	}
	w := newWorld(t, topo)
	w.quiet = true
	w.run(5*time.Second, time.Second)
	return w
}

// TestDemandIsOfThisFailure: a link is suspected at night; the site fails by day, when nobody has room for it.
func TestDemandIsOfThisFailure(t *testing.T) {
	for _, edge := range []bool{true, false} { // whether the edge reported at the onset
		w := suspected(t, 100)
		w.demand, w.noEdge = 5, !edge
		w.run(2*time.Minute, time.Second)
		w.sick[w.subject("fra")] = state{what: "link", since: w.at.Add(time.Second)}
		w.run(2*time.Minute, time.Second)
		w.at = w.at.Add(8 * time.Hour)
		w.demand, w.noEdge = 90, false
		w.run(3*time.Minute, time.Second)
		w.kill("fra")
		w.run(12*time.Second, time.Second)
		r := capacityRuling(t, w, "fra")
		if r.Answer != core.Bound || r.Bound > 0.25 {
			t.Errorf("edge %t: %s: %s", edge, r.Answer, r.Sentence)
		}
	}
}

// TestSurvivorsFillUp: what survivors carry by now counts, also when it grew after the failure began.
func TestSurvivorsFillUp(t *testing.T) {
	w := suspected(t, 200)
	w.kill("fra")
	w.run(3*time.Second, time.Second)
	w.demand = 190
	w.run(9*time.Second, time.Second)
	if r := capacityRuling(t, w, "fra"); r.Answer != core.Bound || r.Bound > 0.25 {
		t.Errorf("%s: %s", r.Answer, r.Sentence)
	}
}
