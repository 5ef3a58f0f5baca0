package detectors

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	peersReach  = 6
	peersMemory = 2000 // rows
	peersAdapt  = 6 * time.Hour
	minPeers    = 3
	maxPeers    = 10_000
)

// Peers compares each series with its siblings now: a site with the other sites. What moves all of them - the time
// of the day, a holiday, a campaign - cancels, and what is left is the site's own: the difference in differences
// of Card and Krueger (1994), with medians in place of means. With y the value, or its logarithm for Ratio:
//
//	own   = y - offset               what the series has in common with the others
//	rest  = own - median(own of all) the median with three siblings stands while one of them parts
//	scale = max(1.2533 mean |own - median(own of the others)|, the floors)
//
// The offsets and the scales are M-estimates with a memory of 2000 rows, which stand still while any sibling
// deviates. A sibling begins with 30 rows for its offset and 30 for its scale. More than half of the siblings must be
// well for the verdict to be right; that is what peers cannot tell.
//
// It takes three siblings with a value to say which one has parted. With two it says when they have
// (ReasonEither, StateUnknown for both), and alone none is judged (ReasonFewPeers). With Ratio, values of Smallest
// and below are too small to compare, and rows with fewer than two above it are not judged.
//
// A sibling that deviates for AdaptAfter without a pause gets the offset that it then has (ReasonAdapted).
// Figures of a verdict are in the unit of the series; Expected is what the siblings say the value should be. It keeps
// 0.2 kB of each sibling.
type Peers struct {
	// Ratio compares logarithms, for series of which one is a multiple of the other, such as requests. Zero
	// compares differences, for series that are alike but for an offset, such as latencies.
	Ratio bool
	// Smallest is the value from which on ratios mean something; smaller ones count as it. Zero means 1.
	Smallest float64
	// Threshold is how many scales from the siblings the band reaches. Zero means 6.
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
	// TriggerPoints in a row outside the band make a sibling anomalous. Zero means 1.
	TriggerPoints int
	// TriggerOf is of how many points, up to 64, TriggerPoints must be outside. Zero means all: they are in a row.
	TriggerOf int
	// RecoverPoints in a row within RecoverAt make it normal again. Zero means 3.
	RecoverPoints int
	// RecoverOf is the same of RecoverPoints.
	RecoverOf int
	// AdaptAfter is how long a sibling must be anomalous without a pause for its distance to become its offset.
	// Zero means 6 hours; negative means never.
	AdaptAfter time.Duration

	st       peersState
	verdicts []Verdict
	row      []peerValue // those of the row that can be compared, sorted by own
	at       []int       // the place in row of each sibling, -1 for none
}

// peersState is what a snapshot of Peers holds.
type peersState struct {
	Last     instant
	Siblings []sibling
}

// sibling is one series.
type sibling struct {
	Latch latch
	First running // of y less the siblings, which gives the first offset
	Rest  running // of y less the first offset and the others
	Aside running // of the present deviation
}

// peerValue is one value of a row.
type peerValue struct {
	i      int
	y, own float64
}

var _ RowModel = (*Peers)(nil)

// Validate implements RowModel.
func (m *Peers) Validate() error {
	var errs []error
	if !(m.Smallest >= 0) || math.IsInf(m.Smallest, 0) {
		errs = append(errs, fmt.Errorf("smallest %v: want a value above 0 in the unit of the series, or 0 for 1", m.Smallest))
	}
	return join(errs, m.band().validate(), m.floors().validate())
}

func (m *Peers) band() band {
	return band{m.Threshold, peersReach, m.RecoverAt, m.Direction, runs{m.TriggerPoints, m.TriggerOf, m.RecoverPoints, m.RecoverOf}}
}

func (m *Peers) floors() floors { return floors{m.AbsoluteFloor, m.RelativeFloor, m.Resolution} }

// offset is what the sibling has more than the others.
func (s *sibling) offset() float64 {
	if s.Rest.N < startPoints {
		return s.First.Level
	}
	return finite(s.First.Level + s.Rest.Level)
}

// placed says that the sibling has an offset, and known that it has a scale as well.
func (s *sibling) placed() bool { return s.First.N >= startPoints }

