package detect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// saveAfter is how long after a tick at most a part of a pass is written, when the cycles of all watches are over.
	saveAfter = 5 * time.Second
	// saveRest is how long a watch rests after each piece that it writes, some 15 series of auto, so that who judges a probe's result finds a processor.
	saveRest = 5 * time.Millisecond
	// parallelSaves is how many watches are saved at the same time at the end.
	parallelSaves = 2
)

// save goes on with a pass between two ticks, or begins one. What a series has learned is written as it is at that moment, so some know more than
// others; each says how much.
func (w *watcher) save(ctx context.Context, tick time.Time) {
	if !w.saves() {
		w.pass = nil
		return
	}
	pause := w.pause(tick)
	end := tick.Add(pause * 3 / 4) // long before the next one, which would be passed over
	timer := time.NewTimer(tick.Add(min(saveAfter, pause/2)).Sub(w.now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	now := w.now()
	if !now.Before(end) {
		return
	}
	every := w.keeper.every()
	if w.pass != nil && w.pass.broken.Load() {
		w.pass = nil
	}
	if w.pass == nil {
		if !w.passes.IsZero() && now.Sub(w.passes) < every-pause/2 && !now.Before(w.passes) {
			return
		}
		w.pass, w.passes = w.newPass(), now
	}
	ticks := max(1, int(every/pause))
	within, cancel := context.WithTimeout(ctx, end.Sub(now))
	defer cancel()
	if !acquire(within, w.keeper.turn) {
		return
	}
	defer func() { <-w.keeper.turn }()
	w.write(within, w.pass, max(1, (w.pass.size+ticks-1)/ticks), saveRest)
}

// saves reports whether there are models, and what they know is all that came until now and may be learned.
func (w *watcher) saves() bool {
	return w.keeper != nil && w.ours && w.replayed && w.replay == nil && len(w.series) > 0 && !w.spoiled.any()
}

// newPass is one of all that is known now.
func (w *watcher) newPass() *pass {
	p := &pass{watch: w.watch.Name, asked: w.asked, size: len(w.series)}
	if w.rows == nil {
		p.series = w.sorted()
	} else {
		p.rows, p.size = slices.Sorted(maps.Keys(w.rows)), w.rows.seats()
	}
	return p
}

// write hands the next models of a pass to the keeper, as many as it is asked for or until ctx is done, with a rest
// after each piece.
func (w *watcher) write(ctx context.Context, p *pass, models int, rest time.Duration) {
	for first, done := true, false; !done && models > 0 && ctx.Err() == nil; first = false {
		if !first && rest > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(rest):
			}
		}
		buf, ok := w.keeper.waitRoom(ctx)
		if !ok {
			return
		}
		r := recorder{buf: buf}
		for !done && models > 0 && len(r.buf) < pieceSize && r.err == nil && (len(r.buf) == 0 || ctx.Err() == nil) {
			var n int
			n, done = w.record(&r, p)
			models -= n
			runtime.Gosched() // a probe's result is not to wait
		}
		w.keeper.queue <- piece{p, r.buf, done, r.err}
		if done || r.err != nil {
			w.pass = nil
			return
		}
	}
}

func (p *pass) length() int { return max(len(p.series), len(p.rows)) }

// record writes down the next series or row of a pass. Models is how many that are, and done whether it was the last.
func (w *watcher) record(r *recorder, p *pass) (models int, done bool) {
	if !p.written {
		p.written = true
		r.line(w.head(p))
	}
	if p.next < p.length() {
		models = w.recordAt(r, p)
		p.next++
	}
	return models, p.next == p.length()
}

func (w *watcher) recordAt(r *recorder, p *pass) (models int) {
	if p.rows == nil {
		if s := p.series[p.next]; w.series[s.key] == s {
			r.series(s, w.zoneOf(s))
		}
		return 1
	}
	key := p.rows[p.next]
	row := w.rows[key]
	if row == nil || len(row.series) == 0 {
		return 1
	}
	r.row(key, row, w.zoneOf, func(s *series) bool { return w.series[s.key] == s })
	return len(row.values)
}

func (w *watcher) head(p *pass) (stateHead, error) {
	own, err := w.watch.fingerprint()
	return stateHead{
		Format: stateFormat, Watch: w.watch.Name, Fingerprint: own, Asked: p.asked, Series: p.size, Special: w.specialUntil(p.asked, w.series),
		Incidents: w.incidentsUntil(p.asked, w.series),
	}, err
}

// line writes the head.
func (r *recorder) line(head stateHead, err error) {
	b, err2 := json.Marshal(head)
	if r.err = errors.Join(r.err, err, err2); r.err == nil {
		r.buf = append(append(r.buf, b...), '\n')
	}
}

