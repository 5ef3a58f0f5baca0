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
	StatisticsWindow = 150 * time.Second
	// statisticsRows is how many points of a series a window has at least. By measurement that is what it takes for the
	// chance alarms of one window to say little of the next (README.md of detectors).
	statisticsRows = 15
	// statisticsLongest is for how many lengths a window waits for points that do not come. After that it says nothing.
	statisticsLongest = 8
	// statisticsOver is the evidence with which an accusation by statistics ends: four calm windows in a row.
	statisticsOver = 20

	// doubled is from where on the windows of one process may be twice as long as the shortest of it, as many windows of the test; shorter ones
	// are all of one process.
	doubled = 3
	// processes is how many times as many steps all processes of a subject take as the one of the shortest windows alone: at most 1 and
	// 1/3, 1/6, 1/12, ... of it.
	processes = 1 + 2./doubled

	// smallestChance is as small as a chance can be told by a score, which is one minus it.
	smallestChance = 1e-17

	windowsPerYear = float64(365.25 * 24 * time.Hour / StatisticsWindow)
)

// tallyKey names a detector, whom it speaks of, and how far apart the values are of which it does. Series that are written seldom have windows of their
// own, as a watch that asks so seldom would have.
type tallyKey struct {
	detector, site, service string
	every                   time.Duration
}

func tallyOf(s core.Signal) tallyKey {
	return tallyKey{s.Detector, s.Subject.Site, s.Subject.Service, every(s)}
}

// every is how far apart the values of a series are.
func every(s core.Signal) time.Duration { return max(interval(s), s.Cadence) }

func (k tallyKey) subject() core.Subject { return core.Subject{Site: k.site, Service: k.service} }

// pace is when the windows of a site end: all of its detectors and services keep step, so that what comes of one cause is one step.
type pace struct {
	began int64           // of the step under way, 0 before the first judgement
	ended map[int64]int64 // by the process: when windows of it ended last, of those that began together
	calm  bool            // nothing is odd in any window, nor was in those that ended last, when the step before ended: the first odd point begins the windows anew
	heard bool            // an odd point that was not looked at yet
}

// tally counts what one detector said of one subject in the window under way, of all of its series that are written as often.
type tally struct {
	group    string
	interval time.Duration // of the values
	heard    int64         // the newest point of any state
	began    int64         // the window
	at       int64         // the newest point that was judged
	words    int           // of series then
	before   int64         // the point before that one, of which words may still come: of another replica's some are seen a step late
	late     int           // of series then
	series   int           // the most of one point
	points   int
	odd      int64 // the first odd point, 0 for none
	restless bool  // there was one in the window before
	void     bool
}

// tally counts a word of a calibrated detector of symptoms, and reports whether it did. What is not known is no word, nor is what comes more
// than a step late: of how many series such are would not be known.
func (t *Tracker) tally(s core.Signal) bool {
	if s.Class != core.ClassSymptom || !s.Calibrated() {
		return false
	}
	at, id := s.At.UnixNano(), tallyOf(s)
	site := &t.vantages[t.vIndex[s.Subject.Site]]
	c, ok := t.tallies[id]
	if !ok {
		if len(t.tallies) >= maxTallies {
			t.counts.Dropped++
			return false
		}
		c = &tally{began: site.pace.began}
		t.tallies[id] = c
	}
	c.group, c.interval, c.heard = s.Group, id.every, max(c.heard, at)
	if c.group == "" {
		c.group = s.Detector
	}
	switch {
	case (s.State != core.DetectorNormal && s.State != core.DetectorAnomalous) || (at < c.at && at != c.before):
		return false
	case at > c.at && id.every > interval(s) && at/int64(id.every) == c.at/int64(id.every):
		return false // what was counted already, once more
	case at < c.at:
		c.late++
	case at > c.at:
		c.before, c.late = c.at, c.words
		c.at, c.words = at, 1
		c.points++
	default:
		c.words++
	}
	c.series = max(c.series, c.words, c.late)
	if counts(s) {
		site.pace.heard = true
		if c.odd == 0 || at < c.odd {
			c.odd = at
		}
	}
	return true
}

