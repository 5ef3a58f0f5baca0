package detectors

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	secondsAWeek = 7 * secondsADay

	autoGaps     = 9    // distances between points that give the interval
	autoOther    = 3    // times so many that must say otherwise before it is another one
	autoFloor    = 0.02 // smallest usual residual, as a share of the spread of the series
	autoTrust    = 1e-3 // the same as a share of the forecast
	autoCeiling  = 1e6  // largest residual, in usual ones
	autoLevel    = 0.02 // gain of the level of the day
	autoReach    = 4    // usual residuals of the days that move it at most
	autoStands   = 5    // how many times further what has stood for long enough may move it
	autoCalmer   = 50   // times less far than all values go is another unit
	autoUsual    = 0.3  // gain of what is usual at a time of day, a day
	autoWeigh    = 0.35 // how much of it is forgiven
	autoClip     = 3    // largest oddness that becomes usual
	autoRow      = 3    // points in a row that a deviation which lasts takes
	autoShare    = 0.6  // minus the decimal logarithm of the part of the budget that such ones have: a quarter
	autoPoints   = 0.06 // the same of single points: seven eighths, since some episodes are found by both
	autoSure     = 1.5  // decimal logarithm of how far below the budget they are believed
	autoQuick    = 0.3  // gains of what is shown while nothing is raised
	autoSlow     = 0.05
	autoBoost    = 1.3
	autoShown    = 1e-3 // decimal logarithm by which what is shown stays above the budget
	autoFrequent = 12   // decimal logarithm of the largest number a week that is told apart

	defaultPerWeek = 1
)

// Auto is the model for a series of which nothing is known. Its one setting is what it may cost: the false alarms that
// a series may raise in a week.
//
// A value is as odd as the kindest of four forecasters finds it, in units of that forecaster's usual residual: the median
// of the last 15 points; a quadratic through the last 30 (one-sided local polynomial regression, Fan and Gijbels 1996);
// the median of this time of day over the last week, in civil time; and the second nearest of those days. So what has
// been seen at this hour, what goes on as it began and what is where it just was is not odd. Before there are two days, an
// exponentially weighted mean and deviation stand in for the days (Roberts, Technometrics 1 (1959)).
//
// A statistic that the days make another one begins anew when they are known: the one of what lasts on the third day, and the episodes
// of all on the ninth, when a whole week is known, but for the last dozen.
//
// What is odd every day at the same time is forgiven in part. The logarithm of what is left is calibrated by the peaks of
// its own past (peaks over threshold with declustering; see Siffer et al., KDD 2017) to the number of such episodes that
// are expected in a week by chance, PerWeek of the verdict, and that number means the same for every series. It is an
// alarm when it is below FalseAlarmsPerWeek. A second statistic, with a quarter of the budget, finds what is not odd
// enough at any one point but lasts: the least oddness of three points in a row on the same side, against the days alone, at the level of
// today and as they were. A lone spike
// does not move it, so its tail is light and it takes little past to know it (ReasonLasting).
//
// PerWeek rests on the assumption that the past of the series is mostly chance and goes on; it is no promise for a
// series that has just changed its ways. It needs nothing but the points: the interval is learned from the first ten, and
// again after 27 that come less than half or more than twice as far apart.
//
// While a series is anomalous the short forecasters keep what they knew, for an hour and 30 points at least
// (AdaptAfter); what stands for longer is the new level. A series costs 12 kB, one whose points are an hour apart 4 kB.
//
// The floors judge, and nothing is learned by them: what is usual, and when a level is the new one, is the same with them and without. They take
// alarms away and never make one. A value within them of what the kindest forecaster expected is as expected, with a score of 0, unless it lasts and is
// beyond them by the days.
type Auto struct {
	// FalseAlarmsPerWeek is how many episodes a series may raise in a week by chance. Zero means 1.
	FalseAlarmsPerWeek float64
	// Direction is the side that is watched. Zero, Both, watches both.
	Direction Direction
	// AbsoluteFloor is the smallest deviation that matters, in the unit of the series. Zero means none.
	AbsoluteFloor float64
	// RelativeFloor is the smallest deviation that matters, as a share of what was expected. Zero means none.
	RelativeFloor float64
	// Location is the civil time by which the days of the series go. Nil means UTC.
	Location *time.Location
	// AdaptAfter is how long a deviation stands before it is the new level, but at least 30 points. Zero means 1 hour.
	AdaptAfter time.Duration

	st autoState
}

