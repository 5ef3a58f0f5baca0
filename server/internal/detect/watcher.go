package detect

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// unknownAfter is for how many intervals a series may be missing from the answers before it is unknown; until
	// then its state holds.
	unknownAfter = 3
	// removeAfter is how long, and removeIntervals for how many intervals, a series must be missing to be forgotten.
	removeAfter     = time.Hour
	removeAbsent    = 24 * time.Hour // the same for absence, whose news it is
	removeIntervals = 30

	maxQueryTime  = 30 * time.Second
	replayTime    = time.Minute
	maxReplay     = 10_000 // points of one series
	maxSkipCount  = 10_000
	maxClockSleep = time.Minute // a jump of the clock is noticed within it
)

// watcher runs one watch. Everything in it belongs to its goroutine, except what is shared by all watches: the
// slots, the signals and the metrics.
type watcher struct {
	watch    Watch
	schedule cron.Schedule
	querier  Querier
	writer   Writer
	tell     func(core.Signal)
	mine     func(watch string) bool // nil: always
	marks    func(from, until time.Time) []Mark
	zone     func(site string) *time.Location
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics
	slots    chan struct{}

	ours      bool // whether it was ours at the last tick
	series    map[string]*series
	rows      rows // nil for models of one series
	replayed  bool
	asked     time.Time // the time of the last question of ours
	queryErr  string    // the failures last logged
	valueErr  string
	replayErr string
	writeErr  string
}

// run asks at the times of the schedule. An evaluation that outlasts its interval makes ticks pass; they are
// counted and not made up for.
func (w *watcher) run(ctx context.Context) {
	w.turn()
	if w.ours && w.acquire(ctx) {
		w.replay(ctx, w.schedule.Next(w.now().UTC()))
		w.release()
	}
	for ctx.Err() == nil {
		tick, ok := w.sleep(ctx)
		if !ok || !w.acquire(ctx) {
			<-ctx.Done()
			return
		}
		w.tick(ctx, tick)
		w.release()
		w.countSkipped(tick)
	}
}

// sleep waits for the next time of the schedule: by the clock as it is then, which may have gone back. It is false when
// there is none or ctx is done first.
func (w *watcher) sleep(ctx context.Context) (tick time.Time, ok bool) {
	tick = w.schedule.Next(w.now().UTC())
	for !tick.IsZero() {
		d := tick.Sub(w.now())
		if d <= 0 {
			return tick, ctx.Err() == nil
		}
		timer := time.NewTimer(min(d, maxClockSleep))
		select {
		case <-ctx.Done():
			timer.Stop()
			return tick, false
		case <-timer.C:
		}
		if next := w.schedule.Next(w.now().UTC()); next.Before(tick) {
			tick = next
		}
	}
	return tick, false
}

func (w *watcher) acquire(ctx context.Context) bool {
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *watcher) release() { <-w.slots }

func (w *watcher) countSkipped(tick time.Time) {
	now := w.now()
	skipped := 0
	for next := w.schedule.Next(tick); !next.IsZero() && !next.After(now) && skipped < maxSkipCount; next = w.schedule.Next(next) {
		skipped++
	}
	w.metrics.skipped.WithLabelValues(w.watch.Name).Add(float64(skipped))
}

// interval is the time from a tick to the next.
func (w *watcher) interval(tick time.Time) time.Duration {
	if w.watch.Every > 0 {
		return w.watch.Every
	}
	return max(minEvery, w.schedule.Next(tick).Sub(tick))
}

// tick is one evaluation, or one look at what another replica has found.
func (w *watcher) tick(ctx context.Context, tick time.Time) {
	start := w.now()
	w.turn()
	if w.ours {
		w.evaluate(ctx, tick)
	} else {
		w.follow(ctx, tick)
	}
	w.metrics.seconds.WithLabelValues(w.watch.Name).Add(max(0, w.now().Sub(start).Seconds()))
}

func (w *watcher) evaluate(ctx context.Context, tick time.Time) {
	interval := w.interval(tick)
	at := tick.Add(-w.watch.EvalDelay)
	if w.asked.Sub(at) > unknownAfter*interval {
		// The models know a time that has not come yet, and would take no value until then.
		w.log.Warn("clock went back; the models begin again", slog.Duration("by", w.asked.Sub(at)))
		w.series, w.replayed = map[string]*series{}, false
	}
	if w.lost(at, interval) {
		w.replayed = false
	}
	w.asked = at
	if !w.replayed {
		w.replay(ctx, tick)
	}
	within, cancel := context.WithTimeout(ctx, min(interval, maxQueryTime))
	defer cancel()
	answers, err := w.ask(within, at)
	if ctx.Err() != nil {
		return // the end, not an error
	}
	w.metrics.evaluations.WithLabelValues(w.watch.Name).Inc()
	w.failed(err)
	if err == nil {
		if w.rows == nil {
			w.take(answers[0].series, at)
		} else {
			w.takeRows(answers, at)
		}
		w.age(at, interval)
	}
	w.report(within, at, interval)
}

// take gives each series of an answer to its model.
func (w *watcher) take(answer []core.SeriesValue, at time.Time) {
	marks := w.marks(at.Add(-changeSettles), at)
	seen := make(map[string]bool, len(answer))
	for _, a := range answer {
		if math.IsNaN(a.Value) || math.IsInf(a.Value, 0) {
			w.ignore(ignoredNotFinite)
			continue
		}
		key, written := seriesKey(w.watch.Name, a.Labels)
		if seen[key] {
			w.ignore(ignoredDuplicate)
			continue
		}
		seen[key] = true
		s := w.lookup(key, written, a.Labels)
		if s == nil {
			w.metrics.refused.WithLabelValues(w.watch.Name).Inc()
			continue
		}
		if !s.known {
			w.ignore(ignoredSubject)
		}
		s.unknown, s.gone = "", time.Time{}
		s.observe(w.watch, at, a.Value, marks)
	}
	for key, s := range w.series {
		if !seen[key] {
			w.miss(s, at)
		}
	}
}

