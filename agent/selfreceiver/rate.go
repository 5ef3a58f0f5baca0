package selfreceiver

import (
	"math"
	"time"
)

// rate smooths how fast a queue is fed, over about a minute of reports.
type rate struct {
	at    time.Time
	total int64
	value float64 // bytes per second
	seen  int
}

const smoothing = 0.2

// add takes in the counter's value at a moment. A counter that went back (a reload) starts anew.
func (r *rate) add(at time.Time, total int64) {
	took := at.Sub(r.at).Seconds()
	if r.seen > 0 && total >= r.total && took > 0 {
		now := float64(total-r.total) / took
		if r.seen == 1 {
			r.value = now
		} else {
			r.value += smoothing * (now - r.value)
		}
		r.seen++
	} else {
		r.seen = 1
	}
	r.at, r.total = at, total
}

// left is how long so many free bytes last; ok is false before a rate is known, and while nothing comes in.
func (r *rate) left(free int64) (d time.Duration, ok bool) {
	if r.seen < 2 || r.value <= 0 {
		return 0, false
	}
	seconds := float64(max(free, 0)) / r.value
	return time.Duration(math.Min(seconds, (10*365*24*time.Hour).Seconds()) * float64(time.Second)), true
}