// autoState is what Auto has learned.
type autoState struct {
	Last     instant
	Interval float64 // s; 0 while it is not known
	Gaps     [autoGaps]float32
	GapCount uint8 // of the present nine
	Other    uint8 // nines in a row with another interval

	Recent recent
	Daily  daily
	Yards  [forecasters]yardstick
	All    spread
	Since  spread // of the values of the present alarm
	Fall   fallback

	Usual    usual
	UsualSum float64 // of the present slot
	UsualN   int

	Quick, Slow        float64
	Lasting, Unseen    inRow // by the days at the level of today; the same, or as they were; negative where it is below them
	Odd, Shown, Stands peaks

	Alarm alarm // of the series as it is: what is learned goes by it
	Told  alarm // the same of what is beyond the floors
}

var _ Model = (*Auto)(nil)

// The forecasters, in the order of their yardsticks.
const (
	byLocal = iota
	byCurve
	byDay
	byNearest
	forecasters
)

// Validate implements Model.
func (m *Auto) Validate() error {
	var errs []error
	if !(m.FalseAlarmsPerWeek >= 0) || math.IsInf(m.FalseAlarmsPerWeek, 0) {
		errs = append(errs, fmt.Errorf("false alarms per week %v: want a number above 0 such as 0.25, or 0 for %d", m.FalseAlarmsPerWeek, defaultPerWeek))
	}
	errs = append(errs, floors{absolute: m.AbsoluteFloor}.validate()...)
	if !(m.RelativeFloor >= 0) || math.IsInf(m.RelativeFloor, 0) {
		errs = append(errs, fmt.Errorf("relative floor %v: want a share such as 0.2, or 0 for none", m.RelativeFloor))
	}
	if m.AdaptAfter < 0 {
		errs = append(errs, fmt.Errorf("adapt after %s: want a duration above 0, or 0 for %s", m.AdaptAfter, defaultAdapt))
	}
	return errors.Join(append(errs, validRuns(m.Direction, 0, 0)...)...)
}

func (m *Auto) budget() float64 { return orFloat(m.FalseAlarmsPerWeek, defaultPerWeek) }

// week is the number of rows in a week.
func (m *Auto) week() float64 { return secondsAWeek / m.st.Interval }

// Observe implements Model.
func (m *Auto) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Points: int(m.st.All.N), Needed: localPoints + peakFirst}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	if m.Direction > Below {
		v.Reason = ReasonParameters
		return v
	}
	v.Value = p.Value + 0 // -0 becomes 0
	o := m.measure(p.At, clip(v.Value, biggest))
	if o.known {
		m.judge(&v, &o)
	} else {
		v.State, v.Reason = StateWarming, ReasonFewPoints
	}
	m.learn(&o, m.st.Alarm.On, m.st.Alarm.held(p.At, m.AdaptAfter))
	return v
}

// oddness is what one point says.
type oddness struct {
	x                   float64
	f, z                [forecasters]float64 // forecasts and residuals
	has                 [forecasters]bool
	least               float64 // residual, of the kindest forecaster, and what that expected
	expected, yard      float64
	from                ScaleSource
	basis               Basis
	forgiven            float64
	odd, shown, lasting float64 // the statistics that are calibrated
	unseen              float64 // lasting, but for what a day before was like
	days                float64 // what the kindest of the days expected
	nearYard            float64 // of the nearest day
	known               bool    // the chances are
	chance              float64 // decimal logarithm of how often a week a point as odd as this is expected
	chanceShown         float64
	chanceLasting       float64
}

// interval learns the distance of the points from the first of them, and learns it again when it has become another one
// for good. It reports whether it is known.
func (m *Auto) interval(at time.Time) bool {
	st := &m.st
	if !st.Last.Set {
		return st.Interval > 0
	}
	st.Gaps[st.GapCount] = float32(at.Sub(st.Last.time()).Seconds())
	if st.GapCount++; st.GapCount < autoGaps {
		return st.Interval > 0
	}
	st.GapCount = 0
	g := st.Gaps
	slices.Sort(g[:])
	apart := max(1e-3, float64(g[autoGaps/2]))
	switch {
	case st.Interval == 0:
	case apart >= st.Interval/2 && apart <= st.Interval*2:
		st.Other = 0
		return true
	default:
		if st.Other++; st.Other < autoOther {
			return true
		}
	}
	st.Interval, st.Other = apart, 0
	if n := slotsOf(apart); n != st.Daily.Slots {
		st.Daily.start(n)
		st.Usual = usual{}
	}
	return true
}

