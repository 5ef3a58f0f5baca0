package detectors

import (
	"fmt"
	"math"
	"time"
)

const (
	maxVisits       = 12
	dayVisits       = 7
	defaultWeeks    = 4
	defaultMinWeeks = 2
	minDays         = 2
	seasonalReach   = 6
	seasonalMemory  = 120 // points of the recent level
	seasonalAdapt   = 6 * time.Hour
	defaultDrift    = 12 * time.Hour
	// quantileToSigma makes the 90 % quantile of the absolute values of normal noise its standard deviation.
	quantileToSigma = 1 / 1.6448536269514722
	// otherShape is how many scales the residuals of a lasting deviation may spread for it to be the old pattern
	// on another level.
	otherShape = 3
)

// Seasonal compares each value with what the series was at this time of the week: a median profile by civil time,
// as in the robust variants of seasonal naive forecasting (Hyndman and Athanasopoulos, "Forecasting: Principles
// and Practice", 3rd ed., section 5.2), with a slow correction of the level.
//
// The week is cut into slots by the wall clock of Location, so that nine o'clock is nine o'clock on both sides of
// a change of the clocks: on the day of 23 hours an hour is skipped, on that of 25 one is visited twice. Of each
// visit of a slot its median is kept; the level of a slot is the median of its last Weeks visits, and between the
// centres of two slots it is interpolated. The scale of a visit is the 90 % quantile of the absolute residuals
// divided by 1.645, that of a slot the median of its visits or the mean of its own and its neighbours', if larger:
//
//	scale = max(estimate, AbsoluteFloor, RelativeFloor*|expected|, Resolution/2)
//
// Until a slot has MinWeeks visits it is judged by the last 7 days at the same time of the day, and before there
// are two of those by the recent past alone (an M-estimate over about 120 points), which takes 30 points. The
// verdict's Basis says which it was, and Points counts the points that this basis rests on. A series with
// weekends accuses its first one until AdaptAfter; from the second or third week on it knows.
//
// Points that a known week calls anomalous are not learned. After AdaptAfter without a pause the level is
// corrected at once by what the deviation was (ReasonAdapted); when the series has another shape and not only
// another level - another unit, say - the profile is forgotten and learned anew.
//
// It keeps 24 bytes of each visit: 20 kB with the defaults.
type Seasonal struct {
	// Location is the civil time of the series. Nil means UTC.
	Location *time.Location
	// Slot is the length of a slot, a divisor of 24 hours in whole seconds, 1 minute or more. Zero means 1 hour.
	Slot time.Duration
	// Weeks is how many visits of a slot are kept, up to 12. Zero means 4.
	Weeks int
	// MinWeeks is how many visits a slot must have to be judged by them; never more than Weeks. Zero means 2.
	MinWeeks int
	// Special are times that are not like others: they are never learned, and judged like another day or by the
	// recent past alone. Of those that overlap the first one counts.
	Special []Interval
	// Drift is the time constant of the slow correction of the level. Zero means 12 hours; negative means none.
	Drift time.Duration
	// Threshold is how many scales from the expected value the band reaches. Zero means 6.
	Threshold float64
	// RecoverAt is within how many scales a value counts as recovered. Zero means 0.6 of Threshold; never
	// more than Threshold.
	RecoverAt float64
	// Direction is the side that is watched. Zero, Both, watches both.
	Direction Direction
	// AbsoluteFloor is the smallest scale, in the unit of the series. Zero means none.
	AbsoluteFloor float64
	// RelativeFloor is the smallest scale as a share of |expected|. Zero means 0.02; negative means none.
	RelativeFloor float64
	// Resolution is the step in which the series can move (1 for a count). Zero means unknown.
	Resolution float64
	// TriggerPoints in a row outside the band make the series anomalous. Zero means 1.
	TriggerPoints int
	// TriggerOf is of how many points, up to 64, TriggerPoints must be outside. Zero means all: they are in a row.
	TriggerOf int
	// RecoverPoints in a row within RecoverAt make it normal again. Zero means 3.
	RecoverPoints int
	// RecoverOf is the same of RecoverPoints.
	RecoverOf int
	// AdaptAfter is how long a series must be anomalous without a pause for its new level to become the
	// level. Zero means 6 hours; negative means never.
	AdaptAfter time.Duration

	st    seasonalState
	built bool
	near  [3]baseline // of the slots before, at and after the present one
	known bool        // near is of the present slot
}

