package detect_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // so that the zone is there on every machine

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// What is usual at nine stays so when the clocks are changed: by the time of the site, and by no other.
func TestTheWatchesOfASiteFollowItsClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for zone, usual := range map[*time.Location]bool{berlin: true, time.UTC: false} {
		synctest.Test(t, func(t *testing.T) {
			change := time.Date(2000, 3, 26, 1, 0, 0, 0, time.UTC)
			time.Sleep(time.Until(change.Add(-time.Hour)))
			w := &world{at: func(t time.Time) ([]core.SeriesValue, error) {
				local := t.In(berlin)
				noon := float64(local.Hour()) + float64(local.Minute())/60 - 12
				return one(2000 - 100*math.Abs(noon) + float64(t.Unix()/300%7)), nil
			}}
			watch := detect.Watch{
				Name: "users", Query: "users", About: detect.AboutTargetSite, Service: "checkout", Every: 5 * time.Minute, Model: detect.ModelSeasonal,
			}
			runFor(t, 24*time.Hour, detect.Options{
				Watches: []detect.Watch{watch}, Querier: w, Writer: w, Signals: w.signal, Zone: func(string) *time.Location { return zone },
			})
			nine := time.Date(2000, 3, 26, 9, 30, 0, 0, berlin)
			for _, s := range w.signals {
				if s.At.Equal(nine) && (math.Abs(s.Expected-s.Value) < 20) != usual {
					t.Errorf("by the clock of %s %g is expected at half past nine, it is %g", zone, s.Expected, s.Value)
				}
			}
			if last := w.signals[len(w.signals)-1].At; last.Before(nine) {
				t.Errorf("judged until %s", last)
			}
		})
	}
}
