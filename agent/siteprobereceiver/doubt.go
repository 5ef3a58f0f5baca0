package siteprobereceiver

import (
	"sync"
	"time"
)

// watchBeat is how often a running probe is watched for this process standing still.
const watchBeat = 25 * time.Millisecond

// pauseLimit is how long this process may stand still during a probe before its result is worth nothing. A
// shorter pause still leaves an answer three quarters of the deadline.
func pauseLimit(deadline time.Duration) time.Duration { return deadline / 4 }

// watch measures the longest time this process stood still (stopped, starved, suspended) while a probe ran. It has no goroutine of its
// own: most probes are over before its first beat.
type watch struct {
	began time.Time
	beats *time.Timer

	mu    sync.Mutex
	last  time.Duration // since began, of the latest beat
	worst time.Duration // longest time between two beats
	over  bool
}

func startWatch() *watch {
	w := &watch{began: time.Now()}
	w.mu.Lock() // the first beat waits until beats is set
	defer w.mu.Unlock()
	w.beats = time.AfterFunc(watchBeat, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.over {
			w.beat(time.Since(w.began))
			w.beats.Reset(watchBeat)
		}
	})
	return w
}

func (w *watch) beat(at time.Duration) {
	w.worst, w.last = max(w.worst, at-w.last), at
}

// stop ends the watch and returns the longest stand-still. The time since the latest beat counts as well:
// after a stop the probe may be back before the watch is. A host that slept shows as wall time that the
// monotonic clock did not see.
func (w *watch) stop() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.beats.Stop()
	now := time.Now()
	w.beat(now.Sub(w.began))
	return standstill(w.worst, now.Sub(w.began), now.Round(0).Sub(w.began.Round(0)))
}

// standstill is the longest of what the beats missed and what the monotonic clock missed.
func standstill(worst, mono, wall time.Duration) time.Duration {
	return max(worst-watchBeat, wall-mono, 0)
}
