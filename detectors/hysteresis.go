package detectors

import (
	"math"
	"time"
)

// latch is the state machine between the single point and the state: it takes trigger points in a row to
// accuse and calm points in a row to acquit. A point in between holds the state it finds.
type latch struct {
	On    bool
	Run   int     // points in a row towards the other state
	Since instant // first point of the present deviation
}

// instant is a time in a form that keeps every time.Time and is the same after a snapshot. The zero value is
// no time.
type instant struct {
	Set  bool
	Sec  int64
	Nsec int64
}

func instantOf(t time.Time) instant { return instant{true, t.Unix(), int64(t.Nanosecond())} }

func (i instant) time() time.Time {
	if !i.Set {
		return time.Time{}
	}
	return time.Unix(i.Sec, i.Nsec).UTC()
}

// before reports whether i is a time before t.
func (i instant) before(t time.Time) bool {
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	return i.Sec < sec || (i.Sec == sec && i.Nsec < nsec)
}

// sinceLast is the time since the last point; nothing for the first.
func sinceLast(last instant, at time.Time) time.Duration {
	if !last.Set {
		return 0
	}
	const near = math.MaxInt64/int64(time.Second) - 1
	sec, to := at.Unix()-last.Sec, at.Unix()
	if sec > near || sec < -near || (to > last.Sec) != (sec > 0) { // it may not fit, and Sub knows what then
		return at.Sub(last.time())
	}
	return time.Duration(sec*int64(time.Second) + int64(at.Nanosecond()) - last.Nsec)
}

// step takes one judged point: out says that it is outside the band, back that it is well inside.
func (l *latch) step(at time.Time, out, back bool, trigger, calm int) {
	switch {
	case !l.On && out:
		if l.Run == 0 {
			l.Since = instantOf(at)
		}
		l.Run++
		if l.Run >= trigger {
			l.On, l.Run = true, 0
		}
	case !l.On:
		l.Run, l.Since = 0, instant{}
	case back:
		l.Run++
		if l.Run >= calm {
			*l = latch{}
		}
	default:
		l.Run = 0
	}
}
