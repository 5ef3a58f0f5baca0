package detect_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store in memory: a function of time, and what was written.
type world struct {
	mu      sync.Mutex
	at      func(time.Time) ([]core.SeriesValue, error)
	past    error         // what a range query fails with
	takes   time.Duration // how long a query takes
	write   error
	queries []time.Time
	ranges  []time.Time // from, until of each range query
	samples []core.Sample
	signals []core.Signal
}

func (w *world) Query(ctx context.Context, _ string, at time.Time, _ time.Duration) ([]core.SeriesValue, error) {
	w.mu.Lock()
	w.queries = append(w.queries, at)
	takes := w.takes
	w.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return w.at(at)
}

func (w *world) QueryRange(_ context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.HasPrefix(expr, "count(count_over_time(evenkeel_detector_state{") {
		return w.judged(from, to, step), w.past
	}
	w.ranges = append(w.ranges, from, to)
	if w.past != nil {
		return nil, w.past
	}
	var out []core.SeriesRange
	index := map[string]int{}
	for t := from; !t.After(to); t = t.Add(step) {
		answer, err := w.at(t)
		if err != nil {
			continue
		}
		for _, a := range answer {
			key := fmt.Sprint(a.Labels)
			if _, ok := index[key]; !ok {
				index[key] = len(out)
				out = append(out, core.SeriesRange{Labels: a.Labels})
			}
			r := &out[index[key]]
			r.Times, r.Values = append(r.Times, t), append(r.Values, a.Value)
		}
	}
	return out, nil
}

// judged answers as MetricsQL does when something was judged; TestAbsenceInARealStore shows that.
func (w *world) judged(from, to time.Time, step time.Duration) []core.SeriesRange {
	var r core.SeriesRange
	for t := from; !t.After(to); t = t.Add(step) {
		n := 0.0
		for _, x := range w.samples {
			if x.Name == "evenkeel_detector_state" && x.AtMS > t.Add(-step).UnixMilli() && x.AtMS <= t.UnixMilli() {
				n++
			}
		}
		if n > 0 {
			r.Times, r.Values = append(r.Times, t), append(r.Values, n)
		}
	}
	return []core.SeriesRange{r}
}

func (w *world) Append(_ context.Context, samples []core.Sample) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = append(w.samples, samples...)
	return w.write
}

func (w *world) signal(s []core.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signals = append(w.signals, s...)
}

// one is an answer of one series about fra.
func one(value float64) []core.SeriesValue {
	return []core.SeriesValue{{Labels: map[string]string{"target_site": "fra", "site": "lb"}, Value: value}}
}

func errorsWatch() detect.Watch {
	return detect.Watch{
		Name: "checkout-errors", Query: "rate(x)", About: detect.AboutTargetSite, Service: "checkout",
		Every: 10 * time.Second, Direction: detect.DirectionAbove, Model: detect.ModelRobustZ, Floor: detect.Floor{Absolute: 0.5},
	}
}

// run lets the watches work on the world for a time, inside a bubble, and returns the registry.
func run(t *testing.T, w *world, d time.Duration, watches ...detect.Watch) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	runFor(t, d, detect.Options{Watches: watches, Querier: w, Writer: w, Signals: w.signal, Registry: reg})
	return reg
}

// runFor lets a watchman work for a time, inside a bubble.
func runFor(t *testing.T, d time.Duration, o detect.Options) {
	t.Helper()
	m, err := detect.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// figure is the value of an own metric of the watch of errorsWatch.
func figure(t *testing.T, reg *prometheus.Registry, name, want string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if got := fmt.Sprintf("%s %v", strings.Join(labels, " "), value); got == want {
				return
			}
		}
	}
	t.Fatalf("%s: no child %q", name, want)
}

// states are the states of the signals, runs of the same one written once with their number.
func states(w *world) string {
	var out []string
	for i := 0; i < len(w.signals); {
		j := i
		for j < len(w.signals) && w.signals[j].State == w.signals[i].State {
			j++
		}
		out = append(out, fmt.Sprintf("%s*%d", w.signals[i].State, j-i))
		i = j
	}
	return strings.Join(out, " ")
}

// step is a world with one value until a time and another from then on.
func step(at time.Time, before, after float64) func(time.Time) ([]core.SeriesValue, error) {
	return func(t time.Time) ([]core.SeriesValue, error) {
		if t.Before(at) {
			return one(before), nil
		}
		return one(after), nil
	}
}

