package detectors

import "math"

// judge fills in the verdict and moves the alarms.
func (m *Auto) judge(v *Verdict, o *oddness) {
	st := &m.st
	week := m.week()
	budget := math.Log10(m.budget())

	o.chance += autoPoints
	lasting := st.Stands.lasting(o.chanceLasting, o.unseen, budget, autoShare)
	if o.odd <= st.Odd.Level { // of a slow series a week has fewer points than the budget has alarms
		o.chance = max(o.chance, budget)
	}
	st.Alarm.step(v.At, o.chance < budget, lasting < budget, st.Interval)

	m.band(v, o, budget)
	matters := m.matters(v, o.expected)
	if !matters {
		o.chance, o.chanceShown = math.Inf(1), math.Inf(1)
	}
	if !m.matters(v, o.days) || (!matters && lasting >= budget) {
		lasting = math.Inf(1)
	}
	v.PerWeek = perWeek(min(o.chance, lasting), o.chanceShown, budget)
	v.Tail = min(1, v.PerWeek/week)
	v.Score, v.HasScore = 1-v.Tail, true

	st.Told.step(v.At, o.chance < budget, lasting < budget, st.Interval)
	v.State, v.Since = StateNormal, st.Told.Since.time()
	if st.Told.On {
		v.State = StateAnomalous
	}
	switch {
	case o.chance < budget && v.Value < o.expected:
		v.Reason = ReasonBelow
	case o.chance < budget:
		v.Reason = ReasonAbove
	case lasting < budget && st.Told.lasts():
		v.Reason = ReasonLasting
	case st.Told.On:
		v.Reason = ReasonRecovering
	case v.Value > v.Upper || v.Value < v.Lower:
		v.Reason = ReasonRepeated
		if (v.Value > v.Upper && m.Direction == Below) || (v.Value < v.Lower && m.Direction == Above) {
			v.Reason = ReasonOtherSide
		}
	default:
		v.Reason = ReasonInside
	}
}

// band fills in what was expected and how far from it a value may be: as far as the past of the series says, or the floors where they are larger. A
// value exactly at a floor is outside, since it matters.
func (m *Auto) band(v *Verdict, o *oddness, budget float64) {
	reach := max(0, finite(math.Expm1(m.st.Odd.reach(budget-autoPoints, m.week())+o.forgiven))) * o.yard
	v.Expected, v.Lower, v.Upper = o.expected, finite(o.expected-reach), finite(o.expected+reach)
	v.HasExpected, v.HasLower, v.HasUpper = true, true, true
	if lower, upper, ok := m.floors(o.expected); ok {
		v.Lower = min(v.Lower, math.Nextafter(lower, math.Inf(1)))
		v.Upper = max(v.Upper, math.Nextafter(upper, math.Inf(-1)))
	}
	v.Scale, v.ScaleFrom, v.Basis = o.yard, o.from, o.basis
	if o.yard > 0 {
		v.Deviation = clip(finite(v.Value-o.expected)/o.yard, autoCeiling)
	}
}

// floors are the nearest values to the expected one that are as far from it as the floors; ok is false when there are none, or they are too small to
// make a difference to it.
func (m *Auto) floors(expected float64) (lower, upper float64, ok bool) {
	floor := finite(max(orFloat(m.AbsoluteFloor, 0), orFloat(m.RelativeFloor, 0)*math.Abs(expected)))
	return finite(expected - floor), finite(expected + floor), expected+floor > expected
}

// matters reports whether the value is as far as the floors from the expected one, on the side that is watched.
func (m *Auto) matters(v *Verdict, expected float64) bool {
	lower, upper, ok := m.floors(expected)
	return !ok || (v.Value <= lower && m.Direction != Above) || (v.Value >= upper && m.Direction != Below)
}

// perWeek is the figure of a verdict, of the decimal logarithms of the chance that decides and of the one that is shown
// below an alarm: smoothed, it says more of how a trouble goes on. It goes no further than to the budget, and keeps
// its order there.
func perWeek(decides, shown, budget float64) float64 {
	if shown < decides {
		decides = min(decides, max(shown, budget+autoShown/(1+max(0, budget-shown))))
	}
	return math.Pow(10, min(decides, autoFrequent))
}
