package detect

import (
	"fmt"
	"math"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Warming says of each watch with series that have too few points yet how far it is, and of each that has no data any more or gets no answer
// since when and why, in the order of the watches. It does not block.
func (m *Watchman) Warming() []core.Warming {
	var out []core.Warming
	for _, w := range m.watchers {
		w.progress.mu.Lock()
		if w.progress.warming != nil {
			out = append(out, *w.progress.warming)
		}
		w.progress.mu.Unlock()
	}
	return out
}

// warming is how far the watch is, nil when nothing warms.
func (w *watcher) warming(interval time.Duration) *core.Warming {
	out := core.Warming{Watch: w.watch.Name, Series: len(w.series)}
	if out.Sentence = w.mute(); out.Sentence != "" {
		return &out
	}
	cold, left := 0, 0
	for _, s := range w.sorted() {
		if state := s.state(); state != core.DetectorWarming {
			if state != core.DetectorUnknown {
				out.Warm++
			}
			continue
		}
		cold++
		if v := s.verdict; v.Needed > 0 && max(1, v.Needed-v.Points) > left {
			left = max(1, v.Needed-v.Points)
			out.Points, out.Needed = v.Points, v.Needed
		}
	}
	if cold == 0 {
		return nil
	}
	out.Sentence = "warming"
	if cold < out.Series {
		out.Sentence = fmt.Sprintf("%d of %d series warming", cold, out.Series)
	}
	if left > 0 {
		in := time.Duration(left) * w.watch.pointEvery(interval)
		out.ReadyIn = core.ToSeconds(in)
		out.Sentence += fmt.Sprintf(", %d of %d points, about %s", out.Points, out.Needed, roughly(in))
	}
	return &out
}

// pointEvery is how much time one point stands for by which a model says how far it is.
func (w Watch) pointEvery(interval time.Duration) time.Duration {
	if m, ok := w.newModel(nil).(*detectors.Trend); ok {
		return max(interval, m.Bucket())
	}
	return interval
}

// roughly is a time to wait for, rounded up.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	in := func(unit time.Duration) float64 { return math.Ceil(float64(d) / float64(unit)) }
	switch {
	case d <= 90*time.Second:
		return fmt.Sprintf("%.0f s", in(time.Second))
	case d <= 90*time.Minute:
		return fmt.Sprintf("%.0f min", in(time.Minute))
	case d <= 2*day:
		return fmt.Sprintf("%.0f h", in(time.Hour))
	}
	return fmt.Sprintf("%.0f d", in(day))
}