func TestReplayThenAnomaly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: step(start.Add(55*time.Second), 0.2, 12)}
		reg := run(t, w, 95*time.Second, errorsWatch())
		if got := states(w); got != "normal*5 anomalous*4" {
			t.Fatalf("states %s", got)
		}
		for i, at := range w.queries {
			if want := start.Add(time.Duration(i+1) * 10 * time.Second); !at.Equal(want) {
				t.Fatalf("query %d at %v, want %v", i, at, want)
			}
		}
		if from, until := w.ranges[0], w.ranges[1]; until.Sub(from) != 2*time.Hour || !until.Equal(start) {
			t.Fatalf("replayed %v to %v", from, until)
		}
		s := w.signals[5]
		if s.Subject != (core.Subject{Site: "fra", Service: "checkout"}) || s.Class != core.ClassSymptom || s.Value != 12 ||
			!s.HasBand || s.Expected != 0.2 || s.Upper != 2.7 || s.Score < 0.999 || s.Interval != 10*time.Second ||
			s.Direction != "above" || s.Labels["site"] != "lb" || !s.At.Equal(start.Add(time.Minute)) {
			t.Fatalf("signal %+v", s)
		}
		want := "checkout-errors of checkout at fra: 12 is above -2.3 to 2.7 (expected 0.2, 23.6 scales of 0.5 away, " +
			"scale from the absolute floor of 360 points), since 00:01:00 UTC"
		if s.Sentence != want {
			t.Fatalf("sentence\n got %s\nwant %s", s.Sentence, want)
		}
		figure(t, reg, "evenkeel_detect_evaluations_total", "checkout-errors 9")
		figure(t, reg, "evenkeel_detect_anomalous_series", "checkout-errors 1")
		figure(t, reg, "evenkeel_detect_series", "checkout-errors 1")
	})
}

// A restart in the middle of a trouble that is older than the model's window must not take it for normal.
func TestARestartRemembersTheTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: step(start.Add(-50*time.Minute), 0.2, 12)}
		watch := errorsWatch()
		watch.Every = time.Second
		run(t, w, 3500*time.Millisecond, watch)
		if got := states(w); got != "anomalous*3" {
			t.Fatalf("states %s: %s", got, w.signals[0].Sentence)
		}
		if s := w.signals[0]; s.Expected != 0.2 || !strings.HasSuffix(s.Sentence, "since 23:10:00 UTC") {
			t.Fatalf("signal %+v", s)
		}
	})
}

func TestWriteBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: step(start.Add(25*time.Second), 0.2, 12)}
		run(t, w, 35*time.Second, errorsWatch())
		var got []string
		for _, s := range w.samples {
			if !slices.Equal(s.Labels, []core.Label{
				{Name: "detector", Value: "checkout-errors"}, {Name: "site", Value: "lb"}, {Name: "target_site", Value: "fra"},
			}) {
				t.Fatalf("labels %v", s.Labels)
			}
			got = append(got, fmt.Sprintf("%ds %s=%.3g", (s.AtMS-start.UnixMilli())/1000, strings.TrimPrefix(s.Name, "evenkeel_"), s.Value))
		}
		want := []string{
			"10s detector_state=2", "10s anomaly_score=0", "10s expected=0.2", "10s lower=-2.3", "10s upper=2.7",
			"20s detector_state=2", "20s anomaly_score=0", // the band has not moved
			"30s detector_state=3", "30s anomaly_score=1", "30s expected=0.2", "30s lower=-2.3", "30s upper=2.7",
		}
		if !slices.Equal(got, want) {
			t.Fatalf("\n got %q\nwant %q", got, want)
		}
	})
}

func TestWarmingHasNoScore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if !at.After(start) {
				return nil, nil
			}
			return one(1), nil
		}}
		run(t, w, 25*time.Second, errorsWatch())
		if got := states(w); got != "warming*2" {
			t.Fatalf("states %s", got)
		}
		for _, s := range w.samples {
			if s.Name != "evenkeel_detector_state" || s.Value != 1 {
				t.Fatalf("sample %+v while warming", s)
			}
		}
		if s := w.signals[1]; s.HasBand || !strings.Contains(s.Sentence, "warming up: 1 of 30 points") {
			t.Fatalf("signal %+v", s)
		}
	})
}

