package detectors

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	defaultObjective = 0.999
	defaultMinBad    = 10
	burnPoints       = 3
	burnBuckets      = 60 // of a window
	maxBurnWindows   = 8
)

// BurnWindow is one rule of BurnRate: the budget burns more than Factor times too fast over Long, and still does over
// Short.
type BurnWindow struct {
	Long, Short time.Duration
	Factor      float64
}

// DefaultBurnWindows are the rules of the SRE workbook, with one between its page and its ticket. Each spends about
// 2, 5, 10 and 10 % of the budget of 30 days before it speaks.
func DefaultBurnWindows() []BurnWindow {
	return []BurnWindow{
		{time.Hour, 5 * time.Minute, 14.4},
		{6 * time.Hour, 30 * time.Minute, 6},
		{24 * time.Hour, 2 * time.Hour, 3},
		{72 * time.Hour, 6 * time.Hour, 1},
	}
}

// BurnRate judges a ratio of errors by the error budget of a service level objective: the multi-window, multi-burn-rate
// alert of "The Site Reliability Workbook" (Beyer et al., 2018), chapter 5. The burn rate of a window is its ratio of
// errors divided by the budget, 1-Objective. The series is anomalous (ReasonBurn) while for one of Windows the burn
// rate of the long and of the short window is above the factor: the long one says that it matters, the short
// one that it is not over.
//
// Observe takes a ratio from 0 (no errors) to Whole (errors only), and counts every point alike; what is
// outside that range counts as its nearest end. ObserveCounts takes numbers of events and weighs them, which is better
// at low traffic: one error of two requests at night is no outage, so it also takes MinBad errors in the long
// window. The part of a window before its first point counts as free of errors, so that a model that has just
// begun, or whose series had a gap, does not take minutes for days. A rule whose short window is shorter than the
// interval of the series never speaks.
//
// There is nothing to learn and no warm-up. Windows move in steps of a sixtieth of their length. All figures of a
// verdict are in the unit of the ratio: Scale is the budget, Upper the ratio at which the first rule that speaks
// does, or the one that is nearest to it would, and Deviation that rule's burn rate over its long window. Score is
// 1 while the series is anomalous and 0 elsewhere. A rule costs 2 kB.
type BurnRate struct {
	// Objective is the share of good events that is promised, between 0 and 1. Zero means 0.999.
	Objective float64
	// Whole is the value of a series that has errors only: 100 for percent. Zero means 1.
	Whole float64
	// Windows are the rules, at most 8, the most urgent first. None means DefaultBurnWindows.
	Windows []BurnWindow
	// MinBad is how many errors a long window must have, when they are counted. Zero means 10; negative means any.
	MinBad float64
	// RecoverPoints in a row without a burning rule end an anomaly. Zero means 3.
	RecoverPoints int

	st    burnState
	rules []BurnWindow // as they are used; nil: not yet made
}

// burnState is what a snapshot of BurnRate holds.
type burnState struct {
	Last  instant
	Latch latch
	Rule  int          // the burning one, counted from 1; 0 for none
	Rings []burnWindow // long and short of each rule
}

// burnWindow is the last burnBuckets buckets of a width.
type burnWindow struct {
	Width      int64 // milliseconds
	Head       int64 // number of the newest bucket
	Set        bool
	First      int64     // the point, in milliseconds, after which the window was never empty
	Bad, Total []float64 // by bucket number modulo burnBuckets
	SumBad     float64
	SumTotal   float64
}

var _ Model = (*BurnRate)(nil)

