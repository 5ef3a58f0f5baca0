package detectors

import (
	"errors"
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// madToSigma makes the median absolute deviation of a normal sample estimate its standard deviation:
	// 1 / quantile(3/4) of the normal distribution.
	madToSigma = 1.482602218505602
	// madEfficiency is the asymptotic efficiency of the MAD at the normal distribution: n points of it are
	// worth 0.3675 n points of a standard deviation.
	madEfficiency = 0.3675

	defaultWindow    = 360
	defaultMinPoints = 30
	maxWindow        = 100_000
	defaultThreshold = 5
	defaultRelative  = 0.02
	defaultAdapt     = time.Hour
)

// RobustZ compares each value with the median of the recent past, in units of a robust scale: the robust z-score
// of Iglewicz and Hoaglin, "How to Detect and Handle Outliers", ASQC 1993, with the median absolute deviation
// of Hampel, JASA 69 (1974), consistent at the normal distribution (Rousseeuw and Croux, JASA 88 (1993)).
//
//	scale = max(1.4826 MAD, AbsoluteFloor, RelativeFloor*|median|, Resolution/2)
//
// Where half of the window or more is one value the MAD is zero; the sample standard deviation stands in for
// it, so that a series of zeros that had bursts while it was learned does not accuse the next one like them. Bursts
// it has not learned are accused each time; AbsoluteFloor, the smallest deviation that could matter, is the
// remedy. A series that has never moved and has no floor accuses its first other value with ReasonConstant.
//
// The tail probability behind the score is that of Student's t with 0.3675 (n-1) degrees of freedom, the
// sample size that a standard deviation of the same precision as the MAD would have had. It is honest about
// small windows; it is no promise for heavy-tailed or autocorrelated series.
//
// The band is learned from points judged normal. Points outside it, and those of a recovery, are kept aside.
// When the series has been anomalous for AdaptAfter without a pause, what was kept aside becomes the window:
// the new level is then the level (ReasonAdapted). A shorter trouble leaves no trace.
type RobustZ struct {
	// Window is how many points the band rests on. Zero means 360; more than 100000 is cut to that.
	Window int
	// MinPoints is how many points it takes to leave the warm-up. Zero means 30; never more than Window.
	MinPoints int
	// Threshold is how many scales from the median the band reaches. Zero means 5.
	Threshold float64
	// RecoverAt is within how many scales a value counts as recovered. Zero means 0.6 of Threshold; never
	// more than Threshold.
	RecoverAt float64
	// Direction is the side that is watched. Zero, Both, watches both.
	Direction Direction
	// AbsoluteFloor is the smallest scale, in the unit of the series. Zero means none.
	AbsoluteFloor float64
	// RelativeFloor is the smallest scale as a share of |median|. Zero means 0.02; negative means none.
	RelativeFloor float64
	// Resolution is the step in which the series can move (1 for a count). Zero means unknown.
	Resolution float64
	// TriggerPoints in a row outside the band make the series anomalous. Zero means 1.
	TriggerPoints int
	// RecoverPoints in a row within RecoverAt make it normal again. Zero means 3.
	RecoverPoints int
	// AdaptAfter is how long a series must be anomalous without a pause for its new level to become the
	// level. It then also takes MinPoints points of it. Zero means 1 hour; negative means never.
	AdaptAfter time.Duration

	last  instant
	latch latch
	train window // judged normal
	aside window // of the present deviation
}

var _ Model = (*RobustZ)(nil)

// Validate implements Model.
func (m *RobustZ) Validate() error {
	var errs []error
	if m.Window < 0 || m.Window == 1 || m.Window > maxWindow {
		errs = append(errs, fmt.Errorf("window %d: want 2 to %d points, or 0 for %d", m.Window, maxWindow, defaultWindow))
	}
	if m.MinPoints < 0 || m.MinPoints == 1 || m.MinPoints > m.window() {
		errs = append(errs, fmt.Errorf("min points %d: want 2 to the window of %d, or 0 for %d", m.MinPoints, m.window(), defaultMinPoints))
	}
	if !(m.Threshold >= 0) || math.IsInf(m.Threshold, 0) {
		errs = append(errs, fmt.Errorf("threshold %v: want a number of scales above 0, or 0 for %d", m.Threshold, defaultThreshold))
	}
	if !(m.RecoverAt >= 0) || m.RecoverAt > m.threshold() {
		errs = append(errs, fmt.Errorf("recover at %v: want 0 to the threshold of %v scales", m.RecoverAt, m.threshold()))
	}
	if !(m.AbsoluteFloor >= 0) || math.IsInf(m.AbsoluteFloor, 0) {
		errs = append(errs, fmt.Errorf("absolute floor %v: want 0 or more in the unit of the series", m.AbsoluteFloor))
	}
	if math.IsNaN(m.RelativeFloor) || math.IsInf(m.RelativeFloor, 0) {
		errs = append(errs, fmt.Errorf("relative floor %v: want a share such as 0.05, 0 for %v, or negative for none", m.RelativeFloor, defaultRelative))
	}
	if !(m.Resolution >= 0) || math.IsInf(m.Resolution, 0) {
		errs = append(errs, fmt.Errorf("resolution %v: want 0 or more in the unit of the series", m.Resolution))
	}
	return errors.Join(append(errs, validRuns(m.Direction, m.TriggerPoints, m.RecoverPoints)...)...)
}

func (m *RobustZ) window() int { return max(2, min(orInt(m.Window, defaultWindow), maxWindow)) }

