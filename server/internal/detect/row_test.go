package detect_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// questions is a world that answers each query by a function of its own.
type questions struct {
	world
	by map[string]func(time.Time) []core.SeriesValue
}

func ask(by map[string]func(time.Time) []core.SeriesValue) *questions {
	return &questions{by: by, world: world{at: func(time.Time) ([]core.SeriesValue, error) { return nil, errors.New("no such query") }}}
}

func (q *questions) about(expr string) *world {
	return &world{at: func(at time.Time) ([]core.SeriesValue, error) {
		if f := q.by[expr]; f != nil {
			return f(at), nil
		}
		return q.at(at)
	}}
}

func (q *questions) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	return q.about(expr).Query(ctx, expr, at, step)
}

func (q *questions) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	of := q.about(expr)
	of.samples = q.samples
	return of.QueryRange(ctx, expr, from, to, step)
}

// watchOver runs one watch over the questions for a time.
func watchOver(t *testing.T, q *questions, d time.Duration, watch detect.Watch) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	runFor(t, d, detect.Options{Watches: []detect.Watch{watch}, Querier: q, Writer: q, Signals: q.signal, Registry: reg})
	return reg
}

// told are the states of one site, runs of the same one written once with their number.
func told(q *questions, site string) string {
	of := &world{}
	for _, s := range q.signals {
		if s.Subject.Site == site {
			of.signals = append(of.signals, s)
		}
	}
	return states(of)
}

// last is what was said last of a site.
func last(t *testing.T, q *questions, site string) core.Signal {
	t.Helper()
	for _, s := range slices.Backward(q.signals) {
		if s.Subject.Site == site {
			return s
		}
	}
	t.Fatalf("nothing was said of %s", site)
	return core.Signal{}
}

// wobble is noise from -1 to 1 that is the same at every run.
func wobble(at time.Time, of int) float64 {
	x := math.Sin(float64(at.Unix()/10)*12.9898+float64(of)*78.233) * 43758.5453
	return 2*(x-math.Floor(x)) - 1
}

// value is one series about a site.
func value(site string, x float64, more ...string) core.SeriesValue {
	labels := map[string]string{"target_site": site}
	for i := 0; i+1 < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return core.SeriesValue{Labels: labels, Value: x}
}

func rowWatch(model detect.Model) detect.Watch {
	return detect.Watch{Name: "w", Query: "q", About: detect.AboutTargetSite, Every: 10 * time.Second, Model: model}
}

// One answer is one row: a site is compared with its siblings of the same service, and never with those of another one. What
// moves all of them is nobody's fault.
func TestPeersJudgeASiteByTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			level := 100.0
			if at.After(start.Add(30 * time.Second)) {
				level = 200 // all of them
			}
			var out []core.SeriesValue
			for i, site := range []string{"fra", "ams", "waw"} {
				x := level + wobble(at, i)
				if site == "waw" && at.After(start.Add(time.Minute)) {
					x += 50
				}
				out = append(out, value(site, x, "service", "shop"), value(site, 7, "service", "other"))
			}
			return out
		}})
		watchOver(t, q, 95*time.Second, rowWatch(detect.ModelPeers))
		of := map[string]string{}
		for _, s := range q.signals {
			of[s.Subject.String()+" "+s.State.String()] = s.Sentence
		}
		if len(of) != 7 || of["shop at waw anomalous"] == "" || of["shop at waw normal"] == "" {
			t.Fatalf("%d: %v", len(of), of)
		}
		s := of["shop at waw anomalous"]
		if !strings.Contains(s, "is above") || !strings.Contains(s, "since 00:01:10 UTC") {
			t.Errorf("sentence %s", s)
		}
	})
}

// With one of three gone nobody says which of the two others is wrong; and a value that is not there is no zero.
func TestASiblingThatIsMissingIsNoZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			fra := 100 + wobble(at, 0)
			if at.After(start.Add(2 * time.Minute)) {
				fra = 150
			}
			out := []core.SeriesValue{value("ams", 100+wobble(at, 1)), value("fra", fra)}
			if !at.After(start.Add(time.Minute)) {
				out = append(out, value("waw", 100+wobble(at, 2)))
			}
			return out
		}})
		watchOver(t, q, 155*time.Second, rowWatch(detect.ModelPeers))
		if got := told(q, "waw"); got != "normal*6 unknown*7" {
			t.Errorf("waw: %s", got)
		}
		for _, site := range []string{"fra", "ams"} {
			if got := told(q, site); got != "normal*12 unknown*3" {
				t.Errorf("%s: %s", site, got)
			}
		}
		if s := last(t, q, "fra").Sentence; !strings.Contains(s, "nothing says which of the two is wrong") {
			t.Errorf("sentence %s", s)
		}
	})
}

