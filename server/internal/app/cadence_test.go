package app

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
	"github.com/evenkeel/evenkeel/server/internal/health"
)

// written is a store of one gauge a site that is written at a cadence. Between two values it answers with the last one, or with none.
type written struct {
	start   time.Time
	every   time.Duration
	repeats bool
	sites   []string
	values  [][]float64 // by site
}

func (w *written) at(site int, at time.Time) (float64, bool) {
	d := at.Sub(w.start)
	return w.values[site][int(d/w.every)%len(w.values[site])], w.repeats || d%w.every == 0
}

func (w *written) labels(site int) map[string]string {
	return map[string]string{"site": w.sites[site], "service": "checkout"}
}

func (w *written) Query(_ context.Context, _ string, at time.Time, _ time.Duration) (out []core.SeriesValue, _ error) {
	for i := range w.sites {
		if x, ok := w.at(i, at); ok {
			out = append(out, core.SeriesValue{Labels: w.labels(i), Value: x, At: at})
		}
	}
	return out, nil
}

func (w *written) QueryRange(_ context.Context, _ string, from, to time.Time, step time.Duration) (out []core.SeriesRange, _ error) {
	for i := range w.sites {
		r := core.SeriesRange{Labels: w.labels(i)}
		for at := from; !at.After(to); at = at.Add(step) {
			if x, ok := w.at(i, at); ok {
				r.Times, r.Values = append(r.Times, at), append(r.Values, x)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func (w *written) Append(context.Context, []core.Sample) error { return nil }

// heavy is noise of Student's t with three degrees of freedom, in which each point remembers a share of the one before.
func heavy(seed uint64, n int, share float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // noise, the same in every run
	out := make([]float64, n)
	x := 0.0
	for i := range out {
		a, b, c := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
		x = share*x + math.Sqrt(1-share*share)*r.NormFloat64()/math.Sqrt((a*a+b*b+c*c)/3)
		out[i] = 100 + x
	}
	return out
}

// However seldom a series is written, statistics accuse by chance no oftener than was set: detectors and the judgement together, on noise. And a trouble that
// lasts is found, if later the more seldom it is.
func TestStatisticsKeepTheirPromiseAtAnyCadence(t *testing.T) {
	if testing.Short() {
		t.Skip("weeks of noise take a while")
	}
	const (
		weeks   = 2
		window  = float64(health.StatisticsWindow)
		windows = float64(weeks*7*24*time.Hour) / window
	)
	f := func(watch, every time.Duration, repeats bool, share float64, trouble, within time.Duration) {
		t.Helper()
		perStep := 10_000.0 // windows of a subject in which it is accused once at most
		if trouble > 0 {
			perStep = 1000
		}
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			const past = 8 * 24 * time.Hour
			w := &written{start: start.Add(-past), every: every, repeats: repeats, sites: []string{"fra", "ams", "waw"}}
			n := int((past+weeks*7*24*time.Hour)/every) + 1
			topo := core.Topology{Probe: core.DefaultProbeTiming()}
			svc := core.Service{Name: "checkout", Entries: map[string]string{}}
			for i, site := range w.sites {
				w.values = append(w.values, heavy(uint64(i+1), n, share)) //nolint:gosec // a small number
				topo.Sites = append(topo.Sites, core.Site{Name: site})
				svc.Entries[site] = "http://" + site
			}
			length := weeks * 7 * 24 * time.Hour
			if trouble > 0 {
				length = trouble + within + 20*every
				from := int((past + trouble) / every)
				for i := range w.values[0][from:] {
					w.values[0][from+i] += 60
				}
			}
			topo.Services = []core.Service{svc}
			subjects := float64(len(w.sites) * 2) // of the service, and the site
			topo.ChancePerYear = float64(365.25*24*time.Hour) / window * subjects / perStep
			tracker := health.New("r1", topo)
			var accused time.Duration
			m, err := detect.New(detect.Options{
				Watches: []detect.Watch{{
					Name: "gauge", Query: "gauge", About: detect.AboutSite, Every: watch, FalseAlarms: 7,
				}},
				Querier: w, Writer: w, Signals: func(words []core.Signal) {
					for _, s := range words {
						tracker.Signal(s)
					}
					o := tracker.Judge(words[0].At, nil)
					for _, a := range o.Assessments {
						if accused == 0 && a.Subject.Site == "fra" && a.Has(core.ClassSymptom) {
							accused = words[0].At.Sub(start) - trouble
						}
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			if err := m.Run(ctx); err != nil {
				t.Fatal(err)
			}
			got := tracker.Reckoning()
			t.Logf("watch of %s, every %s, repeats %t, memory %v: %d alarms (%.0f were set), %d crossings of %.0f at most, accused after %s",
				watch, every, repeats, share, got.Unconfirmed+got.Confirmed, got.Expected, got.Crossings, windows*subjects/perStep, accused)
			if trouble == 0 && float64(got.Crossings) > windows*subjects/perStep {
				t.Errorf("every %s, repeats %t, memory %v: %d crossings, at most %.0f are promised", every, repeats, share, got.Crossings, windows*subjects/perStep)
			}
			if trouble > 0 && (accused <= 0 || accused > within) {
				t.Errorf("every %s, repeats %t: a trouble was found after %s, want within %s", every, repeats, accused, within)
			}
		})
	}
	const quick, minutes, hour = 10 * time.Second, 5 * time.Minute, time.Hour
	f(quick, time.Minute, true, 0.9, 0, 0)
	f(quick, minutes, true, 0.9, 0, 0)
	f(quick, minutes, false, 0, 0, 0)
	f(quick, quick, true, 0, hour, minutes)
	f(quick, minutes, true, 0, hour, 3*hour)
	f(quick, minutes, false, 0, hour, 3*hour)
	f(minutes, minutes, true, 0, hour, 3*hour)
}