// slot moves to the slot of the day that the time lies in, and learns what was usual in the one that is over.
func (m *Auto) slot(at time.Time) {
	st := &m.st
	was, day, had := st.Daily.Slot, st.Daily.Day, st.Daily.has
	st.Daily.turn(civil(at, m.Location))
	if st.Daily.Slot == was && st.Daily.Day == day { // a day of one slot begins it anew
		return
	}
	// The day that a number of days is reached on may be a later one, when there were no points on the very day.
	since := st.Daily.Day - st.Daily.First
	reached := func(days int64) bool { return since >= days && day-st.Daily.First < days }
	if st.Daily.has && !had && (since == dayFirst || reached(dayFirst)) {
		st.Stands = peaks{} // what lasts is judged against the days, and until now there were none
	} else if reached(dayCount + 1) {
		for _, k := range []*peaks{&st.Odd, &st.Shown, &st.Stands} {
			k.forget() // they were as odd as they were for want of days
		}
	}
	if was >= 0 && st.UsualN > 0 {
		u := st.Usual.at(was)
		st.Usual.set(was, u+autoUsual*(st.UsualSum/float64(st.UsualN)-u))
	}
	st.UsualSum, st.UsualN = 0, 0
}

// measure says how odd the value is. The forecasters learn nothing of it yet.
func (m *Auto) measure(at time.Time, x float64) oddness {
	st := &m.st
	timed := m.interval(at)
	st.Last = instantOf(at)
	if timed {
		m.slot(at)
	}
	o := oddness{x: x, least: math.Inf(1)}
	o.f[byLocal], o.has[byLocal] = st.Recent.median()
	o.f[byCurve], o.has[byCurve] = st.Recent.curve()
	if st.Daily.has {
		o.f[byDay], o.has[byDay] = st.Daily.median+st.Daily.Level, true
		o.f[byNearest], o.has[byNearest] = st.Daily.nearest(x, st.Daily.Level)
	}
	floor := autoFloor * st.All.deviation()
	for k := range o.f {
		if !o.has[k] {
			continue
		}
		y, from := st.Yards[k].V, ScaleMean
		if floor > y {
			y, from = floor, ScaleSpread
		}
		if trust := autoTrust * math.Abs(o.f[k]); trust > y {
			y, from = trust, ScaleRelative
		}
		m.take(&o, k, y, from)
		if k == byNearest {
			o.nearYard = y
		}
	}
	if !o.has[byDay] && st.Fall.N > 0 {
		o.f[byDay] = st.Fall.Mean
		m.take(&o, byDay, math.Sqrt(st.Fall.Var), ScaleDeviation)
	}
	if math.IsInf(o.least, 1) {
		o.least = 0
	}
	m.combine(&o)
	return o
}

// take measures the value by one forecaster.
func (m *Auto) take(o *oddness, k int, yard float64, from ScaleSource) {
	o.z[k] = m.residual(o.x, o.f[k], yard)
	if o.z[k] < o.least {
		o.least = o.z[k]
		o.expected, o.yard, o.from, o.basis = o.f[k], yard, from, BasisRecent
		if k == byNearest || (k == byDay && o.has[byDay]) {
			o.basis = BasisDay
		}
	}
}

// learn takes what was measured while an alarm is on or not. Held says that the value is part of a deviation from what the
// series was like: the short forecasters then keep what they knew.
func (m *Auto) learn(o *oddness, on, held bool) {
	st, week := &m.st, m.week()
	if o.has[byLocal] && (!held || !st.Odd.early()) {
		st.Odd.learn(o.odd, week)
		st.Shown.learn(o.shown, week)
	}
	if o.has[byLocal] && (!held || !st.Stands.early()) {
		st.Stands.learn(o.lasting, week)
	}
	if o.has[byDay] {
		reach := autoReach * st.Yards[byDay].V
		if on && !held { // what stands for longer is the new level
			reach *= autoStands
		}
		st.Daily.Level += autoLevel * clip(o.x-o.f[byDay], reach)
	}
	if st.Interval > 0 {
		st.Daily.learn(o.x)
		st.UsualSum += min(math.Log1p(o.least), autoClip)
		st.UsualN++
	}
	if on {
		st.Since.learn(o.x)
	}
	if held {
		return
	}
	m.adopt()
	if !on {
		st.Since = spread{}
	}
	for k := range o.f {
		if o.has[k] {
			st.Yards[k].learn(o.x - o.f[k])
		}
	}
	st.All.learn(o.x)
	st.Fall.learn(o.x)
	st.Recent.learn(o.x)
}