// The metrics of a service are one row, whatever other labels their series have, and an anomaly names where it comes from.
func TestAServiceIsJudgedByAllItsMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		trouble := func(at time.Time) float64 {
			if at.After(start.Add(50 * time.Second)) {
				return 1
			}
			return 0
		}
		metric := func(of int, level, size, jump float64, more ...string) func(time.Time) []core.SeriesValue {
			return func(at time.Time) []core.SeriesValue {
				return []core.SeriesValue{value("fra", level+size*wobble(at, of)+jump*trouble(at), append([]string{"service", "shop"}, more...)...)}
			}
		}
		disks := func(at time.Time) []core.SeriesValue {
			return append(metric(3, 5, 1, 0, "device", "sda")(at), metric(4, 5, 1, 40, "device", "sdb")(at)...)
		}
		q := ask(map[string]func(time.Time) []core.SeriesValue{
			"e": metric(1, 10, 1, 90), "l": metric(2, 0.2, 0.02, 3, "site", "lb"), "d": disks,
		})
		watch := rowWatch(detect.ModelService)
		watch.Query, watch.Metrics = "", map[string]string{"errors": "e", "latency": "l", "disk": "d"}
		watchOver(t, q, 95*time.Second, watch)
		if got := told(q, "fra"); got != "normal*5 anomalous*4" {
			t.Fatalf("states %s: %s", got, last(t, q, "fra").Sentence)
		}
		s := q.signals[5]
		var names []string
		for _, c := range s.Contributors {
			names = append(names, c.Name)
		}
		slices.Sort(names)
		if want := []string{`disk{device="sdb"}`, "errors", `latency{site="lb"}`}; !slices.Equal(names, want) {
			t.Errorf("contributors %v, want %v", names, want)
		}
		if !strings.Contains(s.Sentence, "w of shop at fra: several of its series are odd at once") || !strings.Contains(s.Sentence, "errors ") ||
			!strings.Contains(s.Sentence, " (expected 10") || s.Score < 0.99 || s.Labels["site"] != "" {
			t.Errorf("signal %+v", s)
		}
		for _, x := range q.samples {
			if fmt.Sprint(x.Labels) != "[{detector w} {service shop} {target_site fra}]" {
				t.Fatalf("written with %v", x.Labels)
			}
		}
	})
}

// The places of hosts that are gone go to those that come, also while the past is read: a watch of a service with hosts
// that are replaced each hour does not fill up.
func TestPlacesOfHostsThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		hosts := func(at time.Time) (out []core.SeriesValue) {
			age := int(at.Sub(start).Hours() + 1000)
			for i := range 3 { // one of three is replaced each hour
				born := (age + i) / 3
				out = append(out, value("fra", 100+wobble(at, i), "host", fmt.Sprintf("h%d-%d", i, born)))
			}
			return out
		}
		q := ask(map[string]func(time.Time) []core.SeriesValue{"c": hosts, "m": func(at time.Time) []core.SeriesValue {
			return []core.SeriesValue{value("fra", 50+wobble(at, 4))}
		}})
		watch := rowWatch(detect.ModelService)
		watch.Query, watch.Metrics, watch.Every, watch.MaxSeries, watch.Training = "", map[string]string{"cpu": "c", "memory": "m"}, time.Minute, 7, 24*time.Hour
		reg := watchOver(t, q, 24*time.Hour+time.Second, watch)
		figure(t, reg, "evenkeel_detect_refused_series_total", "w 0")
		if s := last(t, q, "fra"); s.State != core.DetectorNormal {
			t.Errorf("%s: %s", s.State, s.Sentence)
		}
	})
}

// A metric that is silent leaves the others to speak, and is none of them.
func TestAMetricThatIsMissingIsNoContributor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		steady := func(of int) func(time.Time) []core.SeriesValue {
			return func(at time.Time) []core.SeriesValue { return []core.SeriesValue{value("fra", 100+wobble(at, of))} }
		}
		q := ask(map[string]func(time.Time) []core.SeriesValue{
			"a": steady(1), "b": steady(2), "c": func(at time.Time) []core.SeriesValue {
				if at.After(start.Add(30 * time.Second)) {
					return nil
				}
				return steady(3)(at)
			},
		})
		watch := rowWatch(detect.ModelService)
		watch.Query, watch.Metrics = "", map[string]string{"a": "a", "b": "b", "c": "c"}
		watchOver(t, q, 125*time.Second, watch)
		if got := told(q, "fra"); got != "normal*12" {
			t.Errorf("states %s: %s", got, last(t, q, "fra").Sentence)
		}
	})
}

