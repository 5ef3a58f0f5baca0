package detectors

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

const (
	serviceSays = localPoints + peakFirst // points before a series says anything: the row is calibrated on what they say, from then on

	serviceTop     = 3   // of the series make the figure of the row
	serviceAlone   = 1.5 // minus the decimal logarithm of the part of the budget that single series have: a thirtieth
	serviceLasting = 1   // the same of rows that are odd three times in a row: a tenth
	serviceDaily   = .85 // decimal logarithm of seven a week: what comes more often contributes nothing
	serviceLeast   = .3  // minus the decimal logarithm of the share of the rows at which a series no longer says anything: half
)

// Service judges the series of one thing together - the figures of a service, of a host, of a link - and says of the
// whole whether it is where it should be. One series out of many is odd by chance every day; several at once are not.
//
// Each series is measured as by Auto. The figure of a row is the mean of the three smallest logarithms of how often the
// like is expected of each series. A mean of so few p-values is valid under no particular dependence, so it is not
// read as one: it is calibrated again on its own past, as the score of Auto is, which takes in whatever dependence the
// series have (compare the combination rules of Wilson, PNAS 116 (2019), and Vovk and Wang, Biometrika 107 (2020)). PerWeek of
// the verdict is then that of the row, and FalseAlarmsPerWeek the budget of all series together. One series that is so odd that
// the like is to be expected in any of them a thirtieth as often as that (Bonferroni) is enough by itself: a service whose users all
// get errors is in trouble though nothing else moves. Rows that are odd three times in a row have a tenth of the budget (ReasonLasting).
//
// The verdict has a score and no band and no value; Contributors says which series it comes from. Rows are those of
// a RowModel, but the answer is one. With fewer than four series it takes as many as there are.
type Service struct {
	// FalseAlarmsPerWeek is how many episodes the whole may raise in a week by chance. Zero means 1.
	FalseAlarmsPerWeek float64
	// Location is the civil time by which the days of the series go. Nil means UTC.
	Location *time.Location
	// AdaptAfter is how long a deviation stands before it is the new level, but at least 30 rows. Zero means 1 hour.
	AdaptAfter time.Duration
	// Floor are the smallest deviations of the i-th value that matter, in its unit and as a share of what was expected; zero means none. Nothing is an
	// alarm unless one of the series that are odd deviates by as much. What is usual is learned without them, so they raise no false alarms. Nil means none.
	Floor func(i int) (absolute, relative float64)

	series []serviceSeries
	st     serviceState
}

type serviceState struct {
	Last               instant
	Row                inRow // the figures of the last rows
	Odd, Shown, Stands peaks
	Lasts              peaks // the least of Row
	Alarm              alarm
}

// serviceSeries is one series of the whole and what it said last.
type serviceSeries struct {
	model    Auto
	last     oddness
	value    float64
	measured bool // in the last row
	said     bool // the same, and what was measured is calibrated
}

// Contributor is one series and how odd it was in the last row.
type Contributor struct {
	Index    int     // place in the row
	Value    float64 // in the unit of the series
	Expected float64
	PerWeek  float64 // how often a week the like is expected of this series by chance
}

// Validate implements the same as for a Model.
func (m *Service) Validate() error {
	auto := Auto{FalseAlarmsPerWeek: m.FalseAlarmsPerWeek, AdaptAfter: m.AdaptAfter}
	return auto.Validate()
}

// Observe judges one row. The i-th value is always of the same series, but after Forget; NaN, an infinity and the lack of a value say that
// it has none. A longer row brings new series. The row is not kept.
func (m *Service) Observe(at time.Time, values []float64) Verdict {
	v := Verdict{At: at, Points: m.points(), Needed: serviceSays + peakSoon}
	if m.st.Last.Set && !m.st.Last.before(at) {
		v.Reason = ReasonOutOfOrder
		return v
	}
	for len(m.series) < len(values) {
		m.series = append(m.series, m.newSeries())
	}
	m.st.Odd.Combined, m.st.Shown.Combined, m.st.Stands.Combined, m.st.Lasts.Fixed = true, true, true, true
	interval, any := m.measure(at, values)
	if !any {
		v.Reason = ReasonMissing
		return v
	}
	m.st.Last = instantOf(at)
	m.judge(&v, interval)
	held := m.st.Alarm.held(at, m.AdaptAfter)
	for i := range m.series {
		if s := &m.series[i]; s.measured {
			s.model.learn(&s.last, m.st.Alarm.On, held)
		}
	}
	return v
}