// seasonalState is what a snapshot of Seasonal holds.
type seasonalState struct {
	Last        instant
	Latch       latch
	Recent      running
	AsideValues running // of the present deviation
	AsideRest   running // its residuals
	Correction  float64 // of the level of the weeks
	At          seat    // the present visit
	Open        bool    // there is a present visit
	Values      thin    // of the present visit, without the correction
	Rests       thin    // its absolute residuals
	Slot        int64   // seconds
	Weeks       visits
	Days        visits
	NoDaysUntil int64 // visit up to which the pattern of the day is not believed
}

// baseline is what one slot says.
type baseline struct {
	level, scale float64
	points       int
	basis        Basis
}

var _ Model = (*Seasonal)(nil)

// Validate implements Model.
func (m *Seasonal) Validate() error {
	var errs []error
	if m.Weeks < 0 || m.Weeks > maxVisits {
		errs = append(errs, fmt.Errorf("weeks %d: want 1 to %d, or 0 for %d", m.Weeks, maxVisits, defaultWeeks))
	}
	if m.MinWeeks < 0 || m.MinWeeks > m.weeks() {
		errs = append(errs, fmt.Errorf("min weeks %d: want 1 to the weeks of %d, or 0 for %d", m.MinWeeks, m.weeks(), defaultMinWeeks))
	}
	return join(errs, validSlot(m.Slot), validSpecial(m.Special), m.band().validate(), m.floors().validate())
}

func (m *Seasonal) weeks() int { return min(orInt(m.Weeks, defaultWeeks), maxVisits) }

func (m *Seasonal) minWeeks() int { return min(orInt(m.MinWeeks, defaultMinWeeks), m.weeks()) }

func (m *Seasonal) band() band {
	return band{m.Threshold, seasonalReach, m.RecoverAt, m.Direction, runs{m.TriggerPoints, m.TriggerOf, m.RecoverPoints, m.RecoverOf}}
}

func (m *Seasonal) floors() floors { return floors{m.AbsoluteFloor, m.RelativeFloor, m.Resolution} }

func (m *Seasonal) calendar() calendar {
	loc, slot := m.Location, m.Slot
	if loc == nil {
		loc = time.UTC
	}
	if !goodSlot(slot) {
		slot = defaultSlot
	}
	return calendar{loc, int64(slot / time.Second), m.Special}
}

// ready makes room for everything, once.
func (m *Seasonal) ready(c calendar) {
	m.st.Recent.ready()
	m.st.AsideValues.ready()
	m.st.AsideRest.ready()
	m.st.Values.ready()
	m.st.Rests.ready()
	if m.st.Weeks.Per == 0 {
		m.st.Slot = c.slot
		m.st.Weeks = newVisits(7*c.perDay(), m.weeks())
		m.st.Days = newVisits(c.perDay(), dayVisits)
	}
	m.built = true
}

// Learned is how many slots of the week are judged by the past weeks, and how many slots there are.
func (m *Seasonal) Learned() (slots, of int) {
	of = 7 * m.calendar().perDay()
	for slot := range m.st.Weeks.Count {
		if m.st.Weeks.kept(slot) >= m.minWeeks() {
			slots++
		}
	}
	return slots, of
}

