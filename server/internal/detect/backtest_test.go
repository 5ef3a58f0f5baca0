package detect_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// A backtest says word for word what a server said that was there, and counts its alarms.
func TestABacktestSaysWhatAServerSaid(t *testing.T) {
	const lasts = 3*time.Hour + time.Second
	f := func(name string, watch detect.Watch) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				odd := func(site string, at time.Time) float64 {
					switch d := at.Sub(start); {
					case site == "fra" && d > time.Hour && d < time.Hour+5*time.Minute, site == "ams" && d > 2*time.Hour && d < 2*time.Hour+5*time.Minute:
						return 190
					case site == "waw" && d > 90*time.Minute && d < 100*time.Minute:
						return math.NaN()
					}
					return 100
				}
				by := func(at time.Time) []core.SeriesValue { return sites(at, odd) }
				few := func(at time.Time) []core.SeriesValue {
					return sites(at, func(s string, at time.Time) float64 { return odd(s, at) / 1e4 })
				}
				l := &life{q: ask(map[string]func(time.Time) []core.SeriesValue{"q": by, "few": few}), watch: watch, dir: t.TempDir()}
				l.marks = []detect.Mark{
					{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: start.Add(time.Hour - 20*time.Second), Until: start.Add(time.Hour + 6*time.Minute)},
					{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: start.Add(150 * time.Minute), Until: start.Add(155 * time.Minute)},
					{Kind: detect.MarkIncident, Subject: core.Subject{Site: "lon"}, From: start.Add(150 * time.Minute), Until: start.Add(155 * time.Minute)},
				}
				l.live(t, lasts, false)
				var told []core.Signal
				zone, err := time.LoadLocation("Europe/Berlin")
				if err != nil {
					t.Fatal(err)
				}
				got, err := detect.Backtest{
					Watch: watch, From: start, Until: start.Add(lasts), Querier: l.q, Zone: func(string) *time.Location { return zone },
					Told: func(s []core.Signal) { told = append(told, s...) },
					Marks: func(from, until time.Time) (out []detect.Mark) {
						for _, m := range l.marks {
							if !m.From.After(until) && m.Until.After(from) {
								out = append(out, m)
							}
						}
						return out
					},
				}.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				text := func(all []core.Signal) (out []string) {
					for _, s := range all {
						out = append(out, fmt.Sprintf("%s %+v", s.At.Format(time.TimeOnly), s))
					}
					slices.Sort(out)
					return out
				}
				want, have := text(l.q.signals), text(told)
				if len(want) < 1000 {
					t.Errorf("only %d signals", len(want))
				}
				if !slices.Equal(want, have) {
					for i := range min(len(want), len(have)) {
						if want[i] != have[i] {
							t.Fatalf("signal %d of %d is\n%s, want of %d\n%s", i, len(have), have[i], len(want), want[i])
						}
					}
					t.Fatalf("%d signals, want %d", len(have), len(want))
				}
				known, stray := 0, 0
				for _, a := range got.Alarms {
					switch {
					case a.Subject.Site == "fra" && a.Known == "incident":
						known++
					case a.Subject.Site == "ams" && a.Known == "" && a.At.After(start.Add(2*time.Hour)):
						stray++
					}
				}
				if known == 0 || stray == 0 || got.False() < stray {
					t.Errorf("alarms %+v", got.Alarms)
				}
				met, after := got.Met()
				if len(got.Incidents) != 2 || met != 1 || after < 20*time.Second || after > 2*time.Minute || got.Incidents[1].Met {
					t.Errorf("%d met after %s: %+v", met, after, got.Incidents)
				}
				if got.Ticks != 1080 || got.Points+got.Warming+got.Unknown != len(told) || got.Unknown == 0 || math.Abs(got.Rate()-float64(got.False())/got.Weeks) > 1e-9 {
					t.Errorf("%d ticks, %d points, %d warming, %d unknown, %g a week", got.Ticks, got.Points, got.Warming, got.Unknown, got.Rate())
				}
			})
		})
	}
	w := detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Service: "checkout", Every: 10 * time.Second, Training: 3 * time.Hour}
	f("auto", w)
	w.Model = detect.ModelRobustZ
	f("robust-z", w)
	w.Model = detect.ModelPeers
	f("peers", w)
	w.Model, w.Query, w.Metrics = detect.ModelService, "", map[string]string{"few": "few", "many": "q"}
	f("service", w)
}

