package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// partLabel marks the answers to the question of writtenBack that are times.
const partLabel = "evenkeel_part"

// turn asks whose the watch is. What was known as its owner or as its follower is thrown away when that changes, but
// for the names of the series, of which it must be said that they are unknown if nobody else judges them, and what was
// told of them last: that is the first thing that is heard.
func (w *watcher) turn() {
	ours := w.mine == nil || w.mine(w.watch.Name)
	if ours == w.ours {
		return
	}
	w.ours, w.patience = ours, patience{}
	if ours {
		w.log.Info("watch is ours now")
		w.forget()
		return
	}
	w.log.Info("watch is left to another replica")
	w.order, w.replay, w.pass = nil, nil, nil
	clear(w.rows)
	for key, s := range w.series {
		w.series[key] = &series{key: key, labels: s.labels, written: s.written, subject: s.subject, known: s.known, lastAt: s.lastAt, told: s.told}
	}
}

// follow hears what the owner of the watch has written back, which is at most what it knew at the tick before.
func (w *watcher) follow(ctx context.Context, tick time.Time) {
	interval := w.interval(tick)
	within, cancel := context.WithTimeout(ctx, min(interval, maxQueryTime))
	defer cancel()
	at := tick.Add(-w.watch.EvalDelay)
	if w.patience.waits(tick) {
		w.doubtAll()
		w.report(within, at, interval)
		return
	}
	answer, err := w.querier.Query(within, writtenBack(w.watch.Name, interval), at, interval)
	if ctx.Err() != nil {
		return // the end, not an error
	}
	w.failed(tick, interval, err)
	if err == nil {
		w.hear(answer, at, interval)
		w.values(within, interval)
	}
	if ctx.Err() == nil {
		w.report(within, at, interval)
	}
}

// writtenBack asks for the newest of what was written back of a watch in the last intervals, and for its times. What
// becomes visible in between may give a state the time of the next one.
func writtenBack(watch string, interval time.Duration) string {
	written := fmt.Sprintf(`{__name__=~"%s|%s|%s|%s|%s|%s",detector=%q}[%dms]`, metricState, metricScore, metricCadence, metricExpected, metricLower,
		metricUpper, watch, (unknownAfter * interval).Milliseconds())
	return fmt.Sprintf(`union(last_over_time(%s), label_set(tlast_over_time(%s) keep_metric_names, %q, "time"))`,
		written, written, partLabel)
}

// word is what was written back of one series.
type word struct {
	labels map[string]string // of the series
	values map[string]float64
	times  map[string]time.Time
}

// figure is the value of a metric, if it was written at the same time as the state.
func (x *word) figure(metric string) (float64, bool) {
	v, ok := x.values[metric]
	return v, ok && x.times[metric].Equal(x.times[metricState])
}

// words sorts an answer by series.
func words(watch string, answer []core.SeriesValue) map[string]*word {
	out := map[string]*word{}
	for _, a := range answer {
		labels := maps.Clone(a.Labels)
		metric, part := labels["__name__"], labels[partLabel]
		for _, name := range []string{"__name__", "detector", partLabel} {
			delete(labels, name)
		}
		key, _ := seriesKey(watch, labels)
		x := out[key]
		if x == nil {
			x = &word{labels: labels, values: map[string]float64{}, times: map[string]time.Time{}}
			out[key] = x
		}
		if part == "" {
			x.values[metric] = a.Value
		} else {
			x.times[metric] = time.UnixMilli(int64(math.Round(a.Value * 1000))).UTC()
		}
	}
	return out
}

