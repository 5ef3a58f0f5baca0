package detectors

import (
	"math"
	"time"
)

// The forecasters of Auto. Each says what the next value should be from what it has seen, and learns it afterwards.
// They hold plain numbers in fixed arrays: a series costs what its struct costs.

const (
	localPoints  = 15
	curvePoints  = 30
	daySlots     = 288 // of five minutes; slower series use fewer
	dayCount     = 7
	dayFirst     = 2   // days before they say anything
	daySlotLeast = 300 // seconds
	secondsADay  = 86400
)

// biggest is the largest magnitude that the forecasters reckon with: squares of it stay finite, and it fits in a float32.
const biggest = 1e37

func clip(x, to float64) float64 { return max(-to, min(to, x)) }

// yardstick is the usual size of a residual: a slow mean of its clipped magnitude.
type yardstick struct {
	V float64
	N int
}

const (
	yardGain  = 0.002
	yardEarly = 50
	yardClip  = 5
)

func (y *yardstick) learn(r float64) {
	a := math.Abs(r)
	y.N++
	if y.N > yardEarly && y.V > 0 {
		a = min(a, yardClip*y.V)
	}
	y.V += max(yardGain, 1/float64(y.N)) * (a - y.V)
}

// spread is the standard deviation of all values seen, by Welford's recurrence (Technometrics 4 (1962)), with a memory
// of spreadMemory points, of which none pulls harder than spreadClip deviations.
type spread struct {
	N    float64
	Mean float64
	Var  float64
}

const (
	spreadMemory = 50_000
	spreadEarly  = 100
	spreadClip   = 16
)

func (s *spread) learn(x float64) {
	if s.N < spreadMemory {
		s.N++
	}
	g := 1 / s.N
	d := x - s.Mean
	if s.N > spreadEarly && s.Var > 0 {
		d = clip(d, spreadClip*math.Sqrt(s.Var))
	}
	s.Mean += g * d
	s.Var = (1 - g) * (s.Var + g*d*d)
}

func (s *spread) deviation() float64 { return math.Sqrt(s.Var) }

// recent is the last points. It forecasts by the median of the last 15 of them, and by a quadratic fitted to all 30 by least
// squares: the one-sided form of a local polynomial (Savitzky and Golay, Analytical Chemistry 36 (1964); Fan and Gijbels,
// 1996).
type recent struct {
	Ring   [curvePoints]float64
	Order  [localPoints]uint8 // places in the ring of the last of them, the smallest first
	Pos, N uint8
}

// last is how many the median is of.
func (c *recent) last() int { return min(int(c.N), localPoints) }

func (c *recent) median() (float64, bool) { return c.Ring[c.Order[localPoints/2]], c.N >= localPoints }

// Of points at -(n-1)/2 to (n-1)/2, one apart, the sums of squares and of fourth powers; and the weight of the one at t in the
// value of the fitted quadratic one step after the last is curveA + curveB*t + curveC*t*t.
const (
	curveSquares = curvePoints * (curvePoints*curvePoints - 1) / 12.0
	curveFourths = curveSquares * (3*curvePoints*curvePoints - 7) / 20
	curveFirst   = -(curvePoints - 1) / 2.0
	curveAhead   = (curvePoints + 1) / 2.0
	curveMean    = curveSquares / curvePoints

	curveA = 1.0/curvePoints - curveMean*curveC
	curveB = curveAhead / curveSquares
	curveC = (curveAhead*curveAhead - curveMean) / (curveFourths - curveSquares*curveMean)
)

func (c *recent) curve() (float64, bool) {
	if c.N < curvePoints {
		return 0, false
	}
	f, t := 0.0, curveFirst
	for _, x := range c.Ring[c.Pos:] {
		f += (curveA + t*(curveB+t*curveC)) * x
		t++
	}
	for _, x := range c.Ring[:c.Pos] {
		f += (curveA + t*(curveB+t*curveC)) * x
		t++
	}
	return f, true
}

func (c *recent) learn(x float64) {
	n := c.last()
	if n == localPoints {
		old := (c.Pos + curvePoints - localPoints) % curvePoints
		i := 0
		for c.Order[i] != old {
			i++
		}
		copy(c.Order[i:], c.Order[i+1:])
		n--
	}
	i := n
	for i > 0 && c.Ring[c.Order[i-1]] > x {
		c.Order[i] = c.Order[i-1]
		i--
	}
	c.Order[i] = c.Pos
	c.Ring[c.Pos] = x
	c.Pos = (c.Pos + 1) % curvePoints
	c.N = min(c.N+1, curvePoints)
}

// usual is how odd each slot of the day is used to be, from 0 to autoClip, to 5e-5.
type usual [daySlots]uint16

const usualUnit = autoClip / 65535.0

func (u *usual) at(slot int) float64 { return usualUnit * float64(u[slot]) }

func (u *usual) set(slot int, x float64) {
	u[slot] = uint16(max(0, min(autoClip, x))/usualUnit + 0.5)
}

