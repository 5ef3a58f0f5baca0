package detect

import (
	"context"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// silent answers nothing and takes everything.
type silent struct{}

func (silent) Query(context.Context, string, time.Time, time.Duration) ([]core.SeriesValue, error) {
	return nil, nil
}

func (silent) QueryRange(context.Context, string, time.Time, time.Time, time.Duration) ([]core.SeriesRange, error) {
	return nil, nil
}
func (silent) Append(context.Context, []core.Sample) error { return nil }

// A watch that is left to another replica keeps the names of its series and no rows, whose models take the most memory; and when it comes back
// its models know nothing of what was before.
func TestRowsAreClearedWhenAWatchIsHandedOver(t *testing.T) {
	f := func(w Watch, wantRows, wantSeries int, questions ...string) {
		t.Helper()
		w.Name, w.About, w.Every = "w", AboutTargetSite, 10*time.Second
		ours, at := true, time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		m, err := New(Options{
			Watches: []Watch{w}, Querier: silent{}, Writer: silent{}, Signals: func([]core.Signal) {},
			Mine: func(string) bool { return ours }, Now: func() time.Time { return at },
		})
		if err != nil {
			t.Fatal(err)
		}
		x := m.watchers[0]
		take := func(points int) {
			for range points {
				at = at.Add(w.Every)
				var answers []answer[core.SeriesValue]
				for _, name := range questions {
					a := answer[core.SeriesValue]{name: name}
					for i, site := range []string{"ams", "fra", "waw"} {
						v := 0.1 + 0.01*wave(at, i)
						a.series = append(a.series, core.SeriesValue{Labels: map[string]string{"target_site": site}, Value: v, At: at})
					}
					answers = append(answers, a)
				}
				x.takeRows(answers, at)
			}
		}
		x.turn()
		take(400)
		if len(x.rows) != wantRows || len(x.series) != wantSeries {
			t.Fatalf("%s: %d rows of %d series, want %d of %d", w.Model, len(x.rows), len(x.series), wantRows, wantSeries)
		}
		for _, s := range x.series {
			if s.state() == core.DetectorWarming {
				t.Fatalf("%s: %s is warming after 400 points", w.Model, s.subject)
			}
		}
		ours = false
		x.turn()
		if len(x.rows) != 0 || len(x.series) != wantSeries {
			t.Errorf("%s, handed over: %d rows of %d series, want none of %d", w.Model, len(x.rows), len(x.series), wantSeries)
		}
		ours = true
		x.turn()
		if x.rows == nil || len(x.rows) != 0 || len(x.series) != 0 {
			t.Errorf("%s, back again: %d rows of %d series before the first answer", w.Model, len(x.rows), len(x.series))
		}
		take(1)
		for _, s := range x.series {
			if s.verdict.Points > 1 {
				t.Errorf("%s, back again: %s is judged by %d points after one: %s", w.Model, s.subject, s.verdict.Points, s.verdict.Explain())
			}
		}
		if len(x.rows) != wantRows || len(x.series) != wantSeries {
			t.Errorf("%s, back again: %d rows of %d series", w.Model, len(x.rows), len(x.series))
		}
	}
	f(Watch{Model: ModelPeers, Query: "q"}, 1, 3, "")
	f(Watch{Model: ModelService, Metrics: map[string]string{"a": "a", "b": "b"}}, 3, 3, "a", "b")
	f(Watch{Model: ModelBurnRate, Bad: "b", Total: "t", Objective: 0.99}, 3, 3, questionBad, questionTotal)
}

// wave is from -1 to 1 and the same at every run.
func wave(at time.Time, of int) float64 { return float64((at.Unix()/10*7+int64(of)*5)%21)/10 - 1 }