// Observe implements Model.
func (m *Seasonal) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Basis: BasisRecent, Points: min(m.st.Recent.N, 2*seasonalMemory), Needed: startPoints}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	c := m.calendar()
	if !m.built {
		m.ready(c)
	}
	v.Value = p.Value + 0 // -0 becomes 0
	elapsed := min(time.Duration(c.slot)*time.Second, sinceLast(m.st.Last, p.At))
	m.st.Last = instantOf(p.At)
	at := c.place(p.At)
	if !m.st.Open || at.seat != m.st.At {
		m.close()
		m.st.At, m.st.Open, m.known = at.seat, true, false
	}
	if !m.known {
		m.look(c)
	}
	if m.near[1].basis == BasisRecent && v.Points < startPoints {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		m.st.Recent.add(v.Value, 0, seasonalMemory)
		m.st.Values.add(v.Value)
		return v
	}
	nu := m.expect(&v, at.share)
	v.Scale, v.ScaleFrom = m.floors().apply(v.Scale, v.ScaleFrom, v.Expected)
	m.band().judge(&v, &m.st.Latch, nu)
	m.learn(&v, elapsed)
	return v
}

// look asks the present slot and its neighbours what they know. A neighbour that knows it from elsewhere is not
// asked: the slot stands for it.
func (m *Seasonal) look(c calendar) {
	m.near[1] = m.slot(c, 0)
	for i, by := range [2]int{-1, 1} {
		b := m.slot(c, by)
		if b.basis != m.near[1].basis {
			b = m.near[1]
		}
		m.near[2*i] = b
	}
	m.known = true
}

// slot is what the slot by steps after the present one says.
func (m *Seasonal) slot(c calendar, by int) baseline {
	var b baseline
	week := (m.st.At.Week + by + 7*c.perDay()) % (7 * c.perDay())
	day := (m.st.At.Day + by + c.perDay()) % c.perDay()
	switch {
	case m.st.At.Nothing:
		b.basis = BasisRecent
	case m.st.Weeks.kept(week) >= m.minWeeks():
		b.basis = BasisWeek
		b.level, b.scale, b.points = m.st.Weeks.get(week)
	case m.st.Days.kept(day) >= minDays && m.st.At.Visit > m.st.NoDaysUntil:
		b.basis = BasisDay
		b.level, b.scale, b.points = m.st.Days.get(day)
	default:
		b.basis = BasisRecent
	}
	return b
}

// expect fills in what is expected at this share of the slot, and returns the degrees of freedom of its scale.
func (m *Seasonal) expect(v *Verdict, share float64) float64 {
	before, own, after := m.near[0], m.near[1], m.near[2]
	v.Basis = own.basis
	if own.basis == BasisRecent {
		v.Expected, v.Scale, v.ScaleFrom = m.st.Recent.Level, m.st.Recent.sigma(), ScaleMean
		return float64(v.Points - 1)
	}
	next, weight := after, share-0.5
	if share < 0.5 {
		next, weight = before, 0.5-share
	}
	v.Expected = finite(own.level*(1-weight) + next.level*weight)
	if own.basis == BasisWeek {
		v.Expected = finite(v.Expected + m.st.Correction)
	}
	v.Scale = max(own.scale, before.scale/3+own.scale/3+after.scale/3)
	v.ScaleFrom, v.Points = ScaleQuantile, own.points
	return float64(own.points - 1)
}

// learn puts the value where it belongs.
func (m *Seasonal) learn(v *Verdict, elapsed time.Duration) {
	rest := finite(v.Value - v.Expected)
	week := v.Basis == BasisWeek
	deviates := m.st.Latch.Since.Set
	if !week || !deviates { // before a week is known, a visit's median must do for all there was
		m.st.Values.add(finite(v.Value - m.correction(week)))
		m.st.Rests.add(math.Abs(rest))
	}
	if !deviates {
		m.st.AsideValues.reset()
		m.st.AsideRest.reset()
		m.st.Recent.add(v.Value, v.Scale, seasonalMemory)
		if drift := m.drift(); week && drift > 0 {
			pull := max(-levelClip*v.Scale, min(levelClip*v.Scale, rest))
			m.st.Correction = finite(m.st.Correction + min(0.1, elapsed.Seconds()/drift.Seconds())*pull)
		}
		return
	}
	m.st.AsideValues.add(v.Value, v.Scale, seasonalMemory)
	m.st.AsideRest.add(rest, v.Scale, seasonalMemory)
	if m.st.Latch.On && m.st.AsideRest.N >= startPoints && adapts(m.AdaptAfter, seasonalAdapt, m.st.Latch.Since, v.At) {
		m.adapt(v)
	}
}