// age marks the series that are missing and forgets those that are missing for long.
func (w *watcher) age(at time.Time, interval time.Duration) {
	for key, s := range w.series {
		if s.gone.IsZero() {
			continue
		}
		missing := at.Sub(s.gone)
		if missing >= w.watch.forgetAfter(interval) {
			delete(w.series, key)
			continue
		}
		if missing >= (unknownAfter-1)*interval && !s.absent {
			s.unknown = "unknown, no data since " + s.lastAt.UTC().Format("15:04:05") + " UTC"
		}
	}
}

// report tells the state of every series, and writes it back when the watch is ours. A series that is missing for a
// short time is passed over: what was said of it stands.
func (w *watcher) report(ctx context.Context, at time.Time, interval time.Duration) {
	var samples []core.Sample
	anomalous := 0
	for _, key := range slices.Sorted(maps.Keys(w.series)) {
		s := w.series[key]
		if !s.gone.IsZero() && s.unknown == "" && !s.absent {
			continue
		}
		if s.state() == core.DetectorAnomalous {
			anomalous++
		}
		if s.known {
			w.tell(s.signal(w.watch, interval, at))
		}
		if w.ours {
			samples = s.samples(samples, at)
		}
	}
	models := 0
	if w.ours {
		models = len(w.series)
	}
	w.metrics.series.WithLabelValues(w.watch.Name).Set(float64(models))
	w.metrics.anomalous.WithLabelValues(w.watch.Name).Set(float64(anomalous))
	if len(samples) == 0 {
		return
	}
	err := w.writer.Append(ctx, samples)
	w.note(&w.writeErr, "writing back", err)
	if err != nil {
		w.metrics.writeErrors.WithLabelValues(w.watch.Name).Inc()
	}
}

// replay teaches the models what the store remembers from before the tick. It is tried again at every tick until it
// has worked once, and then takes the place of what was learned without it.
func (w *watcher) replay(ctx context.Context, tick time.Time) {
	interval := w.interval(tick)
	training := min(w.watch.training(interval), maxReplay*interval)
	until := tick.Add(-w.watch.EvalDelay - interval)
	within, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	pasts, err := w.askRange(within, until.Add(-training), until, interval)
	if ctx.Err() != nil {
		return
	}
	w.note(&w.replayErr, "replay of the training window", err)
	if err != nil {
		w.metrics.replayErrors.WithLabelValues(w.watch.Name).Inc()
		return
	}
	w.replayed = true
	w.series = make(map[string]*series, len(pasts[0].series))
	marks := w.marks(until.Add(-training-changeSettles), until)
	if w.rows == nil {
		w.replaySeries(pasts[0].series, marks, until, interval)
	} else {
		w.replayRows(pasts, marks)
	}
	for key, s := range w.series {
		if until.Sub(s.lastAt) >= w.watch.forgetAfter(interval) {
			delete(w.series, key) // it ended long ago, or never had a value
		}
	}
	w.metrics.series.WithLabelValues(w.watch.Name).Set(float64(len(w.series)))
}

// replaySeries gives each series to its model.
func (w *watcher) replaySeries(past []core.SeriesRange, marks []Mark, until time.Time, interval time.Duration) {
	for _, r := range past {
		key, written := seriesKey(w.watch.Name, r.Labels)
		if w.series[key] != nil {
			w.ignore(ignoredDuplicate)
			continue
		}
		s := w.lookup(key, written, r.Labels)
		if s == nil {
			w.metrics.refused.WithLabelValues(w.watch.Name).Inc()
			continue
		}
		for i, x := range r.Values {
			if i < len(r.Times) && !math.IsNaN(x) && !math.IsInf(x, 0) {
				w.missUntil(s, r.Times[i], interval)
				s.observe(w.watch, r.Times[i], x, marks)
			}
		}
		w.missUntil(s, until.Add(time.Nanosecond), interval)
	}
}

// lookup is the series of a key, made where it is new; nil when the watch has as many as it may have.
func (w *watcher) lookup(key string, written []core.Label, labels map[string]string) *series {
	if s, ok := w.series[key]; ok {
		return s
	}
	if len(w.series) >= w.watch.maxSeries() {
		return nil
	}
	s := newSeries(w.watch, key, written, labels)
	s.ours = w.ours
	if w.ours && w.rows == nil {
		zone := w.zone(s.subject.Site)
		s.past = newPast(func() detectors.Model { return w.watch.newModel(zone) }, w.watch.learns())
	}
	w.series[key] = s
	return s
}

func (w *watcher) ignore(reason string) {
	w.metrics.ignored.WithLabelValues(w.watch.Name, reason).Inc()
}

// note logs a failure when it is of another kind than before, and its end. what is what failed. The text of an error
// is no part of the kind: it may name the time, or a series by chance.
func (w *watcher) note(last *string, what string, err error) {
	text := ""
	if err != nil {
		text = what + ", " + core.Code(err)
	}
	if text == *last {
		return
	}
	if err == nil {
		w.log.Info("watch works again", slog.String("was", *last))
	} else {
		w.log.Warn("watch fails", slog.String("what", what), slog.Any("error", err))
	}
	*last = text
}

// cause is an error in a few words.
func cause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	text := []rune(err.Error())
	if len(text) > 200 {
		return string(text[:200]) + "..."
	}
	return string(text)
}