// points are how many of those that it needs the row has had: of the series that has the most, until one says something.
func (m *Service) points() int {
	if rows := m.st.Odd.Rows; rows > 0 {
		return serviceSays + rows
	}
	most := 0
	for i := range m.series {
		most = max(most, int(m.series[i].model.st.All.N))
	}
	return min(most, serviceSays)
}

func (m *Service) newSeries() serviceSeries {
	return serviceSeries{model: Auto{AdaptAfter: m.AdaptAfter, Location: m.Location}}
}

// Forget makes the i-th value that of another series, of which nothing is known: so the place of a host that is gone goes to a
// new one. What is known of the row as a whole stays. A place that the model does not have is none to forget.
func (m *Service) Forget(i int) {
	if i >= 0 && i < len(m.series) {
		m.series[i] = m.newSeries()
	}
}

// judge fills in the verdict of a row at the interval, in seconds, that was just measured.
func (m *Service) judge(v *Verdict, interval float64) {
	week := 0.0
	if interval > 0 {
		week = secondsAWeek / interval
	}
	odd, shown, stands, oddest, n := m.rows(week)
	if n == 0 || week == 0 {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		return
	}
	st, budget := &m.st, math.Log10(orFloat(m.FalseAlarmsPerWeek, defaultPerWeek))
	ready := st.Odd.ready()
	var o oddness
	if ready {
		o.chance, o.chanceShown, o.chanceLasting = st.Odd.rate(odd, week), st.Shown.rate(shown, week), st.Stands.rate(stands, week)
	}
	level, lasting := st.Odd.Level, m.lasting(odd, week, budget)
	st.Odd.learn(odd, week)
	st.Shown.learn(shown, week)
	st.Stands.learn(stands, week)
	if !ready {
		v.State, v.Reason = StateWarming, ReasonFewPoints
		return
	}
	if odd <= level {
		o.chance = max(o.chance, budget)
	}
	o.chance = min(o.chance, oddest.x[0]+math.Log10(float64(n))+serviceAlone)
	if !m.matters(&oddest) {
		o.chance, o.chanceShown, o.chanceLasting, lasting = math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)
	}
	v.PerWeek = perWeek(min(o.chance, lasting), min(o.chanceShown, o.chanceLasting+autoShare), budget)
	v.Tail = min(1, v.PerWeek/week)
	v.Score, v.HasScore = 1-v.Tail, true
	st.Alarm.step(v.At, o.chance < budget, lasting < budget, interval)
	v.State, v.Reason, v.Since = StateNormal, ReasonInside, st.Alarm.Since.time()
	switch {
	case o.chance < budget && (n == 1 || oddest.x[1] > serviceDaily):
		v.State, v.Reason = StateAnomalous, ReasonAlone
	case o.chance < budget:
		v.State, v.Reason = StateAnomalous, ReasonTogether
	case lasting < budget && st.Alarm.lasts():
		v.State, v.Reason = StateAnomalous, ReasonLasting
	case st.Alarm.On:
		v.State, v.Reason = StateAnomalous, ReasonRecovering
	}
}

// matters reports whether one of the series that are odd has moved by as much as its floor: of those that are odd by themselves, and where there is
// none, of those that make the figure of the row.
func (m *Service) matters(oddest *lowest) bool {
	if m.Floor == nil {
		return true
	}
	limit := float64(serviceDaily)
	if oddest.x[0] > limit {
		limit = oddest.x[oddest.n-1]
	}
	for i := range m.series {
		if s := &m.series[i]; s.said && s.last.chance <= limit && m.moved(i) {
			return true
		}
	}
	return false
}

// moved reports whether the i-th series deviates by its floor or more.
func (m *Service) moved(i int) bool {
	if m.Floor == nil {
		return true
	}
	s := &m.series[i]
	absolute, relative := m.Floor(i)
	return math.Abs(s.value-s.last.expected) >= max(orFloat(absolute, 0), orFloat(relative, 0)*math.Abs(s.last.expected))
}

