package detect

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
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
	maxSkipCount  = 10_000
	maxClockSleep = time.Minute // a jump of the clock is noticed within it
	samplesAtOnce = 5000        // so that what agents send is stored in between
)

// watcher runs one watch. Everything in it belongs to its goroutine, except what is shared by all watches: the
// slots, those of replays, the progress, the signals and the metrics.
type watcher struct {
	watch    Watch
	schedule cron.Schedule
	querier  Querier
	writer   Writer
	tell     func([]core.Signal)
	mine     func(watch string) bool // nil: always
	marks    func(from, until time.Time) []Mark
	zone     func(site string) *time.Location
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics
	slots    chan struct{}
	replays  chan struct{}
	progress progress
	keeper   *keeper   // nil: what is learned is not kept
	pass     *pass     // under way; nil: none
	passes   time.Time // begin of the last one
	spoiled  spoiled

	ours     bool // whether it was ours at the last tick
	series   map[string]*series
	order    []*series     // the series by key; nil when they changed
	rows     rows          // nil for models of one series
	points   []seriesPoint // of the last answer; its room is used again
	samples  []core.Sample // of the last report; its room is used again
	replayed bool
	again    bool      // the models judge, while the training window is to be read again
	replay   *replay   // under way; nil: not begun, or done
	asked    time.Time // the time of the last question of ours that was answered
	heard    time.Time // the newest value of any series
	listens  time.Time // of the newest answer, and listensFrom of the first one of those that came at each tick until then

	listensFrom time.Time
	silent      bool // that is long ago
	patience    patience
	queryErr    string // the failures last logged
	valueErr    string
	replayErr   string
	writeErr    string

	aboutNothing, tooMany leftOut
}

// run asks at the times of the schedule. An evaluation that outlasts its interval makes ticks pass; they are
// counted and not made up for.
func (w *watcher) run(ctx context.Context) {
	first := w.schedule.Next(w.now().UTC())
	w.prepare(ctx, first, first)
	for ctx.Err() == nil {
		tick, ok := w.sleep(ctx)
		if !ok {
			<-ctx.Done()
			return
		}
		next := w.schedule.Next(tick)
		if w.prepare(ctx, tick, next) && !next.After(w.now()) { // the models know already what came after it
			w.metrics.skipped.WithLabelValues(w.watch.Name).Inc()
		} else if acquire(ctx, w.slots) {
			w.tick(ctx, tick)
			<-w.slots
		}
		w.save(ctx, tick)
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

// acquire takes one of the slots; false: ctx is done first.
func acquire(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *watcher) countSkipped(tick time.Time) {
	now := w.now()
	skipped := 0
	for next := w.schedule.Next(tick); !next.IsZero() && !next.After(now) && skipped < maxSkipCount; next = w.schedule.Next(next) {
		skipped++
	}
	w.metrics.skipped.WithLabelValues(w.watch.Name).Add(float64(skipped))
}

// interval is how far apart the values of the watch are.
func (w *watcher) interval(tick time.Time) time.Duration {
	if w.watch.Every > 0 {
		return w.watch.Every
	}
	return apart(w.schedule, tick)
}

// pause is the time from a tick to the next.
func (w *watcher) pause(tick time.Time) time.Duration {
	return max(minEvery, w.schedule.Next(tick).Sub(tick))
}

// prepare asks whose the watch is, and has its models know what was before the tick, which passes when the time is lost:
// true when a replay has just done so. It holds no slot: a long replay keeps no other watch waiting.
func (w *watcher) prepare(ctx context.Context, tick, lost time.Time) (replayed bool) {
	w.turn()
	if w.ours && w.patience.waits(tick) {
		return false
	}
	spoiled := w.spoiled.take()
	if !w.ours {
		return false
	}
	if w.learned(spoiled, tick) {
		w.log.Info("training window is read again, for a time of it was marked or is no longer", slog.Time("from", spoiled[0].From), slog.Time("until", spoiled[0].Until))
		w.again = w.again || w.replayed
		w.replayed, w.replay = false, nil
		w.pass, w.passes = nil, time.Time{} // the rest of the pass would be of other models
	}
	if back := w.asked.Sub(tick.Add(-w.watch.EvalDelay)); back > unknownAfter*w.interval(tick) {
		// The models know a time that has not come yet, and would take no value until then.
		w.log.Warn("clock went back; the models begin again", slog.Duration("by", back))
		w.forget()
	}
	if w.replayed && w.lost(tick) {
		w.replayed, w.replay = false, w.catchUp(tick)
	}
	if w.replayed {
		return false
	}
	w.remember(ctx, tick, lost)
	return w.replayed
}

// tick is one evaluation, or one look at what another replica has found.
func (w *watcher) tick(ctx context.Context, tick time.Time) {
	start := w.now()
	if w.ours {
		w.evaluate(ctx, tick)
	} else {
		w.follow(ctx, tick)
	}
	w.metrics.seconds.WithLabelValues(w.watch.Name).Add(max(0, w.now().Sub(start).Seconds()))
	if ctx.Err() == nil {
		w.progress.judge(tick, w.pause(tick), w.sorted(), w.warming(w.interval(tick)))
	}
	w.metrics.cycle.WithLabelValues(w.watch.Name).Set(max(0, w.now().Sub(tick).Seconds()))
}

func (w *watcher) evaluate(ctx context.Context, tick time.Time) {
	interval := w.interval(tick)
	at := tick.Add(-w.watch.EvalDelay)
	within, cancel := context.WithTimeout(ctx, min(interval, maxQueryTime))
	defer cancel()
	if w.patience.waits(tick) {
		w.doubtAll()
		w.report(within, at, interval)
		return
	}
	answers, err := w.ask(within, at, interval)
	if ctx.Err() != nil {
		return // the end, not an error
	}
	w.failed(tick, interval, err)
	if err == nil {
		w.asked = at
		if w.replay != nil && w.replay.inUse {
			w.replay = nil // the models are past what it was to read: next time from the beginning
		}
		if w.rows == nil {
			w.take(answers[0].series, at, interval)
		} else {
			w.takeRows(answers, at)
		}
		w.tellLeftOut(at)
		w.listen(at, interval)
		w.age(at, interval)
	}
	w.report(within, at, interval)
	w.metrics.evaluations.WithLabelValues(w.watch.Name).Inc()
}

// take gives each series of an answer to its model.
func (w *watcher) take(answer []core.SeriesValue, at time.Time, interval time.Duration) {
	w.points = w.points[:0]
	seen := make(map[string]bool, len(answer))
	for i, a := range answer {
		yield(i)
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
			w.tooMany.add(a.Labels)
			continue
		}
		if !s.known {
			w.ignore(ignoredSubject)
			w.aboutNothing.add(s.labels)
		}
		if !w.watch.Valid.holds(a.Value) {
			w.ignore(ignoredInvalid)
		}
		s.unknown, s.gone = "", time.Time{}
		w.points = append(w.points, seriesPoint{s, a.Value})
	}
	marks := w.marksFor(at.Add(-changeSettles), at)
	// One after the other: watches run side by side, and more of them would only keep the results of probes waiting.
	for i, p := range w.points {
		p.series.observe(w.watch, at, p.value, interval, marks)
		yield(i)
	}
	for key, s := range w.series {
		if !seen[key] {
			w.miss(s, at)
		}
	}
}

// yield offers the processor to others now and then; i counts.
func yield(i int) {
	if i%yieldAfter == yieldAfter-1 {
		runtime.Gosched()
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
			w.order = nil
			continue
		}
		if missing >= (unknownAfter-1)*max(interval, s.cadence.rests(interval)) && !s.absent {
			s.unknown = s.missing()
		}
	}
}