func TestAQueryErrorIsUnknownNeverNormal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if d := at.Sub(start); d > 25*time.Second && d < 55*time.Second {
				return nil, errors.New("store is away")
			}
			return one(0.2), nil
		}}
		var log strings.Builder
		reg := prometheus.NewRegistry()
		runFor(t, 75*time.Second, detect.Options{
			Watches: []detect.Watch{errorsWatch()}, Querier: w, Writer: w, Signals: w.signal, Registry: reg,
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if got := states(w); got != "normal*2 unknown*3 normal*2" {
			t.Fatalf("states %s", got)
		}
		if s := w.signals[2]; s.HasBand || s.Score != 0 || !strings.HasSuffix(s.Sentence, "unknown, the query failed: store is away") {
			t.Fatalf("signal %+v", s)
		}
		for _, s := range w.samples {
			if d := time.UnixMilli(s.AtMS).Sub(start); d > 25*time.Second && d < 55*time.Second &&
				(s.Name != "evenkeel_detector_state" || s.Value != 0) {
				t.Fatalf("sample %+v while the store was away", s)
			}
		}
		figure(t, reg, "evenkeel_detect_query_errors_total", "checkout-errors 3")
		if fails, works := strings.Count(log.String(), "watch fails"), strings.Count(log.String(), "works again"); fails != 1 || works != 1 {
			t.Fatalf("logged %d failures and %d recoveries:\n%s", fails, works, &log)
		}
	})
}

func TestReplayIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: step(start.Add(time.Hour), 0.2, 0), past: errors.New("not yet")}
		time.AfterFunc(25*time.Second, func() { w.mu.Lock(); w.past = nil; w.mu.Unlock() })
		reg := run(t, w, 55*time.Second, errorsWatch())
		if got := states(w); got != "warming*2 normal*3" {
			t.Fatalf("states %s", got)
		}
		figure(t, reg, "evenkeel_detect_replay_errors_total", "checkout-errors 3")
	})
}

func TestSlowQueriesDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return one(1), nil }}
		var running, most int
		w.at = func(time.Time) ([]core.SeriesValue, error) { return one(1), nil }
		slow := &slowWriter{world: w, takes: 35 * time.Second, enter: func() { running++; most = max(most, running) }, leave: func() { running-- }}
		reg := prometheus.NewRegistry()
		runFor(t, 85*time.Second, detect.Options{Watches: []detect.Watch{errorsWatch()}, Querier: w, Writer: slow, Signals: w.signal, Registry: reg})
		if most != 1 {
			t.Fatalf("%d evaluations at the same time", most)
		}
		var at []string
		for _, q := range w.queries {
			at = append(at, q.Sub(start).String())
		}
		if got := strings.Join(at, " "); got != "10s 50s" {
			t.Fatalf("asked at %s", got)
		}
		figure(t, reg, "evenkeel_detect_skipped_total", "checkout-errors 6")
	})
}

// slowWriter takes its time and does not look at the context.
type slowWriter struct {
	*world
	takes        time.Duration
	enter, leave func()
}

func (s *slowWriter) Append(ctx context.Context, samples []core.Sample) error {
	s.enter()
	defer s.leave()
	time.Sleep(s.takes)
	return s.world.Append(ctx, samples)
}

func TestAQueryThatHangsIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return one(1), nil }, takes: time.Hour}
		reg := run(t, w, 45*time.Second, errorsWatch())
		if !strings.Contains(w.signals[0].Sentence, "no answer in time") || w.signals[0].State != core.DetectorUnknown {
			t.Fatalf("signal %+v", w.signals[0])
		}
		figure(t, reg, "evenkeel_detect_query_errors_total", "checkout-errors 2") // 10s and 30s; 20s passed meanwhile
	})
}

func TestASeriesThatVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			answer := []core.SeriesValue{{Labels: map[string]string{"target_site": "ams"}, Value: 1}}
			if at.Sub(start) < 25*time.Second {
				answer = append(answer, one(1)...)
			}
			return answer, nil
		}}
		reg := run(t, w, 2*time.Hour, errorsWatch())
		w.signals = slices.DeleteFunc(w.signals, func(s core.Signal) bool { return s.Subject.Site != "fra" })
		// Missing at 30 s and 40 s: what was said stands. Unknown from 50 s until an hour after 30 s.
		if got := states(w); got != "normal*2 unknown*358" {
			t.Fatalf("states %s", got)
		}
		if s := w.signals[2]; !s.At.Equal(start.Add(50*time.Second)) || !strings.Contains(s.Sentence, "no data since 00:00:20 UTC") {
			t.Fatalf("signal %+v", s)
		}
		figure(t, reg, "evenkeel_detect_series", "checkout-errors 1")
	})
}

func TestShortGapsHoldTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if at.Sub(start) > 0 && at.Sub(start)%(30*time.Second) != 0 {
				return nil, nil
			}
			return one(1), nil
		}}
		run(t, w, 5*time.Minute+time.Second, errorsWatch())
		if got := states(w); got != "normal*10" {
			t.Fatalf("states %s", got)
		}
	})
}

func TestSeriesAreBoundedAndStrangeOnesCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) {
			value := func(x float64, labels ...string) core.SeriesValue {
				m := map[string]string{}
				for i := 0; i < len(labels); i += 2 {
					m[labels[i]] = labels[i+1]
				}
				return core.SeriesValue{Labels: m, Value: x}
			}
			return []core.SeriesValue{
				value(1, "target_site", "fra", "__name__", "a"),
				value(1, "target_site", "fra", "__name__", "b"), // the same but for the name
				value(1, "vantage", "lon"),                      // about no site
				value(math.NaN(), "target_site", "ams"),
				value(math.Inf(1), "target_site", "par"),
				value(1, "target_site", "ber"),
			}, nil
		}}
		watch := errorsWatch()
		watch.MaxSeries = 2
		watch.Training = 10 * time.Second
		reg := run(t, w, 15*time.Second, watch)
		if got := states(w); got != "warming*1" {
			t.Fatalf("states %s", got)
		}
		for _, s := range w.samples {
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Fatalf("sample %+v", s)
			}
			if slices.ContainsFunc(s.Labels, func(l core.Label) bool { return l.Name == "__name__" }) {
				t.Fatalf("the metric name is written back: %v", s.Labels)
			}
		}
		figure(t, reg, "evenkeel_detect_series", "checkout-errors 2")
		figure(t, reg, "evenkeel_detect_ignored_series_total", "no_subject checkout-errors 1")
		figure(t, reg, "evenkeel_detect_ignored_series_total", "not_finite checkout-errors 2")
		figure(t, reg, "evenkeel_detect_refused_series_total", "checkout-errors 4") // three in the replay, one since
	})
}

// Series that are left out are told with the remedy, and not at every tick.
func TestWhatIsLeftOutIsTold(t *testing.T) {
	f := func(watch detect.Watch, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := &world{at: func(time.Time) ([]core.SeriesValue, error) {
				return []core.SeriesValue{
					{Labels: map[string]string{"site": "fra", "pod": "a"}, Value: 1},
					{Labels: map[string]string{"site": "fra", "pod": "b"}, Value: 1},
					{Labels: map[string]string{"site": "fra", "pod": "c"}, Value: 1},
				}, nil
			}}
			var b strings.Builder
			watch.Every, watch.MaxSeries, watch.Training = 10*time.Minute, 2, 10*time.Minute
			runFor(t, 25*time.Hour, detect.Options{Watches: []detect.Watch{watch}, Querier: w, Writer: w, Signals: w.signal, Log: slog.New(slog.NewTextHandler(&b, nil))})
			for _, text := range want {
				if n := strings.Count(b.String(), text); n != 2 {
					t.Errorf("%q is told %d times in 25 hours:\n%s", text, n, b.String())
				}
			}
			if n := strings.Count(b.String(), "\n"); n != 2*len(want) {
				t.Errorf("%d lines:\n%s", n, b.String())
			}
		})
	}
	const many = `msg="series beyond max_series are not judged" watch=checkout-errors left_out.series=1 left_out.one="map[pod:c site:fra]" max_series=2 hint="raise max_series`
	watch := errorsWatch()
	f(watch, many, `msg="series that name no site are no evidence" watch=checkout-errors left_out.series=2 left_out.one="map[pod:a site:fra]" about=target_site hint="keep the label target_site in the query`)
	watch.About = detect.AboutLinkTo
	f(watch, many, `hint="keep the label link in the query`)
	watch.About = detect.AboutSite
	f(watch, many)
	watch.Model, watch.Query, watch.Floor, watch.Direction, watch.Metrics = detect.ModelService, "", detect.Floor{}, "", map[string]string{"a": "a", "b": "b"}
	watch.About = detect.AboutTargetSite
	f(watch, "left_out.series=4", "series that name no site are no evidence")
}