// lasting takes the figure of a row, and is the chance of the least of three in a row.
func (m *Service) lasting(odd, week, budget float64) float64 {
	k, chance := &m.st.Lasts, math.Inf(1)
	m.st.Row.take(odd)
	least := m.st.Row.least()
	if k.ready() {
		chance = k.lasting(k.rate(least, week), least, budget, serviceLasting)
	}
	k.learn(least, week)
	return chance
}

// measure asks each series that has a value. It returns the interval of the rows, which is that of the quickest of them, and 0
// while it is not known.
func (m *Service) measure(at time.Time, values []float64) (interval float64, any bool) {
	for i := range m.series {
		s := &m.series[i]
		s.measured, s.said = false, false
		if i >= len(values) || accept(Point{At: at, Value: values[i]}, s.model.st.Last) != ReasonNone {
			continue
		}
		any = true
		s.value = values[i] + 0
		s.last = s.model.measure(at, clip(s.value, biggest))
		s.measured, s.said = true, s.last.known
		if x := s.model.st.Interval; x > 0 && (interval == 0 || x < interval) {
			interval = x
		}
	}
	return interval, any
}

// rows are the figures of the row, each larger where it is odder, the chances of the oddest series, and of how many they are.
func (m *Service) rows(week float64) (odd, shown, stands float64, oddest lowest, n int) {
	var b, c lowest
	least := math.Log10(week) - serviceLeast
	for i := range m.series {
		if s := &m.series[i]; s.said {
			n++
			oddest.add(min(s.last.chance, least))
			b.add(min(s.last.chanceShown, least))
			c.add(min(s.last.chanceLasting, least))
		}
	}
	return oddest.figure(), b.figure(), c.figure(), oddest, n
}

// lowest keeps the smallest logarithms.
type lowest struct {
	x [serviceTop]float64
	n int
}

func (l *lowest) add(x float64) {
	i := l.n
	if i == serviceTop {
		if x >= l.x[i-1] {
			return
		}
		i--
	} else {
		l.n++
	}
	for i > 0 && l.x[i-1] > x {
		l.x[i] = l.x[i-1]
		i--
	}
	l.x[i] = x
}

func (l *lowest) figure() float64 {
	if l.n == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range l.x[:l.n] {
		sum += x
	}
	return -sum / float64(l.n)
}

// Contributors writes the series that were odd in the last row to dst, the oddest first, and returns how many they are: at
// most len(dst), and none that is expected more than once a day or moved by less than its floor.
func (m *Service) Contributors(dst []Contributor) int {
	n := 0
	for i := range m.series {
		s := &m.series[i]
		c := Contributor{Index: i, Value: s.value, Expected: s.last.expected, PerWeek: math.Pow(10, s.last.chance)}
		if !s.said || s.last.chance > serviceDaily || !m.moved(i) {
			continue
		}
		k := n
		if k == len(dst) {
			if k == 0 || dst[k-1].PerWeek <= c.PerWeek {
				continue
			}
			k--
		} else {
			n++
		}
		for k > 0 && dst[k-1].PerWeek > c.PerWeek {
			dst[k] = dst[k-1]
			k--
		}
		dst[k] = c
	}
	return n
}

type serviceSnapshot struct {
	State  serviceState
	Series []json.RawMessage // snapshots of Auto
}

// Snapshot returns the learned state, as that of a Model does.
func (m *Service) Snapshot() ([]byte, error) {
	out := serviceSnapshot{State: m.st, Series: []json.RawMessage{}}
	for i := range m.series {
		b, err := m.series[i].model.Snapshot()
		if err != nil {
			return nil, err
		}
		out.Series = append(out.Series, b)
	}
	return seal("service", out)
}

// Restore replaces the learned state, as that of a Model does.
func (m *Service) Restore(b []byte) error {
	var in serviceSnapshot
	if err := unseal("service", b, &in); err != nil {
		return err
	}
	if !in.State.Row.usable() {
		return fmt.Errorf("%w: figures of the last rows", ErrSnapshot)
	}
	if err := checkCalibrated(&in.State.Alarm, &in.State.Odd, &in.State.Shown, &in.State.Stands, &in.State.Lasts); err != nil {
		return err
	}
	series := make([]serviceSeries, len(in.Series))
	for i, raw := range in.Series {
		series[i] = m.newSeries()
		if err := series[i].model.Restore(raw); err != nil {
			return fmt.Errorf("series %d: %w", i, err)
		}
	}
	m.st, m.series = in.State, series
	return nil
}
