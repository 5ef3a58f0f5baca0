package detectors

import (
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	trendWindow     = 6 * time.Hour
	trendHorizon    = 24 * time.Hour
	trendConfidence = 0.99
	trendBuckets    = 48
	trendPoints     = 12 // buckets that it takes
	trendJump       = 6  // scales that two buckets in a row must be off the line to begin another
	trendCrumb      = 0.01
)

// Trend says when a series will reach a limit: disks that fill, logs that outgrow their window. It cuts Window into
// 48 buckets, takes the median of each, and lays the line of Theil (1950) and Sen, JASA 63 (1968), through them: the
// median of the slopes of all pairs, which a quarter of wild buckets does not bend. Sen's interval of the slope,
// from the null distribution of Kendall's tau, needs no normal noise; it is widened by the root of (1+r)/(1-r)
// for the lag-1 autocorrelation r of the residuals, after Hamed and Rao, J. Hydrology 204 (1998).
//
// The verdict's ETA says when the line reaches the limit: Likely with the line itself, Latest and Earliest with the ends
// of the interval at Confidence, each one-sided. The series is anomalous with ReasonTrend when even Latest is within
// Horizon, and with ReasonAbove or ReasonBelow when the line is past the limit already. A forecast
// is an opinion of the future, so it may call people; it must never drain a site.
//
// Two buckets in a row that are far off the line, as after a clean-up, a resize or a reset, begin a new one. A series
// with a season needs a Window of at least that season, or else each morning is a trend. Points and Needed of a
// verdict are buckets, of which it takes 12: a quarter of Window. It keeps 10 kB; a point is cheap, and the last
// of a bucket costs the slopes of about 1100 pairs and a few passes over them.
type Trend struct {
	// Limit is the last value that is all right.
	Limit float64
	// Direction is the side of the limit on which nothing is all right. Zero, Both, is the side on which the
	// series is not when it is judged.
	Direction Direction
	// Window is how much of the past the line goes through, 1 minute or more. Zero means 6 hours.
	Window time.Duration
	// Horizon is how near the limit must be to be news. Zero means 24 hours.
	Horizon time.Duration
	// Confidence is how sure the earliest and the latest time are, from 0.5 to below 1. Zero means 0.99.
	Confidence float64
	// RecoverPoints in a row without the limit in sight end an anomaly. Zero means 3.
	RecoverPoints int

	st     trendState
	slopes []float64
	line   trendLine
	fitted bool // line is of st
}

// trendState is what a snapshot of Trend holds.
type trendState struct {
	Last   instant
	Latch  latch
	Width  int64 // milliseconds of a bucket
	Bucket int64 // the present one
	Open   bool
	Values thin      // of the present bucket
	X      []int64   // numbers of the finished buckets, oldest first
	Y      []float64 // their medians
	Off    int       // buckets in a row above the line, or below it when negative, by more than a jump
}

// trendLine is the line through the buckets: level at the bucket centre, and slopes per bucket.
type trendLine struct {
	centre            int64
	level, err, scale float64
	low, slope, high  float64
}

var _ Model = (*Trend)(nil)

// Validate implements Model.
func (m *Trend) Validate() error {
	var errs []error
	if math.IsNaN(m.Limit) || math.IsInf(m.Limit, 0) {
		errs = append(errs, fmt.Errorf("limit %v is not a finite number", m.Limit))
	}
	if m.Window != 0 && m.Window < time.Minute {
		errs = append(errs, fmt.Errorf("window %v: want %v or more, or 0 for %v", m.Window, time.Minute, trendWindow))
	}
	if m.Horizon < 0 {
		errs = append(errs, fmt.Errorf("horizon %v: want a time above 0, or 0 for %v", m.Horizon, trendHorizon))
	}
	if !(m.Confidence == 0 || m.Confidence >= 0.5 && m.Confidence < 1) {
		errs = append(errs, fmt.Errorf("confidence %v: want 0.5 to below 1, or 0 for %v", m.Confidence, trendConfidence))
	}
	return join(errs, validRuns(m.Direction, 0, m.RecoverPoints))
}

// Bucket is how much time each of the points stands for of which a verdict says how many there are.
func (m *Trend) Bucket() time.Duration { return time.Duration(m.width()) * time.Millisecond }

func (m *Trend) width() int64 {
	w := m.Window
	if w < time.Minute {
		w = trendWindow
	}
	return w.Milliseconds() / trendBuckets
}

func (m *Trend) horizon() time.Duration {
	if m.Horizon <= 0 {
		return trendHorizon
	}
	return m.Horizon
}

