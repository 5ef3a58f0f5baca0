package detect

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// doubtEvery is how often the watchman looks whether it keeps pace.
const doubtEvery = time.Second

// progress is how far a watch has come. Unlike the rest of a watcher it is shared with who looks after it.
type progress struct {
	mu       sync.Mutex
	at       time.Time // of the last tick that was judged, at the start the first one that is to be
	interval time.Duration
	series   []*series // that were told of; of them only what never changes is read
	warming  *core.Warming
	behind   bool
}

func (p *progress) judge(at time.Time, interval time.Duration, told []*series, warming *core.Warming) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.interval, p.series, p.warming = at, interval, told, warming
}

// late is for how long nothing has been judged, when that is three intervals or more.
func (p *progress) late(now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := now.Sub(p.at)
	return since, p.interval > 0 && since >= unknownAfter*p.interval
}

// Behind says which watches are not judged in time and why that matters, or nil: the server's doubt about its own pace. It
// does not block.
func (m *Watchman) Behind() error {
	var first string
	more := 0
	for _, w := range m.watchers {
		since, late := w.progress.late(w.now())
		switch {
		case !late:
		case first == "":
			first = fmt.Sprintf("watch %s has not been judged for %s", w.watch.Name, since.Round(time.Second))
		default:
			more++
		}
	}
	if first == "" {
		return nil
	}
	if more > 0 {
		first += fmt.Sprintf(", and %d more", more)
	}
	return &core.Error{
		Code: core.CodeUnavailable, Message: "detection is behind: " + first + "; the series are unknown",
		Hint: "watch fewer series or more seldom, or give the server more processors; after a start the past is read first",
	}
}

// doubt says of the series of a watch that is behind that they are unknown: its own goroutine cannot, for it is that one
// which does not come to it.
func (m *Watchman) doubt(ctx context.Context) {
	ticker := time.NewTicker(doubtEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, w := range m.watchers {
			w.doubt()
		}
	}
}

func (w *watcher) doubt() {
	now := w.now()
	since, late := w.progress.late(now)
	p := &w.progress
	p.mu.Lock()
	was, at, interval, told := p.behind, p.at, p.interval, p.series
	p.behind = late
	p.mu.Unlock()
	switch {
	case late == was:
		return
	case !late:
		w.log.Info("watch keeps pace again")
		w.metrics.behind.WithLabelValues(w.watch.Name).Set(0)
		return
	}
	w.log.Warn("watch is behind, its series are unknown", slog.Duration("since", since), slog.Int("series", len(told)))
	w.metrics.behind.WithLabelValues(w.watch.Name).Set(1)
	why := "unknown, detection is behind and has not judged it since " + core.ClockText(at)
	signals := newBatch(w.tell, len(told))
	for _, s := range told {
		if s.known {
			signals.add(s.doubted(w.watch, w.watch.named("", s.subject), interval, now, why))
		}
	}
	signals.flush()
}
