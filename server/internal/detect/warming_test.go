package detect_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

func TestWarming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if at.Before(start) {
				return nil, nil
			}
			all := one(1)
			if !at.Before(start.Add(10 * time.Minute)) {
				all = append(all, core.SeriesValue{Labels: map[string]string{"target_site": "fra", "site": "lb2"}, Value: 1})
			}
			return all, nil
		}}
		limit := 5.0
		filling := detect.Watch{
			Name: "disk", Query: "x", About: detect.AboutTargetSite, Every: 10 * time.Second, Model: detect.ModelTrend, Limit: &limit, Window: 24 * time.Hour,
		}
		always := detect.Watch{Name: "down", Query: "x", About: detect.AboutTargetSite, Every: 10 * time.Second, Model: detect.ModelThreshold, Threshold: &limit}
		m, err := detect.New(detect.Options{Watches: []detect.Watch{always, errorsWatch(), filling}, Querier: w, Writer: w, Signals: w.signal})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		f := func(after time.Duration, want ...core.Warming) {
			t.Helper()
			time.Sleep(time.Until(start.Add(after)))
			synctest.Wait()
			if diff := cmp.Diff(want, m.Warming()); diff != "" {
				t.Errorf("after %s (-want +got):\n%s", after, diff)
			}
		}
		errors := func(series, warm, points int, in time.Duration, sentence string) core.Warming {
			return core.Warming{
				Watch: "checkout-errors", Series: series, Warm: warm, Points: points, Needed: 30, ReadyIn: core.ToSeconds(in), Sentence: sentence,
			}
		}
		disk := func(series, points int, in time.Duration, sentence string) core.Warming {
			return core.Warming{Watch: "disk", Series: series, Points: points, Needed: 12, ReadyIn: core.ToSeconds(in), Sentence: sentence}
		}
		f(5 * time.Second)
		f(65*time.Second, errors(1, 0, 6, 240*time.Second, "warming, 6 of 30 points, about 4 min"),
			disk(1, 0, 6*time.Hour, "warming, 0 of 12 points, about 6 h"))
		f(9*time.Minute, disk(1, 0, 6*time.Hour, "warming, 0 of 12 points, about 6 h"))
		f(11*time.Minute, errors(2, 1, 6, 240*time.Second, "1 of 2 series warming, 6 of 30 points, about 4 min"),
			disk(2, 0, 6*time.Hour, "warming, 0 of 12 points, about 6 h"))
		f(40*time.Minute, disk(2, 1, 330*time.Minute, "warming, 1 of 12 points, about 6 h"))
		f(7 * time.Hour)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A series of which nothing is known is none of those that are judged.
func TestWhatIsUnknownIsNotWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if at.Before(start.Add(10 * time.Minute)) {
				return one(1), nil
			}
			return []core.SeriesValue{{Labels: map[string]string{"target_site": "fra", "site": "lb2"}, Value: 1}}, nil
		}}
		m, err := detect.New(detect.Options{Watches: []detect.Watch{errorsWatch()}, Querier: w, Writer: w, Signals: w.signal})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 11*time.Minute+time.Second)
		defer cancel()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := m.Warming(); len(got) != 1 || got[0].Series != 2 || got[0].Warm != 0 || got[0].Sentence != "1 of 2 series warming, 6 of 30 points, about 4 min" {
			t.Errorf("%+v", got)
		}
	})
}
