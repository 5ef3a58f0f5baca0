package detect_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// An incident that is marked when it is over takes effect on what was learned meanwhile; of another site it does not, and taken back it
// does no longer.
func TestAnIncidentIsMarkedAfterwards(t *testing.T) {
	for name, c := range map[string]struct {
		site     string
		takeBack bool
		watch    func(*detect.Watch)
		ranges   int // of the training window, the first included
		after    core.DetectorState
	}{
		"marked":            {site: "fra", ranges: 2, after: core.DetectorNormal},
		"another site":      {site: "ams", ranges: 1, after: core.DetectorAnomalous},
		"taken back":        {site: "fra", takeBack: true, ranges: 3, after: core.DetectorAnomalous},
		"nothing is learnt": {site: "fra", watch: threshold, ranges: 1, after: core.DetectorNormal},
		"long before":       {site: "fra", watch: func(w *detect.Watch) { w.Training = 10 * time.Minute }, ranges: 1, after: core.DetectorAnomalous},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 300, 4 * time.Hour: 100})}
				watch := trafficWatch()
				watch.Training = 6 * time.Hour
				if c.watch != nil {
					c.watch(&watch)
				}
				m := detect.Mark{
					Kind: detect.MarkIncident, Subject: core.Subject{Site: c.site, Service: core.AllServices}, From: start.Add(time.Hour), Until: start.Add(4 * time.Hour),
				}
				var mu sync.Mutex
				var marks []detect.Mark
				set := func(to ...detect.Mark) {
					mu.Lock()
					defer mu.Unlock()
					marks = to
				}
				man, err := detect.New(detect.Options{
					Watches: []detect.Watch{watch}, Querier: w, Writer: w, Signals: w.signal,
					Marks: func(_, _ time.Time) []detect.Mark {
						mu.Lock()
						defer mu.Unlock()
						return marks
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour+20*time.Minute)
				defer cancel()
				var all sync.WaitGroup
				all.Go(func() {
					time.Sleep(4*time.Hour + 11*time.Minute)
					set(m)
					man.Relearn([]detect.Mark{m})
					if c.takeBack {
						time.Sleep(3 * time.Minute)
						set()
						man.Relearn([]detect.Mark{m})
					}
				})
				if err := man.Run(ctx); err != nil {
					t.Fatal(err)
				}
				all.Wait()
				signals := map[time.Duration]core.Signal{}
				for _, s := range w.signals {
					signals[s.At.Sub(start)] = s
				}
				before := core.DetectorAnomalous
				if name == "nothing is learnt" {
					before = core.DetectorNormal
				}
				stateAt(t, signals, 4*time.Hour+10*time.Minute, before, "")
				stateAt(t, signals, 4*time.Hour+18*time.Minute, c.after, "")
				if got := len(w.ranges) / 2; got != c.ranges {
					t.Errorf("the training window is read %d times, want %d", got, c.ranges)
				}
			})
		})
	}
}

// Many watches that learn anew at the same time go on judging until their turn: each is away for as long as it reads, and no longer.
func TestWatchesLearnAnewOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{series: 1, takes: 4 * time.Second}
		var watches []detect.Watch
		for i := range 10 {
			watch := trafficWatch()
			watch.Name, watch.Every, watch.Training = fmt.Sprint("watch-", i), 10*time.Second, time.Hour
			watches = append(watches, watch)
		}
		man, err := detect.New(detect.Options{Watches: watches, Querier: a, Writer: a, Signals: a.signal})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			time.Sleep(2*time.Minute + time.Second)
			a.mu.Lock()
			a.parts = nil
			a.mu.Unlock()
			man.Relearn([]detect.Mark{{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(-time.Minute), Until: start}})
		})
		if err := man.Run(ctx); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		judged := map[string]int{}
		for _, s := range a.signals {
			if s.At.After(start.Add(2*time.Minute)) && s.State == core.DetectorNormal {
				judged[s.Detector]++
			}
		}
		for _, w := range watches {
			if judged[w.Name] != 18 {
				t.Errorf("%s is judged at %d of 18 ticks", w.Name, judged[w.Name])
			}
		}
		if len(a.parts) != len(watches) {
			t.Errorf("%d parts are read again, of %d watches", len(a.parts), len(watches))
		}
	})
}

func threshold(w *detect.Watch) { w.Model, w.Threshold = detect.ModelThreshold, new(1000.0) }