// Errors burn the budget by their ratio or by their number, and half of an answer is none.
func TestBurnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ratio := func(at time.Time) float64 {
			if at.After(start) {
				return 0.5
			}
			return 0
		}
		q := ask(map[string]func(time.Time) []core.SeriesValue{
			"q": func(at time.Time) []core.SeriesValue { return []core.SeriesValue{value("fra", ratio(at))} },
			"b": func(at time.Time) []core.SeriesValue {
				if at.After(start.Add(10 * time.Minute)) {
					return nil
				}
				return []core.SeriesValue{value("fra", 1000*ratio(at))}
			},
			"t": func(time.Time) []core.SeriesValue { return []core.SeriesValue{value("fra", 1000)} },
		})
		watch := rowWatch(detect.ModelBurnRate)
		watch.Every, watch.Objective = time.Minute, 0.99
		watch.Windows = []detectors.BurnWindow{{Long: time.Hour, Short: 5 * time.Minute, Factor: 10}}
		watchOver(t, q, 10*time.Minute+time.Second, watch)
		// A tenth of the errors in an hour: 12 minutes of half of them.
		if got := told(q, "fra"); got != "normal*10" {
			t.Errorf("states %s", got)
		}
		q.signals = nil
		start = time.Now()
		watchOver(t, q, 20*time.Minute+time.Second, watch)
		if got, s := told(q, "fra"), last(t, q, "fra").Sentence; got != "normal*12 anomalous*8" || !strings.Contains(s, "errors burn their budget of 0.01") ||
			strings.Count(s, "since") != 1 {
			t.Errorf("states %s: %s", got, s)
		}
		q.signals = nil
		start = time.Now()
		watch.Query, watch.Bad, watch.Total = "", "b", "t"
		watchOver(t, q, 15*time.Minute+time.Second, watch)
		if got, s := told(q, "fra"), last(t, q, "fra"); got != "normal*10 unknown*5" || s.Sentence != "w of fra: unknown, bad has no value" {
			t.Errorf("states %s: %+v", got, s)
		}
	})
}

// A forecast says when, and is a cause: no user has felt it yet.
func TestTrendSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			x := 0.8 + 0.01*at.Sub(start).Hours()
			return []core.SeriesValue{value("fra", x+1e-5*wobble(at, 1)), value("ams", 0.5+1e-3*wobble(at, 2))}
		}})
		watch := rowWatch(detect.ModelTrend)
		limit := 0.9
		watch.Every, watch.Limit, watch.Direction = time.Minute, &limit, detect.DirectionAbove
		watchOver(t, q, 3*time.Minute+time.Second, watch)
		if got := told(q, "fra"); got != "anomalous*3" {
			t.Fatalf("fra: %s", got)
		}
		if got := told(q, "ams"); got != "normal*3" {
			t.Errorf("ams: %s", got)
		}
		s := last(t, q, "fra")
		if s.Class != core.ClassCause || !strings.HasPrefix(s.Sentence, "w of fra: 0.8005 reaches 0.9 in 10 h (10 h to 10 h), since ") {
			t.Errorf("class %s: %s", s.Class, s.Sentence)
		}
	})
}