func TestSubjects(t *testing.T) {
	f := func(about detect.About, service string, labels map[string]string, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := &world{at: func(time.Time) ([]core.SeriesValue, error) {
				return []core.SeriesValue{{Labels: labels, Value: 1}}, nil
			}}
			watch := errorsWatch()
			watch.About, watch.Service = about, service
			run(t, w, 15*time.Second, watch)
			got := "none"
			if len(w.signals) > 0 {
				got = w.signals[0].Subject.Key()
			}
			if got != want {
				t.Errorf("%s %q of %v: %s, want %s", about, service, labels, got, want)
			}
		})
	}
	f(detect.AboutSite, "", map[string]string{"site": "fra"}, "fra/all")
	f(detect.AboutTargetSite, "", map[string]string{"site": "lon", "target_site": "fra", "service": "cart"}, "fra/cart")
	f(detect.AboutTargetSite, "checkout", map[string]string{"target_site": "fra", "service": "cart"}, "fra/checkout")
	f(detect.AboutTargetSite, "", map[string]string{"site": "lon"}, "none")
	f(detect.AboutLinkFrom, "", map[string]string{"link": "orders-db:fra>ams"}, "fra/all")
	f(detect.AboutLinkTo, "checkout", map[string]string{"link": "orders-db:fra>ams"}, "ams/checkout")
	f(detect.AboutLinkTo, "", map[string]string{"link": "orders-db:fra"}, "none")
	f(detect.AboutLinkFrom, "", map[string]string{"link": "fra>ams"}, "none")
}

// The last tick of a day does not stand for the time until the next day: it is answered and judged as the others are.
func TestTheLastTickOfACronDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{at: step(time.Now(), 1, 1)}
		run(t, w, 9*time.Hour+10*time.Minute, detect.Watch{
			Name: "lag", Query: "lag", About: detect.AboutTargetSite, Cron: "0,5 9 * * *", Model: detect.ModelThreshold, Threshold: new(5.0), Training: time.Hour,
		})
		if len(w.signals) != 2 {
			t.Fatalf("states %s", states(w))
		}
		for _, s := range w.signals {
			if s.Interval != 5*time.Minute {
				t.Errorf("the signal of %s stands for %s", s.At, s.Interval)
			}
		}
	})
}

func TestThresholdCronAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now() // midnight UTC
		w := &world{at: step(start.Add(9*time.Minute), 1, 9)}
		run(t, w, 16*time.Minute, detect.Watch{
			Name: "lag", Query: "lag", About: detect.AboutTargetSite, Cron: "*/5 * * * *", Model: detect.ModelThreshold,
			Threshold: new(5.0), Direction: detect.DirectionAbove, Class: core.ClassSymptom, EvalDelay: time.Minute, Group: "replication",
		})
		if got := states(w); got != "normal*1 anomalous*2" {
			t.Fatalf("states %s", got)
		}
		if got := w.queries[0].Sub(start); got != 4*time.Minute {
			t.Fatalf("first query for %v", got)
		}
		s := w.signals[1]
		if s.Group != "replication" || s.FalseAlarms != 0 { // a limit of ours is not calibrated
			t.Fatalf("signal of group %q with %v false alarms a week", s.Group, s.FalseAlarms)
		}
		if s.Class != core.ClassSymptom || s.Interval != 5*time.Minute || s.HasBand || s.Score != 1 ||
			s.Sentence != "lag of fra: 9 is above the limit 5, since 00:09:00 UTC" {
			t.Fatalf("signal %+v", s)
		}
		if until := w.ranges[1]; !until.Equal(start.Add(-time.Minute)) {
			t.Fatalf("replayed until %v", until)
		}
	})
}

func TestAWriteErrorDoesNotSilenceTheSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return one(1), nil }, write: errors.New("disk full")}
		reg := run(t, w, 35*time.Second, errorsWatch())
		if got := states(w); got != "normal*3" {
			t.Fatalf("states %s", got)
		}
		figure(t, reg, "evenkeel_detect_write_errors_total", "checkout-errors 3")
	})
}

func TestManyWatchesShareTheSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return one(1), nil }, takes: time.Second}
		var watches []detect.Watch
		for i := range 12 {
			watch := errorsWatch()
			watch.Name = fmt.Sprintf("w%d", i)
			watches = append(watches, watch)
		}
		run(t, w, 19*time.Second, watches...)
		if len(w.signals) != 12 {
			t.Fatalf("%d signals", len(w.signals))
		}
		seen := map[string]bool{}
		for _, s := range w.signals {
			seen[s.Detector] = true
		}
		if len(seen) != 12 {
			t.Fatalf("signals of %d watches", len(seen))
		}
	})
}

func TestValidate(t *testing.T) {
	w := &world{}
	f := func(change func(*detect.Watch), want string) {
		t.Helper()
		watch := errorsWatch()
		change(&watch)
		_, err := detect.New(detect.Options{Watches: []detect.Watch{watch}, Querier: w, Writer: w, Signals: w.signal})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f(func(w *detect.Watch) { w.Name = "" }, `watch "": name: it is empty`)
	f(func(w *detect.Watch) { w.Query = " " }, "query: it is empty")
	f(func(w *detect.Watch) { w.About = "link" }, "link.from, link.to")
	f(func(w *detect.Watch) { w.Every = 0 }, "want one of the two")
	f(func(w *detect.Watch) { w.Cron = "* * * * *" }, "want one of the two")
	f(func(w *detect.Watch) { w.Every = time.Millisecond }, "1s to 24h")
	f(func(w *detect.Watch) { w.Every, w.Cron = 0, "61 * * * *" }, "five fields")
	f(func(w *detect.Watch) { w.Every, w.Cron = 0, "TZ=UTC" }, "five fields")
	f(func(w *detect.Watch) { w.Every, w.Cron = 0, "0 0 31 2 *" }, "no such day")
	f(func(w *detect.Watch) { w.Model = "magic" }, "auto, threshold, robust-z")
	f(func(w *detect.Watch) { w.Direction = "up" }, "above, below, both")
	f(func(w *detect.Watch) { w.Class = core.ClassOutside }, "never outside")
	f(func(w *detect.Watch) { w.Floor.Absolute = -1 }, "floor.absolute: -1")
	f(func(w *detect.Watch) { w.Threshold = new(math.Inf(1)) }, "threshold: +Inf")
	f(func(w *detect.Watch) { w.FalseAlarms = 1 }, "model robust-z has no such setting")
	f(func(w *detect.Watch) { w.Model, w.FalseAlarms = "", -1 }, "false_alarms_per_week: -1: want a number above 0")
	f(func(w *detect.Watch) { w.Model, w.Threshold = "auto", new(3.0) }, "model auto has no such setting, it belongs to threshold, robust-z")
	f(func(w *detect.Watch) { w.EvalDelay = -1 }, "eval_delay")
	f(func(w *detect.Watch) { w.Training = -1 }, "train")
	f(func(w *detect.Watch) { w.MaxSeries = -1 }, "max_series")
	_, err := detect.New(detect.Options{Watches: []detect.Watch{errorsWatch(), errorsWatch()}, Querier: w, Writer: w, Signals: w.signal})
	if err == nil || !strings.Contains(err.Error(), "there are two of them") {
		t.Errorf("two of one name: %v", err)
	}
	if _, err := detect.New(detect.Options{}); err == nil {
		t.Error("a watchman without a store was made")
	}
}

// A clock that was ahead for a while leaves no model that waits for that time to come.
func TestAClockThatGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		var trouble atomic.Bool
		w := &world{at: func(at time.Time) ([]core.SeriesValue, error) {
			if trouble.Load() {
				return one(1000), nil
			}
			return one(10 + float64(at.Unix()/10%7)), nil
		}}
		m, err := detect.New(detect.Options{
			Watches: []detect.Watch{errorsWatch()}, Querier: w, Writer: w, Signals: w.signal,
			Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
		defer cancel()
		go func() {
			time.Sleep(time.Hour)
			ahead.Store(int64(24 * time.Hour))
			time.Sleep(10 * time.Minute)
			ahead.Store(0)
			time.Sleep(10 * time.Minute)
			trouble.Store(true)
		}()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if last := w.signals[len(w.signals)-1]; last.State != core.DetectorAnomalous || last.Value != 1000 {
			t.Fatalf("ten minutes into the trouble: %s %s", last.State, last.Sentence)
		}
	})
}
