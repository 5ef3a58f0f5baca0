package detect

import (
	"time"

	"github.com/evenkeel/evenkeel/detectors"
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
		s.verdict, s.absent, s.unknown = v, true, ""
	}
}

// missUntil tells absence of the ticks of the past since the last value, before a time.
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
	for at := first; at.Before(end); at = at.Add(interval) {
		s.miss(at)
	}
}

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
	return &replay{series: w.series, rows: w.rows, from: w.asked.Add(interval), found: len(w.series), inUse: true}
}