func (m *Seasonal) correction(week bool) float64 {
	if week {
		return m.st.Correction
	}
	return 0
}

func (m *Seasonal) drift() time.Duration {
	if m.Drift == 0 {
		return defaultDrift
	}
	return m.Drift
}

// adapt makes the present deviation the level.
func (m *Seasonal) adapt(v *Verdict) {
	switch {
	case v.Basis == BasisWeek && m.st.AsideRest.sigma() <= otherShape*v.Scale:
		m.st.Correction = finite(m.st.Correction + m.st.AsideRest.Level)
	case v.Basis == BasisWeek:
		m.st.Weeks.clear()
		m.st.Days.clear()
		m.st.Values.reset()
		m.st.Rests.reset()
		m.st.Correction = 0
	case v.Basis == BasisDay:
		m.st.NoDaysUntil = m.st.At.Visit + int64(m.calendar().perDay())
	}
	m.st.Recent, m.st.AsideValues = m.st.AsideValues, m.st.Recent
	m.st.AsideValues.reset()
	m.st.AsideRest.reset()
	m.st.Latch, m.known = latch{}, false
	v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
}

// close takes the present visit into its slots.
func (m *Seasonal) close() {
	if n := m.st.Values.Seen; n > 0 && m.st.Open && !m.st.At.Special {
		m.st.Values.sort()
		spread := middle(m.st.Values.quantile(0.95), -m.st.Values.quantile(0.05)) // of a visit that nothing was expected of
		if m.st.Rests.Seen > 0 {
			m.st.Rests.sort()
			spread = m.st.Rests.quantile(0.9)
		}
		level, scale := m.st.Values.median(), quantileToSigma*spread
		m.st.Weeks.add(m.st.At.Week, level, scale, n)
		m.st.Days.add(m.st.At.Day, level, scale, n)
	}
	m.st.Values.reset()
	m.st.Rests.reset()
}

// Snapshot implements Model.
func (m *Seasonal) Snapshot() ([]byte, error) { return seal("seasonal", m.st) }

// Restore implements Model. A snapshot with other slots or another number of weeks is refused.
func (m *Seasonal) Restore(b []byte) error {
	var st seasonalState
	if err := unseal("seasonal", b, &st); err != nil {
		return err
	}
	c := m.calendar()
	fresh := st.Weeks.Per == 0 // of a model that had seen nothing
	switch {
	case !fresh && (st.Slot != c.slot || !st.Weeks.usable(7*c.perDay(), m.weeks()) || !st.Days.usable(c.perDay(), dayVisits)):
		return fmt.Errorf("%w: it does not have %d slots of %d visits", ErrSnapshot, 7*c.perDay(), m.weeks())
	case fresh && st.Open, st.Latch.Run < 0, st.At.Week < 0 || st.At.Week >= 7*c.perDay(), st.At.Day < 0 || st.At.Day >= c.perDay():
		return fmt.Errorf("%w: its visit does not exist", ErrSnapshot)
	case !st.Recent.usable() || !st.AsideValues.usable() || !st.AsideRest.usable() || !st.Values.usable() || !st.Rests.usable():
		return fmt.Errorf("%w: its estimates contradict themselves", ErrSnapshot)
	}
	m.st, m.built, m.known = st, false, false
	return nil
}
