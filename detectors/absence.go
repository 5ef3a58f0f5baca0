package detectors

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	absenceWindow   = 256 // intervals
	absencePoints   = 10
	defaultPatience = 5
	defaultFlat     = 10
	flatPoints      = 30 // changes before and equal points in a row that it takes to call a series flat
	absenceAdapt    = 24 * time.Hour
	maxFactor       = 1e6
)

// Absence judges when values come, and not what they are: a gap is a signal of its own and never a zero. A series
// is absent when no value has come for
//
//	limit = Patience * max(usual interval, half of the longest interval)
//
// with the interval given, or else the median and the longest of the last 256 intervals that were not gaps
// themselves. On arrivals at random (Poisson) that is about 15 mean intervals, e^-15 = 3e-7 of them by chance; on
// regular ones it is 5 intervals. It is the failure detector of Chen, Toueg and Aguilera, IEEE Trans. Comput. 51 (2002), which expects the
// next heartbeat by those that came last, with a factor in place of their margin.
//
// No value can say that there is none, and a model has no clock. So the caller, who has one, gives ticks: points
// with Missing set, at least one every interval in which no value came. A tick inside the limit is answered with
// StateUnknown and changes nothing; beyond it with StateAnomalous and ReasonGap. Without ticks a gap is
// reported by the value that ends it.
//
// A series that used to move and stands exactly still is often an exporter that repeats its last value. It is flat
// (ReasonFlat) when the present run of equal values is both in points and in time more than FlatPatience times
// the longest run ever before, after at least 30 changes and FlatAfter of acquaintance: a rule of this package, of no source.
//
// A time in which no value could have come, since nobody was there to take it, is no silence: Excuse takes it out.
//
// All figures of a verdict are seconds: Value is how long nothing came, or for how long the series stands still;
// Expected what is usual and Upper the limit. Score is 1 beyond the limit and 0 elsewhere. It keeps 9 kB.
type Absence struct {
	// Interval is the usual time between two values. Zero means that it is learned, from 10 intervals on.
	Interval time.Duration
	// Patience is how many intervals may pass without a value. Zero means 5.
	Patience float64
	// FlatPatience is how many times longer than ever before the series may stand still. Zero means 10;
	// negative means for ever.
	FlatPatience float64
	// FlatAfter is how long a series must be known before it can be flat. Zero means 24 hours.
	FlatAfter time.Duration
	// RestsAtZero says that a run of zeros is good news, as with errors, and never flat.
	RestsAtZero bool
	// RecoverPoints in a row within the limit end a gap. Zero means 3.
	RecoverPoints int
	// AdaptAfter is how long gaps or a flat stretch must last without a pause to become usual. Zero means 24
	// hours; negative means never.
	AdaptAfter time.Duration

	st           absenceState
	train, aside window // intervals in seconds, of usual times and of the present gaps
}

// absenceState is what a snapshot of Absence holds, but for the intervals.
type absenceState struct {
	Last    instant // the last value
	Excused float64 // seconds since then in which none could have come
	First   instant
	Latch   latch
	Value   float64
	Run     int     // equal values in a row
	RunFrom instant // the first of them
	FlatAt  instant // when the run became too long
	Longest int     // points of the longest earlier run
	Still   float64 // seconds of the longest earlier run
	Changes int
}

var _ Model = (*Absence)(nil)

// Validate implements Model.
func (m *Absence) Validate() error {
	var errs []error
	if m.Interval < 0 {
		errs = append(errs, fmt.Errorf("interval %v: want a time above 0, or 0 to learn it", m.Interval))
	}
	if !(m.Patience == 0 || m.Patience >= 1 && m.Patience <= maxFactor) {
		errs = append(errs, fmt.Errorf("patience %v: want 1 or more intervals, or 0 for %d", m.Patience, defaultPatience))
	}
	if !(m.FlatPatience <= 0 || m.FlatPatience >= 1 && m.FlatPatience <= maxFactor) {
		errs = append(errs, fmt.Errorf("flat patience %v: want 1 or more, 0 for %d, or negative for no limit", m.FlatPatience, defaultFlat))
	}
	if m.FlatAfter < 0 {
		errs = append(errs, fmt.Errorf("flat after %v: want a time above 0, or 0 for 24h", m.FlatAfter))
	}
	return errors.Join(append(errs, validRuns(Both, 0, m.RecoverPoints)...)...)
}

