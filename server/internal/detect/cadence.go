package detect

import (
	"math"
	"math/bits"
	"time"
)

// cadence is how far apart the values of one series are. Where it is written more seldom than the watch asks, a store repeats the last value at each tick
// until the next one is due, or has a value at one tick of many; both show in when the value changes. Its fields are what a saved state has of it.
type cadence struct {
	Value   float64
	At      time.Time // of the last value; zero: there was none
	Fresh   time.Time // when one came that was not the one before once more
	Apart   [2]time.Duration
	Changed time.Time            // when it changed last; zero: it did not
	Gaps    [cadenceGaps]float32 // s between changes
	N, Next uint8
}

const (
	cadenceGaps  = 16
	cadenceFew   = 2 // gaps below which nothing is known
	cadenceTests = 4 // gaps from which on it shows whether changes keep time
	cadenceSlack = 8 // part of the cadence by which they may be early or late, and of the gaps that may be more
	maxCadence   = 30 * 24 * time.Hour
)

// observe takes a value, and reports whether it is the one before once more.
func (c *cadence) observe(at time.Time, x float64, interval time.Duration) (again bool) {
	first := c.At.IsZero()
	if !first {
		c.Apart[0], c.Apart[1] = c.Apart[1], at.Sub(c.At)
	}
	was := c.Value
	c.Value, c.At = x, at
	if !first && x == was {
		d, _ := c.of(interval)
		if again = at.Sub(c.Fresh) < d+d/cadenceSlack; !again { // one may be late
			c.Fresh = at
		}
		return again
	}
	c.Fresh = at
	if first {
		return false
	}
	if !c.Changed.IsZero() {
		c.Gaps[c.Next] = float32(at.Sub(c.Changed).Seconds())
		c.Next = (c.Next + 1) % cadenceGaps
		c.N = min(c.N+1, cadenceGaps)
	}
	c.Changed = at
	return false
}

// of is the cadence where it is longer than the interval of the watch, and else 0: the second shortest of the last gaps between two changes, since one
// may be short by chance. Changes of a series that is written seldom keep time: all gaps are multiples of it. Those of one that is written at each tick
// and mostly stands still do not. Still says that it has changed too seldom to know.
func (c *cadence) of(interval time.Duration) (d time.Duration, still bool) {
	if c.N < cadenceFew {
		return 0, true
	}
	gaps := c.Gaps[:c.N]
	least, second := float32(math.Inf(1)), float32(math.Inf(1))
	for _, gap := range gaps {
		if gap < least {
			least, second = gap, least
		} else if gap < second {
			second = gap
		}
	}
	ticks := math.Round(float64(second) / interval.Seconds())
	if ticks < 2 || (c.N >= cadenceTests && !inTime(gaps, ticks, interval.Seconds())) {
		return 0, false
	}
	return min(interval*time.Duration(ticks), maxCadence), false
}

// rounded is a cadence that stays the same while the values come a little earlier or later: up to a quarter longer, in whole intervals.
func rounded(d, interval time.Duration) time.Duration {
	ticks := (d + interval - 1) / interval
	step := max(1, time.Duration(1)<<bits.Len64(uint64(ticks))>>3) //nolint:gosec // not negative
	return (ticks + step - 1) / step * step * interval
}

// inTime reports whether the gaps are multiples of so many ticks, but for a tick where that is little, and for few of them.
func inTime(gaps []float32, ticks, tick float64) bool {
	slack := math.Floor(ticks / cadenceSlack)
	if ticks >= cadenceSlack/2 {
		slack = max(1, slack)
	}
	off := 0
	for _, gap := range gaps {
		n := math.Round(float64(gap) / tick)
		if math.Abs(n-ticks*math.Round(n/ticks)) > slack {
			off++
		}
	}
	return off <= len(gaps)/cadenceSlack
}

// rests is for how long the series has no value between two, as it seems; 0 where it has one at each tick.
func (c *cadence) rests(interval time.Duration) time.Duration {
	if d, _ := c.of(interval); d == 0 {
		return 0
	}
	if apart := min(c.Apart[0], c.Apart[1]); apart >= 2*interval {
		return apart
	}
	return 0
}
