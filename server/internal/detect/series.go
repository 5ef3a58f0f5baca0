package detect

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Names of what is written back.
const (
	metricScore    = "evenkeel_anomaly_score"
	metricState    = "evenkeel_detector_state"
	metricExpected = "evenkeel_expected"
	metricCadence  = "evenkeel_detector_cadence_seconds"
	metricLower    = "evenkeel_lower"
	metricUpper    = "evenkeel_upper"
)

// bandStep is the change of the band, as a share of its half width, from which it is written again.
const bandStep = 0.1

// series is one series of a watch and its model.
type series struct {
	key     string
	labels  map[string]string // as the query gave them, without the metric name
	written []core.Label      // labels of what is written back, sorted
	subject core.Subject
	known   bool              // subject means something
	name    string            // as sentences call it; see nameSeries
	ours    bool              // we judge it, and not another replica
	past    *past             // nil when it is not ours, or is judged with others in a row
	lastAt  time.Time         // of the last value, or of the last word of another replica
	verdict detectors.Verdict // of the last value
	band    detectors.Verdict // of the band last written
	banded  bool
	unknown string        // why the state is unknown now; empty when verdict stands
	note    string        // what the verdict does not say by itself
	special string        // what the last value's being of a special time meant; empty: it was of none
	gone    time.Time     // first answer that lacked the series; zero while it is there
	missed  time.Time     // the newest time that absence was told of as one without a value
	absent  bool          // it is missing, and verdict says so
	excused time.Time     // the newest time since its last value that absence was told of as one at which nobody asked
	cadence cadence       // of the values, where the model is calibrated and judges one series
	slow    time.Duration // the cadence that another replica wrote back
	still   bool          // the same of what is not known; or one of the values that a service is anomalous by is written seldom, or hardly moves
	told    time.Time     // time of what was said of it last; zero: that it is unknown

	back time.Time // since when a series is back whose alarm goes on; zero: it is not

	contributors []core.Contributor // of an anomaly of several values
}

// seriesPoint is a value for a series.
type seriesPoint struct {
	series *series
	value  float64
}

// seriesKey is the labels in one text, and those labels sorted with the detector's name for the write-back. The
// metric name is left out: what is written back has names of its own.
func seriesKey(watch string, labels map[string]string) (string, []core.Label) {
	out := make([]core.Label, 0, len(labels)+1)
	for name, value := range labels {
		if name != "__name__" && name != "detector" {
			out = append(out, core.Label{Name: name, Value: value})
		}
	}
	out = append(out, core.Label{Name: "detector", Value: watch})
	slices.SortFunc(out, func(a, b core.Label) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	for _, l := range out {
		b.WriteString(l.Name)
		b.WriteByte(0xff) // no byte of UTF-8
		b.WriteString(l.Value)
		b.WriteByte(0xff)
	}
	return b.String(), out
}

func newSeries(w Watch, key string, written []core.Label, labels map[string]string) *series {
	s := &series{key: key, written: written, labels: make(map[string]string, len(labels))}
	for name, value := range labels {
		if name != "__name__" {
			s.labels[name] = value
		}
	}
	s.subject, s.known = w.subject(labels)
	return s
}

// observe judges a value. Where a series is written more seldom than the watch asks, each is judged once, and what is said of it holds until the next.
func (s *series) observe(w Watch, at time.Time, value float64, interval time.Duration, marks []Mark) {
	if !w.Valid.holds(value) {
		s.refuse(w, at, value)
		return
	}
	m := s.marked(at, marks)
	if w.falseAlarms() > 0 {
		_, still := s.cadence.of(interval)
		if s.cadence.observe(at, value, interval) {
			s.lastAt, s.gone, s.unknown = at, time.Time{}, ""
			s.void(w, m, m.load > 0)
			return
		}
		if slow, _ := s.cadence.of(interval); still && slow > 0 {
			s.past.begin() // which knows the few values by their repetitions
		}
	}
	load := 1.0
	if w.Demand && m.load > 0 {
		load = m.load
	}
	v, note := s.past.observe(at, value, load, m)
	s.judged(v, at)
	s.note = note
	s.void(w, m, m.load > 0)
}

// judged takes what the model says of a value.
func (s *series) judged(v detectors.Verdict, at time.Time) {
	if v.Reason == detectors.ReasonOutOfOrder {
		return // a second replica's answer, or a clock that went back: what we know stands
	}
	s.verdict, s.lastAt, s.contributors, s.note = v, at, nil, ""
	if v.Reason != detectors.ReasonRecovering {
		s.back = time.Time{}
	} else if s.back.IsZero() {
		s.back = at
	}
	s.still = false
	s.gone, s.excused, s.absent, s.unknown = time.Time{}, time.Time{}, false, ""
}

// marked are the marks of a time that say something of the series.
func (s *series) marked(at time.Time, marks []Mark) marked {
	if len(marks) == 0 || !s.known {
		return marked{load: 1}
	}
	return marksAt(marks, s.subject, at)
}

// void makes unknown what statistics say of users that were moved: it is no evidence. Weighed says that the values are
// judged as what they would be without those that were moved here.
func (s *series) void(w Watch, m marked, weighed bool) {
	switch {
	case m.away != nil && w.class() == core.ClassSymptom:
		s.unknown = "not judged, its users are moved away since " + core.ClockText(m.away.From)
		if m.away.What != "" {
			s.unknown += ": " + m.away.What
		}
	case m.shifted != nil && w.Demand && !weighed:
		s.unknown = "not judged, users are moved here since " + core.ClockText(m.shifted.From)
	}
	s.celebrate(w, m)
}

// state is the series' state on the wire.
func (s *series) state() core.DetectorState {
	if s.unknown != "" {
		return core.DetectorUnknown
	}
	switch s.verdict.State {
	case detectors.StateWarming:
		return core.DetectorWarming
	case detectors.StateNormal:
		return core.DetectorNormal
	case detectors.StateAnomalous:
		return core.DetectorAnomalous
	case detectors.StateUnknown:
	}
	return core.DetectorUnknown
}

// pace is how far apart the values are that the verdict is of, where that is more than the interval, and whether that is not known.
func (s *series) pace(w Watch, interval time.Duration) (slow time.Duration, still bool) {
	if s.past == nil || w.falseAlarms() == 0 {
		return s.slow, s.still
	}
	slow, still = s.cadence.of(interval)
	return rounded(slow, interval), still
}

// score is that of the verdict. Of a calibrated model it is one minus the number of episodes as odd that are expected in an interval of the watch,
// however far apart the values are.
func (s *series) score(interval time.Duration) float64 {
	if s.verdict.PerWeek > 0 {
		return 1 - min(1, s.verdict.PerWeek*(interval.Seconds()/week.Seconds()))
	}
	return s.verdict.Score
}

const week = 7 * 24 * time.Hour

// samples are what is written back of the series' present state at a time.
func (s *series) samples(out []core.Sample, w Watch, interval time.Duration, at time.Time) []core.Sample {
	add := func(name string, value float64) {
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			out = append(out, core.Sample{Name: name, Labels: s.written, Value: value, AtMS: at.UnixMilli()})
		}
	}
	add(metricState, float64(s.state()))
	if s.unknown != "" {
		return out
	}
	v := s.verdict
	if v.HasScore {
		add(metricScore, s.score(interval))
	}
	if slow, still := s.pace(w, interval); still && v.State == detectors.StateAnomalous {
		add(metricCadence, 0)
	} else if slow > 0 {
		add(metricCadence, slow.Seconds())
	}
	if v.State != detectors.StateAnomalous && !s.moved(v) {
		return out
	}
	s.band, s.banded = v, true
	if v.HasExpected {
		add(metricExpected, v.Expected)
	}
	if v.HasLower {
		add(metricLower, v.Lower)
	}
	if v.HasUpper {
		add(metricUpper, v.Upper)
	}
	return out
}

