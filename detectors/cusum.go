package detectors

import (
	"fmt"
	"math"
	"time"
)

const (
	defaultShift     = 1
	defaultARL0      = 600_000
	maxARL0          = 1e15
	defaultHeadStart = 0.5
	cusumPoints      = 120
	cusumMemory      = 1440
	cusumClip        = 4  // scales beyond which a point counts no more
	batchPoints      = 32 // points of a batch mean
	minBatches       = 30 // batches that it takes to believe their variance
	maxInflation     = 20 // of the scale by autocorrelation
	maxPhi           = 0.995
	// overshoot is how far a sum of normal steps passes its limit on average, in scales of a step (Siegmund,
	// "Sequential Analysis", 1985).
	overshoot = 1.166
)

// CUSUM finds small shifts of the level that last, which no single point betrays: the two-sided tabular cumulative
// sum of Page, Biometrika 41 (1954), with the fast initial response of Lucas and Crosier, Technometrics 24 (1982).
//
//	z = (x - level) / scale                   clipped to 4 scales: an outlier is no shift
//	high = max(0, high + z - Shift/2)         low likewise; anomalous above the limit h
//
// h is the limit at which noise gives one false alarm in ARL0 points, by Siegmund's approximation (1985): with
// k = Shift/2 and b = h + 1.166 one side alone has a run length of (exp(2kb) - 2kb - 1) / 2k^2. A shift of Shift
// scales is found after about h/k points, 25 with the defaults. The level and the scale are M-estimates with a
// memory of 1440 points; they stand still while a sum is above half of the limit.
//
// Autocorrelation ruins the promise of a CUSUM (Johnson and Bagshaw, Technometrics 16 (1974)): what looks like a
// lasting shift is a slow wave of the noise. So the scale of z is that of the sums: the scale of the points times
// sqrt((1+r)/(1-r)) for their lag-1 autocorrelation r, or the ratio found from the means of batches of 32 points
// when that is larger. Shift is in those scales, and smaller shifts are not found because they cannot be.
// A season is a shift to it: give it the residuals of Seasonal, or a series that has none.
//
// The verdict's Since is the estimate of the time of the change: the point after the sum was last zero. Deviation is
// the size of the shift in scales of the points while the series is anomalous. There is no band. Score is one
// minus the chance that noise has such a sum, exp(-2k sum), for each watched side. It keeps 1 kB.
type CUSUM struct {
	// Shift is the shift that must be found, in scales. Zero means 1.
	Shift float64
	// ARL0 is how many points of noise give one false alarm. Zero means 600000: ten weeks at 10 s.
	ARL0 float64
	// HeadStart is where the sums begin after the warm-up and after an adaption, as a share of the limit. Zero
	// means 0.5; negative means at zero.
	HeadStart float64
	// MinPoints is how many points it takes to leave the warm-up, 30 or more. Zero means 120.
	MinPoints int
	// Direction is the side that is watched. Zero, Both, watches both.
	Direction Direction
	// AbsoluteFloor is the smallest scale of the points, in the unit of the series. Zero means none.
	AbsoluteFloor float64
	// RelativeFloor is the smallest scale as a share of |level|. Zero means 0.02; negative means none.
	RelativeFloor float64
	// Resolution is the step in which the series can move (1 for a count). Zero means unknown.
	Resolution float64
	// AdaptAfter is how long a shift must last to become the level. Zero means 1 hour; negative means never.
	AdaptAfter time.Duration

	st    cusumState
	limit float64 // Siegmund's b; zero: not computed yet
}

// cusumState is what a snapshot of CUSUM holds.
type cusumState struct {
	Last      instant
	Level     running
	Aside     running // since a sum passed half of its limit
	High, Low cusum
	On        bool
	Below     bool // the side that is on
	Previous  float64
	Product   float64 // mean of products of neighbouring deviations
	Square    float64 // mean of their squares
	Batch     float64 // sum of the present batch
	InBatch   int
	Variance  float64 // of the batch means
	Batches   int
}

// cusum is the sum of one side.
type cusum struct {
	Sum   float64
	Total float64 // of the deviations since From
	Run   int     // their number
	From  instant
}

var _ Model = (*CUSUM)(nil)

