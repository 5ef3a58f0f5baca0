package detectors

import (
	"fmt"
	"time"
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
	// TriggerOf is of how many points, up to 64, TriggerPoints must be outside. Zero means all: they are in a row.
	TriggerOf int
	// RecoverPoints in a row within RecoverAt make it normal again. Zero means 3.
	RecoverPoints int
	// RecoverOf is the same of RecoverPoints.
	RecoverOf int
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
	return join(errs, m.band().validate(), m.floors().validate())
}

func (m *RobustZ) window() int { return max(2, min(orInt(m.Window, defaultWindow), maxWindow)) }

func (m *RobustZ) minPoints() int {
	return max(2, min(orInt(m.MinPoints, defaultMinPoints), m.window()))
}

func (m *RobustZ) band() band {
	return band{m.Threshold, defaultThreshold, m.RecoverAt, m.Direction, runs{m.TriggerPoints, m.TriggerOf, m.RecoverPoints, m.RecoverOf}}
}

func (m *RobustZ) floors() floors { return floors{m.AbsoluteFloor, m.RelativeFloor, m.Resolution} }

// scale is the yardstick of the window around its median, and where it came from. It may be zero.
func (m *RobustZ) scale(median float64) (float64, ScaleSource) {
	s, from := finite(madToSigma*m.train.mad(median)), ScaleMAD
	if s == 0 {
		s, from = m.train.deviation(), ScaleDeviation
	}
	return m.floors().apply(s, from, median)
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
	// n points of a MAD are worth 0.3675 n of a standard deviation.
	m.band().judge(v, &m.latch, madEfficiency*float64(v.Points-1))
}

// learn puts the value where it belongs: into the window, or aside while the series deviates.
func (m *RobustZ) learn(v *Verdict) {
	if !m.latch.Since.Set {
		m.aside.clear()
		m.train.add(v.Value)
		return
	}
	m.aside.add(v.Value)
	if !m.latch.On || m.aside.len() < v.Needed || !adapts(m.AdaptAfter, defaultAdapt, m.latch.Since, v.At) {
		return
	}
	m.train, m.aside = m.aside, m.train
	m.aside.clear()
	m.latch = latch{}
	v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
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