// moved reports whether the band differs from the one last written by more than a small step.
func (s *series) moved(v detectors.Verdict) bool {
	if !v.HasExpected && !v.HasLower && !v.HasUpper {
		return false
	}
	if !s.banded || v.HasExpected != s.band.HasExpected || v.HasLower != s.band.HasLower || v.HasUpper != s.band.HasUpper {
		return true
	}
	step := bandStep * math.Abs(s.band.Upper-s.band.Lower) / 2
	return math.Abs(v.Lower-s.band.Lower) > step || math.Abs(v.Upper-s.band.Upper) > step ||
		math.Abs(v.Expected-s.band.Expected) > step
}

// doubted is what health hears of the series when its state is unknown. It reads nothing of it that changes, its name included.
func (s *series) doubted(w Watch, name string, interval time.Duration, at time.Time, why string) core.Signal {
	return core.Signal{
		Detector: w.Name, Subject: s.subject, Class: w.class(), State: core.DetectorUnknown, At: at, Interval: interval,
		Labels: s.labels, Direction: w.direction(), Group: w.Group, FalseAlarms: w.falseAlarms(),
		Series: name, Sentence: name + ": " + why,
	}
}

// signal is what health hears of the series.
func (s *series) signal(w Watch, interval time.Duration, at time.Time) core.Signal {
	sig := s.doubted(w, s.name, interval, at, s.unknown)
	sig.Cadence, sig.Still = s.pace(w, interval)
	if s.unknown != "" {
		return sig
	}
	v := s.verdict
	sig.State = s.state()
	sig.Value, sig.Score = v.Value, s.score(interval)
	if s.ours && v.State == detectors.StateAnomalous {
		sig.Since = v.Since
	}
	if v.HasExpected && v.HasLower && v.HasUpper {
		sig.Expected, sig.Lower, sig.Upper, sig.HasBand = v.Expected, v.Lower, v.Upper, true
		if s.past != nil {
			sig.Points, sig.KeptOut = v.Points, s.past.keptOut()
		}
	}
	sig.Contributors = s.contributors
	if v.State == detectors.StateNormal && s.note == "" && s.special == "" {
		sig.Sentence += "normal" // nobody asks why
	} else {
		sig.Sentence += s.explain(w)
	}
	for _, note := range []string{s.note, s.special} {
		if note != "" {
			sig.Sentence += ", " + note
		}
	}
	switch {
	case !s.ours:
		sig.At = v.At
		sig.Sentence += ", as another replica judged at " + core.ClockText(v.At)
	case v.State == detectors.StateAnomalous && v.Reason == detectors.ReasonRecovering:
		sig.Sentence += ", back since " + core.ClockText(s.back) + ", odd since " + core.ClockText(v.Since)
	case v.State == detectors.StateAnomalous && v.Reason != detectors.ReasonBurn && v.Reason != detectors.ReasonShift: // which say it
		sig.Sentence += ", since " + core.ClockText(v.Since)
	}
	return sig
}