// adopt forgets what the series used to be like where what has stood for long enough, or was the level of today after half of that,
// goes so much less far that it is a quantity in another unit.
func (m *Auto) adopt() {
	st := &m.st
	if st.Since.N < alarmHeld || st.Since.N*st.Interval < alarmAdapts(m.AdaptAfter).Seconds()/2 {
		return
	}
	now := st.Since.deviation()
	if now == 0 || now*autoCalmer >= st.All.deviation() {
		return
	}
	st.All = st.Since
	if st.Fall.N > 0 {
		st.Fall.Mean, st.Fall.Var = st.Since.Mean, st.Since.Var
	}
	if st.Daily.Slots > 0 {
		st.Daily.start(st.Daily.Slots)
		st.Usual = usual{}
	}
	for k := range st.Yards {
		st.Yards[k].V = min(st.Yards[k].V, now)
	}
}

// residual is how far x is from the forecast on the side that is watched, in yardsticks.
func (m *Auto) residual(x, f, yard float64) float64 {
	r := max(0, towards(m.Direction, x-f))
	switch {
	case r == 0:
		return 0
	case yard <= 0:
		return autoCeiling
	}
	return min(r/yard, autoCeiling)
}

// combine makes the statistics of the residuals, and calibrates them.
func (m *Auto) combine(o *oddness) {
	st := &m.st
	if st.Daily.Slots > 0 {
		o.forgiven = autoWeigh * st.Usual.at(st.Daily.Slot)
	}
	o.odd = max(0, math.Log1p(o.least)-o.forgiven)
	if !o.has[byLocal] {
		return
	}
	mean := math.Log((1+o.z[byLocal])*(1+o.z[byCurve])*(1+o.z[byDay])) / 3
	st.Quick += autoQuick * (mean - st.Quick)
	st.Slow += autoSlow * (mean - st.Slow)
	o.shown = max(mean/2, st.Quick, autoBoost*st.Slow) // a lone spike counts half

	days := o.z[byDay]
	o.days = o.f[byDay]
	if o.has[byNearest] && o.z[byNearest] < days {
		days, o.days = o.z[byNearest], o.f[byNearest]
	}
	side := 1.0
	if o.x < o.f[byDay] {
		side = -1
	}
	st.Lasting.take(side * math.Log1p(days))
	o.lasting = st.Lasting.oneSide()
	// When most of the days are of a new level, the level of today is added to it once more until it has gone back.
	if o.has[byNearest] && math.Log1p(days) > st.Stands.Level {
		if f, ok := st.Daily.nearest(o.x, 0); ok {
			if z := m.residual(o.x, f, o.nearYard); z < days {
				days, o.days = z, f
			}
		}
	}
	st.Unseen.take(side * math.Log1p(days))
	o.unseen = st.Unseen.oneSide()

	if st.Odd.ready() && st.Interval > 0 {
		week := m.week()
		o.chance = st.Odd.rate(o.odd, week)
		o.chanceShown = st.Shown.rate(o.shown, week)
		o.chanceLasting = autoFrequent
		if st.Stands.ready() {
			o.chanceLasting = st.Stands.rate(o.unseen, week)
		}
		o.known = true
	}
}

// inRow is the oddness of the last rows.
type inRow struct {
	Odd [autoRow]float64
	Pos int
}

func (r *inRow) take(x float64) {
	r.Odd[r.Pos] = x
	r.Pos = (r.Pos + 1) % autoRow
}

func (r *inRow) least() float64 { return slices.Min(r.Odd[:]) }

// oneSide is the least size where all have the same sign, and 0 where they have not.
func (r *inRow) oneSide() float64 { return max(0, slices.Min(r.Odd[:]), -slices.Max(r.Odd[:])) }

// Snapshot implements Model.
func (m *Auto) Snapshot() ([]byte, error) { return seal("auto", m.st) }

// Restore implements Model.
func (m *Auto) Restore(b []byte) error {
	var st autoState
	if err := unseal("auto", b, &st); err != nil {
		return err
	}
	if err := st.check(); err != nil {
		return err
	}
	if st.Daily.Slots > 0 && st.Daily.Slot >= 0 {
		st.Daily.gather()
	}
	m.st = st
	return nil
}