func (s *sibling) known() bool { return s.Rest.N >= startPoints }

func (s *sibling) points() int { return min(s.First.N, startPoints) + min(s.Rest.N, 2*peersMemory) }

// grow makes room for a row of n.
func (m *Peers) grow(n int) {
	for len(m.st.Siblings) < n {
		m.st.Siblings = append(m.st.Siblings, sibling{})
	}
	for i := range m.st.Siblings {
		s := &m.st.Siblings[i]
		s.First.ready()
		s.Rest.ready()
		s.Aside.ready()
	}
	n = len(m.st.Siblings)
	m.verdicts = make([]Verdict, n)
	m.at = make([]int, n)
	m.row = make([]peerValue, 0, n)
}

// Observe implements RowModel.
func (m *Peers) Observe(at time.Time, values []float64) []Verdict {
	if len(values) > len(m.verdicts) {
		m.grow(len(values))
	}
	late := m.st.Last.Set && !m.st.Last.before(at)
	for i := range values {
		s := &m.st.Siblings[i]
		m.verdicts[i] = Verdict{At: at, Needed: 2 * startPoints, Points: s.points(), Reason: accept(Point{At: at, Value: values[i]}, m.st.Last)}
		if !late && math.IsNaN(values[i]) {
			m.verdicts[i].Reason = ReasonMissing
		}
	}
	out := m.verdicts[:len(values)]
	if late {
		return out
	}
	m.st.Last = instantOf(at)
	common, placed, ok := m.common(values)
	if !ok {
		for i := range out {
			if out[i].Reason == ReasonNone {
				out[i].Value, out[i].Reason = values[i]+0, ReasonFewPeers
			}
		}
		return out
	}
	for i := range out {
		if out[i].Reason == ReasonNone {
			m.judge(&out[i], i, values[i]+0, common, placed)
		}
	}
	m.learn(out, common)
	return out
}

// common is the movement that the siblings share, and whether it is that of those that have an offset. There must be
// two of them; before there is any, three values do.
func (m *Peers) common(values []float64) (common float64, placed, ok bool) {
	m.row = m.row[:0]
	above := 0
	for i := range m.at {
		m.at[i] = -1
	}
	for i, x := range values {
		s := &m.st.Siblings[i]
		placed = placed || s.placed()
		if m.verdicts[i].Reason != ReasonNone {
			continue
		}
		if x > m.smallest() {
			above++
		}
		y := m.measure(x)
		m.row = append(m.row, peerValue{i, y, finite(y - s.offset())})
	}
	if placed { // those without an offset cannot be compared yet
		m.row = slices.DeleteFunc(m.row, func(v peerValue) bool { return !m.st.Siblings[v.i].placed() })
	}
	least := 2
	if !placed {
		least = minPeers
	}
	if len(m.row) < least || m.Ratio && above < 2 {
		return 0, placed, false
	}
	slices.SortFunc(m.row, func(a, b peerValue) int { return cmp.Compare(a.own, b.own) })
	for at, v := range m.row {
		m.at[v.i] = at
	}
	n := len(m.row)
	return middle(m.row[(n-1)/2].own, m.row[n/2].own), placed, true
}

// others is the median of the others' own than that at a place of the row.
func (m *Peers) others(at int) float64 {
	n := len(m.row) - 1
	get := func(k int) float64 {
		if k >= at {
			k++
		}
		return m.row[k].own
	}
	return middle(get((n-1)/2), get(n/2))
}

func (m *Peers) smallest() float64 { return orFloat(m.Smallest, 1) }

// measure turns a value into what is compared.
func (m *Peers) measure(x float64) float64 {
	if m.Ratio {
		return math.Log(max(x, m.smallest()))
	}
	return x
}

