package detectors

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// latch is the state machine between the single point and the state: it takes trigger points to accuse and calm points to
// acquit, in a row or of the last few. A point in between holds the state it finds.
type latch struct {
	On    bool
	Run   int     // points in a row towards the other state
	Since instant // first point of the present deviation
	Seen  uint64  `json:",omitempty"` // which of the last points were towards the other state, the newest in the lowest bit
}

// maxOf is how many points back a latch looks.
const maxOf = 64

// runs are how many points it takes; a zero or less is the default.
type runs struct {
	trigger, triggerOf int // in a row, or of so many: zero or no more than trigger means in a row
	calm, calmOf       int
}

func (r runs) validate(d Direction) []error {
	errs := validRuns(d, r.trigger, r.calm)
	of := func(name string, of, points int) {
		if of < 0 || of > maxOf || (of > 0 && of < points) {
			errs = append(errs, fmt.Errorf("%s of %d: want %d to %d points, or 0 for as many in a row", name, of, points, maxOf))
		}
	}
	of("trigger", r.triggerOf, orInt(r.trigger, 1))
	of("recover", r.calmOf, orInt(r.calm, 3))
	return errs
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

// stepOf takes one judged point as step does, by runs that need not be in a row.
func (l *latch) stepOf(at time.Time, out, back bool, r runs) {
	points, of, towards := orInt(r.trigger, 1), min(r.triggerOf, maxOf), out
	if l.On {
		points, of, towards = orInt(r.calm, 3), min(r.calmOf, maxOf), back
	}
	if of <= points {
		l.Seen = 0
		l.step(at, out, back, orInt(r.trigger, 1), orInt(r.calm, 3))
		return
	}
	l.Run = 0
	l.Seen <<= 1
	if towards {
		l.Seen |= 1
	}
	l.Seen &= 1<<of - 1
	switch enough := bits.OnesCount64(l.Seen) >= points; {
	case l.On && enough:
		*l = latch{}
	case l.On:
	case enough:
		l.On, l.Seen = true, 0
		fallthrough
	case l.Seen != 0:
		if !l.Since.Set {
			l.Since = instantOf(at)
		}
	default:
		l.Since = instant{}
	}
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