// odd reports whether the point by itself is one that the detector raises an alarm for, and not one of the calm after it, for which the alarm
// stays on.
func odd(s core.Signal) bool {
	budget := s.FalseAlarms * float64(interval(s)) / weekNs // of a point
	return s.State == core.DetectorAnomalous && s.Calibrated() && 1-s.Score <= budget*(1+1e-6)
}

// counts reports whether the point counts as odd. Of a series that has hardly ever moved nobody knows how long one value of it lasts: it does
// not, until it has.
func counts(s core.Signal) bool { return odd(s) && !s.Still }

// windows is how many windows of the test one window of the detector is.
func (c *tally) windows() int64 {
	return max(1, int64((statisticsRows*c.interval+StatisticsWindow-1)/StatisticsWindow))
}

// process is which e-process of a subject the windows are steps of: those of as many windows of the test and of less than twice as
// many. A step of quick series, of which there would be many to one of slow ones, says nothing of the slow ones.
func (c *tally) process() int64 {
	n := int64(1)
	for next := int64(doubled); next <= c.windows(); next *= 2 {
		n = next
	}
	return n
}

// due reports whether a step of a process may end at a time: steps are no nearer to each other than its shortest windows are long.
func (p *pace) due(process, at int64) bool {
	return at-p.ended[process] >= process*int64(StatisticsWindow)
}

// length is that of a window of the detector, and all how many points it has.
func (c *tally) length() int64 { return c.windows() * int64(StatisticsWindow) }
func (c *tally) all() int      { return int(c.length() / int64(c.interval)) }

// whole reports whether the window has had half of its points or more. With fewer, what chance does once would be all there is to say of several.
func (c *tally) whole() bool { return 2*c.points >= c.all() }

// over reports whether the window ends at a time: it goes on for as long as it is not whole, but not for ever.
func (c *tally) over(at int64) bool {
	lasted := at - c.began
	return lasted >= c.length() && (c.whole() || lasted >= statisticsLongest*c.length())
}

// spoken is how long what was said of a subject stands when nobody speaks any more.
func (c *tally) spoken() int64 { return c.heard + int64(maxSignalAge) + c.length() }

// begin begins a window with the words of a time and later ones.
func (c *tally) begin(now, from int64, void bool) {
	c.began, c.void = now, void
	if c.at >= from {
		c.points, c.series = 1, max(c.words, c.late)
	} else {
		c.points, c.series, c.words, c.late = 0, 0, 0, 0
	}
	if c.odd < from {
		c.odd = 0
	}
}

// statistics is what the detectors together say of one subject: an e-process for series that are written about as often, stepped once for
// each window. Each has its own part of the chance budget, whatever depends on what.
type statistics struct {
	tests    []*test // by process
	crossing float64
	year     float64 // chance crossings a year in the whole installation
	onset    int64   // of the trouble that it accuses of: the first of the anomalies at the crossing
}

// test is one e-process of a subject.
type test struct {
	of      int64 // its windows, in windows of the test
	process detectors.EProcess
	verdict detectors.EVerdict // of the last step
	early   bool               // it crossed before the end of the window that is under way, whose step is made
}

// accuses reports whether it says enough.
func (c *test) accuses() bool { return c.verdict.State == detectors.StateAnomalous }

// forget lets go of what was said, and keeps what is usual.
func (c *test) forget() {
	c.process.Reset()
	c.verdict = c.process.Verdict()
}

// test is that of a process.
func (s *statistics) test(process int64) *test {
	i, ok := slices.BinarySearchFunc(s.tests, process, func(c *test, of int64) int { return cmp.Compare(c.of, of) })
	if !ok {
		c := &test{of: process, process: detectors.EProcess{Crossing: s.crossing, Recovery: statisticsOver}}
		s.tests = slices.Insert(s.tests, i, c)
	}
	return s.tests[i]
}

// accuses reports whether they say enough.
func (s *statistics) accuses() bool { return slices.ContainsFunc(s.tests, (*test).accuses) }