// factor is x, or the default where it makes no sense.
func factor(x, otherwise float64) float64 {
	if !(x >= 1 && x <= maxFactor) {
		return otherwise
	}
	return x
}

// limits are the usual interval and the longest that is borne, in seconds; ok when they are known.
func (m *Absence) limits() (usual, limit float64, ok bool) {
	patience := factor(m.Patience, defaultPatience)
	if m.Interval > 0 {
		return m.Interval.Seconds(), patience * m.Interval.Seconds(), true
	}
	if m.train.len() < absencePoints {
		return 0, 0, false
	}
	usual = m.train.median()
	return usual, patience * max(usual, m.train.sorted[m.train.len()-1]/2), true
}

// Observe implements Model.
func (m *Absence) Observe(p Point) Verdict {
	v := Verdict{At: p.At, Needed: absencePoints, Points: m.train.len()}
	if m.Interval > 0 {
		v.Needed = 1
	}
	if m.train.ring == nil {
		m.train, m.aside = newWindow(absenceWindow), newWindow(absenceWindow)
	}
	v.Reason = accept(p, m.st.Last)
	if v.Reason == ReasonOutOfOrder {
		return v
	}
	usual, limit, known := m.limits()
	silent := m.silent(p.At)
	late := known && m.st.Last.Set && silent > limit
	if v.Reason != ReasonNone {
		if late {
			m.accuse(p.At)
			m.fill(&v, silent, usual, limit)
			v.State, v.Reason = StateAnomalous, ReasonGap
		}
		return v
	}
	first := !m.st.Last.Set
	if late {
		m.accuse(p.At)
	}
	m.st.Last, m.st.Excused = instantOf(p.At), 0
	flat, still := m.move(p.Value+0, p.At)
	switch {
	case first:
		m.st.First = m.st.Last
		v.State, v.Reason = StateWarming, ReasonFewPoints
		return v
	case !known:
		v.State, v.Reason, v.Value = StateWarming, ReasonFewPoints, silent
		m.train.add(silent)
		return v
	}
	m.st.Latch.step(p.At, late, !late, 1, orInt(m.RecoverPoints, 3))
	m.fill(&v, silent, usual, limit)
	switch {
	case late:
		v.State, v.Reason = StateAnomalous, ReasonGap
	case m.st.Latch.On:
		v.State, v.Reason = StateAnomalous, ReasonRecovering
	case flat:
		m.fill(&v, still, m.st.Still, m.flatPatience()*m.st.Still)
		v.State, v.Reason, v.Since = StateAnomalous, ReasonFlat, m.st.RunFrom.time()
		v.Points = m.st.Run
		m.adaptFlat(&v)
	default:
		v.State, v.Reason = StateNormal, ReasonInside
	}
	m.learn(&v, silent)
	return v
}

// silent is for how many seconds a value could have come and did not.
func (m *Absence) silent(at time.Time) float64 {
	return max(0, sinceLast(m.st.Last, at).Seconds()-m.st.Excused)
}

// Excuse says that no value could have come for the last so long before a time: all of the silence until then, where it was no longer. A gap
// that is known already stays one.
func (m *Absence) Excuse(until time.Time, lasted time.Duration) {
	if m.st.Last.Set && !m.st.Latch.On {
		m.st.Excused += min(max(0, lasted.Seconds()), m.silent(until))
	}
}

// Due is when the series is absent if nothing comes and nothing is excused any more; false while that is not known.
func (m *Absence) Due() (at time.Time, ok bool) {
	_, limit, known := m.limits()
	if !known || !m.st.Last.Set || !between(limit+m.st.Excused, 0, maxInterval/2) {
		return time.Time{}, false
	}
	return m.st.Last.time().Add(time.Duration((limit + m.st.Excused) * float64(time.Second))), true
}

// accuse begins a gap, which began with the last value.
func (m *Absence) accuse(at time.Time) {
	if !m.st.Latch.On {
		m.st.Latch.step(at, true, false, 1, 1)
		m.st.Latch.Since = m.st.Last
	}
}