// hear takes the word of the owner for each series. A series of which nothing was said for three intervals is
// unknown.
func (w *watcher) hear(answer []core.SeriesValue, at time.Time, interval time.Duration) {
	heard := words(w.watch.Name, answer)
	marks := w.marksFor(at.Add(-unknownAfter*interval), at)
	for key, x := range heard {
		state, ok := x.figure(metricState)
		if !ok {
			continue
		}
		_, written := seriesKey(w.watch.Name, x.labels)
		s := w.lookup(key, written, x.labels)
		if s == nil {
			w.metrics.refused.WithLabelValues(w.watch.Name).Inc()
			continue
		}
		v := detectors.Verdict{At: x.times[metricState]}
		s.unknown, s.lastAt = "", v.At
		s.celebrate(w.watch, s.marked(v.At, marks))
		special := s.unknown // why it is unknown, if it is
		s.unknown = ""
		switch core.DetectorState(state) {
		case core.DetectorWarming:
			v.State = detectors.StateWarming
		case core.DetectorNormal:
			v.State = detectors.StateNormal
		case core.DetectorAnomalous:
			v.State = detectors.StateAnomalous
			v.Expected, v.HasExpected = x.figure(metricExpected)
			v.Lower, v.HasLower = x.figure(metricLower)
			v.Upper, v.HasUpper = x.figure(metricUpper)
		case core.DetectorUnknown:
			s.unknown = cmp.Or(special, "unknown") + ", as another replica found at " + core.ClockText(v.At)
		}
		v.Score, v.HasScore = x.figure(metricScore)
		seconds, told := x.figure(metricCadence)
		s.slow, s.still = time.Duration(seconds*float64(time.Second)), told && seconds == 0
		s.verdict = v
	}
	for key, s := range w.series {
		switch silent := at.Sub(s.lastAt); {
		case silent >= w.watch.forgetAfter(interval):
			delete(w.series, key)
			w.order = nil
		case silent >= unknownAfter*interval || heard[key] == nil:
			s.unknown = "unknown, no replica has judged it since " + core.ClockText(s.lastAt)
		}
	}
}

// values asks for the values of the series that are anomalous: they are not written back, and a band says nothing
// without the value that is out of it. What is not answered stays anomalous, without a band.
func (w *watcher) values(ctx context.Context, interval time.Duration) {
	var at time.Time
	for _, s := range w.series {
		if s.state() == core.DetectorAnomalous && s.lastAt.After(at) {
			at = s.lastAt
		}
	}
	values := map[string]float64{}
	if !at.IsZero() && w.watch.comparable() {
		answer, err := w.querier.Query(ctx, w.watch.Query, at, interval)
		if errors.Is(ctx.Err(), context.Canceled) {
			return // the end, not an error
		}
		w.note(&w.valueErr, "query for the values of anomalies", err)
		for _, a := range answer {
			key, _ := seriesKey(w.watch.Name, a.Labels)
			values[key] = a.Value
		}
	}
	for key, s := range w.series {
		v := &s.verdict
		value, ok := values[key]
		switch {
		case s.state() != core.DetectorAnomalous:
		case !ok || !s.lastAt.Equal(at) || math.IsNaN(value) || math.IsInf(value, 0):
			v.HasExpected, v.HasLower, v.HasUpper = false, false, false
		case v.HasUpper && value > v.Upper:
			v.Value, v.Reason = value, detectors.ReasonAbove
		case v.HasLower && value < v.Lower:
			v.Value, v.Reason = value, detectors.ReasonBelow
		default:
			v.Value, v.Reason = value, detectors.ReasonRecovering
		}
	}
}

// failed counts and logs the outcome of a query, and makes every series unknown when there was no answer.
func (w *watcher) failed(tick time.Time, interval time.Duration, err error) {
	w.note(&w.queryErr, "query; its series are unknown", err)
	if err == nil {
		w.patience = patience{}
		return
	}
	w.metrics.queryErrors.WithLabelValues(w.watch.Name).Inc()
	w.patience.failed(tick, interval, cause(err))
	w.doubtAll()
}

// doubtAll makes every series unknown while there is no answer.
func (w *watcher) doubtAll() {
	for _, s := range w.series {
		s.unknown = w.patience.text()
	}
}