// Validate implements Model.
func (m *BurnRate) Validate() error {
	var errs []error
	if !(m.Objective >= 0 && m.Objective < 1) {
		errs = append(errs, fmt.Errorf("objective %v: want a share of good events below 1 such as 0.999, or 0 for %v", m.Objective, defaultObjective))
	}
	if !(m.Whole >= 0) || math.IsInf(m.Whole, 0) {
		errs = append(errs, fmt.Errorf("whole %v: want the value that means errors only, or 0 for 1", m.Whole))
	}
	if len(m.Windows) > maxBurnWindows {
		errs = append(errs, fmt.Errorf("%d windows: want at most %d", len(m.Windows), maxBurnWindows))
	}
	for i, w := range m.Windows {
		if !w.usable() {
			errs = append(errs, fmt.Errorf("window %d of %v and %v at %v: want a long one above a short one of %v or more, and a factor above 0",
				i, w.Long, w.Short, w.Factor, time.Minute))
		} else if w.Factor*m.budget() >= 1 {
			errs = append(errs, fmt.Errorf("window %d: factor %v times the budget of %.4g is all there is, and the rule would never speak; want a factor below %.4g",
				i, w.Factor, m.budget(), 1/m.budget()))
		}
	}
	if math.IsNaN(m.MinBad) || math.IsInf(m.MinBad, 0) {
		errs = append(errs, fmt.Errorf("min bad %v: want a number of errors, 0 for %d, or negative for any", m.MinBad, defaultMinBad))
	}
	return errors.Join(append(errs, validRuns(Both, 0, m.RecoverPoints)...)...)
}

func (w BurnWindow) usable() bool {
	return w.Short >= time.Minute && w.Long > w.Short && w.Factor > 0 && !math.IsInf(w.Factor, 0)
}

// ready makes the rules and the rings, once.
func (m *BurnRate) ready() {
	for _, w := range m.Windows[:min(len(m.Windows), maxBurnWindows)] {
		if w.usable() {
			m.rules = append(m.rules, w)
		}
	}
	if m.rules == nil {
		m.rules = DefaultBurnWindows()
	}
	if m.st.Rings == nil {
		for _, w := range m.rules {
			m.st.Rings = append(m.st.Rings, newBurnWindow(w.Long), newBurnWindow(w.Short))
		}
	}
}

func newBurnWindow(d time.Duration) burnWindow {
	return burnWindow{Width: d.Milliseconds() / burnBuckets, Bad: make([]float64, burnBuckets), Total: make([]float64, burnBuckets)}
}

func (m *BurnRate) whole() float64 { return orFloat(m.Whole, 1) }

func (m *BurnRate) budget() float64 {
	if !(m.Objective > 0 && m.Objective < 1) {
		return 1 - defaultObjective
	}
	return 1 - m.Objective
}

// Burning is the rule that made the series anomalous at the last point, the first of Windows if there were several.
func (m *BurnRate) Burning() (rule BurnWindow, ok bool) {
	if m.st.Rule == 0 || m.st.Rule > len(m.rules) {
		return BurnWindow{}, false
	}
	return m.rules[m.st.Rule-1], true
}

// Observe implements Model.
func (m *BurnRate) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Needed: 1}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	v.Value = p.Value + 0 // -0 becomes 0
	m.observe(&v, max(0, min(1, p.Value/m.whole())), 1, burnPoints, 0)
	return v
}

// ObserveCounts judges a number of bad events among a total since the point before, and otherwise is as Observe.
// Numbers below 0, as of a counter that was reset, count as 0, and there are never more bad events than events. No
// event is no news, and not a good one.
func (m *BurnRate) ObserveCounts(at time.Time, bad, total float64) Verdict {
	v := Verdict{At: at, Needed: 1}
	p := Point{At: at, Value: total}
	if math.IsNaN(bad) || math.IsInf(bad, 0) {
		p.Value = bad
	}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	total = max(0, total)
	bad = max(0, min(bad, total))
	if total > 0 {
		v.Value = finite(bad / total * m.whole())
	}
	least := m.MinBad
	if least == 0 || math.IsNaN(least) {
		least = defaultMinBad
	}
	m.observe(&v, bad, total, 0, least)
	return v
}