// judge fills in the verdict of the i-th sibling.
func (m *Peers) judge(v *Verdict, i int, x, common float64, placed bool) {
	s := &m.st.Siblings[i]
	v.Value = x
	if !placed || !s.known() {
		v.State, v.Reason, v.Points = StateWarming, ReasonFewPoints, min(v.Points, v.Needed-1)
		return
	}
	y, sigma := m.measure(x), s.Rest.sigma()
	if len(m.row) < minPeers {
		// A pair has no median: each is compared with the other.
		other := m.row[1-m.at[i]]
		if !m.st.Siblings[other.i].known() {
			v.Reason = ReasonFewPeers
			return
		}
		common, sigma = other.own, math.Hypot(sigma, m.st.Siblings[other.i].Rest.sigma())
	}
	expected := finite(common + s.offset())
	level := expected // in the unit of the series
	unit := 1.0       // what one of y is there
	if m.Ratio {
		level = finite(math.Exp(expected))
		unit = max(level, m.smallest())
	}
	scale, from := m.floors().apply(finite(finite(sigma)*unit), ScaleMean, level)
	w := Verdict{At: v.At, Value: y, Expected: expected, Scale: scale / unit}
	if m.Ratio && x <= m.smallest() && level <= m.smallest() {
		w.Value = expected // both are too small to compare
	}
	before := s.Latch
	m.band().judge(&w, &s.Latch, float64(min(s.Rest.N, 2*peersMemory)-1))
	w.Value, w.Expected, w.Scale, w.ScaleFrom = x, level, scale, from
	if m.Ratio {
		w.Lower, w.Upper = finite(math.Exp(w.Lower)), finite(math.Exp(w.Upper))
	}
	w.Points, w.Needed = v.Points, v.Needed
	if len(m.row) < minPeers && (w.Reason == ReasonAbove || w.Reason == ReasonBelow || w.Reason == ReasonPending || w.Reason == ReasonConstant) {
		s.Latch = before
		*v = Verdict{At: v.At, Value: x, Reason: ReasonEither, Points: v.Points, Needed: v.Needed}
		return
	}
	*v = w
}

// learn takes the row into the offsets and the scales.
func (m *Peers) learn(out []Verdict, common float64) {
	calm := true
	for _, v := range out {
		calm = calm && v.Since.IsZero() && v.Reason != ReasonEither
	}
	for i := range out {
		v, s := &out[i], &m.st.Siblings[i]
		if v.Reason == ReasonMissing || v.Reason == ReasonNotFinite || v.Reason == ReasonFewPeers {
			continue
		}
		y := m.measure(v.Value)
		if !s.placed() {
			if calm {
				s.First.add(finite(y-common), 0, peersMemory)
			}
			continue
		}
		if !v.Since.IsZero() {
			s.Aside.add(finite(y-s.First.Level-common), 0, peersMemory)
			m.adapt(v, s)
			continue
		}
		s.Aside.reset()
		if calm && m.at[i] >= 0 && len(m.row) >= minPeers {
			s.Rest.add(finite(y-s.First.Level-m.others(m.at[i])), v.Scale/m.unit(v), peersMemory)
		}
	}
}

// unit is what one of y is at the verdict's expectation, in the unit of the series.
func (m *Peers) unit(v *Verdict) float64 {
	if !m.Ratio {
		return 1
	}
	return max(v.Expected, m.smallest())
}

// adapt makes the present distance of a sibling its offset, when it has lasted.
func (m *Peers) adapt(v *Verdict, s *sibling) {
	if !s.Latch.On || s.Aside.N < startPoints || !adapts(m.AdaptAfter, peersAdapt, s.Latch.Since, v.At) {
		return
	}
	s.Rest.Level, s.Rest.Size = s.Aside.Level, max(s.Rest.Size, s.Aside.Size)
	s.Aside.reset()
	s.Latch = latch{}
	v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
}

// Snapshot implements RowModel.
func (m *Peers) Snapshot() ([]byte, error) { return seal("peers", m.st) }

// Restore implements RowModel.
func (m *Peers) Restore(b []byte) error {
	var st peersState
	if err := unseal("peers", b, &st); err != nil {
		return err
	}
	if len(st.Siblings) > maxPeers {
		return fmt.Errorf("%w: it has %d siblings, more than %d", ErrSnapshot, len(st.Siblings), maxPeers)
	}
	for i, s := range st.Siblings {
		if s.Latch.Run < 0 || !s.First.usable() || !s.Rest.usable() || !s.Aside.usable() {
			return fmt.Errorf("%w: sibling %d contradicts itself", ErrSnapshot, i)
		}
	}
	m.st = st
	m.grow(0)
	return nil
}