// daily remembers the last seven days slot by slot, in civil time. The value of a slot is the mean of its points, and
// NaN without any. A slot of today takes the place of that of a week ago when it is over.
type daily struct {
	Slots int   // a day; 0 before the first point
	Days  days  // a slot after the other, a day after the other
	Day   int64 // number of the present day
	Slot  int
	First int64 // number of the first day
	Sum   float64
	N     int
	Level float64 // slow correction of the level

	// What the days before say of this slot and its neighbours: worked out of the above when the slot begins.
	median float64
	has    bool // there are days enough for it
	near   [dayCount][3]float32
	nnear  [dayCount]uint8
}

// slotsOf is how many slots a day has for points at an interval in seconds.
func slotsOf(interval float64) int {
	return max(1, min(daySlots, int(secondsADay/max(daySlotLeast, interval)+0.5)))
}

// start forgets all days.
func (d *daily) start(slots int) {
	*d = daily{Slots: slots, Slot: -1, Days: make(days, dayCount*slots)}
	for i := range d.Days {
		d.Days[i] = float32(math.NaN())
	}
}

// civil is the number of the day and the second within it, on the clock on the wall: the hour that a clock change
// repeats falls into the same slots, the one it skips leaves them empty.
func civil(t time.Time, where *time.Location) (day int64, second int) {
	s := t.Unix()
	if where != nil && where != time.UTC {
		_, offset := t.In(where).Zone()
		s += int64(offset)
	}
	day = s / secondsADay
	second = int(s % secondsADay)
	if second < 0 {
		day, second = day-1, second+secondsADay
	}
	return day, second
}

func (d *daily) at(day int64, slot int) *float32 {
	k := int(((day % dayCount) + dayCount) % dayCount)
	return &d.Days[k*d.Slots+slot]
}

// turn moves to the slot of the time.
func (d *daily) turn(day int64, second int) {
	slot := second * d.Slots / secondsADay
	if d.Slot < 0 {
		d.First, d.Day, d.Slot = day, day, slot
		d.gather()
		return
	}
	if day == d.Day && slot == d.Slot {
		return
	}
	v := float32(math.NaN())
	if d.N > 0 {
		v = float32(d.Sum / float64(d.N))
	}
	*d.at(d.Day, d.Slot) = v
	d.Sum, d.N = 0, 0
	// The slots without a point.
	skipped := (day-d.Day)*int64(d.Slots) + int64(slot-d.Slot) - 1
	for k, s := d.Day, d.Slot; skipped > 0; skipped-- {
		if s++; s == d.Slots {
			k, s = k+1, 0
		}
		*d.at(k, s) = float32(math.NaN())
		if k > d.Day+dayCount {
			break
		}
	}
	if day-d.Day > dayCount { // no day that is remembered had a point
		d.First = day
	}
	d.Day, d.Slot = max(day, d.Day), slot
	d.gather()
}

// gather collects the values of this slot and its neighbours in the days before.
func (d *daily) gather() {
	var all [3 * dayCount]float64
	n := 0
	for k := range d.near {
		d.nnear[k] = 0
		for j := -1; j <= 1; j++ {
			day, slot := d.Day-int64(k)-1, d.Slot+j
			switch {
			case slot < 0:
				day, slot = day-1, d.Slots-1
			case slot >= d.Slots:
				day, slot = day+1, 0
			}
			if day >= d.Day || day < d.Day-dayCount || (day == d.Day-dayCount && slot < d.Slot) || day < d.First {
				continue
			}
			near := *d.at(day, slot)
			v := float64(near)
			if v != v {
				continue
			}
			d.near[k][d.nnear[k]] = near
			d.nnear[k]++
			i := n
			for i > 0 && all[i-1] > v {
				all[i] = all[i-1]
				i--
			}
			all[i] = v
			n++
		}
	}
	d.has = n >= 3 && d.Day-d.First >= dayFirst
	if d.has {
		d.median = all[n/2]
	}
}

// nearest is the value, at a level above the days, of the day that is second nearest to x at this time of day. It takes
// two days to say that something has been seen before.
func (d *daily) nearest(x, level float64) (float64, bool) {
	one, two := math.Inf(1), math.Inf(1)
	var at, second float64
	for k := range d.near {
		best, v := math.Inf(1), 0.0
		for _, y := range d.near[k][:d.nnear[k]] {
			if e := math.Abs(x - float64(y) - level); e < best {
				best, v = e, float64(y)+level
			}
		}
		switch {
		case best < one:
			one, two, at, second = best, one, v, at
		case best < two:
			two, second = best, v
		}
	}
	return second, two < math.Inf(1)
}

func (d *daily) learn(x float64) {
	d.Sum += x
	d.N++
}

// fallback stands in for the days before there are any: an exponentially weighted mean and variance.
type fallback struct {
	N    int
	Mean float64
	Var  float64
}

const (
	fallGain  = 0.02
	fallEarly = 30
	fallClip  = 4
)

func (f *fallback) learn(x float64) {
	f.N++
	if f.N == 1 {
		f.Mean = x
		return
	}
	g := max(fallGain, 1/float64(f.N))
	r := x - f.Mean
	if f.N > fallEarly && f.Var > 0 { // one spike moves it by no more than a large step would
		r = clip(r, fallClip*math.Sqrt(f.Var))
	}
	f.Mean += g * r
	f.Var = (1 - g) * (f.Var + g*r*r)
}