// sorted are the series in the order of their keys, with their names.
func (w *watcher) sorted() []*series {
	if w.order == nil {
		w.order = slices.SortedFunc(maps.Values(w.series), func(a, b *series) int { return strings.Compare(a.key, b.key) })
		nameSeries(w.watch, w.order)
	}
	return w.order
}

// forget begins with no series, and with nothing replayed.
func (w *watcher) forget() {
	w.series, w.order, w.replayed, w.again, w.replay, w.pass, w.asked = map[string]*series{}, nil, false, false, nil, nil, time.Time{}
	w.heard, w.listens = time.Time{}, time.Time{}
}

// report tells the state of every series, and writes it back when the watch is ours. A series that is missing for a
// short time is passed over, but for one that is written more seldom than the watch asks, whose state holds; and so is what another
// replica said and was told already: it stands, and counts once.
func (w *watcher) report(ctx context.Context, at time.Time, interval time.Duration) {
	w.samples = w.samples[:0]
	signals := newBatch(w.tell, len(w.series))
	anomalous := 0
	for _, s := range w.sorted() {
		if !s.gone.IsZero() && s.unknown == "" && !s.absent && s.cadence.rests(interval) == 0 {
			continue
		}
		if s.state() == core.DetectorAnomalous {
			anomalous++
		}
		again := !w.ours && s.unknown == "" && s.told.Equal(s.lastAt)
		switch {
		case s.unknown != "":
			s.told = time.Time{}
		case w.ours:
			s.told = at
		default:
			s.told = s.lastAt
		}
		if s.known && !again {
			signals.add(s.signal(w.watch, interval, at))
		}
		if w.ours {
			w.samples = s.samples(w.samples, w.watch, interval, at)
		}
	}
	signals.flush()
	models := 0
	if w.ours {
		models = len(w.series)
	}
	w.metrics.series.WithLabelValues(w.watch.Name).Set(float64(models))
	w.metrics.anomalous.WithLabelValues(w.watch.Name).Set(float64(anomalous))
	if len(w.samples) == 0 {
		return
	}
	var err error
	for part := range slices.Chunk(w.samples, samplesAtOnce) {
		if err = w.writer.Append(ctx, part); err != nil {
			break
		}
	}
	w.note(&w.writeErr, "writing back", err)
	if err != nil {
		w.metrics.writeErrors.WithLabelValues(w.watch.Name).Inc()
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
		s.past = w.newPastOf(s)
	}
	w.series[key], w.order = s, nil
	return s
}

// newPastOf is that of a series of which nothing is known yet.
func (w *watcher) newPastOf(s *series) *past {
	zone := w.zone(s.subject.Site)
	return newPast(func() detectors.Model { return w.watch.newModel(zone) }, w.watch.learns())
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