// observe takes bad of total events. A rule counts from so many events and bad events in its long window.
func (m *BurnRate) observe(v *Verdict, bad, total, least, leastBad float64) {
	if m.rules == nil {
		m.ready()
	}
	m.st.Last = instantOf(v.At)
	ms, _ := floorDiv(int64(v.At.Nanosecond()), int64(time.Millisecond))
	ms += v.At.Unix() * 1000
	for i := range m.st.Rings {
		m.st.Rings[i].add(ms, bad, total)
	}
	budget := m.budget()
	m.st.Rule = 0
	show, highest := 0, math.Inf(-1)
	for i, w := range m.rules {
		long, short := &m.st.Rings[2*i], &m.st.Rings[2*i+1]
		rate := min(long.ratio(ms), short.ratio(ms)) / budget / w.Factor
		if rate > highest {
			show, highest = i, rate
		}
		if rate > 1 && long.SumTotal >= least && long.SumBad >= leastBad {
			m.st.Rule, show = i+1, i
			break
		}
	}
	burning := m.st.Rule > 0
	m.st.Latch.step(v.At, burning, !burning, 1, orInt(m.RecoverPoints, 3))
	v.Since = m.st.Latch.Since.time()

	long := &m.st.Rings[2*show]
	v.Scale, v.ScaleFrom = finite(budget*m.whole()), ScaleBudget
	v.Upper, v.HasUpper, v.HasScore = finite(m.rules[show].Factor*v.Scale), true, true
	v.Deviation = finite(long.ratio(ms) / budget)
	v.Points = int(min(long.SumTotal, math.MaxInt32))
	v.State, v.Reason, v.Tail = StateNormal, ReasonInside, 1
	switch {
	case burning:
		v.State, v.Reason = StateAnomalous, ReasonBurn
	case m.st.Latch.On:
		v.State, v.Reason = StateAnomalous, ReasonRecovering
	case v.Value > v.Upper:
		v.Reason = ReasonPending
	}
	if v.State == StateAnomalous {
		v.Score, v.Tail = 1, 0
	}
}

// add moves the window to a time and adds events to its newest bucket.
func (w *burnWindow) add(ms int64, bad, total float64) {
	n, _ := floorDiv(ms, w.Width)
	if !w.Set {
		w.Head = n
	}
	passed := n - w.Head
	if !w.Set || passed >= burnBuckets {
		w.First, w.Set = ms, true
		clear(w.Bad)
		clear(w.Total)
	}
	if passed > 0 {
		for i := range min(passed, burnBuckets) {
			_, slot := floorDiv(n-i, burnBuckets)
			w.Bad[slot], w.Total[slot] = 0, 0
		}
		w.Head = n
		// Computed anew for each bucket, so that no rounding adds up.
		w.SumBad, w.SumTotal = 0, 0
		for i := range w.Bad {
			w.SumBad += w.Bad[i]
			w.SumTotal += w.Total[i]
		}
	}
	_, slot := floorDiv(w.Head, burnBuckets)
	w.Bad[slot], w.Total[slot] = finite(w.Bad[slot]+bad), finite(w.Total[slot]+total)
	w.SumBad, w.SumTotal = finite(w.SumBad+bad), finite(w.SumTotal+total)
}

// ratio of the window, in which the time before its first point is free of errors.
func (w *burnWindow) ratio(ms int64) float64 {
	if w.SumTotal <= 0 {
		return 0
	}
	return min(1, w.SumBad/w.SumTotal) * max(0, min(1, float64(ms-w.First)/float64(w.Width*burnBuckets)))
}

// Snapshot implements Model.
func (m *BurnRate) Snapshot() ([]byte, error) { return seal("burn-rate", m.st) }

// Restore implements Model. A snapshot of other windows is refused.
func (m *BurnRate) Restore(b []byte) error {
	var st burnState
	if err := unseal("burn-rate", b, &st); err != nil {
		return err
	}
	if st.Rings != nil {
		want := BurnRate{Windows: m.Windows}
		want.ready()
		if len(st.Rings) != len(want.st.Rings) {
			return fmt.Errorf("%w: it has %d windows, want %d", ErrSnapshot, len(st.Rings), len(want.st.Rings))
		}
		for i, r := range st.Rings {
			if !r.usable(want.st.Rings[i].Width) {
				return fmt.Errorf("%w: window %d is not one of %d buckets of %d ms", ErrSnapshot, i, burnBuckets, want.st.Rings[i].Width)
			}
		}
	}
	if st.Latch.Run < 0 || st.Rule < 0 || st.Rule > len(st.Rings)/2 {
		return fmt.Errorf("%w: a count is out of range", ErrSnapshot)
	}
	m.st, m.rules = st, nil
	return nil
}

func (w *burnWindow) usable(width int64) bool {
	if w.Width != width || w.SumBad < 0 || w.SumTotal < 0 || len(w.Bad) != burnBuckets || len(w.Total) != burnBuckets {
		return false
	}
	for i := range w.Bad {
		if w.Bad[i] < 0 || w.Total[i] < 0 {
			return false
		}
	}
	return true
}
