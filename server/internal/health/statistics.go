package health

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// StatisticsWindow is how long statistics are watched for one step of the sequential test of a subject.
	StatisticsWindow = 5 * time.Minute
	// statisticsRows is how many points of a series a window has at least. By measurement that is what it takes for the
	// chance alarms of one window to say little of the next (README.md of detectors).
	statisticsRows = 30
	// statisticsOver is the evidence with which an accusation by statistics ends: two calm windows in a row.
	statisticsOver = 6

	windowsPerYear = float64(365.25 * 24 * time.Hour / StatisticsWindow)
)

// window is what one series said since its last window ended.
type window struct {
	points int     // judged
	least  float64 // smallest chance of a point that was anomalous; 1 for none
	void   bool
}

// take takes a word of the detector, of a new point or one more of the same.
func (w *window) take(s core.Signal, fresh bool) {
	if s.State != core.DetectorNormal && s.State != core.DetectorAnomalous {
		return // what is not known is no step
	}
	if w.points == 0 {
		w.least = 1
	}
	if fresh || w.points == 0 {
		w.points++
	}
	if s.State == core.DetectorAnomalous {
		w.least = min(w.least, max(0, 1-s.Score))
	}
}

// chance bounds how probable it is that a window holds an episode as odd as its oddest by chance: the score of a point is
// one minus the expected number of such episodes in the time of a point, so it is the expected number of them in the window. What
// the detector did not raise counts as nothing at all: what is mildly odd is so for long, and one window of it is not independent of the next.
func (w *window) chance() float64 { return min(1, float64(w.points)*w.least) }

// statistics is what the detectors together say of one subject: an e-process, stepped once for each window.
type statistics struct {
	process detectors.EProcess
	verdict detectors.EVerdict // of the last step
	year    float64            // chance crossings a year in the whole installation
	onset   int64              // of the trouble that it accuses of: the first of the anomalies at the crossing
}

// accuses reports whether they say enough.
func (s *statistics) accuses() bool { return s.verdict.State == detectors.StateAnomalous }