// Validate implements Model.
func (m *CUSUM) Validate() error {
	var errs []error
	if !(m.Shift == 0 || m.Shift >= 0.1 && m.Shift <= cusumClip) {
		errs = append(errs, fmt.Errorf("shift %v: want 0.1 to %d scales, or 0 for %d", m.Shift, cusumClip, defaultShift))
	}
	if !(m.ARL0 == 0 || m.ARL0 >= 10 && m.ARL0 <= maxARL0) {
		errs = append(errs, fmt.Errorf("ARL0 %v: want 10 to %g points, or 0 for %d", m.ARL0, maxARL0, defaultARL0))
	}
	if !(m.HeadStart <= 0.9) {
		errs = append(errs, fmt.Errorf("head start %v: want a share of up to 0.9, 0 for %v, or negative for none", m.HeadStart, defaultHeadStart))
	}
	if m.MinPoints != 0 && m.MinPoints < startPoints {
		errs = append(errs, fmt.Errorf("min points %d: want %d or more, or 0 for %d", m.MinPoints, startPoints, cusumPoints))
	}
	return join(errs, m.floors().validate(), validRuns(m.Direction, 0, 0))
}

func (m *CUSUM) floors() floors { return floors{m.AbsoluteFloor, m.RelativeFloor, m.Resolution} }

func (m *CUSUM) minPoints() int { return max(startPoints, orInt(m.MinPoints, cusumPoints)) }

func (m *CUSUM) allowance() float64 { return orFloat(m.Shift, defaultShift) / 2 }

// siegmund is the b at which one side alone has this average run length with an allowance of k.
func siegmund(arl, k float64) float64 {
	low, high := 0.0, 1e4
	for range 100 {
		b := low/2 + high/2
		if (math.Expm1(2*k*b)-2*k*b)/(2*k*k) < arl {
			low = b
		} else {
			high = b
		}
	}
	return high
}

// ready makes room and computes the limit, once.
func (m *CUSUM) ready() {
	m.st.Level.ready()
	m.st.Aside.ready()
	arl := min(orFloat(m.ARL0, defaultARL0), maxARL0)
	if m.Direction == Both {
		arl *= 2 // both sides share the false alarms
	}
	m.limit = max(overshoot+1, siegmund(arl, m.allowance()))
}

// inflation is how many times larger the scale of sums is than that of independent points.
func (m *CUSUM) inflation() float64 {
	square := 1.0
	if m.st.Square > 0 {
		phi := max(0, min(maxPhi, m.st.Product/m.st.Square))
		square = (1 + phi) / (1 - phi)
		if m.st.Batches >= minBatches {
			square = max(square, batchPoints*m.st.Variance/m.st.Square)
		}
	}
	return max(1, min(maxInflation, math.Sqrt(square)))
}

// Observe implements Model.
func (m *CUSUM) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Points: min(m.st.Level.N, cusumMemory), Needed: m.minPoints()}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	if m.limit == 0 {
		m.ready()
	}
	m.st.Last = instantOf(p.At)
	v.Value = p.Value + 0 // -0 becomes 0
	if m.st.Level.N < startPoints {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		m.st.Level.add(v.Value, 0, cusumMemory)
		return v
	}
	v.Expected = m.st.Level.Level
	v.Scale, v.ScaleFrom = m.floors().apply(m.st.Level.sigma(), ScaleMean, v.Expected)
	z := 0.0
	switch {
	case v.Value == v.Expected:
	case v.Scale == 0:
		v.Deviation = math.Copysign(math.MaxFloat64, v.Value-v.Expected)
		z = math.Copysign(cusumClip, v.Deviation)
	default:
		v.Deviation = finite(finite(v.Value-v.Expected) / v.Scale)
		z = max(-cusumClip, min(cusumClip, v.Deviation))
	}
	if m.st.Level.N < v.Needed {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		v.Scale, v.ScaleFrom, v.Expected, v.Deviation = 0, ScaleNone, 0, 0
		m.learn(v.Value, m.st.Level.sigma(), z)
		if m.st.Level.N == v.Needed {
			m.begin()
		}
		return v
	}
	v.HasExpected, v.HasScore = true, true
	m.judge(&v, z)
	return v
}

// begin sets the sums to their head start.
func (m *CUSUM) begin() {
	share := m.HeadStart
	if share == 0 || math.IsNaN(share) {
		share = defaultHeadStart
	}
	sum := max(0, min(0.9, share)) * (m.limit - overshoot/m.inflation())
	m.st.High, m.st.Low = cusum{Sum: sum}, cusum{Sum: sum}
}

