package detect

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// miss is what follows when an answer lacks a series: it is gone, and absence, which alone wants to know, is told.
func (w *watcher) miss(s *series, at time.Time) {
	if s.gone.IsZero() {
		s.gone = at
	}
	if w.watch.model() == ModelAbsence {
		s.miss(at)
	}
}

// miss tells the model that there is no value. Only that it is gone for too long is news.
func (s *series) miss(at time.Time) {
	s.missed = at
	if v := s.past.model.Observe(detectors.Point{At: at, Missing: true}); v.State == detectors.StateAnomalous {
		s.verdict, s.absent, s.unknown, s.note = v, true, "", ""
		if !s.excused.IsZero() {
			s.note = "beside the time until " + core.ClockText(s.excused) + ", when nobody was there to take any"
		}
	}
}

// excuse tells absence that nobody asked at a time, so that it is not known whether there could have been a value. Lasted is for how long
// nobody has: what a tick or two take is left out of the silence, and after more of them, as after a start, patience begins anew.
func (s *series) excuse(at time.Time, lasted, interval time.Duration) {
	m, ok := s.past.model.(*detectors.Absence)
	if !ok {
		return
	}
	s.missed = at
	if s.absent {
		return // it was known to be gone
	}
	s.excused = at
	if lasted >= unknownAfter*interval {
		m.Excuse(at, at.Sub(s.lastAt))
	} else {
		m.Excuse(at, interval)
	}
}

// missing says why nothing is known of a series that is missing, and of absence when it will be.
func (s *series) missing() string {
	why := "unknown, no data since " + core.ClockText(s.lastAt)
	if s.past == nil {
		return why
	}
	m, ok := s.past.model.(*detectors.Absence)
	if !ok {
		return why
	}
	if !s.excused.IsZero() {
		why += ", and nobody was there to take any until " + core.ClockText(s.excused)
	}
	if due, ok := m.Due(); ok {
		why += "; absent if none comes until " + core.ClockText(due)
	}
	return why
}

// missUntil tells absence of the ticks of the past since the last value, before a time. Those at which nobody asked say nothing.
func (w *watcher) missUntil(s *series, end time.Time, interval time.Duration) {
	if w.watch.model() != ModelAbsence || s.lastAt.IsZero() {
		return
	}
	first := s.lastAt.Add(interval)
	if s.missed.After(s.lastAt) {
		first = s.missed.Add(interval)
	}
	if s.gone.IsZero() && first.Before(end) {
		s.gone = first
	}
	var lasted time.Duration
	for at := first; at.Before(end); at = at.Add(interval) {
		if w.replay.wasAsked(at) {
			lasted = 0
			s.miss(at)
		} else {
			lasted += interval
			s.excuse(at, lasted, interval)
		}
	}
}

// askedOf asks when a watch was judged, by any replica: what was written back of it says so. At such a time the store was there and took what
// came, and whoever judged the watch was. What a store has of a time when it or the servers were not there came from queues, afterwards, and
// not of all series at once.
func askedOf(watch string, interval time.Duration) string {
	return fmt.Sprintf("count(count_over_time(%s{detector=%q}[%dms]))", metricState, watch, interval.Milliseconds())
}

// learnAsked learns for absence when the watch was judged in a part of the past.
func (w *watcher) learnAsked(ctx context.Context, from, to time.Time, interval time.Duration) error {
	if w.watch.model() != ModelAbsence {
		return nil
	}
	return w.watch.askedIn(ctx, w.querier, from, to, interval, w.replay.asked)
}

// askedIn adds when the watch was judged in a part of the past, in ms.
func (w Watch) askedIn(ctx context.Context, q Querier, from, to time.Time, interval time.Duration, times map[int64]bool) error {
	answer, err := q.QueryRange(ctx, askedOf(w.Name, interval), from, to, interval)
	for _, x := range answer {
		for _, at := range x.Times {
			times[at.UnixMilli()] = true
		}
	}
	return err //nolint:wrapcheck // as that of the questions of the watch
}

// wasAsked reports whether the watch was judged at a time of the past.
func (r *replay) wasAsked(at time.Time) bool { return r.asked[at.UnixMilli()] }

// lost reports whether ticks before this one went by without an answer. What absence would take for missing values is then asked
// for again.
func (w *watcher) lost(tick time.Time) bool {
	return w.watch.model() == ModelAbsence && !w.asked.IsZero() && tick.Add(-w.watch.EvalDelay).Sub(w.asked) > w.interval(tick)*3/2
}

// catchUp is a replay of what came since the last answer, by the models that are in use; nil when that is as long ago as the
// training window, which is read as a whole then.
func (w *watcher) catchUp(tick time.Time) *replay {
	interval := w.interval(tick)
	if tick.Sub(w.asked) >= w.watch.training(interval) {
		return nil
	}
	return &replay{series: w.series, rows: w.rows, from: w.asked.Add(interval), found: len(w.series), inUse: true, asked: map[int64]bool{}}
}