// Save writes what all watches have learned, after Run has returned, until ctx is done. What it does not come to stays as it was written last.
func (m *Watchman) Save(ctx context.Context) {
	k := m.keeper
	if k == nil {
		return
	}
	stop := k.start(ctx)
	defer stop()
	left := make(chan *watcher, len(m.watchers))
	for _, w := range m.watchers {
		left <- w
	}
	close(left)
	var wait sync.WaitGroup
	for range parallelSaves {
		wait.Go(func() {
			for w := range left {
				if ctx.Err() == nil && w.saves() {
					w.pass = w.newPass()
					w.write(ctx, w.pass, math.MaxInt, 0)
				}
			}
		})
	}
	wait.Wait()
	for range pieces { // each is back when it is written
		if _, ok := k.waitRoom(ctx); !ok {
			return
		}
	}
}

// restore reads what the watch had learned before a restart, and what is to be read since; nil when that is not known.
func (w *watcher) restore(ctx context.Context, until time.Time, interval time.Duration) *replay {
	if w.keeper == nil || w.again || !acquire(ctx, w.replays) { // again: it is of models that are to learn anew
		return nil
	}
	defer func() { <-w.replays }()
	start := w.now()
	head, records, done, err := openState(ctx, statePath(w.keeper.dir, w.watch.Name))
	if errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		return nil
	}
	var known map[string]*series
	var all rows
	if err == nil {
		defer done()
		if err = w.fits(head, until, interval); err == nil {
			known, all, err = w.recall(records, until.Add(unknownAfter*interval))
		}
		if err == nil {
			err = w.marked(head, known)
		}
	}
	if err != nil {
		w.log.Warn("what the watch had learned before cannot be used; it reads the past again", slog.Any("reason", err))
		return nil
	}
	w.log.Info("the watch goes on with what it had learned", slog.Int("series", len(known)), slog.Time("until", head.Asked),
		slog.Duration("took", w.now().Sub(start)))
	return &replay{series: known, rows: all, from: head.Asked.Add(interval), found: head.Series, asked: map[int64]bool{}}
}

// fits says why a state is none of this watch at this time.
func (w *watcher) fits(head stateHead, until time.Time, interval time.Duration) error {
	own, err := w.watch.fingerprint()
	if err != nil {
		return err
	}
	gap := until.Sub(head.Asked)
	switch {
	case head.Format != stateFormat:
		return errors.New("another version of the server wrote it")
	case head.Watch != w.watch.Name || head.Fingerprint != own:
		return errors.New("the watch was defined otherwise")
	case gap < -unknownAfter*interval:
		return errFuture
	case gap >= w.watch.training(interval), gap/interval > time.Duration(maxReplay/max(1, head.Series)):
		return errors.New("it is too old: what came since is as much as the watch reads at a start")
	}
	return nil
}

// marked says why a state has other times behind it than are marked now, as after a change of the configuration or what was said while the
// server was down. What is marked while it runs is told by Relearn.
func (w *watcher) marked(head stateHead, known map[string]*series) error {
	switch {
	case head.Special != w.specialUntil(head.Asked, known):
		return errors.New("other times of its past are special now")
	case head.Incidents != w.incidentsUntil(head.Asked, known):
		return errors.New("a time of its past was marked as an incident since, or is none any more")
	}
	return nil
}

// specialUntil is in one text what was special to series in the training window of a time.
func (w *watcher) specialUntil(at time.Time, of map[string]*series) string {
	return w.markedUntil(at, of, func(m Mark) bool { return m.Kind == MarkSpecial })
}

// incidentsUntil is in one text what people marked as incidents of them in it.
func (w *watcher) incidentsUntil(at time.Time, of map[string]*series) string {
	return w.markedUntil(at, of, func(m Mark) bool { return m.Kind == MarkIncident && !m.Said.IsZero() })
}

func (w *watcher) markedUntil(at time.Time, of map[string]*series, which func(Mark) bool) string {
	about := map[core.Subject]bool{}
	for _, s := range of {
		if s.known {
			about[s.subject] = true
		}
	}
	var out []string
	for _, m := range w.marksFor(at.Add(-w.watch.training(w.interval(at))), at) {
		if !which(m) {
			continue
		}
		for s := range about {
			if m.Subject.Overlaps(s) {
				out = append(out, fmt.Sprintln(m.Subject, m.From.UTC(), m.Until.UTC(), m.What, m.Like, m.Judged))
				break
			}
		}
	}
	slices.Sort(out)
	sum := sha256.Sum256([]byte(strings.Join(out, "")))
	return hex.EncodeToString(sum[:16])
}