// text says how much they say.
func (s *statistics) text() string {
	v := &s.verdict
	if v.Calm > 0 {
		return fmt.Sprintf("calm for %d of %d windows", v.Calm, v.NeedCalm)
	}
	return fmt.Sprintf("crossed at %s, since %s; by chance %s", clock(v.Crossed), clock(stamp(s.onset)), perYear(s.year))
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

// perYear is how often the whole installation is to see the like.
func perYear(times float64) string {
	if times == 1 {
		return "at most once a year in all"
	}
	if times > 1 {
		return fmt.Sprintf("at most %.3g times a year in all", times)
	}
	return fmt.Sprintf("at most once in %.3g years in all", 1/times)
}

// support adds to a detector's evidence what it is part of.
func (s *statistics) support(e core.Evidence) core.Evidence {
	v := &s.verdict
	e.Numbers = append(e.Numbers,
		core.Number{Name: "e_value", Value: v.E, Unit: "1"},
		core.Number{Name: "evidence", Value: v.R, Unit: "1"},
		core.Number{Name: "crossing", Value: v.Crossing, Unit: "1"},
		core.Number{Name: "chance_per_year", Value: s.year, Unit: "1"},
	)
	e.Sentence += "; the statistics of " + e.Subject.String() + ": " + s.text()
	return e
}

// forget lets go of what was said, and keeps what is usual.
func (s *statistics) forget() {
	s.process.Reset()
	s.verdict = s.process.Verdict()
}

// divide shares the chance budget of the installation among the subjects. Replicas look at the same series and decide by
// majority: they do not multiply it.
func (t *Tracker) divide() {
	year := t.topo.ChancePerYear
	if !(year > 0) || math.IsInf(year, 0) {
		year = core.DefaultChancePerYear
	}
	for _, s := range t.subjects {
		s.statistics.process.Crossing = max(2, windowsPerYear*float64(len(t.subjects))/year)
		s.statistics.process.Recovery = statisticsOver
		s.statistics.year = year
	}
}

// oldest is since when there is a symptom among the signals, 0 for none.
func oldest(signals []*signalState) int64 {
	var onset int64
	for _, st := range signals {
		if st.signal.Class == core.ClassSymptom && (onset == 0 || st.onset < onset) {
			onset = st.onset
		}
	}
	return onset
}

// stepStatistics ends the windows whose time is over, and takes a step with each subject of which something fresh is known.
// Windows end at multiples of their length since 1970, so that all replicas step together, and the first one after a start is short.
// Objections are the anomalies of each subject that are not void.
func (t *Tracker) stepStatistics(now int64, routes []route, objections [][]*signalState, tilted bool) {
	for i := range t.subjects {
		if s := &t.subjects[i].statistics; routes[i].away && s.verdict.R > 0 {
			s.forget()
		}
	}
	length := int64(StatisticsWindow)
	before, turn := t.stepped/length, now/length
	if t.stepped == 0 {
		t.stepped = turn * length
		return
	}
	if turn <= before {
		return
	}
	t.stepped = turn * length

	var ended []*signalState
	for _, id := range slices.Sorted(maps.Keys(t.signals)) {
		st := t.signals[id]
		st.window.void = st.window.void || tilted || st.voidUntil > before*length
		if n := st.windows(); st.signal.Class == core.ClassSymptom && turn/n > before/n {
			ended = append(ended, st)
		}
	}
	for i := range t.subjects {
		s := &t.subjects[i].statistics
		accused := s.accuses()
		t.step(i, ended, &routes[i])
		if s.accuses() && !accused {
			s.onset = s.verdict.Since.UnixNano()
			if objections != nil && oldest(objections[i]) != 0 {
				s.onset = oldest(objections[i])
			}
		}
	}
	for _, st := range ended {
		st.window = window{}
	}
}

// windows is how many windows of the test one window of the series is.
func (st *signalState) windows() int64 {
	ivl := st.signal.Interval
	return max(1, int64((statisticsRows*ivl+StatisticsWindow-1)/StatisticsWindow))
}

// step takes a step with subject i. Within a group of detectors, and then across the groups, the e-values are averaged: that
// needs no word on what depends on what. Statistics of a site that is away say nothing, and a window that reaches into the time
// after a change of routing is not counted.
func (t *Tracker) step(i int, ended []*signalState, r *route) {
	s := t.subjects[i]
	if r.away {
		return
	}
	groups := map[string][]float64{}
	for _, st := range ended {
		from := t.stepped - st.windows()*int64(StatisticsWindow)
		rebased := r.changedAt != 0 && r.changedAt+int64(Rebase) > from
		if st.window.points == 0 || st.window.void || rebased || !st.about(s.subject) {
			continue
		}
		name := st.signal.Group
		if name == "" {
			name = st.signal.Detector
		}
		groups[name] = append(groups[name], detectors.EValue(st.window.chance()))
	}
	var means []float64
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		mean, _ := detectors.MeanEValue(groups[name]...)
		means = append(means, mean)
	}
	if e, ok := detectors.MeanEValue(means...); ok {
		s.statistics.verdict = s.statistics.process.Step(stamp(t.stepped), e)
	} else if s.statistics.verdict.R > 0 && !t.watched(s.subject) {
		s.statistics.forget()
	}
}

// watched reports whether a detector of symptoms has spoken of the subject of late, if only to say that it does not know.
func (t *Tracker) watched(s core.Subject) bool {
	for _, st := range t.signals {
		if st.signal.Class == core.ClassSymptom && st.about(s) && st.until+int64(maxSignalAge) >= t.stepped {
			return true
		}
	}
	return false
}

// about reports whether the series says something of the subject.
func (st *signalState) about(s core.Subject) bool {
	sub := st.signal.Subject
	return sub.Site == s.Site && (sub.WholeSite() || sub.Service == s.Service)
}