// verdict is that of the test that says the most: of those that accuse the one that is the least calm.
func (s *statistics) verdict() detectors.EVerdict {
	var most detectors.EVerdict
	for i, c := range s.tests {
		v := &c.verdict
		switch accuses := most.State == detectors.StateAnomalous; {
		case i == 0, c.accuses() && !accuses, c.accuses() == accuses && accuses && v.Calm < most.Calm, !accuses && !c.accuses() && v.R > most.R:
			most = *v
		}
	}
	return most
}

// text says how much they say.
func (s *statistics) text() string {
	v := s.verdict()
	if v.Calm > 0 {
		return fmt.Sprintf("calm for %d of %d windows", v.Calm, v.NeedCalm)
	}
	return fmt.Sprintf("crossed at %s, since %s; nominally, by chance %s", core.ClockText(v.Crossed), core.ClockText(stamp(s.onset)), perYear(s.year))
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
	v := s.verdict()
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
	for _, c := range s.tests {
		c.forget()
	}
}

// divide shares the chance budget of the installation among the subjects, and among the tests of each: one of n times as long windows
// takes a step in n windows at most and crosses as much more seldom, so that all may have the same crossing. Replicas look at the same series and
// decide by majority: they do not multiply it.
func (t *Tracker) divide() {
	year := t.topo.ChancePerYear
	if !(year > 0) || math.IsInf(year, 0) {
		year = core.DefaultChancePerYear
	}
	for _, s := range t.subjects {
		s.statistics.crossing = max(2, processes*windowsPerYear*float64(len(t.subjects))/year)
		s.statistics.year = year
		for _, c := range s.statistics.tests {
			c.process.Crossing = s.statistics.crossing
		}
	}
}

// oldest is since when there is a symptom among the signals, 0 for none.
func oldest(signals []objection) int64 {
	var onset int64
	for _, st := range signals {
		if st.signal.Class == core.ClassSymptom && (onset == 0 || st.onset < onset) {
			onset = st.onset
		}
	}
	return onset
}

// stepStatistics ends the windows whose time is over, and takes a step with each subject of which something fresh is known.
// Objections are the anomalies of each subject that are not void. A window in which this replica has doubted itself is no step.
//
// Windows follow one another, and where nothing was odd in the last ones the first odd point begins them anew: so what chance does once is in one
// window as long as it is not longer than that, and not by halves in two, which are not independent then. Evidence from before is forgotten at
// that, which keeps the promise though such windows are not chosen blindly: R is 0, so what it gains is the e-value of
// the window, and the scores say how many windows as odd as that begin in a time, whoever begins them; of all the time since the last one this is 1 for each
// window that could have been, on average. From there on each window follows the one before (Shin, Ramdas and Rinaldo, theorem 2.4).
func (t *Tracker) stepStatistics(now int64, routes []route, objections [][]objection, tilted bool) {
	for i := range t.subjects {
		if routes[i].away {
			t.subjects[i].statistics.forget()
		}
	}
	if tilted {
		for _, c := range t.tallies {
			c.void = true
		}
	}
	for i := range t.vantages {
		if began := t.vantages[i].pace.began; began > now+int64(StatisticsWindow) {
			t.rewindStatistics(now)
			break
		}
	}
	for v := range t.vantages {
		p := &t.vantages[v].pace
		turns := (now - p.began) / int64(StatisticsWindow)
		switch {
		case p.began == 0:
			t.beginWindows(v, now, 0, tilted)
			p.calm = !p.heard
		case p.calm && p.heard:
			t.beginWindows(v, now, t.firstOdd(v), tilted)
			p.calm = false
		case turns > 0:
			p.began += turns * int64(StatisticsWindow)
			t.endWindows(v, routes, objections)
			maps.DeleteFunc(t.tallies, func(_ tallyKey, c *tally) bool { return now > c.spoken() })
		case p.heard:
			t.stepEarly(v, now, routes, objections)
		}
		p.heard = false
	}
}

// tallied are the tallies of a site, in the order of their names.
func (t *Tracker) tallied(v int) (ids []tallyKey) {
	for id := range t.tallies {
		if id.site == t.vantages[v].name {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b tallyKey) int {
		return cmp.Or(strings.Compare(a.detector, b.detector), strings.Compare(a.service, b.service), cmp.Compare(a.every, b.every))
	})
	return ids
}

