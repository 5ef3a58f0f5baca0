package detectors

import "time"

// alarm is the state of a calibrated model: on with the first point that is odd enough, off after some calm. An hour of
// calm is enough, and a few points are needed.
type alarm struct {
	On    bool
	Calm  int // points since the last odd one
	Held  int // points since it went on
	Since instant
}

const (
	alarmCalm    = 12
	alarmCalmMin = 3
	alarmHeld    = 30
)

// step takes one point of a series with the interval, in seconds.
func (a *alarm) step(at time.Time, odd bool, interval float64) {
	switch {
	case odd && !a.On:
		*a = alarm{On: true, Held: 1, Since: instantOf(at)}
	case odd:
		a.Held++
		a.Calm = 0
	case a.On:
		a.Held++
		a.Calm++
		if a.Calm >= max(alarmCalmMin, min(alarmCalm, int(3600/max(1, interval)))) {
			*a = alarm{}
		}
	}
}

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
