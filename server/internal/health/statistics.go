package health

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
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

	// smallestChance is as small as a chance can be told by a score, which is one minus it.
	smallestChance = 1e-17

	windowsPerYear = float64(365.25 * 24 * time.Hour / StatisticsWindow)
)

// tallyKey names a detector and whom it speaks of.
type tallyKey struct{ detector, site, service string }

func (k tallyKey) subject() core.Subject { return core.Subject{Site: k.site, Service: k.service} }

// tally counts what one detector said of one subject since its last window ended, of all of its series.
type tally struct {
	group    string
	interval time.Duration
	heard    int64 // the newest point of any state
	at       int64 // the newest point that was judged
	words    int   // of series then
	series   int   // the most of one point
	points   int
	void     bool
}

// tally counts a word of a calibrated detector of symptoms. What is not known is no word.
func (t *Tracker) tally(s core.Signal) {
	if s.Class != core.ClassSymptom || !s.Calibrated() {
		return
	}
	at, id := s.At.UnixNano(), tallyKey{s.Detector, s.Subject.Site, s.Subject.Service}
	c, ok := t.tallies[id]
	if !ok {
		if len(t.tallies) >= maxTallies {
			t.counts.Dropped++
			return
		}
		c = &tally{}
		t.tallies[id] = c
	}
	c.group, c.interval, c.heard = s.Group, s.Interval, max(c.heard, at)
	if c.group == "" {
		c.group = s.Detector
	}
	switch {
	case (s.State != core.DetectorNormal && s.State != core.DetectorAnomalous) || at < c.at:
		return
	case at > c.at:
		c.at, c.words = at, 0
		c.points++
	}
	c.words++
	c.series = max(c.series, c.words)
}

// windows is how many windows of the test one window of the detector is.
func (c *tally) windows() int64 {
	return max(1, int64((statisticsRows*c.interval+StatisticsWindow-1)/StatisticsWindow))
}

// spoken is how long what was said of a subject stands when nobody speaks any more.
func (c *tally) spoken() int64 {
	return c.heard + int64(maxSignalAge) + c.windows()*int64(StatisticsWindow)
}

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
	return fmt.Sprintf("crossed at %s, since %s; by chance %s", core.ClockText(v.Crossed), core.ClockText(stamp(s.onset)), perYear(s.year))
}

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
// Objections are the anomalies of each subject that are not void. A window in which this replica has doubted itself is no step.
func (t *Tracker) stepStatistics(now int64, routes []route, objections [][]*signalState, tilted bool) {
	for i := range t.subjects {
		if s := &t.subjects[i].statistics; routes[i].away && s.verdict.R > 0 {
			s.forget()
		}
	}
	if tilted {
		for _, c := range t.tallies {
			c.void = true
		}
	}
	length := int64(StatisticsWindow)
	before, turn := t.stepped/length, now/length
	if before-turn > 1 {
		t.rewindStatistics(now)
		before = 0
	}
	if t.stepped == 0 {
		t.stepped = turn * length
	}
	if turn <= before || before == 0 {
		return
	}
	t.stepped = turn * length

	ended := t.ended(before, turn)
	for i := range t.subjects {
		s := &t.subjects[i].statistics
		accused := s.accuses()
		t.step(i, ended, &routes[i])
		if s.accuses() && !accused {
			t.raise(alarm{subject: t.subjects[i].subject, at: t.stepped, crossing: true})
			s.onset = s.verdict.Since.UnixNano()
			if objections != nil && oldest(objections[i]) != 0 {
				s.onset = oldest(objections[i])
			}
		}
	}
	for _, e := range ended {
		e.tally.points, e.tally.series, e.tally.words, e.tally.void = 0, 0, 0, false
		for _, st := range e.odd {
			st.odd, st.least = 0, 0
		}
	}
	maps.DeleteFunc(t.tallies, func(_ tallyKey, c *tally) bool { return now > c.spoken() })
}

