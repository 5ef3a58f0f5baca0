package calendar

import "time"

// wallClock is what the wall clock of the zone shows at t, as a time in UTC: a clock that never jumps, so that
// arithmetic on it is arithmetic on the wall.
func wallClock(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instant is the first time, not before the zone's period that holds notBefore, at which the wall clock shows
// wall. If the clock jumps over it, it is the end of the jump.
func instant(wall, notBefore time.Time, zone *time.Location) time.Time {
	t := notBefore.In(zone)
	for {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		at := wall.Add(-time.Duration(offset) * time.Second)
		switch {
		case !start.IsZero() && at.Before(start):
			return start.UTC()
		case end.IsZero() || at.Before(end):
			return at.UTC()
		}
		t = end
	}
}