// ready makes room, once.
func (m *Trend) ready() {
	m.slopes = make([]float64, 0, trendBuckets*(trendBuckets-1)/2)
	m.st.Width = m.width()
	m.st.Values.ready()
	m.st.X = append(make([]int64, 0, trendBuckets), m.st.X...)
	m.st.Y = append(make([]float64, 0, trendBuckets), m.st.Y...)
	m.fit()
}

// Observe implements Model.
func (m *Trend) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Points: len(m.st.X), Needed: trendPoints}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	if m.slopes == nil {
		m.ready()
	}
	m.st.Last = instantOf(p.At)
	v.Value = p.Value + 0 // -0 becomes 0
	if math.IsNaN(m.Limit) || math.IsInf(m.Limit, 0) || m.Direction > Below {
		v.Reason = ReasonParameters
		return v
	}
	ms, _ := floorDiv(int64(p.At.Nanosecond()), int64(time.Millisecond))
	ms += p.At.Unix() * 1000
	bucket, rest := floorDiv(ms, m.st.Width)
	if m.st.Open && bucket != m.st.Bucket {
		m.close()
	}
	m.st.Bucket, m.st.Open = bucket, true
	m.st.Values.add(v.Value)
	v.Points = len(m.st.X)
	if !m.fitted {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		return v
	}
	m.judge(&v, float64(bucket-m.line.centre)+float64(rest)/float64(m.st.Width)-0.5)
	return v
}

// judge fills in the verdict for now, buckets after the centre of the line.
func (m *Trend) judge(v *Verdict, now float64) {
	l := m.line
	level := finite(l.level + l.slope*now)
	up := m.Direction == Above || m.Direction == Both && level <= m.Limit
	sign := 1.0
	if !up {
		sign = -1
	}
	eta := func(slope, err float64) time.Duration {
		left := sign * finite(m.Limit-finite(finite(l.level+err)+slope*now))
		switch slope *= sign; {
		case left < 0:
			return 0
		case slope <= 0:
			return Never
		}
		return m.duration(left / slope)
	}
	fast, slow := l.high, l.low
	if !up {
		fast, slow = l.low, l.high
	}
	v.ETA = ETA{true, eta(fast, sign*l.err), eta(l.slope, 0), eta(slow, -sign*l.err)}
	v.ETA.Earliest = min(v.ETA.Earliest, v.ETA.Likely)
	v.ETA.Latest = max(v.ETA.Latest, v.ETA.Likely)
	past := v.ETA.Likely == 0
	near := past || v.ETA.Latest <= m.horizon()
	m.st.Latch.step(v.At, near, !near, 1, orInt(m.RecoverPoints, 3))
	v.Since = m.st.Latch.Since.time()
	if up {
		v.Upper, v.HasUpper = m.Limit, true
	} else {
		v.Lower, v.HasLower = m.Limit, true
	}
	v.HasScore, v.Tail = true, 1
	v.State, v.Reason = StateNormal, ReasonInside
	switch {
	case past && up:
		v.State, v.Reason = StateAnomalous, ReasonAbove
	case past:
		v.State, v.Reason = StateAnomalous, ReasonBelow
	case near:
		v.State, v.Reason = StateAnomalous, ReasonTrend
	case m.st.Latch.On:
		v.State, v.Reason = StateAnomalous, ReasonRecovering
	}
	if near {
		v.Score, v.Tail = 1, 0
	}
}

// duration of a number of buckets, from at once to Never.
func (m *Trend) duration(buckets float64) time.Duration {
	ns := buckets * float64(m.st.Width) * float64(time.Millisecond)
	switch {
	case !(ns > 0):
		return 0
	case ns >= float64(Never):
		return Never
	}
	return time.Duration(ns)
}

// close makes the present bucket a finished one and lays the line anew.
func (m *Trend) close() {
	m.st.Values.sort()
	x, y := m.st.Bucket, m.st.Values.median()
	m.st.Values.reset()
	m.off(x, y)
	keep := 0
	switch {
	case m.st.Off >= 2 || m.st.Off <= -2:
		keep = len(m.st.X) - 1 // the one before is of the new line
		m.st.Off = 0
	default:
		for keep < len(m.st.X) && (m.st.X[keep] <= x-trendBuckets || m.st.X[keep] >= x) {
			keep++
		}
	}
	m.st.X = m.st.X[:copy(m.st.X, m.st.X[keep:])]
	m.st.Y = m.st.Y[:copy(m.st.Y, m.st.Y[keep:])]
	m.st.X, m.st.Y = append(m.st.X, x), append(m.st.Y, y)
	m.fit()
}