// A series that was there and is missing from the answers is news, that a question was not answered is none, and a restart
// remembers when the series went.
func TestAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		gone := func(at time.Time) bool {
			return at.After(start.Add(5*time.Minute)) && at.Before(start.Add(8*time.Minute))
		}
		fails := func(at time.Time) bool {
			return at.After(start.Add(time.Minute)) && at.Before(start.Add(4*time.Minute))
		}
		q := ask(nil)
		q.at = func(at time.Time) ([]core.SeriesValue, error) {
			if time.Now().Equal(at) && fails(at) {
				return nil, errors.New("out of order")
			}
			out := []core.SeriesValue{value("ams", 1)}
			if !gone(at) {
				out = append(out, value("fra", 1))
			}
			return out, nil
		}
		watch := rowWatch(detect.ModelAbsence)
		watchOver(t, q, 10*time.Minute+time.Second, watch)
		if got := told(q, "ams"); got != "normal*6 unknown*19 normal*35" {
			t.Errorf("ams: %s", got)
		}
		// Missing since 05:10: held for two ticks, unknown from the third on, absent from the sixth on, and until three good ones after the first.
		if got := told(q, "fra"); got != "normal*6 unknown*19 normal*5 unknown*3 anomalous*15 normal*10" {
			t.Errorf("fra: %s", got)
		}
		var s core.Signal
		for _, x := range q.signals {
			if x.Subject.Site == "fra" && x.State == core.DetectorAnomalous && s.Sentence == "" {
				s = x
			}
		}
		if want := "w of fra: no value for 60 s, where one comes every 10 s and 50 s are the limit, since 00:05:00 UTC"; s.Sentence != want || s.Class != core.ClassCause {
			t.Errorf("sentence %s", s.Sentence)
		}
		state, score := 0.0, 0.0
		for _, x := range q.samples {
			if x.AtMS == start.Add(7*time.Minute).UnixMilli() && slices.Contains(x.Labels, core.Label{Name: "target_site", Value: "fra"}) {
				switch x.Name {
				case "evenkeel_detector_state":
					state = x.Value
				case "evenkeel_anomaly_score":
					score = x.Value
				}
			}
		}
		if state != 3 || score != 1 {
			t.Errorf("written back: state %v, score %v", state, score)
		}

		q.signals = nil
		start = time.Now().Add(-7 * time.Minute)
		watchOver(t, q, 25*time.Second, watch)
		if got := told(q, "fra"); got != "anomalous*2" {
			t.Errorf("after a restart: %s", got)
		}
	})
}

// While the store answers no question, absence asks again only for what it does not know yet, and not for the whole training window
// at each tick; and when what was lost can be asked for only after the models have gone on, for all of it.
func TestAbsenceCatchesUpOnWhatItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if since := at.Sub(start); time.Now().Equal(at) && since > time.Minute && since < 4*time.Minute {
				return nil, errors.New("out of order")
			}
			return one(1), nil
		}}
		run(t, w, 6*time.Minute, rowWatch(detect.ModelAbsence))
		var points, whole int
		for i := 0; i < len(w.ranges); i += 2 {
			n := int(w.ranges[i+1].Sub(w.ranges[i])/(10*time.Second)) + 1
			if w.ranges[i].Before(start) {
				whole += n
			} else {
				points += n
			}
		}
		if day := 24 * 360; whole > day+10 || points != 19 {
			t.Errorf("%d points of before and %d of since were asked for, want a day and the 19 that were lost", whole, points)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{}
		w.at = func(_ time.Time) ([]core.SeriesValue, error) {
			since := time.Since(start)
			w.past = nil
			if since > time.Minute && since < 2*time.Minute {
				w.past = errors.New("no range")
				if since < 100*time.Second {
					return nil, errors.New("out of order")
				}
			}
			return one(1), nil
		}
		run(t, w, 5*time.Minute, rowWatch(detect.ModelAbsence))
		if n := len(w.ranges); !w.ranges[n-2].Before(start) {
			t.Errorf("the last of %d ranges begins at %s after the start, want the whole window", n/2, w.ranges[n-2].Sub(start))
		}
		if got := w.signals[len(w.signals)-1]; got.State != core.DetectorNormal {
			t.Errorf("in the end %s: %s", got.State, got.Sentence)
		}
	})
}

// What the owner of a watch has found is heard by the others, whatever the model.
func TestFollowersHearEveryModel(t *testing.T) {
	f := func(watch detect.Watch, want string, at func(since time.Duration) []core.SeriesValue) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			store := &shared{world: world{at: func(now time.Time) ([]core.SeriesValue, error) { return at(now.Sub(start)), nil }}}
			owner, other := &replica{store: store, mine: always}, &replica{store: store, mine: never}
			together(t, 165*time.Second, watch, owner, other)
			for _, r := range []*replica{owner, other} {
				of := &questions{world: world{signals: r.hears.signals}}
				s := last(t, of, "fra")
				if s.State != core.DetectorAnomalous || s.Score < 0.99 || !strings.Contains(s.Sentence, want) {
					t.Errorf("%s: %+v", watch.Model, s)
				}
				want = "as another replica judged at"
			}
		})
	}
	f(rowWatch(detect.ModelPeers), "is above", func(since time.Duration) []core.SeriesValue {
		fra := 10.0
		if since > time.Minute {
			fra = 90
		}
		return []core.SeriesValue{value("fra", fra), value("ams", 10), value("waw", 10)}
	})
	f(rowWatch(detect.ModelAbsence), "no value for", func(since time.Duration) []core.SeriesValue {
		if since > time.Minute {
			return nil
		}
		return []core.SeriesValue{value("fra", 1)}
	})
	watch := rowWatch(detect.ModelTrend)
	limit := 100.0
	watch.Limit = &limit
	f(watch, "reaches 100 in", func(since time.Duration) []core.SeriesValue {
		return []core.SeriesValue{value("fra", 50+4*since.Hours())}
	})
	f(rowWatch(detect.ModelBurnRate), "errors burn", func(time.Duration) []core.SeriesValue { return []core.SeriesValue{value("fra", 0.9)} })
}