func (m *RobustZ) minPoints() int {
	return max(2, min(orInt(m.MinPoints, defaultMinPoints), m.window()))
}

func (m *RobustZ) threshold() float64 { return orFloat(m.Threshold, defaultThreshold) }

func (m *RobustZ) recoverAt() float64 {
	return min(orFloat(m.RecoverAt, 0.6*m.threshold()), m.threshold())
}

func (m *RobustZ) adapts(since instant, at time.Time) bool {
	d := m.AdaptAfter
	if d == 0 {
		d = defaultAdapt
	}
	return d > 0 && since.Set && at.Sub(since.time()) >= d
}

// scale is the yardstick of the window around its median, and where it came from. It may be zero.
func (m *RobustZ) scale(median float64) (float64, ScaleSource) {
	s, from := finite(madToSigma*m.train.mad(median)), ScaleMAD
	if s == 0 {
		s, from = m.train.deviation(), ScaleDeviation
	}
	relative := m.RelativeFloor
	if relative == 0 {
		relative = defaultRelative
	}
	if f := orFloat(m.AbsoluteFloor, 0); f > s {
		s, from = f, ScaleAbsolute
	}
	if f := finite(orFloat(relative, 0) * math.Abs(median)); f > s {
		s, from = f, ScaleRelative
	}
	if f := orFloat(m.Resolution, 0) / 2; f > s {
		s, from = f, ScaleResolution
	}
	return s, from
}

// Observe implements Model.
func (m *RobustZ) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Points: m.train.len(), Needed: m.minPoints()}
	if v.Reason = accept(p, m.last); v.Reason != ReasonNone {
		return v
	}
	if m.train.ring == nil {
		m.train, m.aside = newWindow(m.window()), newWindow(m.window())
	}
	m.last = instantOf(p.At)
	x := p.Value + 0 // -0 becomes 0
	v.Value = x
	if v.Points < v.Needed {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		m.train.add(x)
		return v
	}
	m.judge(&v)
	m.learn(&v)
	return v
}

// judge fills in the verdict of a value against the window, and moves the latch.
func (m *RobustZ) judge(v *Verdict) {
	median := m.train.median()
	v.Expected = median
	v.Scale, v.ScaleFrom = m.scale(median)
	reach := finite(m.threshold() * v.Scale)
	v.Lower, v.Upper = finite(median-reach), finite(median+reach)
	v.HasExpected, v.HasLower, v.HasUpper, v.HasScore = true, true, true, true

	constant := v.Scale == 0
	switch {
	case v.Value == median:
	case constant:
		v.Deviation = math.Copysign(math.MaxFloat64, v.Value-median)
	default:
		v.Deviation = finite(finite(v.Value-median) / v.Scale)
	}
	watched := v.Deviation // towards the watched side
	switch m.Direction {
	case Above:
	case Below:
		watched = -v.Deviation
	default:
		watched = math.Abs(v.Deviation)
	}
	v.Tail = tail(max(0, watched), v.Points)
	v.Score = 1 - v.Tail

	out := watched > m.threshold()
	m.latch.step(v.At, out, watched <= m.recoverAt(), orInt(m.TriggerPoints, 1), orInt(m.RecoverPoints, 3))
	v.Since = m.latch.Since.time()
	other := !out && math.Abs(v.Deviation) > m.threshold()
	v.State, v.Reason = outcome(m.latch.On, out && v.Deviation > 0, out && v.Deviation < 0, other)
	if constant && out && m.latch.On {
		v.Reason = ReasonConstant
	}
}

// learn puts the value where it belongs: into the window, or aside while the series deviates.
func (m *RobustZ) learn(v *Verdict) {
	if !m.latch.Since.Set {
		m.aside.clear()
		m.train.add(v.Value)
		return
	}
	m.aside.add(v.Value)
	if !m.latch.On || m.aside.len() < v.Needed || !m.adapts(m.latch.Since, v.At) {
		return
	}
	m.train, m.aside = m.aside, m.train
	m.aside.clear()
	m.latch = latch{}
	v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
}

// tail is the probability that Student's t deviates from 0 by z scales or more to either side, for a MAD of n
// points.
func tail(z float64, n int) float64 {
	if z == 0 {
		return 1
	}
	nu := max(1, madEfficiency*float64(n-1))
	// Past 1e9 scales the tail is zero for every practical purpose, and the square inside would overflow.
	return min(1, 2*distuv.StudentsT{Sigma: 1, Nu: nu}.CDF(-min(z, 1e9)))
}

// robustState is what a snapshot of RobustZ holds.
type robustState struct {
	Last  instant
	Latch latch
	Train []float64 // oldest first
	Aside []float64
}

// Snapshot implements Model.
func (m *RobustZ) Snapshot() ([]byte, error) {
	return seal("robust-z", robustState{m.last, m.latch, m.train.values(), m.aside.values()})
}

// Restore implements Model. Of a snapshot with more points than Window the newest are kept.
func (m *RobustZ) Restore(b []byte) error {
	var st robustState
	if err := unseal("robust-z", b, &st); err != nil {
		return err
	}
	if st.Latch.Run < 0 {
		return fmt.Errorf("%w: run of %d points", ErrSnapshot, st.Latch.Run)
	}
	m.train, m.aside = newWindow(m.window()), newWindow(m.window())
	for _, x := range st.Train {
		m.train.add(x + 0)
	}
	for _, x := range st.Aside {
		m.aside.add(x + 0)
	}
	m.last, m.latch = st.Last, st.Latch
	return nil
}