func (m *Absence) fill(v *Verdict, value, usual, limit float64) {
	v.Value, v.Expected, v.Upper = value, usual, limit
	v.HasExpected, v.HasUpper, v.HasScore = true, true, true
	v.Since = m.st.Latch.Since.time()
	v.Tail = 1
	if value > limit {
		v.Score, v.Tail = 1, 0
	}
}

func (m *Absence) flatPatience() float64 { return factor(m.FlatPatience, defaultFlat) }

// move follows the runs of equal values, and says whether and for how many seconds the series stands still.
func (m *Absence) move(x float64, at time.Time) (flat bool, seconds float64) {
	if m.st.Run == 0 || x != m.st.Value {
		if m.st.Run > 0 {
			m.st.Changes = min(m.st.Changes+1, math.MaxInt32)
			if !m.st.FlatAt.Set {
				m.learnRun(at)
			}
		}
		m.st.Value, m.st.Run, m.st.RunFrom, m.st.FlatAt = x, 1, instantOf(at), instant{}
		return false, 0
	}
	m.st.Run = min(m.st.Run+1, math.MaxInt32)
	seconds = sinceLast(m.st.RunFrom, at).Seconds()
	patience, after := m.flatPatience(), m.FlatAfter
	if after <= 0 {
		after = 24 * time.Hour
	}
	flat = m.FlatPatience >= 0 && !(m.RestsAtZero && x == 0) && m.st.Changes >= flatPoints && m.st.Run >= flatPoints &&
		float64(m.st.Run) > patience*float64(m.st.Longest) && seconds > patience*m.st.Still &&
		m.st.RunFrom.time().Sub(m.st.First.time()) >= after
	if flat && !m.st.FlatAt.Set {
		m.st.FlatAt = instantOf(at)
	}
	return flat, seconds
}

// learnRun makes the present run one that has been.
func (m *Absence) learnRun(at time.Time) {
	m.st.Longest = max(m.st.Longest, m.st.Run)
	m.st.Still = max(m.st.Still, sinceLast(m.st.RunFrom, at).Seconds())
}

func (m *Absence) adaptFlat(v *Verdict) {
	if adapts(m.AdaptAfter, absenceAdapt, m.st.FlatAt, v.At) {
		m.learnRun(v.At)
		m.st.FlatAt = instant{}
		v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
	}
}

// learn puts the interval where it belongs: to the usual ones, or aside during a gap.
func (m *Absence) learn(v *Verdict, seconds float64) {
	if !m.st.Latch.Since.Set {
		m.aside.clear()
		m.train.add(seconds)
		return
	}
	m.aside.add(seconds)
	if m.Interval > 0 || m.aside.len() < absencePoints || !adapts(m.AdaptAfter, absenceAdapt, m.st.Latch.Since, v.At) {
		return
	}
	m.train, m.aside = m.aside, m.train
	m.aside.clear()
	m.st.Latch = latch{}
	v.State, v.Reason, v.Since = StateNormal, ReasonAdapted, time.Time{}
}

// absenceSnapshot is the whole of the learned state.
type absenceSnapshot struct {
	State        absenceState
	Train, Aside []float64
}

// Snapshot implements Model.
func (m *Absence) Snapshot() ([]byte, error) {
	return seal("absence", absenceSnapshot{m.st, m.train.values(), m.aside.values()})
}

// Restore implements Model.
func (m *Absence) Restore(b []byte) error {
	var s absenceSnapshot
	if err := unseal("absence", b, &s); err != nil {
		return err
	}
	st := s.State
	if st.Latch.Run < 0 || st.Run < 0 || st.Longest < 0 || st.Changes < 0 || st.Still < 0 || !between(st.Excused, 0, maxInterval) {
		return fmt.Errorf("%w: a count is negative", ErrSnapshot)
	}
	for _, xs := range [2][]float64{s.Train, s.Aside} {
		for _, x := range xs {
			if x < 0 {
				return fmt.Errorf("%w: an interval of %v s", ErrSnapshot, x)
			}
		}
	}
	m.train, m.aside = newWindow(absenceWindow), newWindow(absenceWindow)
	for _, x := range s.Train {
		m.train.add(x)
	}
	for _, x := range s.Aside {
		m.aside.add(x)
	}
	m.st = st
	return nil
}