// What does not fit a model is refused, with what would.
func TestSettingsThatDoNotFit(t *testing.T) {
	f := func(model detect.Model, change func(*detect.Watch), field, want string) {
		t.Helper()
		watch := rowWatch(model)
		limit := 1.0
		switch model {
		case detect.ModelTrend:
			watch.Limit = &limit
		case detect.ModelService:
			watch.Query, watch.Metrics = "", map[string]string{"a": "a", "b": "b"}
		case detect.ModelThreshold:
			watch.Threshold = &limit
		default:
		}
		if p := watch.Problems(); len(p) > 0 {
			t.Fatalf("%s is refused: %v", model, p)
		}
		change(&watch)
		if p := watch.Problems(); len(p) != 1 || p[0].Field != field || !strings.Contains(p[0].Text, want) {
			t.Errorf("%s: %q", model, p)
		}
	}
	f(detect.ModelTrend, func(w *detect.Watch) { w.Limit = nil }, "limit", "it is missing")
	f(detect.ModelTrend, func(w *detect.Watch) { w.Class = core.ClassSymptom }, "class", "want cause")
	f(detect.ModelTrend, func(w *detect.Watch) { w.Threshold = new(3.0) }, "threshold", "it belongs to threshold, robust-z")
	f(detect.ModelTrend, func(w *detect.Watch) { w.Horizon = -1 }, "horizon", "-1ns: want a time above 0")
	f(detect.ModelBurnRate, func(w *detect.Watch) { w.Bad, w.Total = "b", "t" }, "query", "beside bad and total")
	f(detect.ModelBurnRate, func(w *detect.Watch) { w.Query, w.Bad = "", "b" }, "total", "missing beside bad")
	f(detect.ModelBurnRate, func(w *detect.Watch) { w.Query = "" }, "query", "or their numbers by bad and total")
	f(detect.ModelBurnRate, func(w *detect.Watch) { w.Every = time.Hour }, "every", "never speak")
	f(detect.ModelBurnRate, func(w *detect.Watch) { w.Objective = 1 }, "objective", "100% leaves no error that is allowed; want less than 100%, such as 99.9%")
	f(detect.ModelBurnRate, func(w *detect.Watch) { w.Direction = detect.DirectionBelow }, "direction", "leave it out")
	f(detect.ModelAbsence, func(w *detect.Watch) { w.RestsAtZero = true }, "rests_at_zero", "want flat_after: 24h too")
	f(detect.ModelAbsence, func(w *detect.Watch) { w.Patience = 0.5 }, "patience", "0.5: want 1 or more intervals")
	f(detect.ModelAbsence, func(w *detect.Watch) { w.Floor.Absolute = 1 }, "floor", "it belongs to auto")
	f(detect.ModelPeers, func(w *detect.Watch) { w.FalseAlarms = 1 }, "false_alarms_per_week", "it belongs to auto, service, cusum")
	f(detect.ModelAuto, func(w *detect.Watch) { w.TriggerPoints = 2 }, "trigger_points", "it belongs to threshold, robust-z")
	f(detect.ModelTrend, func(w *detect.Watch) { w.RecoverPoints = -2 }, "recover_points", "-2: want 1 or more")
	f(detect.ModelCUSUM, func(w *detect.Watch) { w.FalseAlarms = 1e9 }, "false_alarms_per_week", "at most 6048, one in ten values")
	f(detect.ModelService, func(w *detect.Watch) { w.Floor.Relative = 0.1 }, "floor", "want floors: {METRIC: ...}")
	f(detect.ModelService, func(w *detect.Watch) { w.Valid.Min = new(0.0) }, "valid_range", "want valid_ranges: {METRIC: ...}")
	f(detect.ModelService, func(w *detect.Watch) { w.Floors = map[string]detect.Floor{"c": {}} }, "floors", `"c" is none of the metrics; want one of a, b`)
	f(detect.ModelAuto, func(w *detect.Watch) { w.Valid = detect.Range{Min: new(2.0), Max: new(1.0)} }, "valid_range", "want {min: 1, max: 2}")
	f(detect.ModelPeers, func(w *detect.Watch) { w.Metrics = map[string]string{"a": "a"} }, "metrics", "it belongs to service")
	f(detect.ModelService, func(w *detect.Watch) { w.Query = "q" }, "query", "model service has no such setting")
	f(detect.ModelService, func(w *detect.Watch) { w.Metrics = map[string]string{"a": "a"} }, "metrics", "there are 1; want two or more")
	f(detect.ModelService, func(w *detect.Watch) { w.Metrics["a"] = " " }, "metrics", `"a" has no name or no query`)
	f(detect.ModelService, func(w *detect.Watch) { w.Limit = new(float64) }, "limit", "it belongs to trend")
	f(detect.ModelPeers, func(w *detect.Watch) { w.Demand = true }, "demand", "it belongs to auto, robust-z")
	f(detect.ModelAuto, func(w *detect.Watch) { w.Ratio = true }, "ratio", "it belongs to peers")
	f(detect.ModelThreshold, func(w *detect.Watch) { w.Threshold = nil }, "threshold", "it is missing")
	f(detect.ModelPeers, func(w *detect.Watch) { w.Threshold = new(0.0) }, "threshold", "want a number above 0")
	f(detect.ModelAuto, func(w *detect.Watch) { w.Group, w.Class = "latency", core.ClassCause }, "group", "it is of symptoms")
	f(detect.ModelAbsence, func(w *detect.Watch) { w.Group = "latency" }, "group", "this is a cause; leave it out")
	f(detect.ModelTrend, func(w *detect.Watch) { w.Window = 10 * time.Second }, "window", "10s: want 1m0s or more")
}