// rewindStatistics begins again after a clock that was ahead by more than a window: what was said of a time that has not come yet
// would be newer than all that is said until then.
func (t *Tracker) rewindStatistics(now int64) {
	t.stepped = 0
	clear(t.tallies)
	t.rewindSignals(now)
	for _, s := range t.subjects {
		s.statistics = statistics{}
	}
	t.divide()
}

// ended are the windows that are over, sorted by detector and subject.
func (t *Tracker) ended(before, turn int64) []*endedWindow {
	var out []*endedWindow
	byKey := map[tallyKey]*endedWindow{}
	for id, c := range t.tallies {
		if n := c.windows(); turn/n > before/n {
			w := &endedWindow{key: id, tally: c}
			byKey[id] = w
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b *endedWindow) int {
		return cmp.Or(strings.Compare(a.key.detector, b.key.detector), strings.Compare(a.key.site, b.key.site), strings.Compare(a.key.service, b.key.service))
	})
	for _, id := range t.sortedSignals() {
		st := t.signals[id]
		sub := st.signal.Subject
		if w := byKey[tallyKey{st.signal.Detector, sub.Site, sub.Service}]; w != nil && st.signal.Class == core.ClassSymptom && st.least != 0 {
			w.odd = append(w.odd, st)
		}
	}
	return out
}

// endedWindow is one window of a detector and those of its series that were anomalous in it.
type endedWindow struct {
	key   tallyKey
	tally *tally
	odd   []*signalState
}

// evidence is the sum of the e-values of the series, and how many they are. The score of a point is one minus the expected number of
// episodes as odd by chance in the time of a point; so many times the points of the window it is the expected number in the window, which
// bounds the chance of one. What the detector did not raise counts as nothing at all, a p-value of 1, and so does what it raised for less
// than half of the window: what is mildly odd is so for long, and one short trouble reaches into two windows, which are not independent
// then. From is when the window began.
func (w *endedWindow) evidence(from int64) (sum float64, series int) {
	series = max(w.tally.series, len(w.odd))
	sum = float64(series) * detectors.EValue(1)
	for _, st := range w.odd {
		sum -= detectors.EValue(1)
		if st.voidUntil > from {
			series--
			continue
		}
		p := 1.0
		if 2*st.odd >= w.tally.points {
			p = min(1, float64(w.tally.points)*st.least)
		}
		sum += detectors.EValue(p)
	}
	return sum, series
}

// step takes a step with subject i. Within a group of detectors the e-values of the series are averaged, and then across the groups: that
// needs no word on what depends on what. Statistics of a site that is away say nothing, and a window that reaches into the time
// after a change of routing is not counted.
func (t *Tracker) step(i int, ended []*endedWindow, r *route) {
	s := t.subjects[i]
	if r.away {
		return
	}
	type group struct {
		sum    float64
		series int
	}
	groups := map[string]*group{}
	for _, w := range ended {
		from := t.stepped - w.tally.windows()*int64(StatisticsWindow)
		rebased := r.changedAt != 0 && r.changedAt+int64(Rebase) > from
		if w.tally.points == 0 || w.tally.void || rebased || !w.key.subject().Covers(s.subject) {
			continue
		}
		g := groups[w.tally.group]
		if g == nil {
			g = &group{}
			groups[w.tally.group] = g
		}
		sum, series := w.evidence(from)
		g.sum, g.series = g.sum+sum, g.series+series
	}
	var means []float64
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if g := groups[name]; g.series > 0 {
			means = append(means, g.sum/float64(g.series))
		}
	}
	if e, ok := detectors.MeanEValue(means...); ok {
		s.statistics.verdict = s.statistics.process.Step(stamp(t.stepped), e)
	} else if s.statistics.verdict.R > 0 && !t.watched(s.subject) {
		s.statistics.forget()
	}
}

// watched reports whether a calibrated detector of symptoms has spoken of the subject of late, if only to say that it does not know.
func (t *Tracker) watched(s core.Subject) bool {
	for id, c := range t.tallies {
		if id.subject().Covers(s) && t.stepped <= c.spoken() {
			return true
		}
	}
	return false
}