// off counts the buckets in a row that are far off the line.
func (m *Trend) off(x int64, y float64) {
	if !m.fitted {
		m.st.Off = 0
		return
	}
	rest := finite(y - finite(m.line.level+m.line.slope*float64(x-m.line.centre)))
	switch far := finite(trendJump * m.line.scale); {
	case rest > far:
		m.st.Off = max(0, m.st.Off) + 1
	case rest < -far:
		m.st.Off = min(0, m.st.Off) - 1
	default:
		m.st.Off = 0
	}
}

// fit lays the line through the finished buckets.
func (m *Trend) fit() {
	n := len(m.st.X)
	m.fitted = n >= trendPoints
	if !m.fitted {
		return
	}
	xs, ys := m.st.X, m.st.Y
	s := m.slopes[:0]
	for j := 1; j < n; j++ {
		for i := range j {
			s = append(s, finite(finite(ys[j]-ys[i])/float64(xs[j]-xs[i])))
		}
	}
	l := trendLine{centre: xs[n/2], slope: middle(ranked(s, (len(s)-1)/2), ranked(s, len(s)/2))}

	var room [trendBuckets]float64
	rest := room[:n]
	for i, y := range ys {
		rest[i] = finite(y - l.slope*float64(xs[i]-l.centre))
	}
	var sorted [trendBuckets]float64
	level := sorted[:copy(sorted[:], rest)]
	slices.Sort(level)
	l.level = middle(level[(n-1)/2], level[n/2])
	for i := range rest {
		rest[i] = finite(rest[i] - l.level)
		level[i] = math.Abs(rest[i])
	}
	slices.Sort(level)
	sigma := finite(madToSigma * middle(level[(n-1)/2], level[n/2]))
	low, high := slices.Min(ys), slices.Max(ys)
	l.scale = max(sigma, finite(trendCrumb*finite(high-low)), 1e-9*max(math.Abs(low), math.Abs(high)))

	wide := widening(rest, sigma)
	confidence := m.Confidence
	if !(confidence >= 0.5 && confidence < 1) {
		confidence = trendConfidence
	}
	z := distuv.UnitNormal.Quantile(confidence)
	reach := z * wide * math.Sqrt(float64(n*(n-1)*(2*n+5))/18)
	at := func(rank float64) float64 { return ranked(s, max(0, min(len(s)-1, int(rank)))) }
	l.low, l.high = at(math.Floor((float64(len(s))-reach)/2)), at(math.Ceil((float64(len(s))+reach)/2))
	// The median of n has 1.2533 times the error of the mean.
	l.err = finite(z * wide * sizeToSigma * sigma / math.Sqrt(float64(n)))
	m.line = l
}

// widening is how much longer the interval of a line is when neighbours of its residuals are alike.
func widening(rest []float64, sigma float64) float64 {
	var product, square float64
	last := 0.0
	for i, r := range rest {
		if sigma > 0 {
			r = max(-3, min(3, r/sigma))
		}
		if i > 0 {
			product += r / float64(len(rest)) * last
		}
		square += r / float64(len(rest)) * r
		last = r
	}
	phi := product / square
	if !(phi > 0) || math.IsInf(square, 0) {
		return 1
	}
	phi = min(phi, 0.95)
	return math.Sqrt((1 + phi) / (1 - phi))
}

// Snapshot implements Model.
func (m *Trend) Snapshot() ([]byte, error) { return seal("trend", m.st) }

// Restore implements Model. A snapshot of another window is refused.
func (m *Trend) Restore(b []byte) error {
	var st trendState
	if err := unseal("trend", b, &st); err != nil {
		return err
	}
	fresh := st.Width == 0 && !st.Open
	switch {
	case !fresh && st.Width != m.width():
		return fmt.Errorf("%w: its buckets are of %d ms, want %d", ErrSnapshot, st.Width, m.width())
	case len(st.X) != len(st.Y) || len(st.X) > trendBuckets || !slices.IsSorted(st.X) || len(slices.Compact(slices.Clone(st.X))) != len(st.X):
		return fmt.Errorf("%w: its buckets are not in order", ErrSnapshot)
	case st.Latch.Run < 0 || !st.Values.usable() || st.Open && st.Values.Seen == 0:
		return fmt.Errorf("%w: its present bucket contradicts itself", ErrSnapshot)
	}
	m.st, m.slopes, m.fitted = st, nil, false
	return nil
}