// Links are siblings when they are of one store and end, or begin, at the same site.
func TestLinksHaveSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			var out []core.SeriesValue
			for i, link := range []string{"orders:fra>ams", "orders:fra>waw", "orders:fra>lon", "cart:fra>ams", "orders:ams>fra"} {
				x := 1 + 0.01*wobble(at, i)
				if link == "orders:fra>lon" && at.After(start) {
					x = 9
				}
				out = append(out, core.SeriesValue{Labels: map[string]string{"link": link}, Value: x})
			}
			return out
		}})
		watch := rowWatch(detect.ModelPeers)
		watch.About = detect.AboutLinkTo
		watchOver(t, q, 35*time.Second, watch)
		got := map[string]string{}
		for _, s := range q.signals {
			got[s.Labels["link"]] = s.Subject.Site + " " + s.State.String()
		}
		want := map[string]string{
			"orders:fra>ams": "ams normal", "orders:fra>waw": "waw normal", "orders:fra>lon": "lon anomalous", // three that begin at fra
			"cart:fra>ams": "ams unknown", "orders:ams>fra": "fra unknown", // alone
		}
		if !maps.Equal(got, want) {
			t.Errorf("%v", got)
		}
	})
}

// A row has no more values than the watch may have series, and of two with the same labels the first.
func TestARowIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := func(time.Time) []core.SeriesValue {
			var out []core.SeriesValue
			for i := range 10 {
				out = append(out, value("fra", 1, "device", fmt.Sprint(i)), value("fra", 2, "device", fmt.Sprint(i)))
			}
			return out
		}
		q := ask(map[string]func(time.Time) []core.SeriesValue{"a": many, "b": many})
		watch := rowWatch(detect.ModelService)
		watch.Name = "checkout-errors"
		watch.Query, watch.Metrics, watch.MaxSeries, watch.Training = "", map[string]string{"a": "a", "b": "b"}, 7, time.Minute
		reg := watchOver(t, q, 10*time.Second+time.Millisecond, watch)
		figure(t, reg, "evenkeel_detect_refused_series_total", "checkout-errors 39") // 13 in the replay, and 13 twice in the answer
		figure(t, reg, "evenkeel_detect_ignored_series_total", "duplicate checkout-errors 7")
	})
}
