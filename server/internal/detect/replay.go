package detect

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// partPoints is about how many points a part of a replay has, of all series together: some 50 MB while they are read.
	partPoints = 1_000_000
	// minPart and maxPart bound the points that a series has in one part: each part costs the store a search for its series,
	// and a store answers no more than 30000.
	minPart, maxPart = 60, 10_000
	// maxReplay is how many points a replay reads, of all series together: some minutes.
	maxReplay = 100_000_000
	// maxExtensions is how often a replay goes on to what came while it read. Each time that is less, but in a store so slow
	// that it never ends.
	maxExtensions = 3
)

// replay is the training window, read in parts one after the other. What it learns takes the place of what was learned
// without it when it is done; one that fails goes on with the same part at the next tick.
type replay struct {
	series map[string]*series
	rows   rows
	from   time.Time      // of the next part
	found  int            // series of the first answer that had any, those that were refused too; 0: not known yet
	inUse  bool           // the series are those of the watch, which know what was before
	asked  map[int64]bool // when the watch was judged, in ms; known for absence alone
}

// remember teaches the models what the store remembers from before the tick, and when that is lost meanwhile, from before
// the first one that is not yet.
func (w *watcher) remember(ctx context.Context, tick, lost time.Time) {
	interval := w.interval(tick)
	until := tick.Add(-w.watch.EvalDelay - interval)
	if w.replay == nil {
		w.replay = w.restore(ctx, until, interval)
	}
	if w.replay == nil {
		points := w.watch.training(interval) / interval
		w.replay = &replay{series: map[string]*series{}, rows: w.watch.newRows(), from: until.Add(-points * interval), asked: map[int64]bool{}}
	}
	r := w.replay
	for !r.from.After(until) {
		if !w.mayRead(ctx) {
			return
		}
		err := w.part(ctx, until, interval)
		// What came meanwhile is read before anybody else has a turn, or it would grow while we wait for ours. The times of a
		// schedule that is not Every have no even distance.
		for n := 0; n < maxExtensions && err == nil && w.watch.Every > 0 && r.from.After(until) && !w.now().Before(lost); n++ {
			lost = w.schedule.Next(w.now().UTC())
			until = lost.Add(-w.watch.EvalDelay - interval)
			err = w.part(ctx, until, interval)
		}
		<-w.replays
		if ctx.Err() != nil {
			return
		}
		w.note(&w.replayErr, "replay of the training window", err)
		if err != nil {
			w.metrics.replayErrors.WithLabelValues(w.watch.Name).Inc()
			return
		}
	}
	w.series, w.rows, w.order = r.series, r.rows, nil
	for _, s := range w.series {
		w.missUntil(s, until.Add(time.Nanosecond), interval)
	}
	w.replayed, w.again, w.replay, w.asked = true, false, nil, until
	w.metrics.series.WithLabelValues(w.watch.Name).Set(float64(len(w.series)))
}

// mayRead waits for the turn to read a part; with models that judge it does not, and asks again at the next tick.
func (w *watcher) mayRead(ctx context.Context) bool {
	if !w.again {
		return acquire(ctx, w.replays)
	}
	select {
	case w.replays <- struct{}{}:
		return true
	default:
		return false
	}
}

// part reads one part of the training window and gives it to the models.
func (w *watcher) part(ctx context.Context, until time.Time, interval time.Duration) error {
	r := w.replay
	series := w.watch.maxSeries()
	if r.found > 0 {
		series = max(r.found, len(r.series), r.rows.seats())
	}
	points := time.Duration(min(max(partPoints/series, minPart), maxPart))
	to := r.from.Add((points - 1) * interval)
	if to.After(until) {
		to = until
	}
	within, cancel := context.WithTimeout(ctx, maxQueryTime)
	defer cancel()
	pasts, err := w.askRange(within, r.from, to, interval)
	if err != nil {
		return err
	}
	if err := w.learnAsked(within, r.from, to, interval); err != nil {
		return err
	}
	if r.found == 0 {
		for _, past := range pasts {
			r.found += len(past.series)
		}
		// In intervals: so many of them may be more than a Duration holds.
		if most := time.Duration(max(1, maxReplay/max(1, r.found))); r.found > 0 && (until.Sub(to)-1)/interval >= most {
			r.from = until.Add(-(most - 1) * interval) // too much to read: the newest counts
			return nil
		}
	}
	live, liveRows := w.series, w.rows
	w.series, w.rows = r.series, r.rows
	defer func() { w.series, w.rows, w.order = live, liveRows, nil }()
	marks := w.marksFor(r.from.Add(-changeSettles), to)
	if w.rows == nil {
		w.replaySeries(pasts[0].series, marks, interval)
	} else {
		w.replayRows(pasts, marks)
	}
	for key, s := range w.series {
		if to.Sub(s.lastAt) >= w.watch.forgetAfter(interval) {
			delete(w.series, key) // it ended long before, or never had a value
		}
	}
	w.tidy()
	r.from = to.Add(interval)
	return nil
}

// replaySeries gives the points of each series to its model.
func (w *watcher) replaySeries(past []core.SeriesRange, marks []Mark, interval time.Duration) {
	seen := make(map[*series]bool, len(past))
	own := make([]*series, len(past)) // nil: passed over
	for i, p := range past {
		key, written := seriesKey(w.watch.Name, p.Labels)
		s := w.lookup(key, written, p.Labels)
		switch {
		case s == nil:
			w.metrics.refused.WithLabelValues(w.watch.Name).Inc()
			continue
		case seen[s]:
			w.ignore(ignoredDuplicate)
			continue
		}
		seen[s], own[i] = true, s
	}
	parallel(len(past), func(i int) {
		s, p := own[i], &past[i]
		if s == nil {
			return
		}
		known := s.lastAt // from before a restart
		for j, x := range p.Values {
			if j < len(p.Times) && p.Times[j].After(known) && !math.IsNaN(x) && !math.IsInf(x, 0) {
				w.missUntil(s, p.Times[j], interval)
				s.observe(w.watch, p.Times[j], x, interval, marks)
			}
		}
	})
}

// yieldAfter is after how many series the processor is offered to others: a probe's result is not to wait for a whole cycle.
const yieldAfter = 64

// parallel calls f for 0 to n-1, from several goroutines when there are many.
func parallel(n int, f func(i int)) {
	const block = yieldAfter
	var next atomic.Int64
	work := func() {
		for {
			end := int(next.Add(block))
			if end-block >= n {
				return
			}
			for i := end - block; i < min(end, n); i++ {
				f(i)
			}
			runtime.Gosched()
		}
	}
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+block-1)/block) - 1 {
		wait.Go(work)
	}
	work()
	wait.Wait()
}
