package kafka

import "time"

// Status of a group in a partition, by rules as Burrow has them. The number is the value of the metric.
type Status uint8

// Statuses, from good to bad.
const (
	NotJudged Status = iota // the window is not full yet
	OK
	Warning // the lag never falls
	Rewind  // the committed offset went back
	Stall   // the committed offset does not move, and records wait
	Stop    // the same, and the group has no members
)

func (s Status) String() string {
	names := [...]string{"not judged", "ok", "warning", "rewind", "stall", "stop"}
	if int(s) < len(names) {
		return names[s]
	}
	return names[NotJudged]
}

// windowLength is how many looks are judged together, as in Burrow.
const windowLength = 10

// sample is one look at a partition.
type sample struct {
	committed, lag int64
}

// point says that the log was seen to reach an offset at a time, and not before.
type point struct {
	end  int64
	seen time.Time
}

// window is what is remembered of one partition.
type window struct {
	samples []sample
	points  []point
}

// maxPoints bounds what is remembered of a log; beyond it the oldest go, which only lowers the lower bound.
const maxPoints = 1024

// note takes in a look.
func (w *window) note(committed, end int64, now time.Time) {
	if len(w.samples) == windowLength {
		w.samples = append(w.samples[:0], w.samples[1:]...)
	}
	w.samples = append(w.samples, sample{committed, max(end-committed, 0)})
	w.reached(end, now)
	// What is read is of no interest any more.
	for len(w.points) > 1 && w.points[0].end <= committed {
		w.points = w.points[1:]
	}
}

// reached notes where a log ended.
func (w *window) reached(end int64, now time.Time) {
	if n := len(w.points); n > 0 {
		if end == w.points[n-1].end {
			return
		}
		if end < w.points[n-1].end {
			w.points = nil
		}
	}
	if len(w.points) == maxPoints {
		w.points = w.points[1:]
	}
	w.points = append(w.points, point{end, now})
}

// since is for how long at least the record at an offset has been there.
func (w *window) since(offset int64, now time.Time) time.Duration {
	for _, p := range w.points {
		if p.end > offset {
			return max(now.Sub(p.seen), 0)
		}
	}
	return 0
}

// status judges the window. members says whether the group has any; unknown counts as having.
func (w *window) status(members bool) Status {
	var zero, back, moved, fell bool
	for i, s := range w.samples {
		zero = zero || s.lag == 0
		if i == 0 {
			continue
		}
		before := w.samples[i-1]
		back = back || s.committed < before.committed
		moved = moved || s.committed > before.committed
		fell = fell || s.lag < before.lag
	}
	waits := len(w.samples) > 0 && w.samples[len(w.samples)-1].lag > 0
	switch {
	case !members && !moved && waits:
		return Stop
	case zero:
		return OK
	case back:
		return Rewind
	case len(w.samples) < windowLength:
		return NotJudged
	case !moved:
		return Stall
	case !fell:
		return Warning
	}
	return OK
}
