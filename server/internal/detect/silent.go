package detect

import (
	"log/slog"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// silentAfter is for how long, and silentIntervals for how many intervals, a watch that had data must have none for that to be said.
	silentAfter     = 5 * time.Minute
	silentIntervals = 10
	// patientAfter is from which failure in a row on a question is asked more seldom: twice as seldom after each, and after
	// patientIntervals intervals or patientLongest again, whichever is sooner.
	patientAfter     = 6
	patientIntervals = 4
	patientLongest   = 2 * time.Minute
)

// patience is how often a question is asked whose answer has failed.
type patience struct {
	failures int
	next     time.Time // not to be asked before; zero: at the next tick
	why      string    // of the last failure
}

// failed tells of a failure at a tick.
func (p *patience) failed(tick time.Time, interval time.Duration, why string) {
	p.failures++
	p.why = why
	if over := p.failures - patientAfter; over >= 0 {
		wait := min(interval<<min(over+1, patientIntervals), patientIntervals*interval, patientLongest)
		p.next = tick.Add(max(interval, wait))
	}
}

// waits reports whether a tick passes without a question.
func (p *patience) waits(tick time.Time) bool { return tick.Before(p.next) }

// text says why nothing is known.
func (p *patience) text() string {
	text := "unknown, the query failed: " + p.why
	if !p.next.IsZero() {
		text += "; asked again at " + core.ClockText(p.next)
	}
	return text
}

// listen notes when there was data last, and says once when that is long ago and once when there is some again: of the watch, and not of
// each of its series. A watch that never had any asks for what is not there, as one about links where there are none. While nobody asked, as when
// the server was down, nobody knows.
func (w *watcher) listen(at time.Time, interval time.Duration) {
	for _, s := range w.series {
		if s.lastAt.After(w.heard) {
			w.heard = s.lastAt
		}
	}
	if at.Sub(w.listens) > unknownAfter*interval {
		w.listensFrom = at
	}
	w.listens = at
	silent := !w.heard.IsZero() && min(at.Sub(w.heard), at.Sub(w.listensFrom)) >= max(silentAfter, silentIntervals*interval)
	if silent == w.silent {
		return
	}
	w.silent = silent
	gauge := w.metrics.silent.WithLabelValues(w.watch.Name)
	if !silent {
		gauge.Set(0)
		w.log.Info("watch has data again")
		return
	}
	gauge.Set(1)
	w.log.Warn("watch has no data any more, all its series are unknown", slog.Time("since", w.heard),
		slog.String("hint", "look whether what it asks for is still written, and by that name"))
}

// mute is why no series of the watch is known, empty when one may be.
func (w *watcher) mute() string {
	switch {
	case w.patience.failures >= patientAfter:
		return w.patience.text()
	case w.silent:
		return "no data since " + core.ClockText(w.heard)
	}
	return ""
}
