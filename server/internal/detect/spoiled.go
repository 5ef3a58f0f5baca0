package detect

import (
	"slices"
	"sync"
	"time"
)

// spoiled are times that were marked, or are no longer, since the models of a watch may have learned them. They are shared
// with who marks them.
type spoiled struct {
	mu    sync.Mutex
	marks []Mark
}

func (s *spoiled) add(marks []Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = append(s.marks, marks...)
}

func (s *spoiled) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.marks) > 0
}

func (s *spoiled) take() []Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.marks
	s.marks = nil
	return out
}

// Relearn says that times of the past were marked, or are no longer, as Marks has them now. The watches that have learned them read
// their training window again at their next tick, and are not judged meanwhile. It does not block.
func (m *Watchman) Relearn(marks []Mark) {
	for _, w := range m.watchers {
		w.spoiled.add(marks)
	}
}

// learned reports whether the models of the watch may have learned one of the times.
func (w *watcher) learned(marks []Mark, tick time.Time) bool {
	if len(marks) == 0 || w.rows == nil && !w.watch.learns() {
		return false
	}
	oldest := tick.Add(-w.watch.EvalDelay - w.watch.training(w.interval(tick)))
	known := []map[string]*series{w.series}
	if w.replay != nil {
		known = append(known, w.replay.series)
	}
	return slices.ContainsFunc(marks, func(m Mark) bool {
		if !m.Until.IsZero() && m.Until.Before(oldest) {
			return false
		}
		for _, all := range known {
			for _, s := range all {
				if s.known && m.Subject.Overlaps(s.subject) {
					return true
				}
			}
		}
		return false
	})
}