// judge moves the sums by z, and says what they say.
func (m *CUSUM) judge(v *Verdict, z float64) {
	inflation, k := m.inflation(), m.allowance()
	limit := m.limit - overshoot/inflation
	part := z / inflation
	m.st.High.step(m.st.Last, part, k, limit)
	m.st.Low.step(m.st.Last, -part, k, limit)
	switch high, low := m.st.High.Sum, m.st.Low.Sum; {
	case !m.st.On && max(high, low) >= limit:
		m.st.On, m.st.Below = true, low > high
	case m.st.On && !m.st.Below && high < limit/2, m.st.On && m.st.Below && low < limit/2:
		m.st.On = max(high, low) >= limit
		m.st.Below = m.st.On && low >= limit
	}

	watched := max(m.st.High.Sum, m.st.Low.Sum)
	sides := math.Ln2 // as a logarithm
	switch m.Direction {
	case Above:
		watched, sides = m.st.High.Sum, 0
	case Below:
		watched, sides = m.st.Low.Sum, 0
	}
	v.Tail = 1
	if x := sides - 2*k*watched; x < 0 { // most noise is above
		v.Tail = math.Exp(x)
	}
	v.Score = 1 - v.Tail

	v.State, v.Reason = StateNormal, ReasonInside
	if m.st.On {
		m.accuse(v, inflation)
	}
	if m.st.On || max(m.st.High.Sum, m.st.Low.Sum) > limit/2 {
		m.st.Aside.add(v.Value, v.Scale, cusumMemory)
		m.adapt(v)
		return
	}
	m.st.Aside.reset()
	m.learn(v.Value, v.Scale, z)
}

// side is the sum that is on.
func (m *CUSUM) side() *cusum {
	if m.st.Below {
		return &m.st.Low
	}
	return &m.st.High
}

// accuse says what has shifted by how much since when.
func (m *CUSUM) accuse(v *Verdict, inflation float64) {
	if m.st.Below && m.Direction == Above || !m.st.Below && m.Direction == Below {
		v.Reason = ReasonOtherSide
		return
	}
	s := m.side()
	v.State, v.Reason, v.Since = StateAnomalous, ReasonShift, s.From.time()
	v.Deviation = s.Total / float64(max(1, s.Run)) * inflation
	if m.st.Below {
		v.Deviation = -v.Deviation
	}
	if m.st.Aside.N >= startPoints && v.Scale > 0 {
		v.Deviation = finite(finite(m.st.Aside.Level-v.Expected) / v.Scale)
	}
}

// adapt makes a shift that has lasted the level.
func (m *CUSUM) adapt(v *Verdict) {
	if !m.st.On || m.st.Aside.N < startPoints || !adapts(m.AdaptAfter, defaultAdapt, m.side().From, v.At) {
		return
	}
	m.st.Level, m.st.Aside = m.st.Aside, m.st.Level
	m.st.Aside.reset()
	m.st.On, m.st.Below = false, false
	m.begin()
	v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
}

// learn takes the value into the level, and its clipped deviation z into what is known of the autocorrelation.
func (m *CUSUM) learn(x, scale, z float64) {
	m.st.Level.add(x, scale, cusumMemory)
	gain := max(1.0/cusumMemory, 1/float64(m.st.Level.N-startPoints))
	m.st.Product += gain * (z*m.st.Previous - m.st.Product)
	m.st.Square += gain * (z*z - m.st.Square)
	m.st.Previous = z
	m.st.Batch += z
	m.st.InBatch++
	if m.st.InBatch < batchPoints {
		return
	}
	m.st.Batches = min(m.st.Batches+1, math.MaxInt32)
	mean := m.st.Batch / batchPoints
	m.st.Variance += max(float64(batchPoints)/cusumMemory, 1/float64(m.st.Batches)) * (mean*mean - m.st.Variance)
	m.st.Batch, m.st.InBatch = 0, 0
}

// step adds a deviation. The sum is held at the limit, so that a return is seen as soon as a shift.
func (s *cusum) step(at instant, z, k, limit float64) {
	if s.Sum <= 0 || !s.From.Set {
		s.From, s.Total, s.Run = at, 0, 0
	}
	s.Total += z
	s.Run = min(s.Run+1, math.MaxInt32)
	s.Sum = max(0, min(limit, s.Sum+z-k))
}

// Snapshot implements Model.
func (m *CUSUM) Snapshot() ([]byte, error) { return seal("cusum", m.st) }

// Restore implements Model.
func (m *CUSUM) Restore(b []byte) error {
	var st cusumState
	if err := unseal("cusum", b, &st); err != nil {
		return err
	}
	big := max(math.Abs(st.Product), st.Square, math.Abs(st.Previous), math.Abs(st.Batch), st.Variance, st.High.Sum, st.Low.Sum,
		math.Abs(st.High.Total), math.Abs(st.Low.Total))
	switch {
	case !st.Level.usable() || !st.Aside.usable():
		return fmt.Errorf("%w: its estimates contradict themselves", ErrSnapshot)
	case min(st.Square, st.Variance, st.High.Sum, st.Low.Sum) < 0 || big > 1e15,
		st.High.Run < 0, st.Low.Run < 0, st.Batches < 0, st.InBatch < 0, st.InBatch >= batchPoints,
		st.On && !st.High.From.Set:
		return fmt.Errorf("%w: a figure is out of range", ErrSnapshot)
	}
	m.st, m.limit = st, 0
	return nil
}
