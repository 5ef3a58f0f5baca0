package detectors

import (
	"fmt"
	"math"
)

// A snapshot with the right checksum may still hold what no points lead to: it was written by other code or by hand. The
// calibrated models take only a state that they can go on with, so that no verdict is NaN and nothing panics later.

const (
	maxRows     = 1 << 48        // points of a millisecond are 8900 years
	maxDay      = 1 << 48        // days; more than a time.Time holds
	maxInterval = 1e10           // s; more than a time.Duration holds
	maxResidual = 1000 * biggest // and what is reckoned from residuals
	maxScore    = 1000           // logarithms of oddness and of frequency
)

// between is false for NaN.
func between[T int | int64 | float32 | float64](x, from, to T) bool { return x >= from && x <= to }

func allBetween[T float32 | float64](xs []T, from, to T) bool {
	for _, x := range xs {
		if !between(x, from, to) {
			return false
		}
	}
	return true
}

// ring reports whether n values can have been kept, of which the next takes the place pos.
func ring(pos, n, size int) bool {
	return between(n, 0, size) && between(pos, 0, size-1) && (n == size || pos == n)
}

func (st *autoState) check() error {
	timed := st.Interval != 0
	switch {
	case timed && !between(st.Interval, 1e-3, maxInterval), st.GapCount >= autoGaps, st.Other >= autoOther,
		!allBetween(st.Gaps[:], 0, maxInterval):
		return fmt.Errorf("%w: interval of %v s after %d points", ErrSnapshot, st.Interval, st.GapCount)
	case !st.Recent.usable():
		return fmt.Errorf("%w: last points", ErrSnapshot)
	case !st.Daily.usable(), timed != (st.Daily.Slots > 0):
		return fmt.Errorf("%w: slot %d of %d a day", ErrSnapshot, st.Daily.Slot, st.Daily.Slots)
	case !st.All.usable(), !st.Since.usable(),
		!between(st.Fall.N, 0, maxRows), !between(st.Fall.Mean, -biggest, biggest), !between(st.Fall.Var, 0, maxResidual*maxResidual):
		return fmt.Errorf("%w: mean and variance", ErrSnapshot)
	case !between(st.UsualN, 0, maxRows), !between(st.UsualSum, 0, autoClip*float64(st.UsualN)):
		return fmt.Errorf("%w: usual oddness", ErrSnapshot)
	case !between(st.Quick, 0, maxScore), !between(st.Slow, 0, maxScore), !st.Lasting.usable(), !st.Unseen.usable():
		return fmt.Errorf("%w: last oddness", ErrSnapshot)
	}
	for _, y := range st.Yards {
		if !between(y.N, 0, maxRows) || !between(y.V, 0, maxResidual) {
			return fmt.Errorf("%w: usual residual of %v after %d points", ErrSnapshot, y.V, y.N)
		}
	}
	if !st.Told.usable() {
		return fmt.Errorf("%w: alarm of %d points beyond the floors", ErrSnapshot, st.Told.Held)
	}
	return checkCalibrated(&st.Alarm, &st.Odd, &st.Shown, &st.Stands)
}

func (a *alarm) usable() bool {
	return between(a.Held, 0, maxRows) && between(a.Calm, 0, maxRows) && a.Apart <= autoRow && a.On == a.Since.Set
}

func (s *spread) usable() bool {
	return between(s.N, 0, spreadMemory) && between(s.Mean, -biggest, biggest) && between(s.Var, 0, maxResidual*maxResidual)
}

func (r *inRow) usable() bool {
	return between(r.Pos, 0, autoRow-1) && allBetween(r.Odd[:], -maxScore, maxScore)
}

func (c *recent) usable() bool {
	if !ring(int(c.Pos), int(c.N), curvePoints) || !allBetween(c.Ring[:], -biggest, biggest) {
		return false
	}
	seen := 0
	for i, place := range c.Order[:c.last()] {
		before := (int(c.Pos) + curvePoints - 1 - int(place)) % curvePoints // how many came later
		if place >= curvePoints || before >= c.last() || (i > 0 && c.Ring[c.Order[i-1]] > c.Ring[place]) {
			return false
		}
		seen |= 1 << before
	}
	return seen == 1<<c.last()-1
}

func (d *daily) usable() bool {
	for _, x := range d.Days {
		if x == x && !between(x, -2*biggest, 2*biggest) {
			return false
		}
	}
	return between(d.Slots, 0, daySlots) && len(d.Days) == dayCount*d.Slots && between(d.Slot, -1, max(0, d.Slots-1)) && between(d.N, 0, maxRows) &&
		between(d.Sum, -2*biggest*float64(d.N), 2*biggest*float64(d.N)) && between(d.Level, -maxResidual, maxResidual) &&
		between(d.Day, -maxDay, maxDay) && between(d.First, -maxDay, d.Day)
}

// checkCalibrated refuses an alarm and statistics that step and learn could not go on with.
func checkCalibrated(a *alarm, statistics ...*peaks) error {
	if !a.usable() {
		return fmt.Errorf("%w: alarm of %d points", ErrSnapshot, a.Held)
	}
	for _, k := range statistics {
		if !k.usable() {
			return fmt.Errorf("%w: peaks after %d rows", ErrSnapshot, k.Rows)
		}
	}
	return nil
}

func (k *peaks) usable() bool {
	ready := k.Rows >= k.least()
	for _, gap := range k.Gaps[:min(k.N, peakCount)] {
		if gap <= peakGap {
			return false
		}
	}
	switch {
	case !between(k.Rows, 0, maxRows), !ring(int(k.Pos), int(k.N), peakCount), k.N > 0 && k.Rows <= peakEarly, k.Keep > peakCount, !between(k.Last, 0, k.Rows), !between(k.From, 0, k.Rows),
		!between(k.Bend, 0, peakBend), !between(k.Sure, 0, peakKnown), k.Calm > peakGap+1, k.Raised > peakRaises, !between(k.Peak, -maxScore, maxScore), !allBetween(k.Peaks[:], -maxScore, maxScore):
		return false
	case !between(k.Level, -maxScore, maxScore), ready && !between(k.Sigma, peakSigma, maxScore), !ready && k.Sigma != 0:
		return false
	}
	return !ready || between(k.Rate, math.SmallestNonzeroFloat64, 1)
}
