package detectors

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	localDegree  = 2
	defaultLocal = 30
	maxLocal     = 1000
	localReach   = 8
	localMemory  = 500 // points of the scale
	localSpread  = 2000
	localShare   = 0.02 // of the spread of the series that a scale is at least
	localBridge  = 3    // intervals in a row without a value that are bridged
	// localRounding is the share of a value that the rounding of its forecast may be.
	localRounding = 1e-12
	localHold     = 2 // points in a row outside the band that the fit does not follow
)

// LocalFit compares each value with the continuation of the last few: a quadratic fitted to the last 30 points by least
// squares and read one point ahead, as the one-sided form of the filter of Savitzky and Golay, Anal. Chem. 36 (1964).
// Li, Ma and Mei, PAKDD 2007, do the same with a look ahead (POLY). The fit is linear in the values, so its weights
// are computed once and a point costs a product of two vectors.
//
// The scale is the clipped running mean of the size of the residuals (about 500 points) as a standard deviation,
// and never less than 2 % of the spread of the series (about 2000 points), so that what is almost perfectly
// predictable does not accuse each crumb:
//
//	scale = max(1.2533 mean |residual|, 0.02 spread, AbsoluteFloor, RelativeFloor*|expected|, Resolution/2)
//
// It only predicts the next point, so it finds jumps and spikes and follows everything else: the fit passes over one
// or two points outside the band, follows from the third on, and calls a new level normal once it goes through that
// alone, about Window points later. It is one voice among several and needs no other adaption. One value is one step: up
// to 3 missing ones, by the usual interval, are bridged by the prediction; after a longer gap the fit begins anew,
// and the scale stays. A series that had never moved learns its scale anew after it did. It keeps 2 kB.
type LocalFit struct {
	// Window is how many points the fit goes through, 4 to 1000. Zero means 30.
	Window int
	// Threshold is how many scales from the prediction the band reaches. Zero means 8.
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

	st      localState
	weights []float64 // of the values, oldest first; nil: not computed yet
}

// localState is what a snapshot of LocalFit holds.
type localState struct {
	Last     instant
	Latch    latch
	Values   []float64 // the oldest is at Next when there are enough
	Next     int
	Interval float64   // usual seconds between two points; 0 is not known
	Rests    running   // of the residuals
	Series   running   // of the values
	Held     []float64 `json:",omitempty"` // values outside the band that the fit passed over
	Follows  bool      // there were too many of them
}

var _ Model = (*LocalFit)(nil)

// Validate implements Model.
func (m *LocalFit) Validate() error {
	var errs []error
	if m.Window != 0 && (m.Window <= localDegree+1 || m.Window > maxLocal) {
		errs = append(errs, fmt.Errorf("window %d: want %d to %d points, or 0 for %d", m.Window, localDegree+2, maxLocal, defaultLocal))
	}
	return join(errs, m.band().validate(), m.floors().validate())
}

func (m *LocalFit) window() int {
	return max(localDegree+2, min(orInt(m.Window, defaultLocal), maxLocal))
}

func (m *LocalFit) band() band {
	return band{m.Threshold, localReach, m.RecoverAt, m.Direction, runs{m.TriggerPoints, m.TriggerOf, m.RecoverPoints, m.RecoverOf}}
}

func (m *LocalFit) floors() floors { return floors{m.AbsoluteFloor, m.RelativeFloor, m.Resolution} }

// forecastWeights are w with sum(w[i]*x[i]) the value one step after x of the polynomial fitted to x: the row of the
// least squares projection at that step.
func forecastWeights(n, degree int) []float64 {
	design := mat.NewDense(n, degree+1, nil)
	for i := range n {
		u := float64(i-n) / float64(n) // the step ahead is at 0
		for d, p := 0, 1.0; d <= degree; d, p = d+1, p*u {
			design.Set(i, d, p)
		}
	}
	var qr mat.QR
	qr.Factorize(design)
	ahead := mat.NewVecDense(degree+1, nil)
	ahead.SetVec(0, 1)
	var w mat.VecDense
	// The weights are the shortest w with design^T w = ahead. The design has full rank, so there is no error.
	if err := qr.SolveVecTo(&w, true, ahead); err != nil {
		return make([]float64, n)
	}
	return w.RawVector().Data
}

// ready computes the weights and makes room, once.
func (m *LocalFit) ready() {
	m.weights = forecastWeights(m.window(), localDegree)
	m.st.Values = append(make([]float64, 0, m.window()), m.st.Values...)
	m.st.Held = append(make([]float64, 0, localHold), m.st.Held...)
	m.st.Rests.ready()
	m.st.Series.ready()
}

