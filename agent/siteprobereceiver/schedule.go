package siteprobereceiver

import "time"

const (
	// hurry is the beat after a failure, and the least time between two probes of one target at any time.
	hurry = 500 * time.Millisecond
	// hurryJitter is added to it at most, so that vantages do not march in step.
	hurryJitter = 100 * time.Millisecond
	// calmAfter is how many successes in a row end the hurry.
	calmAfter = 2
)

// rhythm decides when one target is probed next. It is pure: times come in as values.
type rhythm struct {
	interval time.Duration
	phase    time.Duration
	hurried  bool
	good     int       // successes in a row while hurried
	due      time.Time // the slot the latest probe was meant for
}

// first is the first slot after now.
func (r *rhythm) first(now time.Time) time.Time {
	r.due = aligned(now, r.interval, r.phase)
	return r.due
}

// next takes the outcome of a probe that ran from start to now and says when the next one is due, and how
// many slots went by unused. An unknown outcome (our own fault) neither starts nor ends the hurry. jitter is
// from 0 up to but not including 1.
func (r *rhythm) next(start, now time.Time, outcome outcome, jitter float64) (due time.Time, skipped int64) {
	switch outcome {
	case failed:
		r.hurried, r.good = true, 0
	case succeeded:
		r.good++
		if r.good >= calmAfter {
			r.hurried = false
		}
	case unclear:
	}
	if r.hurried {
		due = start.Add(hurry + time.Duration(jitter*float64(hurryJitter)))
		if due.Before(now) {
			due = now
		}
		r.due = due
		return due, 0
	}
	earliest := now
	if floor := start.Add(hurry - 1); floor.After(earliest) {
		earliest = floor
	}
	due = aligned(earliest, r.interval, r.phase)
	if expected := aligned(r.due, r.interval, r.phase); now.After(expected) {
		skipped = int64(due.Sub(expected) / r.interval)
	}
	r.due = due
	return due, skipped
}

// outcome is what a result means for the rhythm.
type outcome uint8

const (
	unclear outcome = iota
	succeeded
	failed
)

// aligned is the first moment after now whose unix time modulo interval is phase.
func aligned(now time.Time, interval, phase time.Duration) time.Time {
	gone := time.Duration(now.UnixNano()) % interval
	wait := (phase - gone + interval) % interval
	if wait <= 0 {
		wait = interval
	}
	return now.Add(wait)
}