// An alarm that is on all the time has seen no incident, and is explained by none; what a person said of an alarm stands; and an incident from before there
// was anything to judge says nothing.
func TestAlarmsOfABacktestAreOfWhatTheyBeganIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		limit := 150.0
		by := func(level func(d time.Duration) float64) *questions {
			return ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
				return sites(at, func(site string, at time.Time) float64 {
					if site != "fra" {
						return math.NaN()
					}
					return level(at.Sub(start))
				})
			}})
		}
		incident := func(from, until time.Duration) detect.Mark {
			return detect.Mark{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: start.Add(from), Until: start.Add(until)}
		}
		run := func(q *questions, said core.Said, marks ...detect.Mark) detect.Judged {
			t.Helper()
			got, err := detect.Backtest{
				Watch: detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: 10 * time.Second, Model: detect.ModelThreshold, Threshold: &limit, Direction: detect.DirectionAbove},
				From:  start, Until: start.Add(time.Hour), Querier: q, Marks: func(_, _ time.Time) []detect.Mark { return marks },
				Said: func(string, string, time.Time) core.Said { return said },
			}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		f := func(name string, got detect.Judged, falses, incidents, met int, known string) {
			t.Helper()
			n, _ := got.Met()
			if got.False() != falses || len(got.Incidents) != incidents || n != met || len(got.Alarms) != 2 || got.Alarms[0].Known != known {
				t.Errorf("%s: %d false, %d of %d met, %+v", name, got.False(), n, len(got.Incidents), got.Alarms)
			}
		}
		always := by(func(time.Duration) float64 { return 300 })
		got := run(always, "", incident(30*time.Minute, 40*time.Minute))
		f("always", got, 2, 1, 0, "")
		if got.Anomalous != got.Points {
			t.Errorf("%d of %d anomalous", got.Anomalous, got.Points)
		}
		then := by(func(d time.Duration) float64 {
			if d > 30*time.Minute && d < 35*time.Minute {
				return 300
			}
			if d < 10*time.Minute {
				return math.NaN()
			}
			return 100
		})
		f("then", run(then, "", incident(31*time.Minute, 40*time.Minute)), 0, 1, 1, "incident")
		f("too late", run(then, "", incident(33*time.Minute, 40*time.Minute)), 2, 1, 0, "")
		f("before there was anything", run(then, "", incident(31*time.Minute, 40*time.Minute), incident(time.Minute, 2*time.Minute)), 0, 1, 1, "incident")
		f("said to be wrong", run(then, core.SaidFalse, incident(31*time.Minute, 40*time.Minute)), 2, 1, 0, "")
		f("said to be right", run(then, core.SaidTrue), 0, 0, 0, "right")
	})
}

// What was missing while nobody judged is not absent, as for a server that was not there.
func TestABacktestOfAbsenceKnowsWhenNobodyAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		there := func(at time.Time) bool {
			d := at.Sub(start)
			return d < 10*time.Minute || d > 20*time.Minute && d < 40*time.Minute || d > 50*time.Minute
		}
		answers := map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			if !there(at) {
				return nil
			}
			return sites(at, func(string, time.Time) float64 { return 1 })
		}}
		watch := detect.Watch{Name: "w", Query: "q", Model: detect.ModelAbsence, About: detect.AboutTargetSite, Every: 10 * time.Second, Training: time.Hour}
		q := ask(answers)
		run := func() detect.Judged {
			got, err := detect.Backtest{Watch: watch, From: start, Until: start.Add(time.Hour), Querier: q}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := run(); len(got.Alarms) != 12 || !strings.Contains(got.Note, "server was down") {
			t.Errorf("%d alarms, note %q: %+v", len(got.Alarms), got.Note, got.Alarms)
		}
		for at := start.Add(-time.Hour); at.Before(start.Add(time.Hour)); at = at.Add(watch.Every) {
			if d := at.Sub(start); d < 10*time.Minute || d > 20*time.Minute { // else the server was down
				q.samples = append(q.samples, core.Sample{Name: "evenkeel_detector_state", AtMS: at.UnixMilli()})
			}
		}
		if got := run(); len(got.Alarms) != 6 || got.Note != "" {
			t.Errorf("%d alarms, note %q: %+v", len(got.Alarms), got.Note, got.Alarms)
		}
	})
}

// failing is a store that does not answer from a time on.
type failing struct {
	*questions
	from time.Time
}

func (f failing) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	if from.After(f.from) {
		return nil, errors.New("the store is gone")
	}
	return f.questions.QueryRange(ctx, expr, from, to, step)
}

func TestABacktestEndsWhereItCannotGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			return sites(at, func(string, time.Time) float64 { return 1 })
		}})
		b := detect.Backtest{
			Watch: detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: 10 * time.Second, Training: time.Hour},
			From:  start, Until: start.Add(24 * time.Hour), Querier: failing{q, start.Add(5 * time.Minute)},
		}
		if _, err := b.Run(t.Context()); err == nil || err.Error() != "the store is gone" {
			t.Errorf("error %v", err)
		}
		b.Querier, b.MaxPoints = q, 51839
		var much *detect.TooMuchError
		if _, err := b.Run(t.Context()); !errors.As(err, &much) || much.Error() != "6 series are 51840 points, and 51839 are the most" {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		b.MaxPoints = 0
		b.Progress = func(at time.Time) {
			if at.Sub(start) > time.Hour {
				cancel()
			}
		}
		if got, err := b.Run(ctx); !errors.Is(err, context.Canceled) || got.Ticks != 361 {
			t.Errorf("error %v after %d ticks", err, got.Ticks)
		}
		b.Watch.Query = ""
		if _, err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "query") {
			t.Errorf("error %v", err)
		}
	})
}