// Observe implements Model.
func (m *LocalFit) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Points: m.points(), Needed: m.window() + startPoints}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	if m.weights == nil {
		m.ready()
	}
	v.Value = p.Value + 0 // -0 becomes 0
	m.pass(sinceLast(m.st.Last, p.At).Seconds())
	m.st.Last = instantOf(p.At)
	v.Points = m.points()
	if v.Points < v.Needed {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		if len(m.st.Values) == m.window() {
			m.st.Rests.add(finite(v.Value-m.predict(v.Value)), 0, localMemory)
		}
		m.st.Series.add(v.Value, 0, localSpread)
		m.push(v.Value)
		return v
	}
	v.Points = len(m.st.Values) + min(m.st.Rests.N, 2*localMemory)
	v.Expected = m.predict(v.Value)
	v.Scale, v.ScaleFrom = m.st.Rests.sigma(), ScaleMean
	if s := localShare * m.st.Series.sigma(); s > v.Scale {
		v.Scale, v.ScaleFrom = s, ScaleSpread
	}
	v.Scale, v.ScaleFrom = m.floors().apply(v.Scale, v.ScaleFrom, v.Expected)
	m.band().judge(&v, &m.st.Latch, float64(min(m.st.Rests.N, 2*localMemory)))
	m.learn(&v)
	return v
}

// points is how far the warm-up is: the fit must be through Window points, and the scale must rest on some.
func (m *LocalFit) points() int { return len(m.st.Values) + min(m.st.Rests.N, startPoints) }

// learn takes a judged value into the fit and the scales.
func (m *LocalFit) learn(v *Verdict) {
	rest := finite(v.Value - v.Expected)
	if v.Scale == 0 && rest != 0 {
		m.st.Rests.reset()
		m.st.Series.reset()
	}
	m.st.Rests.add(rest, v.Scale, localMemory)
	m.st.Series.add(v.Value, v.Scale, localSpread)
	switch out := v.Value < v.Lower || v.Value > v.Upper; {
	case !out:
		m.st.Held, m.st.Follows = m.st.Held[:0], false
	case len(m.st.Held) < localHold && !m.st.Follows:
		m.st.Held = append(m.st.Held, v.Value)
		m.push(v.Expected)
		return
	case !m.st.Follows:
		m.st.Follows = true
		for i, x := range m.st.Held { // the last ones of the window
			at := (m.st.Next - len(m.st.Held) + i + len(m.st.Values)) % len(m.st.Values)
			m.st.Values[at] = x
		}
		m.st.Held = m.st.Held[:0]
	}
	m.push(v.Value)
}

// predict is the forecast for the point x that came. Where x is no further from it than the rounding of the sum, it
// is x: a constant must not have a scale.
func (m *LocalFit) predict(x float64) float64 {
	y := m.forecast()
	if math.Abs(x-y) <= localRounding*max(math.Abs(x), math.Abs(y), math.Abs(m.st.Series.Level)) {
		return x
	}
	return y
}

// forecast is the value of the fit one step after the last.
func (m *LocalFit) forecast() float64 {
	var sum float64
	old := m.st.Values[m.st.Next:]
	for i, w := range m.weights[:len(old)] {
		sum += w * old[i]
	}
	recent := m.st.Values[:m.st.Next]
	for i, w := range m.weights[len(old) : len(old)+len(recent)] {
		sum += w * recent[i]
	}
	if math.IsNaN(sum) { // an overflow to both sides
		return 0
	}
	return finite(sum)
}

// pass bridges a short gap with what was predicted, and forgets the values before a long one.
func (m *LocalFit) pass(seconds float64) {
	if m.st.Interval == 0 || seconds <= 0 {
		m.st.Interval = seconds
		return
	}
	missing := math.Round(seconds/m.st.Interval) - 1
	switch {
	case missing <= 0:
	case missing > localBridge:
		m.st.Values, m.st.Next = m.st.Values[:0], 0
		m.st.Held, m.st.Follows = m.st.Held[:0], false
	case len(m.st.Values) == m.window() && len(m.st.Held) == 0:
		for range int(missing) {
			m.push(m.forecast())
		}
	}
	// Towards the interval by a twentieth of it at most: an unusual one is not the usual one.
	m.st.Interval += max(-m.st.Interval, min(m.st.Interval, seconds-m.st.Interval)) / 20
}

func (m *LocalFit) push(x float64) {
	if len(m.st.Values) < m.window() {
		m.st.Values = append(m.st.Values, x)
		return
	}
	m.st.Values[m.st.Next] = x
	m.st.Next = (m.st.Next + 1) % len(m.st.Values)
}

// Snapshot implements Model.
func (m *LocalFit) Snapshot() ([]byte, error) { return seal("local-fit", m.st) }

// Restore implements Model. A snapshot of another window is refused.
func (m *LocalFit) Restore(b []byte) error {
	var st localState
	if err := unseal("local-fit", b, &st); err != nil {
		return err
	}
	switch n := len(st.Values); {
	case n > m.window() || st.Next < 0 || st.Next > 0 && (n < m.window() || st.Next >= n):
		return fmt.Errorf("%w: %d values from %d, want a window of %d", ErrSnapshot, n, st.Next, m.window())
	case st.Latch.Run < 0 || st.Interval < 0 || !st.Rests.usable() || !st.Series.usable():
		return fmt.Errorf("%w: its estimates contradict themselves", ErrSnapshot)
	case len(st.Held) > localHold || len(st.Held) > 0 && n < m.window():
		return fmt.Errorf("%w: %d values are held", ErrSnapshot, len(st.Held))
	}
	m.st, m.weights = st, nil
	return nil
}
