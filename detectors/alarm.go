package detectors

import "time"

// alarm is the state of a calibrated model: on with the first point that is odd enough, off after some calm. An hour of
// calm is enough, and a few points are needed.
type alarm struct {
	On    bool
	Apart uint8 // points since the last that was odd by itself, at most those of a row, and as many where none was
	Calm  int   // points since the last odd one
	Held  int   // points since it went on
	Since instant
}

const (
	alarmCalm    = 12
	alarmCalmMin = 3
	alarmHeld    = 30
)

// step takes one point, odd by itself or in a row that lasts, of a series with the interval, in seconds.
func (a *alarm) step(at time.Time, odd, lasting bool, interval float64) {
	if !a.On {
		if !odd && !lasting {
			return
		}
		*a = alarm{On: true, Since: instantOf(at), Apart: autoRow}
	}
	a.Held++
	a.Calm++
	a.Apart = min(a.Apart+1, autoRow)
	if odd {
		a.Apart = 0
	}
	if odd || lasting {
		a.Calm = 0
	} else if a.Calm >= max(alarmCalmMin, min(alarmCalm, int(3600/max(1, interval)))) {
		*a = alarm{}
	}
}

// lasts reports whether no point of the last row was odd by itself: where one was, the first points back make no row of their own.
func (a *alarm) lasts() bool { return a.On && a.Apart == autoRow }

// held reports whether what a series was like before the alarm is still what it is compared with: for that long, and for
// some points at least. Zero means an hour.
func (a *alarm) held(at time.Time, adapt time.Duration) bool {
	return a.On && (a.Held < alarmHeld || at.Sub(a.Since.time()) < alarmAdapts(adapt))
}

// alarmAdapts is how long a deviation stands before it is the new level.
func alarmAdapts(adapt time.Duration) time.Duration {
	if adapt <= 0 {
		return defaultAdapt
	}
	return adapt
}
