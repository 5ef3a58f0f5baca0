package app

import (
	"slices"
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/ingest"
)

func TestTheVantagesOfATargetAreSpread(t *testing.T) {
	got := map[string][]int64{}
	for _, site := range []string{"ams", "fra", "waw"} {
		state, err := stateOf(testTopology(), ingest.Revision{}, site)
		if err != nil {
			t.Fatal(err)
		}
		if len(state.Probes) != 3 {
			t.Fatalf("%s probes %d targets", site, len(state.Probes))
		}
		for _, p := range state.Probes {
			got[p.TargetSite] = append(got[p.TargetSite], p.PhaseMS)
		}
	}
	for target, phases := range got {
		slices.Sort(phases)
		if !slices.Equal(phases, []int64{0, 250, 500}) {
			t.Errorf("%s is probed at %v", target, phases)
		}
	}
	if _, err := stateOf(testTopology(), ingest.Revision{}, "par"); err == nil {
		t.Error("a site nobody declared gets a state")
	}
}
