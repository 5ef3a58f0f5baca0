package siteprobereceiver

import (
	"sync/atomic"
	"time"
)

// watchBeat is how often a running probe is watched for this process standing still.
const watchBeat = 25 * time.Millisecond

// pauseLimit is how long this process may stand still during a probe before its result is worth nothing. A
// shorter pause still leaves an answer three quarters of the deadline.
func pauseLimit(deadline time.Duration) time.Duration { return deadline / 4 }

// watch measures the longest time this process stood still (stopped, starved, suspended) while a probe ran.
type watch struct {
	began time.Time
	last  atomic.Int64 // ns since began, of the latest beat
	worst atomic.Int64 // longest time between two beats
	done  chan struct{}
	over  chan struct{}
}

func startWatch() *watch {
	w := &watch{began: time.Now(), done: make(chan struct{}), over: make(chan struct{})}
	go w.run()
	return w
}

func (w *watch) run() {
	defer close(w.over)
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-beat.C:
			w.beat(time.Since(w.began))
		}
	}
}

func (w *watch) beat(at time.Duration) {
	if gap := int64(at) - w.last.Swap(int64(at)); gap > w.worst.Load() {
		w.worst.Store(gap)
	}
}

// stop ends the watch and returns the longest stand-still. The time since the latest beat counts as well:
// after a stop the probe may be back before the watch is. A host that slept shows as wall time that the
// monotonic clock did not see.
func (w *watch) stop() time.Duration {
	close(w.done)
	<-w.over
	now := time.Now()
	w.beat(now.Sub(w.began))
	return standstill(time.Duration(w.worst.Load()), now.Sub(w.began), now.Round(0).Sub(w.began.Round(0)))
}

// standstill is the longest of what the beats missed and what the monotonic clock missed.
func standstill(worst, mono, wall time.Duration) time.Duration {
	return max(worst-watchBeat, wall-mono, 0)
}
