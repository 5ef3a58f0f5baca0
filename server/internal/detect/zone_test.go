package detect

import (
	"strconv"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// All series about a site share one location: each that is loaded is a copy of the zone's whole history.
func TestSeriesOfASiteShareItsZone(t *testing.T) {
	asked := map[string]int{}
	m, err := New(Options{
		Watches: []Watch{{Name: "w", Query: "q", About: AboutTargetSite, Every: 10 * time.Second}},
		Querier: silent{}, Writer: silent{}, Signals: func([]core.Signal) {},
		Zone: func(site string) *time.Location {
			asked[site]++
			if site == "nowhere" {
				return nil
			}
			return time.FixedZone(site, 3600)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var answer []core.SeriesValue
	for i := range 100 {
		for _, site := range []string{"fra", "ams", "nowhere"} {
			answer = append(answer, core.SeriesValue{Labels: map[string]string{"target_site": site, "instance": strconv.Itoa(i)}, Value: 1})
		}
	}
	w := m.watchers[0]
	w.take(answer, time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), 10*time.Second)
	if len(w.series) != 300 || asked["fra"] != 1 || asked["ams"] != 1 || asked["nowhere"] != 100 {
		t.Errorf("%d series, and zones were asked for so often: %v", len(w.series), asked)
	}
}