// firstOdd is when the first odd point of a site was in the windows under way, 0 for none.
func (t *Tracker) firstOdd(v int) (first int64) {
	for _, id := range t.tallied(v) {
		if at := t.tallies[id].odd; at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

// restless reports whether a window that ended last of a detector of a site had an odd point. The next one of a slow watch goes on for long
// after, and may be odd as well.
func (t *Tracker) restless(v int) bool {
	for id, c := range t.tallies {
		if c.restless && id.site == t.vantages[v].name {
			return true
		}
	}
	return false
}

// beginWindows begins all windows of a site with the words of a time.
func (t *Tracker) beginWindows(v int, now, from int64, void bool) {
	p := &t.vantages[v].pace
	p.began, p.ended = now, map[int64]int64{}
	for _, id := range t.tallied(v) {
		t.tallies[id].begin(now, from, void)
	}
	for _, s := range t.subjects {
		for _, c := range s.statistics.tests {
			if s.site == v && !c.accuses() {
				c.forget()
				c.early = false
			}
		}
	}
}

// endWindows ends those of a site whose time is over, and takes the step of its subjects.
func (t *Tracker) endWindows(v int, routes []route, objections [][]objection) {
	p := &t.vantages[v].pace
	ended := t.ended(v, func(c *tally) bool { return c.over(p.began) && p.due(c.process(), p.began) })
	for _, w := range ended {
		p.ended[w.tally.process()] = p.began
	}
	for i, s := range t.subjects {
		if s.site != v {
			continue
		}
		st := &s.statistics
		accused := st.accuses()
		for _, w := range ended {
			st.test(w.tally.process())
		}
		for _, c := range st.tests {
			if e, ok := t.bet(i, c.of, ended, &routes[i]); c.early {
				c.early = false
			} else if ok {
				c.verdict = c.process.Step(stamp(p.began), e)
			} else if !routes[i].away && c.verdict.R > 0 && !t.watched(s.subject, c.of, p.began) {
				c.forget()
			}
		}
		if st.accuses() && !accused {
			t.crossed(i, p.began, objections)
		}
	}
	for _, w := range ended {
		w.tally.restless = w.tally.odd != 0
	}
	p.calm = t.firstOdd(v) == 0 && !t.restless(v)
	for _, w := range ended {
		w.tally.begin(p.began, math.MaxInt64, false)
		for _, st := range w.odd {
			st.odd, st.least = 0, 0
		}
	}
}

// stepEarly makes the step of the windows under way where it is certain that it will cross. The least chance of a series only falls and its
// odd points only become more, so what the windows have said so far is worth no more than what they will have said: the step
// crosses where it would have crossed at the end, if words go on to come, and sooner. It does not cross more often.
func (t *Tracker) stepEarly(v int, now int64, routes []route, objections [][]objection) {
	var running []*endedWindow
	for i, s := range t.subjects {
		for _, c := range s.statistics.tests {
			// A step is worth no more than the root of the crossing.
			if s.site != v || s.statistics.accuses() || c.early || c.verdict.R*c.verdict.R < c.verdict.Crossing/4 {
				continue
			}
			if running == nil {
				p := &t.vantages[v].pace
				end := p.began + int64(StatisticsWindow)
				running = t.ended(v, func(c *tally) bool { return end-c.began >= c.length() && p.due(c.process(), end) })
				for _, w := range running {
					w.of = max(w.of, w.tally.all())
				}
			}
			e, ok := t.bet(i, c.of, running, &routes[i])
			if would := c.process; ok && would.Step(stamp(now), e).State == detectors.StateAnomalous {
				c.verdict, c.early = c.process.Step(stamp(now), e), true
				t.crossed(i, now, objections)
			}
		}
	}
}

// crossed says since when subject i is in the trouble that it is accused of from now on. Objections are its anomalies.
func (t *Tracker) crossed(i int, at int64, objections [][]objection) {
	s := &t.subjects[i].statistics
	t.raise(alarm{subject: t.subjects[i].subject, at: at, crossing: true})
	s.onset = s.verdict().Since.UnixNano()
	if objections != nil && oldest(objections[i]) != 0 {
		s.onset = oldest(objections[i])
	}
}

// rewindStatistics begins again after a clock that was ahead by more than a window: what was said of a time that has not come yet
// would be newer than all that is said until then.
func (t *Tracker) rewindStatistics(now int64) {
	clear(t.tallies)
	t.rewindSignals(now)
	for i := range t.vantages {
		t.vantages[i].pace = pace{}
	}
	for _, s := range t.subjects {
		s.statistics = statistics{}
	}
	t.divide()
}

// ended are the windows of a site that are over, sorted by detector and subject.
func (t *Tracker) ended(v int, over func(*tally) bool) []*endedWindow {
	var out []*endedWindow
	byKey := map[tallyKey]*endedWindow{}
	for _, id := range t.tallied(v) {
		if c := t.tallies[id]; over(c) {
			w := &endedWindow{key: id, tally: c, of: c.points}
			byKey[id] = w
			out = append(out, w)
		}
	}
	for _, id := range t.sortedSignals() {
		st := t.signals[id]
		if w := byKey[tallyOf(st.signal)]; w != nil && st.signal.Class == core.ClassSymptom && st.least != 0 {
			w.odd = append(w.odd, st)
		}
	}
	return out
}

// endedWindow is one window of a detector and those of its series that were anomalous in it.
type endedWindow struct {
	key   tallyKey
	tally *tally
	of    int // points: those it had, or will have
	odd   []*signalState
}

// evidence is the sum of the e-values of the series, and how many they are. The score of a point is one minus the expected number of
// episodes as odd by chance in the time of a point; so many times the points of the window it is the expected number in the window, which
// bounds the chance of one. What the detector did not raise counts as nothing at all, a p-value of 1, and so does what it raised for less
// than half of the window: what is mildly odd is so for long, and what is longer than a window reaches into two, which are not independent
// then.
func (w *endedWindow) evidence() (sum float64, series int) {
	series = max(w.tally.series, len(w.odd))
	sum = float64(series) * detectors.EValue(1)
	for _, st := range w.odd {
		sum -= detectors.EValue(1)
		if st.voidUntil > w.tally.began {
			series--
			continue
		}
		p := 1.0
		if 2*st.odd >= w.of {
			p = min(1, float64(w.of)*st.least)
		}
		sum += detectors.EValue(p)
	}
	return sum, series
}

// bet is the e-value of the windows of a process for subject i; not ok: they say nothing of it. Within a group of detectors the e-values of the series are averaged, and then across the groups: that
// needs no word on what depends on what. Statistics of a site that is away say nothing, and a window that reaches into the time
// after a change of routing is not counted.
func (t *Tracker) bet(i int, process int64, ended []*endedWindow, r *route) (e float64, ok bool) {
	if r.away {
		return 0, false
	}
	type group struct {
		sum    float64
		series int
	}
	groups := map[string]*group{}
	for _, w := range ended {
		rebased := r.changedAt != 0 && r.changedAt+int64(Rebase) > w.tally.began
		if w.tally.process() != process || w.tally.points == 0 || 2*w.of < w.tally.all() || w.tally.void || rebased || !w.key.subject().Covers(t.subjects[i].subject) {
			continue
		}
		g := groups[w.tally.group]
		if g == nil {
			g = &group{}
			groups[w.tally.group] = g
		}
		sum, series := w.evidence()
		g.sum, g.series = g.sum+sum, g.series+series
	}
	var means []float64
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if g := groups[name]; g.series > 0 {
			means = append(means, g.sum/float64(g.series))
		}
	}
	return detectors.MeanEValue(means...)
}

// watched reports whether a calibrated detector of symptoms, whose windows are of the process, has spoken of the subject of late, if only to say
// that it does not know.
func (t *Tracker) watched(s core.Subject, process, at int64) bool {
	for id, c := range t.tallies {
		if id.subject().Covers(s) && c.process() == process && at <= c.spoken() {
			return true
		}
	}
	return false
}
